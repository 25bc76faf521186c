"""The forms of the shipped curves: seconds of a kernel or a collective from its roofline and a few figures.

    seconds = launch + (c^p + m^p)^(1/p),  c = compute · (1 + Σ h/x) / e_c,  m = memory · (1 + Σ g/y) / e_m

compute and memory are the roofline's seconds at 100 % of the peaks; x and y are what must be large beside h
and g for a kernel to reach e_c and e_m. As e <= 1, p >= 1 and all else >= 0, no time beats the peaks; x and y
grow no faster with the load than compute and memory do, so that no time falls as the load grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from foretell.models.operators import Attend, Experts, Linear

FAMILIES = (
    "gemm",
    "experts",
    "prefill_attention",
    "decode_attention",
    "prefill_latent",
    "decode_latent",
    "prefill_state",
    "decode_state",
)
"""Kernels that have curves: matrices, routed experts, attention, MLA's attention, linear attention."""
COLLECTIVES = ("all_reduce", "all_reduce_fused", "all_gather")
_LEAST = 1e-9


class Work(NamedTuple):
    """What a curve is asked: the roofline's two parts, and the scales x and y of its slowing."""

    compute_s: Any
    memory_s: Any
    compute_scales: tuple[Any, ...] = ()
    memory_scales: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Curve:
    """Seconds of a family of kernels in one format.

    Attributes:
        launch_s: of the smallest kernel.
        compute, memory: e_c and e_m, fractions of the peaks that large work reaches.
        sharpness: p, how sharply the greater of the two parts rules.
        compute_halves, memory_halves: h and g, at which a scale alone halves the fraction.
        error: standard error of the logarithm of seconds, on shapes that the fit did not see.

    Raises:
        ValueError: figures with which a time could beat the peaks.

    """

    launch_s: float
    compute: float
    memory: float
    sharpness: float
    compute_halves: tuple[float, ...]
    memory_halves: tuple[float, ...]
    error: float

    def __post_init__(self) -> None:
        if not (0 < self.compute <= 1 and 0 < self.memory <= 1):
            raise ValueError(f"curve: compute {self.compute!r} or memory {self.memory!r} is not in (0, 1]")
        halves = (*self.compute_halves, *self.memory_halves)
        if not (self.launch_s >= 0 and self.sharpness >= 1 and min(halves, default=0.0) >= 0):
            raise ValueError("curve: launch_s and halves must be >= 0, and sharpness >= 1")

    def seconds(self, work: Work) -> Any:
        """Seconds of the work, 0 where there is none; arrays broadcast."""
        compute = work.compute_s * _slowing(self.compute_halves, work.compute_scales) / self.compute
        memory = work.memory_s * _slowing(self.memory_halves, work.memory_scales) / self.memory
        busy = smooth_max(compute, memory, self.sharpness)
        return np.where(busy > 0, self.launch_s + busy, 0.0)


@dataclass(frozen=True, slots=True)
class LinkCurve:
    """Seconds of a collective: latency + (x + √(h·x)) / e, x being what must cross at the link's bandwidth.

    The root is what switching from few large to many small steps costs between small and large messages.

    Attributes:
        latency_s: however small the message.
        bandwidth: e, fraction of the link's that large messages reach.
        half_s: h, of a message that is half as fast as large ones.
        error: standard error of the logarithm of seconds.

    Raises:
        ValueError: figures with which a time could beat the link.

    """

    latency_s: float
    bandwidth: float
    half_s: float
    error: float

    def __post_init__(self) -> None:
        if not (0 < self.bandwidth <= 1 and self.latency_s >= 0 and self.half_s >= 0):
            raise ValueError("curve: bandwidth must be in (0, 1], latency_s and half_s >= 0")

    def seconds(self, crossing_s: Any) -> Any:
        """Seconds of messages that take `crossing_s` at the link's whole bandwidth."""
        crossing_s = np.asarray(crossing_s, dtype=float)
        told = self.latency_s + (crossing_s + np.sqrt(self.half_s * crossing_s)) / self.bandwidth
        return np.where(crossing_s > 0, told, 0.0)


def smooth_max(first: Any, second: Any, sharpness: Any) -> Any:
    """(a^p + b^p)^(1/p) of non-negative figures: never less than the greater, nor more than their sum."""
    most, least = np.maximum(first, second), np.minimum(first, second)
    ratio = least / np.maximum(most, 1e-300)
    return most * (1.0 + ratio**sharpness) ** (1.0 / sharpness)


def _slowing(halves: tuple[float, ...], scales: tuple[Any, ...]) -> Any:
    total: Any = 1.0
    for half, scale in zip(halves, scales, strict=True):
        total = total + half / np.maximum(scale, _LEAST)
    return total


def family_of(operator: Linear | Experts | Attend) -> str:
    """Whose curves price an operator."""
    if isinstance(operator, Experts):
        return "experts"
    if isinstance(operator, Linear):
        return "gemm"
    kind = "latent" if operator.latent else "state" if operator.bytes_per_sequence else "attention"
    return f"{operator.phase}_{kind}"


def gemm_work(compute_s: Any, memory_s: Any, m: Any, n: Any, k: Any) -> Work:
    """(m, k)·(k, n): tiles of outputs must fill the machine, and n and k the tiles."""
    m = np.asarray(m, dtype=float)
    return Work(compute_s, memory_s, (n, m * n, k, n * k), ())


def experts_work(compute_s: Any, memory_s: Any, distinct: Any, width: Any, ranks: Any) -> Work:
    """Routed experts: narrow or few ones read slowly; the fullest of many ranks has more than its share."""
    return Work(compute_s, memory_s, (1.0 / ranks,), (width, distinct, 1.0 / ranks))


def attention_work(
    family: str,
    compute_s: Any,
    memory_s: Any,
    heads: tuple[Any, Any, Any, Any, Any],
    batch: Any,
    context: Any,
    queries: Any,
) -> Work:
    """Attention of `queries` tokens in all of `batch` sequences over `context` tokens each.

    Args:
        family: of FAMILIES.
        compute_s, memory_s: the roofline's parts.
        heads: heads, KV heads, head size, window (inf for none), bytes of a cached element.
        batch, context, queries: the load.

    """
    num_heads, kv_heads, head_dim, window, element_bytes = heads
    group = num_heads / kv_heads
    # queries count as the keys that they move as many bytes as, so that time grows with the context
    keys = np.minimum(context, window) + group * 2.0 / element_bytes
    scales: tuple[tuple[Any, ...], tuple[Any, ...]] = {
        "prefill_attention": ((queries * num_heads,), (context, head_dim, group)),
        "decode_attention": ((), (keys, batch * kv_heads)),
        "prefill_latent": ((), (context, num_heads)),
        "decode_latent": ((context, batch * context), ()),
        "prefill_state": ((batch * num_heads, queries * num_heads), ()),
        "decode_state": ((batch * num_heads,), ()),
    }[family]
    return Work(compute_s, memory_s, *scales)
