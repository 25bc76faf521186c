"""Matrix multiplications and experts from the measured tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from foretell.models.operators import Experts, Linear
from foretell.models.silicon_source import BLACKWELL, Source, hardware_of, table_files
from foretell.models.silicon_tables import grid_keys, read_grid
from foretell.models.utilisation import (
    Curves,
    interpolate,
    lenders,
    log_error,
    make_curves,
    seconds_at,
)


class Peaks(Protocol):
    """What a roofline needs; an Accelerator has it, and a Machine."""

    @property
    def memory_Bps(self) -> float:
        """Peak memory bandwidth."""

    @property
    def peak_flops(self) -> Mapping[str, float]:
        """Dense peaks by precision."""


class Priced(NamedTuple):
    """Seconds of one layer, the standard error of their logarithm, and the roofline's two parts."""

    seconds: Any
    log_error: Any
    compute_s: Any
    memory_s: Any


@dataclass(frozen=True, slots=True)
class Format:
    """What a table's kernels read and multiply in: bytes of a weight and of an input, and the peak's key."""

    weight: float
    activation: float
    peak: str


FORMATS: Mapping[str, Format] = {
    "bfloat16": Format(2.0, 2.0, "bf16"),
    "fp8": Format(1.0, 1.0, "fp8"),
    "fp8_block": Format(1.0, 1.0, "fp8"),
    "nvfp4": Format(0.5625, 0.5625, "fp4"),
    "sq": Format(1.0, 1.0, "int8"),
    "int8_wo": Format(1.0, 2.0, "bf16"),
    "int4_wo": Format(0.5625, 2.0, "bf16"),
    "w4a16_mxfp4": Format(0.53125, 2.0, "bf16"),
    "w4a8_mxfp4_mxfp8": Format(0.53125, 1.0, "fp8"),
}
"""Formats of the tables, by their names there."""

_GEMM_TABLES: Mapping[str, tuple[str, ...]] = {
    "fp8": ("fp8", "fp8_block"),
    "nvfp4": ("nvfp4",),
    "fp4": ("nvfp4",),
    "mxfp4": ("nvfp4",),
    "int8": ("sq", "int8_wo"),
    "int4": ("int4_wo",),
}
_FOUR_BITS_WIDE = ("int4_wo", "w4a16_mxfp4")  # stored in 4 bits, multiplied in 16
_EXPERT_TABLES: Mapping[str, tuple[str, ...]] = {
    "fp8": ("fp8_block", "fp8"),
    "nvfp4": ("nvfp4", *_FOUR_BITS_WIDE),
    "fp4": ("nvfp4", *_FOUR_BITS_WIDE),
    "mxfp4": ("w4a16_mxfp4", "int4_wo"),
    "int4": _FOUR_BITS_WIDE,
}
BORROWED_FORMAT = 0.15
"""Log-error that another number format's utilisation adds."""
BORROWED_MACHINE = 0.2
"""Log-error that another accelerator's utilisation adds."""
HOST_BOUND = 5.0
"""A table whose fastest point takes this many times bf16's fastest measures the host, not the kernel."""
# octaves of hidden size, a rank's width, experts a token, experts, expert ranks
_EXPERT_SCALE = np.array([1.0, 1.0, 0.5, 0.5, 0.25])


def peak_of(part: Peaks, key: str) -> float:
    """The peak that a format is multiplied under, bf16's where the part has none of its own."""
    return part.peak_flops.get(key) or part.peak_flops["bf16"]


def borrowed_machine(source: Source, part: Peaks) -> float:
    """Log-error of pricing `part` with another accelerator's tables, 0 on the measured one."""
    own = hardware_of(source.system).accelerator
    same = own.memory_Bps == part.memory_Bps and dict(own.peak_flops) == dict(part.peak_flops)
    return 0.0 if same else BORROWED_MACHINE


