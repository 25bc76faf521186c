"""What a deployment's figures hang on, each of which can be made some per cent more or less."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist, stdev
from typing import TYPE_CHECKING, Any

import numpy as np

from foretell.models.queueing import Lengths
from foretell.sim.analytic_load import Load
from foretell.sim.bounds import BOUNDS
from foretell.sim.deployment import EnginePart
from foretell.sim.profile import REFERENCE
from foretell.sim.scaled_cost import ScaledCost
from foretell.sim.sensitivity_case import Case
from foretell.sim.uncertain import BAND_Z

if TYPE_CHECKING:
    from foretell.models.outcomes import Outcomes

Change = Callable[[Case, float], Case]
_DRAWS = 64
"""Draws of a step cost that its error is taken from: known to 9 %."""


@dataclass(frozen=True, slots=True)
class Input:
    """Something that a forecast is told, or estimates.

    Attributes:
        name: short, for JSON.
        label: for people.
        change: the case with so many times as much of it.
        log_error: standard error of its logarithm by its own model, None where nobody knows it.

    """

    name: str
    label: str
    change: Change
    log_error: float | None = None


def inputs_of(case: Case) -> list[Input]:
    """The inputs that a case has; those that cannot change anything in it are left out."""
    return [
        Input("request_rate", "Request rate", Case.busier),
        *(_of_requests(case) if case.load is not None else _of_profiles(case)),
        *_of_steps(case),
        *_of_engines(case),
    ]


def _of_requests(case: Case) -> Iterator[Input]:
    assert case.load is not None

    def loaded(change: Callable[[Load, float], Load]) -> Change:
        def changed(case: Case, factor: float) -> Case:
            assert case.load is not None
            return replace(case, load=change(case.load, factor))

        return changed

    def prompts(load: Load, factor: float) -> Load:
        return replace(load, law=Lengths(load.law.prompt * factor, load.law.output, load.law.cached))

    def answers(load: Load, factor: float) -> Load:
        output = np.maximum(load.law.output * factor, 1.0)
        return replace(load, law=Lengths(load.law.prompt, output, load.law.cached))

    def bursts(load: Load, factor: float) -> Load:
        if load.modulation is None:
            return replace(load, scv=load.scv * factor**2)
        rates, stays = load.modulation
        mean = load.rate_per_s
        return replace(load, modulation=(tuple(max(mean + (r - mean) * factor, 0.0) for r in rates), stays))

    yield Input("prompt_tokens", "Prompt tokens", loaded(prompts))
    yield Input("output_tokens", "Output tokens", loaded(answers))
    if case.load.scv > 0 or case.load.modulation is not None:
        yield Input("burstiness", "Burstiness (CV)", loaded(bursts))


def _of_profiles(case: Case) -> Iterator[Input]:
    """A task's inputs: its profiles' figures, and how well a verifier tells right from wrong."""

    def profiled(change: Callable[[Outcomes, float], Outcomes]) -> Change:
        def changed(case: Case, factor: float) -> Case:
            made: Any = case.deployment
            profiles = {pool: change(profile, factor) for pool, profile in made.profiles.items()}
            return replace(case, deployment=replace(made, profiles=profiles))

        return changed

    def prompts(profile: Outcomes, factor: float) -> Outcomes:
        tokens = max(round(profile.prompt_tokens * factor), 1)
        shared = min(round(profile.shared_prompt_tokens * factor), tokens - 1)
        return replace(profile, prompt_tokens=tokens, shared_prompt_tokens=shared)

    def answers(profile: Outcomes, factor: float) -> Outcomes:
        law = profile.lengths
        return replace(profile, lengths=replace(law, median_tokens=max(law.median_tokens * factor, 1.0)))

    def chances(profile: Outcomes, factor: float) -> Outcomes:
        law = profile.difficulty
        whole = law.a + law.b
        mean = law.a / whole
        drawn = min(mean * factor, 1 - 0.02 * (1 - mean))
        return replace(profile, difficulty=replace(law, a=drawn * whole, b=(1 - drawn) * whole))

    profiles = list(getattr(case.deployment, "profiles", {}).values())
    yield Input("prompt_tokens", "Prompt tokens", profiled(prompts))
    yield Input("output_tokens", "Output tokens", profiled(answers))
    yield Input("accuracy", "Accuracy of a sample", profiled(chances), _accuracy_error(profiles))
    arrivals = case.scenario.workload.arrivals
    if arrivals is not None and arrivals.get("process") in ("poisson", "gamma"):
        yield Input("burstiness", "Burstiness (CV)", _burstier_queries)
    judge = case.scenario.strategy.get("verifier")
    if isinstance(judge, Mapping) and judge.get("completeness") is None and 0.5 < judge.get("auc", 0.8) < 1:
        yield Input("verifier", "Verifier (separation)", _verifier)


def _burstier_queries(case: Case, factor: float) -> Case:
    """Gaps between queries as of a gamma law, whose squared coefficient of variation is 1/burstiness."""
    workload = case.scenario.workload
    usual = dict(workload.arrivals or {})
    shape = float(usual.get("burstiness", 1.0)) / factor**2
    arrivals = {**usual, "process": "gamma", "burstiness": shape}
    return replace(case, scenario=replace(case.scenario, workload=replace(workload, arrivals=arrivals)))


def _verifier(case: Case, factor: float) -> Case:
    """Separate right from wrong so many times as far; an AUC is Φ(separation/√2)."""
    strategy = dict(case.scenario.strategy)
    judge = dict(strategy["verifier"])
    normal = NormalDist()
    judge["auc"] = normal.cdf(normal.inv_cdf(judge.get("auc", 0.8)) * factor)
    return replace(case, scenario=replace(case.scenario, strategy={**strategy, "verifier": judge}))


def _accuracy_error(profiles: list[Outcomes]) -> float | None:
    """Of the mean chance, by how few problems it was measured on, as `Outcomes.perturbed` draws it."""
    errors = [
        math.sqrt(p.difficulty.b / p.difficulty.a / ((p.difficulty.a + p.difficulty.b + 1) * p.problems))
        for p in profiles
        if p.problems
    ]
    return max(errors, default=None)


def _of_steps(case: Case) -> Iterator[Input]:
    """Step times as a whole, and what hardware and software make of them."""

    def slower(*bounds: str) -> Change:
        return lambda case, factor: _with_costs(case, dict.fromkeys(bounds, factor))

    def faster(*bounds: str) -> Change:
        return lambda case, factor: _with_costs(case, dict.fromkeys(bounds, 1 / factor))

    yield Input("step_time", "Step times", slower(*BOUNDS), _step_error(case, BOUNDS))
    modelled = [part for part in case.deployment.parts if part.work is not None]
    taken = {bound: any(_taken(part, bound) for part in modelled) for bound in BOUNDS}
    for bound, name, label in _HARDWARE:
        if taken[bound]:
            change = _faster_links if bound == "communication" else faster(bound)
            yield Input(name, label, change, _step_error(case, (bound,)))
    if taken["launch"] or taken["host"]:
        both = ("launch", "host")
        yield Input("overheads", "Launches and host", slower(*both), _step_error(case, both))


_HARDWARE = (
    ("memory", "memory_bandwidth", "Memory bandwidth"),
    ("compute", "peak_compute", "Peak compute"),
    ("communication", "interconnect", "Interconnect"),
)
"""Bound, and the input that shortens its time."""


def _with_costs(case: Case, factors: Mapping[str, float]) -> Case:
    return case.with_parts([replace(p, cost=ScaledCost(p.cost, factors)) for p in case.deployment.parts])


def _faster_links(case: Case, factor: float) -> Case:
    """Within engines, and between the two pools of a disaggregated deployment."""
    case = _with_costs(case, {"communication": 1 / factor})
    made: Any = case.deployment
    if not hasattr(made, "transfers"):
        return case
    transfers = tuple(
        tuple(replace(each, token_s=each.token_s / factor) for each in row) for row in made.transfers
    )
    return replace(case, deployment=replace(made, transfers=transfers))


def _taken(part: EnginePart, bound: str) -> bool:
    return float(np.sum(part.cost.breakdown(*REFERENCE)[bound])) > 0


def _step_error(case: Case, bounds: tuple[str, ...]) -> float | None:
    """Standard error of the logarithm of the time so bound, by draws of the cost; the largest of all parts.

    In the small step of REFERENCE for what memory binds, in the large one for the rest.
    """
    found = []
    for part in case.deployment.parts:
        if not hasattr(part.cost, "perturbed"):
            continue
        rng = np.random.default_rng(0)
        drawn = [part.cost.perturbed(rng).breakdown(*REFERENCE) for _ in range(_DRAWS)]
        row = 0 if bounds in (("compute",), ("communication",)) else 1
        seconds = [sum(float(parts[bound][row]) for bound in bounds) for parts in drawn]
        if min(seconds) > 0:
            found.append(stdev(math.log(value) for value in seconds))
    return max(found, default=None)


def _of_engines(case: Case) -> Iterator[Input]:
    bands = [
        math.log(part.capacity.high / max(part.capacity.low, 1)) / (2 * BAND_Z)
        for part in case.deployment.parts
        if part.capacity is not None
    ]
    yield Input("kv_cache", "KV cache", _more_blocks, max(bands, default=None))
    if case.deployment.usd_per_h:
        yield Input("price", "Price", _dearer)


def _more_blocks(case: Case, factor: float) -> Case:
    def more(part: EnginePart) -> EnginePart:
        blocks = max(round(part.config.num_gpu_blocks * factor), 2)
        longest = min(part.config.max_model_len, (blocks - 1) * part.config.block_size)
        config = replace(part.config, num_gpu_blocks=blocks, max_model_len=longest)
        return replace(part, config=config)

    return case.with_parts([more(part) for part in case.deployment.parts])


def _dearer(case: Case, factor: float) -> Case:
    return case.with_parts(
        [
            replace(p, usd_per_h=None if p.usd_per_h is None else p.usd_per_h * factor)
            for p in case.deployment.parts
        ]
    )
