"""How long the KV cache of a prompt takes from one engine to another."""

from __future__ import annotations

import math
from dataclasses import dataclass

from foretell.models.architecture import Architecture
from foretell.models.hardware import Link
from foretell.models.memory import kv_bytes_per_token
from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision

EFFICIENCY = 0.8
"""Share of a link's bandwidth that a transfer reaches: an assumption (2026-11). One-sided RDMA reads of
blocks of tens of kilobytes come near the wire; scattered small blocks do not."""


@dataclass(frozen=True, slots=True)
class KVTransfer:
    """Time and bytes of a KV transfer, by tokens.

    Attributes:
        token_s: seconds that a token takes on the busiest link [s].
        latency_s: seconds that a transfer takes however short it is [s].
        token_bytes: bytes of a token, on all links together.
        layerwise_share: 0 if the transfer starts when the prompt is computed; else it starts with the first
            layer, and this is the share of it, at least one layer's, that has to wait for the end.

    Raises:
        ValueError: a figure out of range.

    """

    token_s: float = 0.0
    latency_s: float = 0.0
    token_bytes: float = 0.0
    layerwise_share: float = 0.0

    def __post_init__(self) -> None:
        for name in ("token_s", "latency_s", "token_bytes"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name}: {value!r} is not a finite number >= 0")
        if not 0 <= self.layerwise_share <= 1:
            raise ValueError(f"layerwise_share: {self.layerwise_share!r} is not in [0, 1]")

    def on_link_s(self, tokens: int) -> float:
        """Seconds for which the KV cache of so many tokens occupies the links."""
        return tokens * self.token_s

    def remaining_s(self, tokens: int, prefill_s: float = 0.0) -> float:
        """Seconds on the links that are left when the prompt is computed, which took `prefill_s`."""
        whole = tokens * self.token_s
        if not self.layerwise_share:
            return whole
        return max(whole - prefill_s, whole * self.layerwise_share)


def kv_transfer(
    architecture: Architecture,
    precision: Precision,
    link: Link,
    prefill: Parallelism,
    decode: Parallelism,
    *,
    links_per_engine: int | None = None,
    efficiency: float = EFFICIENCY,
    latency_s: float | None = None,
    layerwise: bool = False,
) -> KVTransfer:
    """Time of a KV transfer between engines of two kinds.

    Each rank sends, or receives, its part over a link of its own, so that the side with fewer parts sets the
    pace: seconds a token = max over both sides of (bytes on the busiest link) / (bandwidth × efficiency).
    KV heads are shared over tensor-parallel ranks; MLA's latent is whole on each of them and crosses once, on
    one link. With fewer links than ranks, the whole is spread over the links.

    Args:
        architecture: the model.
        precision: whose `kv_cache` format the bytes are in; the same on both sides.
        link: of one accelerator, in one direction.
        prefill, decode: how the engines of either side are split.
        links_per_engine: links that an engine has; one for each of its accelerators when None.
        efficiency: share of the link's bandwidth that is reached.
        latency_s: time besides the bytes; the link's when None.
        layerwise: whether layers are sent while later ones are computed.

    Raises:
        ValueError: a figure out of range.

    """
    if not 0 < efficiency <= 1:
        raise ValueError(f"efficiency: {efficiency!r} is not in (0, 1]")
    if links_per_engine is not None and links_per_engine < 1:
        raise ValueError(f"links_per_engine: {links_per_engine!r} is not an integer >= 1")
    whole = kv_bytes_per_token(architecture, Parallelism(), precision)
    busiest = 0.0
    for side in (prefill, decode):
        share = kv_bytes_per_token(architecture, side, precision)
        if links_per_engine is not None:
            share = max(share, whole / links_per_engine)
        busiest = max(busiest, share)
    return KVTransfer(
        token_s=busiest / (link.bandwidth_Bps * efficiency),
        latency_s=link.latency_s if latency_s is None else latency_s,
        token_bytes=whole,
        layerwise_share=1 / architecture.num_layers if layerwise else 0.0,
    )
