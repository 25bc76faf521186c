"""The clock: engines that schedule as vLLM does, clusters of them, and forecasts."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foretell.sim.closed_form import ClosedForm, forecast_closed_form
    from foretell.sim.comparing import Comparison, compare
    from foretell.sim.config import EngineConfig
    from foretell.sim.forecasting import Forecast, forecast
    from foretell.sim.planning_verify import Plan, plan
    from foretell.sim.presets import EngineSettings
    from foretell.sim.scenario import Pool, ReplicaGroup, Scenario, Workload
    from foretell.sim.simulation import Run, simulate
    from foretell.sim.sweeping import Sweep, sweep

__all__ = [
    "ClosedForm",
    "Comparison",
    "EngineConfig",
    "EngineSettings",
    "Forecast",
    "Plan",
    "Pool",
    "ReplicaGroup",
    "Run",
    "Scenario",
    "Sweep",
    "Workload",
    "compare",
    "forecast",
    "forecast_closed_form",
    "plan",
    "simulate",
    "sweep",
]

_HOMES = {
    "ClosedForm": "closed_form",
    "Comparison": "comparing",
    "EngineConfig": "config",
    "EngineSettings": "presets",
    "Forecast": "forecasting",
    "Plan": "planning_verify",
    "Pool": "scenario",
    "ReplicaGroup": "scenario",
    "Run": "simulation",
    "Scenario": "scenario",
    "Sweep": "sweeping",
    "Workload": "scenario",
    "compare": "comparing",
    "forecast": "forecasting",
    "forecast_closed_form": "closed_form",
    "plan": "planning_verify",
    "simulate": "simulation",
    "sweep": "sweeping",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: a replay needs no forecasts, and --help nothing at all."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