@cache
def gemm_curves(source: Source, dtype: str) -> Curves | None:
    """Utilisation of a format's matrix multiplications over (n, k, m), None where nobody measured it."""
    for path in table_files(source, "gemm", "gemm_perf"):
        if (dtype,) not in grid_keys(path):
            continue
        grid = read_grid(path, (dtype,))
        if (
            dtype != "bfloat16"
            and ("bfloat16",) in grid_keys(path)
            and np.nanmin(grid.seconds) > HOST_BOUND * np.nanmin(read_grid(path, ("bfloat16",)).seconds)
        ):
            continue
        n, row = np.unique(grid.shapes[:, 0], return_inverse=True)
        k, column = np.unique(grid.shapes[:, 1], return_inverse=True)
        seconds = np.full((1, len(n), len(k), len(grid.axes[0])), np.nan)
        seconds[0, row, column] = grid.seconds
        m, part = grid.axes[0][None, None, None, :], hardware_of(source.system).accelerator
        compute, memory = gemm_roofline(
            m, n[None, :, None, None], k[None, None, :, None], FORMATS[dtype], part
        )
        roofline = np.maximum(compute, memory)
        return make_curves(np.zeros((1, 0)), (n, k, grid.axes[0]), seconds, roofline, per_octave=0.1)
    return None


def gemm_roofline(m: Any, n: Any, k: Any, form: Format, part: Peaks) -> tuple[Any, Any]:
    """Seconds at 100 % of the peaks of (m, k)·(k, n): computing, and moving each matrix once."""
    moved = n * k * form.weight + m * k * form.activation + m * n * 2.0
    return 2.0 * m * n * k / peak_of(part, form.peak), moved / part.memory_Bps


def price_gemm(source: Source, operator: Linear, x: Any, part: Peaks) -> Priced:
    """Price (x, columns)·(columns, rows).

    Raises:
        ValueError: the system's tables have no matrix multiplications that could lend.

    """
    names = _GEMM_TABLES.get(operator.weights, ("bfloat16",))
    usable = [name for name in names if FORMATS[name].peak == operator.precision]
    curves, borrowed = None, 0.0
    for name in (*usable, "bfloat16"):
        curves = gemm_curves(source, name)
        if curves is not None:
            borrowed = 0.0 if name in (usable or names) else BORROWED_FORMAT
            break
    if curves is None:
        raise ValueError(f"silicon: no measured matrix multiplications of {source.system}")
    flops, moved = operator.work(x)
    compute = flops / part.peak_flops[operator.precision]
    memory = moved / part.memory_Bps
    log_u, gap = interpolate(curves, 0, (operator.rows, operator.columns, np.asarray(x, dtype=float)))
    error = log_error(curves, gap, 0.0, np.hypot(borrowed, borrowed_machine(source, part)))
    return Priced(seconds_at(np.maximum(compute, memory), log_u), error, compute, memory)


@cache
def expert_curves(source: Source, path: Path, dtype: str, distribution: str) -> Curves | None:
    """Utilisation of a format's experts over tokens in one table, None where it has none."""
    if (dtype, distribution) not in grid_keys(path):
        return None
    grid = read_grid(path, (dtype, distribution))
    hidden, whole, top_k, experts, tensor, ranks = (column[:, None] for column in grid.shapes.T)
    shape = (hidden, whole / tensor, top_k, experts, ranks)
    part = hardware_of(source.system).accelerator
    roofline = np.maximum(*experts_roofline(grid.axes[0][None, :], shape, FORMATS[dtype], part))
    return make_curves(np.concatenate(shape, axis=1), grid.axes, grid.seconds, roofline, per_octave=0.15)


def experts_roofline(
    tokens: Any, shape: tuple[Any, ...], form: Format, part: Peaks, matrices: float = 3.0
) -> tuple[Any, Any]:
    """Seconds at 100 % of the peaks on one rank, with balanced routing.

    Args:
        tokens: of all ranks that share the experts.
        shape: hidden size, this rank's width of an expert, experts a token, experts, expert ranks.
        form: what the weights are.
        part: where.
        matrices: of an expert.

    """
    hidden, width, top_k, experts, ranks = shape
    pairs = tokens * top_k / ranks
    # as moe.expected_distinct_experts, over arrays of shapes
    missed = np.log1p(-np.minimum(np.asarray(top_k) / experts, 1.0 - 1e-12))
    distinct = -experts * np.expm1(tokens * missed) / ranks
    weights = matrices * hidden * width
    moved = weights * form.weight * distinct
    moved = moved + pairs * (hidden * (form.activation + 2.0) + 2.0 * matrices * width * 2.0)
    return 2.0 * weights * pairs / peak_of(part, form.peak), moved / part.memory_Bps


