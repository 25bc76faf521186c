"""The programs that a scenario may name, and how its fields become their parameters."""

from __future__ import annotations

import difflib
import inspect
import math
import types
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any

from foretell.models.verifiers import Verifier
from foretell.sim.programs.llm import Judge, PoolName, Program
from foretell.sim.programs.watched import watched

PROGRAMS: Mapping[str, str] = {
    "single": "sampling:single",
    "best_of_n": "sampling:best_of_n",
    "self_consistency": "sampling:self_consistency",
    "weighted_vote": "sampling:weighted_vote",
    "first_finish": "sampling:first_finish",
    "last_finish": "sampling:last_finish",
    "shortest_majority": "sampling:shortest_majority",
    "budget_forcing": "sampling:budget_forcing",
    "rejection_by_length": "sampling:rejection_by_length",
    "sequential_until_accepted": "sampling:sequential_until_accepted",
    "dynasor": "adaptive:dynasor",
    "trimr": "adaptive:trimr",
    "infty_think": "adaptive:infty_think",
    "pruned_best_of_n": "adaptive:pruned_best_of_n",
    "adaptive_consistency": "adaptive_votes:adaptive_consistency",
    "certain_consistency": "adaptive_votes:certain_consistency",
    "semantic_entropy": "adaptive_votes:semantic_entropy",
    "self_evaluated": "adaptive_votes:self_evaluated",
    "selective": "adaptive_votes:selective",
    "eager": "adaptive_steps:eager",
    "mur": "adaptive_steps:mur",
    "scale": "adaptive_steps:scale",
    "compute_optimal": "allocation:compute_optimal",
    "plan_and_budget": "allocation:plan_and_budget",
    "timed_vote": "allocation:timed_vote",
    "revision": "revision:revision",
    "self_refine": "revision:self_refine",
    "hint_marginalisation": "revision:hint_marginalisation",
    "thread_inference": "subtasks:thread_inference",
    "spec_reason": "speculative:spec_reason",
    "lookahead": "speculative:lookahead",
    "thread_weaver": "threads:thread_weaver",
    "hogwild": "threads:hogwild",
    "adaptive_parallel": "threads:adaptive_parallel",
    "async_think": "threads:async_think",
    "skeleton_of_thought": "threads:skeleton_of_thought",
    "prompt_fan_out": "threads:prompt_fan_out",
    "agreement_cascade": "cascades:agreement_cascade",
    "confidence_cascade": "cascades:confidence_cascade",
    "verified_cascade": "cascades:verified_cascade",
    "hawkeye": "cascades:hawkeye",
    "router": "routing:router",
    "model_choice": "routing:model_choice",
    "hops": "routing:hops",
    "by_difficulty": "routing:by_difficulty",
    "first_within": "routing:first_within",
    "mixture_of_agents": "fusion:mixture_of_agents",
    "rank_and_fuse": "fusion:rank_and_fuse",
    "debate": "fusion:debate",
    "archon": "archon:archon",
    "beam_search": "search_beam:beam_search",
    "dvts": "search_beam:dvts",
    "rebase": "search_rebase:rebase",
    "ets": "search_rebase:ets",
    "particle_filtering": "search_particles:particle_filtering",
    "mcts": "search_mcts:mcts",
    "a_star": "best_first:a_star",
    "agent_search": "best_first:agent_search",
    "adaptive_branching": "search_answers:adaptive_branching",
    "react": "agents:react",
    "compiler": "agents:compiler",
    "orchestrator": "agents:orchestrator",
    "depth_first": "agents:depth_first",
    "bounded_memory": "agents:bounded_memory",
    "speculative_planning": "planning:speculative_planning",
    "execute_and_repair": "repairing:execute_and_repair",
    "iterative_decoding": "repairing:iterative_decoding",
    "solve_detect_verify": "repairing:solve_detect_verify",
    "hypothesis_search": "repairing:hypothesis_search",
    "rag": "retrieval:rag",
    "iterative_rag": "retrieval:iterative_rag",
    "parallel_search": "retrieval:parallel_search",
    "self_rag": "retrieval:self_rag",
    "think_on_graph": "retrieval:think_on_graph",
    "concept_memory": "retrieval:concept_memory",
    "chat": "conversation:chat",
    "sleep_time": "conversation:sleep_time",
    "packed": "conversation:packed",
    "streaming": "realtime:streaming",
    "control_loop": "realtime:control_loop",
    "reactive_and_planning": "realtime:reactive_and_planning",
    "pipeline": "routing:pipeline",
}
"""Name → "module:factory", the module in this package unless it has a dot."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A program with its parameters.

    Attributes:
        name: as the scenario names it.
        program: what a query does.
        pools: those that it calls, its default first.
        solvers: those of them that are asked for answers.
        given: its parameters, defaults included.

    """

    name: str
    program: Program
    pools: tuple[str, ...]
    solvers: tuple[str, ...]
    given: Mapping[str, Any]


