"""Closed loops by mean values: so many requests in flight, each followed by the next as it ends.

An engine with n of them is one whose line never ends, cut off at n slots (`saturated`): it serves X a second,
and by Little's law a request takes n/X. What is left of that after the first token is its answer. Means only.
"""

from __future__ import annotations

import math
from dataclasses import replace

from foretell.models.queueing import Lengths, Saturated, saturated
from foretell.models.queueing.backlog import step_s
from foretell.models.queueing.saturation import with_in_flight
from foretell.sim.analytic_engines import limits_of_engine
from foretell.sim.analytic_figures import Analysis, rate_figures
from foretell.sim.analytic_load import closed_lengths
from foretell.sim.analytic_power import busy, power_W
from foretell.sim.deployment import Deployment, EnginePart, deploy
from foretell.sim.scenario import Scenario

METHOD = "closed form: mean values of a closed loop"


def analyse_closed(scenario: Scenario, deployment: Deployment | None = None) -> Analysis:
    """Forecast single calls of which `workload.concurrency` are in flight: means of latencies, and rates.

    Raises:
        ValueError: arrivals besides, several kinds of engines, or requests that do not fit.

    Validity: steady state; every engine has an even share. Where answers are alike but prompts are not,
    groups are less sharp than they are taken for, and the time to first token comes out too long.

    """
    workload = scenario.workload
    assert workload.concurrency is not None
    law = closed_lengths(workload)
    if deployment is None:
        deployment = deploy(scenario.pool, law.mean_context)
    if len(deployment.parts) != 1:
        raise ValueError("replicas: a closed loop takes engines of one kind in closed form; simulate it")
    part = deployment.parts[0]
    engines = min(part.count, workload.concurrency)
    there = workload.concurrency / engines
    limits = limits_of_engine(part.config)
    most = limits.max_num_seqs
    at = with_in_flight(
        lambda slots: saturated(part.cost, law, replace(limits, max_num_seqs=min(slots, most))), there
    )
    alike = bool(law.output.min() == law.output.max())
    if alike:
        at, first_s = _in_groups(part, law, at)
    else:
        first_s = _first_token_s(part, law, at)
    within = min(at.limit, there)
    rate = at.rate_per_s * engines
    e2e_s = there / at.rate_per_s
    ttft_s = min((there - within) / at.rate_per_s + first_s, e2e_s)
    stay_s = within / at.rate_per_s
    written = law.decode_steps + 1
    state = busy(part, law, at.rate_per_s, stay_s, at.step_s)
    state = replace(state, utilisation=1.0)
    figures = rate_figures(rate, law.mean_prompt, written, 0.0, deployment)
    figures |= {
        "load": 1.0,
        "capacity_rps": rate,
        "ttft_mean_s": ttft_s,
        "tpot_mean_s": (e2e_s - ttft_s) / max(law.decode_steps, 1e-6),
        "e2e_mean_s": e2e_s,
        "mean_batch": within * engines / part.count,
        "mean_waiting": (there - within) * engines / part.count,
        "utilisation": engines / part.count,
        "kv_use": state.kv_use * engines / part.count,
    }
    watts = power_W(part, state)
    if watts is not None and engines == part.count:
        figures["power_W"] = watts * engines
        figures["energy_per_query_J"] = figures["power_W"] / rate
        figures["energy_per_output_token_J"] = figures["energy_per_query_J"] / written
    together = "whose answers are alike and end in groups" if alike else "out of step with each other"
    notes = [*deployment.notes, f"closed loop: means only, of requests {together}"]
    if within < 0.99 * there:
        notes.append(f"{at.bound_by} binds: {there - within:,.0f} requests of an engine wait in line")
    return Analysis(scenario, deployment, figures, METHOD, tuple(dict.fromkeys(notes)), ((part, state),))


def _first_token_s(part: EnginePart, law: Lengths, at: Saturated) -> float:
    """Mean time from having a slot to the first token: the steps that compute the prompt, among the others.

    A request follows one that ended with a step. With asynchronous scheduling the next step is planned by
    then, and it waits for that one to end.
    """
    others = max(at.limit - 1, 0.0) / at.limit * at.decoding
    room = _room(part, others)
    beside = min(others / max(law.decode_steps, 1e-6) * law.mean_prompt, room)
    own = law.mean_prompt + beside
    planned = min(max(at.limit - 1, 0.0), 1.0) * part.config.async_scheduling
    wait_s = planned * _step_s(part, law, others, beside) if planned else 0.0
    return wait_s + max(own / room, 1.0) * _step_s(part, law, others, min(own, room))


def _in_groups(part: EnginePart, law: Lengths, at: Saturated) -> tuple[Saturated, float]:
    """Requests whose answers are all alike and which so stay in step; with their time to the first token.

    So many as fill a step with their prompts end together, and the next of them one step later: a round has
    a step of prompts for every group, in which the others decode too, and decodes in the rest. With
    asynchronous scheduling every group but the first waits for the prompts of the one before.
    """
    groups = max(at.limit * law.mean_prompt / part.config.max_num_batched_tokens, 1.0)
    waiting = part.config.async_scheduling * (1 - 1 / groups)
    chunks = math.ceil(law.mean_prompt / _room(part, at.decoding * max(at.limit - 1, 0.0) / at.limit))
    prompts_s = _step_s(part, law, 0.0, at.limit * law.mean_prompt / groups)
    first_s = prompts_s * (chunks + waiting)
    rest = law.decode_steps + 1 + waiting - groups
    if chunks > 1 or rest < 0:  # prompts in all steps
        return at, first_s
    round_s = groups * prompts_s + rest * _step_s(part, law, at.limit, 0.0)
    return replace(at, rate_per_s=at.limit / round_s), first_s


def _room(part: EnginePart, decoding: float) -> float:
    return max(part.config.max_num_batched_tokens - decoding, 1.0)


def _step_s(part: EnginePart, law: Lengths, decoding: float, tokens: float) -> float:
    return step_s(part.cost, law, decoding, tokens, _room(part, decoding))
