"""A disaggregated deployment: its two pools made concrete, the transfers between them, and their figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from foretell.models.hardware import Link, load_link
from foretell.models.transfer import KVTransfer, kv_transfer
from foretell.sim import metrics
from foretell.sim.deployment import Deployment, EnginePart, deploy, layout_of
from foretell.sim.disaggregated import EnginePool, simulate_disaggregated
from foretell.sim.scenario import Pool, ReplicaGroup
from foretell.sim.simulation import Run
from foretell.sim.strategies import Disaggregated, KVLink
from foretell.traces import Trace

SHARES = (
    "prefill_utilisation",
    "decode_utilisation",
    "prefill_kv_use",
    "decode_kv_use",
    "kv_transfer_utilisation",
)
"""Figures of `pool_figures` that lie between 0 and 1."""


@dataclass(frozen=True, slots=True)
class DisaggregatedDeployment(Deployment):
    """All engines of two pools; the parts are those of the prefill pool, then those of the decode pool.

    Attributes:
        strategy: how the pools work together.
        split: parts of the prefill pool.
        transfers: from each part of the prefill pool to each of the decode pool.

    """

    strategy: Disaggregated
    split: int
    transfers: tuple[tuple[KVTransfer, ...], ...]

    @property
    def routers(self) -> tuple[str, ...]:
        """Of the two pools."""
        return tuple(self.router.split(", "))

    @property
    def prefill_engines(self) -> int:
        """Engines of the prefill pool, the first ones."""
        return sum(part.count for part in self.parts[: self.split])

    def figures(
        self, run: Run, figures: Mapping[str, float], limits: Mapping[str, float], warmup_s: float
    ) -> dict[str, float]:
        """Give the figures of the two pools."""
        return pool_figures(run)

    def simulate(
        self,
        trace: Trace,
        parts: Mapping[int, EnginePart],
        seed: np.random.SeedSequence,
        progress: Callable[[int], None] | None,
        rng: np.random.Generator | None = None,
        loads: bool = False,
    ) -> Run:
        """Simulate with these, by `id` of the deployment's own, in place of its parts."""
        sides = (self.parts[: self.split], self.parts[self.split :])
        pools = [
            _pool([parts[id(part)] for part in _each(side)], router)
            for side, router in zip(sides, self.routers, strict=True)
        ]
        rows = [i for i, part in enumerate(sides[0]) for _ in range(part.count)]
        columns = [j for j, part in enumerate(sides[1]) for _ in range(part.count)]
        return simulate_disaggregated(
            trace,
            pools[0],
            pools[1],
            [[self.transfers[i][j] for j in columns] for i in rows],
            first_token="decode" if self.strategy.first_token == "decode" else "prefill",
            shared_links=self.strategy.kv_transfer.shared,
            seed=seed,
            itl=True,
            loads=loads,
            progress=progress,
        )


def deploy_disaggregated(
    pools: Mapping[str, Pool], strategy: Disaggregated, mean_context_tokens: float | None = None
) -> DisaggregatedDeployment:
    """Make two pools and what joins them concrete.

    Raises:
        ValueError: what `deploy` raises, with the pool; pools whose KV caches differ; a link that is unknown.

    """
    sides = []
    for name in (strategy.prefill, strategy.decode):
        try:
            sides.append(deploy(pools[name], mean_context_tokens))
        except ValueError as error:
            raise ValueError(f"pools.{name}: {error}") from None
    senders, receivers = (pools[name].groups for name in (strategy.prefill, strategy.decode))
    pair = (pools[strategy.prefill], pools[strategy.decode])
    transfers = tuple(
        tuple(_transfer(pair, sender, receiver, strategy.kv_transfer) for receiver in receivers)
        for sender in senders
    )
    first, link = transfers[0][0], strategy.kv_transfer
    notes = [
        f"{name}: {note}"
        for name, side in zip((strategy.prefill, strategy.decode), sides, strict=True)
        for note in side.notes
    ]
    notes.append(
        f"KV caches: {first.token_bytes / 1e3:,.3g} kB a token; 1,000 tokens take "
        f"{(first.latency_s + 1000 * first.token_s) * 1e3:.3g} ms from prefill to decode"
        + (f", at an assumed {link.efficiency:.0%} of the link".replace("%", " %") if first.token_s else "")
    )
    prefill, decode = sides
    return DisaggregatedDeployment(
        (*prefill.parts, *decode.parts),
        f"{prefill.router}, {decode.router}",
        tuple(dict.fromkeys(notes)),
        strategy,
        len(prefill.parts),
        transfers,
    )


