"""Closed loops by mean values: so many requests in flight, each followed by the next as it ends.

An engine with n of them is one whose line never ends, cut off at n slots (`saturated`): it serves X a second,
and by Little's law a request takes n/X, of which D steps without its own prompt are its answer. Means only.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from foretell.models.queueing import Lengths, Saturated, saturated
from foretell.models.queueing.backlog import step_seconds
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

    Validity: steady state, requests out of step with each other; every engine has an even share.

    """
    workload = scenario.workload
    assert workload.concurrency is not None
    law = closed_lengths(workload)
    if deployment is None:
        deployment = deploy(scenario.pool, float((law.prompt + law.output / 2).mean()))
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
    within = min(at.limit, there)
    rate = at.rate_per_s * engines
    tpot_s = _tpot_s(part, law, at)
    e2e_s = there / at.rate_per_s
    stay_s = within / at.rate_per_s
    written = law.decode_steps + 1
    state = busy(part, law, at.rate_per_s, stay_s, at.step_s)
    state = replace(state, utilisation=1.0)
    figures = rate_figures(rate, law.mean_prompt, written, 0.0, deployment)
    figures |= {
        "load": 1.0,
        "capacity_rps": rate,
        "ttft_mean_s": e2e_s - law.decode_steps * tpot_s,
        "tpot_mean_s": tpot_s,
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
    notes = [*deployment.notes, "closed loop: means only, of requests out of step with each other"]
    if within < 0.99 * there:
        notes.append(f"{at.bound_by} binds: {there - within:,.0f} requests of an engine wait in line")
    return Analysis(scenario, deployment, figures, METHOD, tuple(dict.fromkeys(notes)), ((part, state),))


def _tpot_s(part: EnginePart, law: Lengths, at: Saturated) -> float:
    """Mean step of a request that decodes: with itself, and without its own prompt.

    Requests that are all alike stay in step: they end together, and the prompts of the next ones fill a step,
    which nobody decodes in the mean time. What is left of a stay is their answers.
    """
    budget = part.config.max_num_batched_tokens
    steps = max(law.decode_steps, 1e-6)
    come = min(at.decoding / steps * law.mean_prompt, max(budget - at.decoding, 1.0))
    others = max(at.limit - 1, 0.0) / at.limit

    def step_s(decoding: float, tokens: float) -> float:
        room = np.array([max(budget - decoding, 1.0)])
        return float(step_seconds(part.cost, law, np.array([decoding]), np.array([tokens]), room)[0])

    alike = law.output.min() == law.output.max() and law.prompt.min() == law.prompt.max()
    if alike or at.limit < 1.5:
        first_s = step_s(0.0, min(at.limit * law.mean_prompt, float(budget)))
        return max(at.limit / at.rate_per_s - first_s, 0.0) / steps
    return at.step_s * step_s(1 + at.decoding * others, come * others) / step_s(at.decoding, come)
