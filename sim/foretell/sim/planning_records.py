"""A plan as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from foretell.sim.forecast_json import finite, tool_version
from foretell.sim.intervals import LEVEL
from foretell.sim.planning import Expected
from foretell.sim.planning_binds import binding
from foretell.sim.planning_rent import accelerators_of
from foretell.sim.planning_trials import Trial
from foretell.sim.planning_verify import Finalist, Plan
from foretell.sim.planning_walk import Checked

SCHEMA_VERSION = 1


def plan_dict(plan: Plan) -> dict[str, Any]:
    """Lay a plan out as plain values: None where there is no figure."""
    best, cheaper = plan.best, plan.cheaper
    search = plan.shortlist
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": "foretell",
        "tool_version": tool_version(),
        "scenario": plan.scenario.to_dict(),
        "seed": plan.scenario.seed,
        "replications": plan.scenario.replications,
        "level": LEVEL,
        "headroom": plan.spec.headroom,
        "spare": plan.spec.spare,
        "probability": plan.spec.probability,
        "met": plan.met,
        "best": None if best is None else _finalist(best),
        "finalists": [_finalist(each) for each in plan.finalists],
        "next_cheaper": None if cheaper is None else _checked(cheaper),
        "others": [_expected(each) for each in plan.others],
        "search": {
            "candidates": search.space,
            "dropped_by_bounds": search.bounded,
            "analysed": search.analysed,
            "simulated": plan.simulated,
            "sampled": search.sampled,
            "layouts_dropped": dict(search.short),
        },
        "notes": list(plan.notes),
    }


def _finalist(one: Finalist) -> dict[str, Any]:
    headroom = one.headroom
    return {
        **_checked(one.checked),
        "probability": finite(one.checked.probability),
        "figures": {
            name: {"value": finite(e.value), "low": finite(e.low), "high": finite(e.high)}
            for name, e in one.trial.summary.items()
        },
        "objectives": _objectives(one.trial),
        "binds": _cleaned(asdict(binding(one.checked.trials))),
        "headroom": None if headroom is None else _cleaned(asdict(headroom)),
        "loss": {when: None if left is None else _trial(left) for when, left in (one.loss or {}).items()},
        "commands": [asdict(command) for command in one.commands],
        "replicas_moved_by_simulation": one.settled.moved,
        "failed_on_the_way": [_checked(each) for each in one.settled.failed],
        "closed_form": _expected(one.expected),
    }


def _checked(found: Checked) -> dict[str, Any]:
    return {
        "changes": dict(found.candidate.changes),
        "usd_per_h": finite(found.usd_per_h),
        "accelerators": accelerators_of(found.candidate.scenario),
        "met": found.met,
        "missed": list(found.missed),
        "conditions": {when or "as it is": _trial(trial) for when, trial in found.trials.items()},
    }


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        "met": trial.met,
        "probability": finite(trial.probability),
        "room": finite(trial.room),
        "missed": list(trial.missed),
        "replications": trial.runs,
        "use": _cleaned(trial.use),
    }


def _objectives(trial: Trial) -> list[dict[str, Any]]:
    return [
        {
            "name": v.objective.name,
            "direction": v.objective.direction,
            "limit": v.objective.limit,
            "value": finite(v.value),
            "met": v.met,
            "probability": finite(v.probability),
        }
        for v in trial.verdicts
    ]


def _expected(expected: Expected) -> dict[str, Any]:
    return {
        "changes": dict(expected.candidate.changes),
        "usd_per_h": finite(expected.usd_per_h),
        "met": expected.met,
        "missed": list(expected.missed),
        "figures": _cleaned(expected.figures),
        "method": expected.method,
        "notes": list(expected.notes),
    }


def _cleaned(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: finite(v) if isinstance(v, float) else v for k, v in values.items()}
