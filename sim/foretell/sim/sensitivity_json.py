"""A sensitivity as plain values: data for a tornado."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foretell.sim.forecast_json import SCHEMA_VERSION, finite, tool_version

if TYPE_CHECKING:
    from foretell.sim.sensitivity import At, Sensitivity, Swing


def sensitivity_dict(found: Sensitivity) -> dict[str, Any]:
    """Lay it out in SI units and USD an hour; None where a figure does not exist."""
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": "foretell",
        "tool_version": tool_version(),
        "scenario": found.scenario.to_dict(),
        "method": found.method,
        "change": found.change,
        "probability": found.probability,
        "headroom": found.headroom,
        "spare": found.spare,
        "nearest_objective": found.nearest.name,
        "parts": list(found.parts),
        "met": found.met,
        "base": _at(found.base),
        "inputs": [_swing(swing) for swing in found.swings],
        "notes": list(found.notes),
    }


def _swing(swing: Swing) -> dict[str, Any]:
    worth = swing.worth
    return {
        "name": swing.name,
        "label": swing.label,
        "low": _at(swing.low),
        "high": _at(swing.high),
        "effect": swing.effect,
        "log_error": swing.log_error,
        "log_error_assumed": swing.assumed,
        "knowing": {
            "worth_usd_per_h": finite(worth.usd_per_h),
            "today_usd_per_h": finite(worth.today_usd_per_h),
            "informed_usd_per_h": finite(worth.informed_usd_per_h),
            "chance": worth.chance,
        },
    }


def _at(at: At) -> dict[str, Any]:
    return {
        "factor": at.factor,
        "met": at.met,
        "margins": {name: finite(room) for name, room in at.margins.items()},
        "replicas_needed": None if at.replicas is None else list(at.replicas),
        "usd_per_h_needed": finite(at.usd_per_h),
        "figures": {name: finite(value) for name, value in at.figures.items()},
    }
