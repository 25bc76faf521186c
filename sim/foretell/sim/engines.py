"""Which engine a configuration takes: the lazy one, wherever it can."""

from __future__ import annotations

from foretell.models import StepCost
from foretell.sim.config import EngineConfig
from foretell.sim.engine import Engine, OnStep


def make_engine(
    config: EngineConfig,
    cost: StepCost,
    *,
    on_step: OnStep | None = None,
    record_itl: bool = False,
    record_loads: bool = False,
) -> Engine:
    """Make an engine for these settings; see `foretell.sim.engine.Engine` for the arguments.

    Raises:
        ValueError: no engine has what the settings ask for.

    """
    if config.stepwise:
        raise ValueError(
            f"num_speculative_tokens, kv_cache_groups: {config.num_speculative_tokens}, "
            f"{config.kv_cache_groups} are not simulated yet; leave them at 0 and (0,)"
        )
    return Engine(config, cost, on_step=on_step, record_itl=record_itl, record_loads=record_loads)
