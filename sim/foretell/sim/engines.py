"""Which engine a configuration takes: the lazy one, wherever it can."""

from __future__ import annotations

from foretell.models import StepCost
from foretell.sim.config import EngineConfig
from foretell.sim.engine import Engine, OnStep
from foretell.sim.stepwise import StepwiseEngine

AnyEngine = Engine | StepwiseEngine


def make_engine(
    config: EngineConfig,
    cost: StepCost,
    *,
    on_step: OnStep | None = None,
    record_itl: bool = False,
    record_loads: bool = False,
) -> AnyEngine:
    """Make an engine for these settings; see `foretell.sim.engine.Engine` for the arguments."""
    make = StepwiseEngine if config.stepwise else Engine
    return make(config, cost, on_step=on_step, record_itl=record_itl, record_loads=record_loads)