def choose(values: Mapping[str, Any], pools: Collection[str], where: str = "strategy") -> Chosen:
    """Make the program that a scenario's `strategy` names.

    Args:
        values: its name ("module:attr" for a factory of the user's own) and its parameters.
        pools: names of the scenario's pools; the first is the default.
        where: the field that holds them.

    Raises:
        ValueError: an unknown name, field or pool, a missing or wrong value; one line.

    """
    name = values.get("name")
    factory = load_program(name, where)
    given = {key: value for key, value in values.items() if key != "name"}
    made, solvers, judges = arguments(factory, str(name), given, pools, where)
    own = name not in PROGRAMS
    try:
        program = factory(**made)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    except Exception as error:
        if not own:
            raise
        raise ValueError(f"{where}.name: {name!r} raises {type(error).__name__}: {error}") from None
    if own:
        if not callable(program):
            raise ValueError(f"{where}.name: {name!r} makes {program!r}; it must make a program")
        program = watched(program, f"{where}.name: {name!r}")
    first = next(iter(pools))
    called = dict.fromkeys([*solvers, *judges] or [first])
    return Chosen(str(name), program, tuple(called), tuple(dict.fromkeys(solvers or [first])), made)


def arguments(
    factory: Callable[..., Any],
    name: str,
    given: Mapping[str, Any],
    pools: Collection[str],
    where: str = "strategy",
) -> tuple[dict[str, Any], list[str], list[str]]:
    """A factory's arguments of the fields that a scenario gives, by its signature.

    Returns:
        the arguments, defaults included; the pools among them that write, and those that judge.

    Raises:
        ValueError: an unknown field or pool, a missing or wrong value; one line.

    """
    if not pools:
        raise ValueError("pools: none; give the pool that the strategy calls")
    signature = inspect.signature(factory)
    hints = typing.get_type_hints(factory)
    for key in given:
        if key not in signature.parameters:
            near = difflib.get_close_matches(str(key), signature.parameters, n=1, cutoff=0.5)
            known = ", ".join(signature.parameters) or "none"
            hint = f"did you mean {near[0]}?" if near else f"known: {known}"
            raise ValueError(f"{where}.{key}: {name} has no such parameter; {hint}")
    made: dict[str, Any] = {}
    for key, parameter in signature.parameters.items():
        if key in given:
            made[key] = _value(given[key], hints.get(key, Any), f"{where}.{key}", pools)
            if key == "max_tokens" and made[key] == 0:
                raise ValueError(f"{where}.max_tokens: 0 leaves no room for an answer; give at least 1")
        elif parameter.default is inspect.Parameter.empty:
            raise ValueError(f"{where}.{key}: missing; {name} takes it")
        else:
            made[key] = parameter.default
    first = next(iter(pools))
    writers: list[str] = []
    judges: list[str] = []
    for key, value in made.items():
        if PoolName in _members(hints.get(key)):
            writers += [value or first] if value is not None else []
        elif PoolName in typing.get_args(hints.get(key)):
            writers += [pool or first for pool in value]
        else:
            writers += getattr(value, "pools", ())
            judges += getattr(value, "judges", ())
            judges += [value.pool or first] if isinstance(value, Judge) and value.pool is not None else []
    return made, writers, judges


