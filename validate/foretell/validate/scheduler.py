"""The differential test: vLLM's own scheduler and foretell's engines on the same scenarios, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foretell.sim.case import Case
from foretell.sim.engines import make_engine
from foretell.sim.stepwise import StepwiseEngine
from foretell.sim.watch import Difference, Record, first_difference, steps_equal, watch
from foretell.validate.scheduler_cases import Scope, draw_cases, shrink
from foretell.validate.scheduler_controls import Control, check_controls
from foretell.validate.scheduler_features import count_features, features
from foretell.validate.vllm_client import Answer, OracleError, VllmScheduler

ENGINES: Mapping[str, Callable[..., Any]] = {"default": make_engine, "stepwise": StepwiseEngine}
"""What users get, which is the lazy engine wherever it can; and the one that takes step by step."""


@dataclass(frozen=True, slots=True)
class Result:
    """One scenario.

    Attributes:
        steps: of vLLM.
        equal: how many of them each engine takes the same, up to the first that differs; by engine.
        difference: the first, of the first engine that has one.
        features: what the scenario reaches.
        controls: settings made wrong on our side, and whether that was noticed.
        error: how vLLM failed; such a scenario counts as unequal.

    """

    steps: int
    equal: Mapping[str, int]
    difference: Difference | None
    features: tuple[str, ...]
    controls: tuple[Control, ...] = ()
    error: str = ""


def engines_for(case: Case) -> tuple[str, ...]:
    """Names of the engines to compare: both where the default is not the step-by-step one."""
    return ("default",) if case.config.stepwise else ("default", "stepwise")


def compare(case: Case, answer: Answer, controls: bool = False) -> Result:
    """Run a scenario through our engines and compare with what vLLM did."""
    return judged(case, answer.record, features(case, answer), controls)


def judged(case: Case, vllm: Record, features: tuple[str, ...], controls: bool = False) -> Result:
    """The same, of a record of what vLLM did and what the scenario reaches."""
    equal: dict[str, int] = {}
    difference: Difference | None = None
    ours = Record()
    for name in engines_for(case):
        ours = watch(case, ENGINES[name])
        found = first_difference(vllm, ours)
        equal[name] = steps_equal(vllm, ours) if found else len(vllm.steps)
        difference = difference or found
    checked = check_controls(case, ours, vllm) if controls and difference is None else ()
    return Result(len(vllm.steps), equal, difference, features, tuple(checked))


def differs(vllm: VllmScheduler, case: Case) -> bool:
    """Whether some engine of ours does not do as vLLM does, or vLLM fails."""
    try:
        return compare(case, vllm.ask(case)).difference is not None
    except OracleError:
        return True


def run_scenarios(
    vllm: VllmScheduler,
    scenarios: int,
    seed: int,
    controls: int,
    scope: Scope,
    on_mismatch: Callable[[Case, Answer | None, str], None],
    progress: Callable[[int], None] = lambda _: None,
) -> list[Result]:
    """Draw scenarios and compare; the first mismatch of each search is shrunk.

    Args:
        vllm: the real scheduler.
        scenarios: how many.
        seed: of hypothesis.
        controls: in how many of them, evenly spread, every setting is made wrong too.
        scope: what the version knows.
        on_mismatch: called with the smallest scenario that differs, vLLM's answer to it, and how it failed.
        progress: called with the number of scenarios done.

    """
    results: list[Result] = []
    shrunk: set[int] = set()
    for n, (chunk_seed, case) in enumerate(draw_cases(scenarios, seed, scope)):
        with_controls = n * controls // scenarios != (n + 1) * controls // scenarios
        try:
            result = compare(case, vllm.ask(case), with_controls)
        except OracleError as error:
            result = Result(0, {}, None, (), error=str(error))
        results.append(result)
        if (result.difference or result.error) and chunk_seed not in shrunk:
            shrunk.add(chunk_seed)
            smallest = shrink(chunk_seed, lambda small: differs(vllm, small), scope) or case
            try:
                on_mismatch(smallest, vllm.ask(smallest), "")
            except OracleError as error:
                on_mismatch(smallest, None, str(error))
        progress(n + 1)
    return results


def summary(
    results: Sequence[Result],
    *,
    version: str,
    unknown: Sequence[str],
    seed: int,
    mismatches: Sequence[Mapping[str, Any]] = (),
    scale: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The evidence, as JSON has it; nothing in it depends on the machine but `scale`, a row a scenario."""
    wrong = [r for r in results if r.difference is not None or r.error]
    return {
        "vllm_version": version,
        "settings_unknown_to_it": list(unknown),
        "seed": seed,
        "scenarios": len(results),
        "scenarios_equal": len(results) - len(wrong),
        "steps": sum(r.steps for r in results),
        "steps_equal": sum(min(r.equal.values(), default=0) for r in results),
        "engines": {
            name: {
                "scenarios": sum(name in r.equal for r in results),
                "steps": sum(r.steps for r in results if name in r.equal),
                "steps_equal": sum(r.equal.get(name, 0) for r in results),
            }
            for name in ENGINES
        },
        "errors": sorted({r.error for r in results if r.error}),
        "features": count_features(r.features for r in results),
        "controls": count_controls(r.controls for r in results),
        "mismatches": [dict(one) for one in mismatches],
        "scale": [dict(one) for one in scale],
        "scale_together": together(scale),
        "all_equal": not wrong and all(one["identical"] for one in scale),
    }


def together(scale: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """All scenarios that were timed, one after the other; None without any."""
    if not scale:
        return None
    requests, vllm_s, ours_s = (
        sum(one[key] for one in scale) for key in ("requests", "vllm_cpu_s", "foretell_cpu_s")
    )
    return {
        "requests": requests,
        "steps": sum(one["steps"] for one in scale),
        "identical": all(one["identical"] for one in scale),
        "vllm_requests_per_cpu_s": requests / vllm_s,
        "foretell_requests_per_cpu_s": requests / ours_s,
        "times": vllm_s / ours_s,
    }


def count_controls(found: Iterable[Sequence[Control]]) -> dict[str, dict[str, int]]:
    """By setting: scenarios in which it was made wrong, in which that binds, and in which it was caught."""
    table: dict[str, dict[str, int]] = {}
    for controls in found:
        for one in controls:
            row = table.setdefault(one.setting, {"tried": 0, "binding": 0, "caught": 0})
            row["tried"] += 1
            row["binding"] += one.binds
            row["caught"] += one.caught
    return dict(sorted(table.items()))