def pool_figures(run: Run) -> dict[str, float]:
    """Figures of the two pools and of what joins them; empty where there are not two.

    {prefill,decode}_utilisation and _kv_use as in `metrics.engines`; kv_transfer_utilisation: share of the
    time in which an engine's links are occupied, of the pool where that is more; kv_transfer_{mean,std,p50,
    p90,p99}_s: from the end of a prompt until its KV cache is on a decode engine, the wait for blocks and
    links included.
    """
    hand = run.handovers
    if hand is None:
        return {}
    span, split = metrics.span_s(run), hand.prefill_engines
    figures: dict[str, float] = {}
    busy = []
    for name, part in (("prefill", slice(0, split)), ("decode", slice(split, None))):
        stats = run.engines[part]
        whole = span * len(stats)
        blocks = span * sum(engine.kv_blocks for engine in stats)
        working = sum(engine.busy_s for engine in stats)
        figures[f"{name}_utilisation"] = min(working / whole, 1.0) if whole else np.nan
        held = sum(engine.kv_block_seconds for engine in stats)
        figures[f"{name}_kv_use"] = held / blocks if blocks else np.nan
        busy.append(float(hand.link_busy_s[part].sum()) / whole if whole else np.nan)
    figures["kv_transfer_utilisation"] = min(max(busy), 1.0)
    for statistic, value in metrics.describe(hand.end_s - hand.prefill_end_s).items():
        figures[f"kv_transfer_{statistic}_s"] = value
    return figures


def _each(parts: Sequence[EnginePart]) -> list[EnginePart]:
    return [part for part in parts for _ in range(part.count)]


def _pool(parts: Sequence[EnginePart], router: str) -> EnginePool:
    return EnginePool([part.cost for part in parts], [part.config for part in parts], len(parts), router)


def _transfer(
    pools: tuple[Pool, Pool], sender: ReplicaGroup, receiver: ReplicaGroup, via: KVLink
) -> KVTransfer:
    prefill, decode = pools
    if prefill.model is None or decode.model is None:
        if via.bytes_per_token is None:
            raise ValueError(
                "strategy.kv_transfer.bytes_per_token: missing; without a model nothing says how large a KV "
                "cache is; give it, or 0"
            )
        bandwidth = _link(via, None, None).bandwidth_Bps if via.bytes_per_token else 1.0
        return KVTransfer(
            token_s=via.bytes_per_token / (bandwidth * via.efficiency * (via.links_per_engine or 1)),
            latency_s=via.latency_s if via.latency_s is not None else 0.0,
            token_bytes=via.bytes_per_token,
        )
    if via.bytes_per_token is not None:
        raise ValueError(
            "strategy.kv_transfer.bytes_per_token: the model says how large a KV cache is; drop it"
        )
    architecture, source, plan, precision = layout_of(prefill, sender)
    other, target, other_plan, other_precision = layout_of(decode, receiver)
    if architecture.name != other.name:
        raise ValueError(
            f"pools: {architecture.name} cannot hand its KV cache to {other.name}; give both pools one model"
        )
    if precision.kv_cache != other_precision.kv_cache:
        raise ValueError(
            f"pools: the KV cache is {precision.kv_cache} on one side and {other_precision.kv_cache} on the "
            "other; give both pools one kv_cache_dtype"
        )
    try:
        return kv_transfer(
            architecture,
            precision,
            _link(via, source.node.inter, target.node.inter),
            plan,
            other_plan,
            links_per_engine=via.links_per_engine,
            efficiency=via.efficiency,
            latency_s=via.latency_s,
            layerwise=via.layerwise,
        )
    except ValueError as error:
        raise ValueError(f"strategy.kv_transfer.{error}") from None


def _link(via: KVLink, source: Link | None, target: Link | None) -> Link:
    if via.link is not None:
        try:
            return load_link(via.link)
        except ValueError as error:
            raise ValueError(f"strategy.kv_transfer.link: {error}") from None
    if source is None or target is None:
        raise ValueError("strategy.kv_transfer.link: missing; give the name of a link, or bytes_per_token: 0")
    return min(source, target, key=lambda link: link.bandwidth_Bps)