def load_program(name: object, where: str = "strategy") -> Callable[..., Program]:
    """The factory of this name.

    Raises:
        ValueError: there is none; names the nearest.

    """
    if not isinstance(name, str):
        raise ValueError(f"{where}.name: {name!r} is not a name; known: {', '.join(PROGRAMS)}")
    place = PROGRAMS.get(name, name)
    module, colon, attribute = place.partition(":")
    if not colon:
        near = difflib.get_close_matches(name, [*PROGRAMS, "disaggregated"], n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(PROGRAMS)}"
        raise ValueError(f"{where}.name: {name!r} is not supported; {hint}")
    try:
        factory: Callable[..., Program] = getattr(
            import_module(f"{__package__}.{module}" if name in PROGRAMS else module), attribute
        )
        inspect.signature(factory)
    except Exception as error:  # whatever a user's own module does when it is loaded
        raise ValueError(f"{where}.name: cannot load {name!r} as a factory of a program: {error}") from None
    return factory


def _members(hint: Any) -> tuple[Any, ...]:
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if union else (hint,)


def _value(value: Any, hint: Any, where: str, pools: Collection[str]) -> Any:
    members = _members(hint)
    if value is None and type(None) in members:
        return None
    if PoolName in members:
        return _pool(value, where, pools)
    if Judge in members:
        return _judge(value, where, pools)
    for member in members:
        if hasattr(member, "from_scenario"):  # a type that reads itself, and has `pools`
            return member.from_scenario(value, where, pools)
        if typing.get_origin(member) is tuple and PoolName in typing.get_args(member):
            if not isinstance(value, list | tuple):
                raise ValueError(f"{where}: {value!r} is not a list of pools")
            if not value:
                raise ValueError(f"{where}: [] names no pool; name one, or leave it out")
            return tuple(_pool(name, f"{where}[{i}]", pools) for i, name in enumerate(value))
    for kind, wanted in (
        (bool, "true or false"),
        (int, "a whole number"),
        (float, "a number"),
        (str, "text"),
    ):
        if kind in members:
            fits = isinstance(value, (int, float) if kind is float else kind)
            if not fits or (kind in (int, float) and isinstance(value, bool)):
                if kind is int and float in members:
                    continue
                raise ValueError(f"{where}: {value!r} is not {wanted}")
            if kind is int and value < 0:
                raise ValueError(f"{where}: {value!r} is not >= 0")
            if kind is float and math.isnan(value):
                raise ValueError(f"{where}: {value!r} is not {wanted}")
            return float(value) if kind is float else value
    if any(typing.get_origin(member) is tuple for member in members) and not isinstance(value, list | tuple):
        raise ValueError(f"{where}: {value!r} is not a list")
    if any(typing.get_origin(member) is Mapping for member in members) and not isinstance(value, Mapping):
        raise ValueError(f"{where}: {value!r} is not a table")
    return tuple(value) if isinstance(value, list) else value


def _pool(value: Any, where: str, pools: Collection[str]) -> PoolName:
    if value not in pools:
        raise ValueError(f"{where}: {value!r} is no pool; the pools are {', '.join(pools)}")
    return PoolName(value)


def _judge(value: Any, where: str, pools: Collection[str]) -> Judge:
    if isinstance(value, str):
        return Judge(_pool(value, where, pools))
    if not isinstance(value, Mapping):
        raise ValueError(
            f"{where}: {value!r} is neither a pool nor a table such as {{pool: judge, auc: 0.8}}"
        )
    figures = {key: figure for key, figure in value.items() if key != "pool"}
    known = [f.name for f in fields(Verifier)]
    for key in figures:
        if key not in known:
            near = difflib.get_close_matches(str(key), [*known, "pool"], n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known: pool, {', '.join(known)}"
            raise ValueError(f"{where}.{key}: unknown field; {hint}")
    pool = value.get("pool")
    try:
        verifier = Verifier(**figures)
    except ValueError as error:
        raise ValueError(f"{where}.{error}") from None
    return Judge(None if pool is None else _pool(pool, f"{where}.pool", pools), verifier)


__all__ = ["PROGRAMS", "Chosen", "arguments", "choose", "load_program"]
