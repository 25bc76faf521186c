"""Routers: one look at a query decides which model, which strategy or how large a budget serves it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from foretell.sim.programs.hidden import chance
from foretell.sim.programs.llm import LLM, MAIN, RIGHT, Call, PoolName, Program, Query, Steps
from foretell.sim.programs.tools import whole, within


@dataclass(frozen=True, slots=True)
class Strategies:
    """Strategies that another one chooses from.

    Attributes:
        programs: of each.
        pools: those that they ask for answers.
        judges: those that they only ask to judge.

    """

    programs: tuple[Program, ...] = field(repr=False)
    pools: tuple[str, ...] = ()
    judges: tuple[str, ...] = ()

    @classmethod
    def from_scenario(cls, value: Any, where: str, pools: Collection[str]) -> Strategies:
        """Read a list of strategies.

        Raises:
            ValueError: what is wrong in which of them.
        """
        from foretell.sim.programs.catalogue import choose

        if not isinstance(value, list | tuple) or not value or not all(isinstance(s, Mapping) for s in value):
            raise ValueError(f"{where}: {value!r} is not a list of strategies, each {{name: ..., ...}}")
        chosen = [choose(spec, pools, f"{where}[{i}]") for i, spec in enumerate(value)]
        asked = dict.fromkeys(pool for each in chosen for pool in each.solvers)
        called = dict.fromkeys(pool for each in chosen for pool in each.pools if pool not in asked)
        return cls(tuple(each.program for each in chosen), tuple(asked), tuple(called))


def logit(p: float) -> float:
    """Log-odds p/(1−p), bounded: chances within 1e-6 of 0 and 1 are all the same to a predictor."""
    p = min(max(p, 1e-6), 1 - 1e-6)
    return math.log(p / (1 - p))


def router(
    *,
    weak: PoolName,
    strong: PoolName,
    threshold: float = 0.5,
    noise: float = 1.0,
    router_s: float = 0.0,
) -> Program:
    """Ask the weak model where a predictor gives it at least this chance, else the strong one: one call.

    The predictor sees logit of the weak model's chance on this query, plus a normal error of standard
    deviation `noise`: 0 knows the chance, infinite routes at random.

    Args:
        weak, strong: pools.
        threshold: least predicted chance of the weak model to be asked.
        noise: of the prediction, on the logit scale.
        router_s: time of the prediction [s].

    Source: Ong et al. 2024, "RouteLLM: learning to route LLMs with preference data".
    """
    within("threshold", threshold, 0, 1)
    within("noise", noise, 0)
    within("router_s", router_s, 0)

    def program(query: Query, llm: LLM) -> Steps:
        if router_s:
            yield llm.wait(router_s)
        if math.isinf(noise):
            easy = query.uniform() < 1 - threshold
        else:
            easy = logit(chance(query, llm, weak)) + noise * query.normal() >= logit(threshold)
        call: Call = llm.sample(query, pool=weak if easy else strong)
        yield call
        return call.answer

    return program


def model_choice(
    *,
    models: tuple[PoolName, ...],
    costs: tuple[float, ...],
    weight: float = 0.1,
    noise: float = 0.5,
) -> Program:
    """Ask the one model of many whose predicted chance, less its weighted cost, is greatest.

    Each model's chance on the query is predicted as in `router`, with errors independent between models.

    Args:
        models: pools.
        costs: of a call to each, in whatever unit `weight` is per: money, seconds or joules.
        weight: chance that a unit of cost is worth.
        noise: of the predictions, on the logit scale.

    Source: Jitkrittum et al. 2025, "Universal model routing for efficient LLM inference" (UniRoute); with
    joules or seconds as costs, Jin et al. 2025, "Mixture-of-Edge-Experts" (MoE²).
    """
    if not models or len(models) != len(costs):
        raise ValueError(f"costs: {len(costs)} figures for {len(models)} models; give one for each")
    for cost in costs:
        within("costs", cost, 0)
    within("weight", weight, 0)
    within("noise", noise, 0)

    def program(query: Query, llm: LLM) -> Steps:
        worth: dict[PoolName, float] = {}
        for model, cost in zip(models, costs, strict=True):
            seen = logit(chance(query, llm, model)) + noise * query.normal()
            worth[model] = 1 / (1 + math.exp(-seen)) - weight * cost
        call: Call = llm.sample(query, pool=max(worth, key=worth.__getitem__))
        yield call
        return call.answer

    return program


def hops(
    *, models: tuple[PoolName, ...], noise: float = 1.0, threshold: float = 0.5, note_tokens: int = 200
) -> Program:
    """Models one after the other, each told what was said before, until one is trusted: a multi-hop route.

    After each hop the policy sees logit of that model's chance on the query plus a normal error of standard
    deviation `noise`, and goes on to the next model below `threshold`. The text grows along the hops: a
    model's prompt is all that was written before it, and `note_tokens` more. Every hop is an attempt of its
    own; the last one's answer stands.

    Args:
        models: pools in the order of the hops.
        noise: of the policy's estimate, on the logit scale.
        threshold: chance from which it stops.
        note_tokens: instructions between hops.

    Source: Gupta et al. 2025, "HierRouter: coordinated routing of specialized large language models".
    """
    if not models:
        raise ValueError("models: an empty list; name one pool or more")
    within("noise", noise, 0)
    within("threshold", threshold, 0, 1)
    whole("note_tokens", note_tokens, 0)

    def program(query: Query, llm: LLM) -> Steps:
        call: Call | None = None
        answer: int | None = None
        for model in models:
            extra = note_tokens if call is not None else 0
            call = llm.sample(query, pool=model, after=call, prompt_tokens=extra)
            yield call
            if call.answer is not None:
                answer = call.answer
            seen = logit(chance(query, llm, model)) + noise * query.normal()
            if query.over or not call.done or seen >= logit(threshold):
                break
        return answer

    return program


def by_difficulty(
    *,
    strategies: Strategies,
    bounds: tuple[float, ...],
    noise: float = 1.0,
    judge_tokens: int = 0,
    solver: PoolName = MAIN,
) -> Program:
    """Choose the strategy by how hard the query looks: the harder, the further down the list.

    The solver's chance is predicted as in `router`; at or above the first bound the first strategy serves,
    below the last one the last. With `judge_tokens` the prediction is a call of the solver, which writes so
    many tokens (a constraint or selection agent).

    Args:
        strategies: in a scenario a list, each as `strategy` itself: {name: ..., and its fields}.
        bounds: falling predicted chances that part them, one fewer than strategies.
        noise: of the prediction, on the logit scale.
        judge_tokens: of the call that predicts; 0: none is made.
        solver: pool whose chance is predicted.

    Source: Snell et al. 2024, "Scaling LLM test-time compute optimally" (difficulty bins); Parmar et al.
    2025, "PlanGEN", whose selection agent picks best-of-N, tree of thought or REBASE.
    """
    programs = strategies.programs
    if len(bounds) != len(programs) - 1 or list(bounds) != sorted(bounds, reverse=True):
        raise ValueError(
            f"bounds: {bounds!r} are not {len(programs) - 1} falling chances, between strategies"
        )
    for bound in bounds:
        within("bounds", bound, 0, 1)
    within("noise", noise, 0)
    whole("judge_tokens", judge_tokens, 0)

    def program(query: Query, llm: LLM) -> Steps:
        if judge_tokens:
            yield llm.write(query, judge_tokens, pool=solver)
        seen = logit(chance(query, llm, solver)) + noise * query.normal()
        place = sum(seen < logit(bound) for bound in bounds)
        return (yield from programs[place](query, llm))

    return program


def first_within(
    *,
    strategies: Strategies,
    seconds: tuple[float, ...],
) -> Program:
    """Choose the strategy by the time that is left: the first whose expected seconds fit before the deadline.

    Args:
        strategies: likewise, the best first.
        seconds: that each takes, as one believes [s].

    Source: none; it is what a planner with a latency budget does.
    """
    programs = strategies.programs
    if len(seconds) != len(programs):
        raise ValueError(f"seconds: {len(seconds)} figures for {len(programs)} strategies; give one for each")
    for figure in seconds:
        within("seconds", figure, 0)

    def program(query: Query, llm: LLM) -> Steps:
        left = query.deadline_s - llm.now
        fits = [p for p, takes in zip(programs, seconds, strict=True) if takes <= left]
        return (yield from (fits[0] if fits else programs[-1])(query, llm))

    return program


def pipeline(*, strategies: Strategies) -> Program:
    """Stages one after the other, each with a strategy of its own; the whole is right if all of them are.

    All stages are as hard as the query: their samples are independent given its difficulty.

    Args:
        strategies: in a scenario a list, each as `strategy` itself: {name: ..., and its fields}.

    Source: Wang et al. 2025, "AgentTTS", where each sub-task is given a model and a sampling budget.
    """

    def program(query: Query, llm: LLM) -> Steps:
        answers: list[int | None] = []
        for stage in strategies.programs:
            answer = yield from stage(query, llm)
            answers.append(answer)
        return next((answer for answer in answers if answer != RIGHT), RIGHT)

    return program
