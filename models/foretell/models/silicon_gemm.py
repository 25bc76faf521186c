"""Matrix multiplications from the measured tables, and the number formats that the tables speak of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, Protocol

import numpy as np

from foretell.models.operators import Linear
from foretell.models.silicon_source import Source, hardware_of, table_files
from foretell.models.silicon_tables import grid_keys, read_grid
from foretell.models.utilisation import (
    Curves,
    Rule,
    at,
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
    "fp32": (),
}
BORROWED_FORMAT = 0.3
"""Log-error that another number format's utilisation adds."""
BORROWED_MACHINE = 0.25
"""Log-error that another accelerator's utilisation adds."""
RULE = Rule(scale=(), carry=(), per_octave=0.15, per_shape=0.0)
"""Matrices lend along n, k and m: the shape is among the axes."""
HOST_BOUND = 5.0
"""A table whose fastest point takes this many times bf16's fastest measures the host, not the kernel."""


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
        return make_curves(np.zeros((1, 0)), (n, k, grid.axes[0]), seconds, roofline, RULE)
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
    log_u, gap, distance = at(curves, (), (operator.rows, operator.columns, np.asarray(x, dtype=float)))
    error = log_error(curves, gap, distance, np.hypot(borrowed, borrowed_machine(source, part)))
    return Priced(seconds_at(np.maximum(compute, memory), log_u), error, compute, memory)