def expert_tables(source: Source, operator: Experts, block_fp8: bool) -> tuple[str, ...]:
    """Formats of the tables that stand for an operator's weights, best first, bf16 the last resort."""
    names = _EXPERT_TABLES.get(operator.weights, ("bfloat16",))
    if operator.weights == "fp8" and not block_fp8:
        names = tuple(reversed(names))
    if operator.weights == "mxfp4" and source.system in BLACKWELL:
        names = ("w4a8_mxfp4_mxfp8", *names)  # vLLM's own choice there: activations in MXFP8
    return names if "bfloat16" in names else (*names, "bfloat16")


def price_experts(
    source: Source, operator: Experts, x: Any, part: Peaks, distribution: str, block_fp8: bool
) -> Priced:
    """Price the routed experts of one layer.

    A shape that was measured in the wanted format counts before a near one, whoever's back end ran it.

    Raises:
        ValueError: the system's tables have no experts that could lend.

    """
    shape = (
        operator.hidden_size,
        operator.intermediate_size,
        operator.top_k,
        operator.num_experts,
        operator.expert_ranks,
    )
    names = expert_tables(source, operator, block_fp8)
    routing = "balanced" if operator.popularity else distribution
    curves, name, (places, weights, distance) = _lending_experts(source, names, routing, shape)
    held = operator.hidden_size * operator.intermediate_size
    form, borrowed = FORMATS[name], 0.0
    if name == "bfloat16" and names[0] != "bfloat16":
        form = Format(operator.expert_bytes / (operator.flops_per / 2.0), 2.0, operator.precision)
        borrowed = BORROWED_FORMAT
    tokens = np.asarray(x, dtype=float) * operator.tokens_per_token
    compute, memory = experts_roofline(tokens, shape, form, part, operator.flops_per / (2.0 * held))
    if operator.popularity:
        skew = _skew(operator, x, part)
        compute, memory = compute * skew, memory * skew
    share = operator.top_k / operator.num_experts
    log_u, gap = np.zeros(tokens.shape), np.zeros(tokens.shape)
    for place, weight in zip(places, weights, strict=True):
        # lenders are asked at as many tokens an expert
        lent = 2.0 ** (curves.shapes[place, 2] - curves.shapes[place, 3])
        part_u, part_gap = interpolate(curves, int(place), (tokens * (share / lent),))
        log_u, gap = log_u + weight * part_u, gap + weight * part_gap
    error = log_error(curves, gap, distance, np.hypot(borrowed, borrowed_machine(source, part)))
    return Priced(seconds_at(np.maximum(compute, memory), log_u), error, compute, memory)


@cache
def _lending_experts(
    source: Source, names: tuple[str, ...], distribution: str, shape: tuple[float, ...]
) -> tuple[Curves, str, tuple[np.ndarray, np.ndarray, float]]:
    wanted = np.array(shape, dtype=float)
    near = None
    for name in names:
        if near is not None and name == "bfloat16":
            break
        for path in table_files(source, "moe", "moe_perf"):
            curves = expert_curves(source, path, name, distribution)
            if curves is None:
                continue
            lent = lenders(curves, wanted, _EXPERT_SCALE)
            if lent[2] == 0.0:
                return curves, name, lent
            near = near or (curves, name, lent)
    if near is None:
        raise ValueError(
            f"silicon: no measured experts of {source.system} under distribution {distribution!r}"
        )
    return near


def _skew(operator: Experts, x: Any, part: Peaks) -> Any:
    """How much longer the roofline is with the operator's popularity than with balanced routing."""

    def roofline(experts: Experts) -> Any:
        flops, moved = experts.work(x)
        return np.maximum(flops / part.peak_flops[experts.precision], moved / part.memory_Bps)

    even = roofline(replace(operator, popularity=()))
    return np.where(even > 0, roofline(operator) / np.where(even > 0, even, 1.0), 1.0)
