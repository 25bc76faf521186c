"""Prefill and decode on two pools of engines: a request's KV cache goes over a link from one to the other.

As vLLM's connectors do it, the decode engine pulls: a prefill engine computes the prompt and samples one
token; its blocks stay held; a decode engine gives the request blocks for the whole prompt, then the
transfer runs, and when it has ended the request decodes as any other and the held blocks are freed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from foretell.models import StepCost
from foretell.models.transfer import KVTransfer
from foretell.sim.config import EngineConfig
from foretell.sim.engine import Engine
from foretell.sim.routers import Router, make_router
from foretell.sim.simulation import OnReplicaStep, Run, step_teller
from foretell.sim.twopools import TwoPools
from foretell.traces import Trace

FirstToken = Literal["prefill", "decode"]
"""Who delivers the first token: the prefill engine as it ends the prompt (SGLang, TensorRT-LLM, Dynamo), or
the decode engine by its first step (vLLM's proxies, which drop the other one)."""


@dataclass(frozen=True, slots=True)
class EnginePool:
    """The engines of one side.

    Attributes:
        cost: seconds of a step; a sequence gives one for each engine.
        config: settings; likewise.
        count: how many engines; as many as the longer sequence has, or one, when None.
        router: see `foretell.sim.routers`.

    Raises:
        ValueError: as many costs or settings as there are not engines.

    """

    cost: StepCost | Sequence[StepCost]
    config: EngineConfig | Sequence[EngineConfig]
    count: int | None = None
    router: str | Callable[[np.random.Generator], Router] = "round_robin"

    def __post_init__(self) -> None:
        for name, given in (("cost", self.costs), ("config", self.configs)):
            if self.size < 1 or len(given) not in (1, self.size):
                raise ValueError(
                    f"{name}: {len(given)} given for {self.size} engines; give one, or one for each"
                )

    @property
    def costs(self) -> list[StepCost]:
        """The costs, one or one for each engine."""
        return list(self.cost) if isinstance(self.cost, Sequence) else [self.cost]

    @property
    def configs(self) -> list[EngineConfig]:
        """The settings, one or one for each engine."""
        return list(self.config) if isinstance(self.config, Sequence) else [self.config]

    @property
    def size(self) -> int:
        """How many engines."""
        return self.count if self.count is not None else max(len(self.costs), len(self.configs))


def simulate_disaggregated(
    trace: Trace,
    prefill: EnginePool,
    decode: EnginePool,
    transfer: KVTransfer | Sequence[Sequence[KVTransfer]],
    *,
    first_token: FirstToken = "prefill",
    shared_links: bool = True,
    seed: int | np.random.SeedSequence = 0,
    itl: bool = False,
    loads: bool = False,
    on_step: OnReplicaStep | None = None,
    progress: Callable[[int], None] | None = None,
) -> Run:
    """Run a trace on two pools until every request has ended.

    Args:
        trace: the workload; a closed loop counts a request as in flight from its arrival to its last token.
        prefill, decode: the pools.
        transfer: of a prefill engine's KV cache to a decode engine; a table by both indices where it depends.
        first_token: who delivers the first token.
        shared_links: whether transfers of an engine wait for each other, in the order in which they start.
        seed: for the routers.
        itl, loads, on_step, progress: as in `foretell.sim.simulation.simulate`; prefill engines come first.

    Returns:
        The run, with `handovers`; `engines` are those of the prefill pool, then those of the decode pool,
        and `replica` is the engine that ended the request.

    Raises:
        ValueError: an unknown router or `first_token`.

    """
    if first_token not in ("prefill", "decode"):
        raise ValueError(f"first_token: {first_token!r} is not 'prefill' or 'decode'")
    pools = (prefill, decode)
    if any(config.stepwise for pool in pools for config in pool.configs):
        raise ValueError(
            "num_speculative_tokens, kv_cache_groups: not simulated where prefill and decode are apart; "
            "leave them at 0 and (0,)"
        )
    if trace.cancel_s is not None:
        raise ValueError("cancel_s: not simulated where prefill and decode are apart; leave the column out")
    engines = [
        Engine(
            pool.configs[i % len(pool.configs)],
            pool.costs[i % len(pool.costs)],
            record_itl=itl,
            record_loads=loads,
            on_step=None if on_step is None else step_teller(on_step, i + side * prefill.size),
        )
        for side, pool in enumerate(pools)
        for i in range(pool.size)
    ]
    rng = np.random.default_rng(seed)
    routers = [make_router(pool.router, each) for pool, each in zip(pools, rng.spawn(2), strict=True)]
    if isinstance(transfer, KVTransfer):
        transfer = [[transfer] * decode.size] * prefill.size
    driver = TwoPools(trace, engines, prefill.size, routers, transfer, first_token == "prefill", shared_links)
    driver.run(progress)
    return driver.records(itl, loads)
