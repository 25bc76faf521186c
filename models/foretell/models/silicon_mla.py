"""MLA's attention alone, out of tables that hold its whole module.

The module (DeepSeek-V3's: hidden 7168, query rank 1536, latent 512 + 64) is timed with all its projections.
Ours are operators of their own, so that attention is what the module leaves beside them:

    attention(batch, length) = module(batch, length) − Σ projections − rotary embedding and KV write − host

with the projections priced by the GEMM tables, so that the operators add up to the module again. `host` is
what even the smallest module leaves beyond FLOOR_S: on Hopper and on B300 small modules take 80 to 120 µs
whatever they do, as if kernels were launched one by one; a server replays them from a CUDA graph. A decode's
attention is at least what its context adds to the module of the shortest one.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from foretell.models.operators import Attend
from foretell.models.silicon_attention import price_with
from foretell.models.silicon_gemm import (
    BORROWED_FORMAT,
    BORROWED_MACHINE,
    FORMATS,
    Peaks,
    Priced,
    gemm_curves,
    gemm_roofline,
)
from foretell.models.silicon_source import Source, hardware_of, table_files
from foretell.models.silicon_tables import Grid, grid_keys, read_grid
from foretell.models.utilisation import (
    Array,
    Curves,
    Rule,
    at,
    make_curves,
    seconds_at,
)

HIDDEN, QUERY_RANK, LATENT, ROPE, NOPE, VALUE = 7168, 1536, 512, 64, 128, 128
FLOOR_S = 5e-6
"""What the smallest attention kernel takes, about the least of the attention tables."""
ELEMENTWISE = 0.85
"""Fraction of the memory bandwidth that elementwise kernels reach: 0.83 to 0.91 in the tables of static fp8
quantisation above 1 GB, on B200, B300, H100, H200, GB200, GB300 and RTX PRO 6000 (0.76 on L40S)."""
_TABLES = {"prefill": "mla_context_module_perf", "decode": "mla_generation_module_perf"}
RULE = Rule(scale=(1.0,), carry=(0.0,), per_octave=0.15, per_shape=0.25)
STAND_INS = {"b300_sxm": "b200_sxm", "gb200": "b200_sxm", "a100_sxm": "h100_sxm"}
"""B300's and GB200's small modules carry the host's time, which their servers' do not; A100's were not
measured."""


def price_latent(source: Source, operator: Attend, load: tuple[Any, ...], part: Peaks) -> Priced:
    """Price MLA's attention of one layer without its projections.

    Raises:
        ValueError: the system's tables have no MLA.

    """
    wanted = "fp8" if operator.element_bytes < 2.0 else "bfloat16"
    curves, borrowed = None, 0.0
    for dtype in (wanted, "bfloat16" if wanted == "fp8" else "fp8"):
        curves = latent_curves(source, operator.phase, dtype)
        if curves is not None:
            borrowed = 0.0 if dtype == wanted else BORROWED_FORMAT
            break
    if curves is None:
        raise ValueError(f"silicon: no measured MLA of {source.system}")
    if source.system == "a100_sxm":
        borrowed = float(np.hypot(borrowed, BORROWED_MACHINE))
    return price_with(curves, source, operator, (operator.num_heads,), load, part, borrowed)


@cache
def latent_curves(source: Source, phase: str, kv_dtype: str) -> Curves | None:
    """Utilisation of MLA's attention over sequences × length, None where nobody measured it."""
    parts = module_parts(source, phase, kv_dtype)
    if parts is None:
        return None
    return make_curves(parts.heads, parts.axes, parts.attention_s, parts.roofline_s, RULE)


class ModuleParts(NamedTuple):
    """A measured module over heads × sequences × length, its attention's part, and that one's roofline."""

    heads: Array
    axes: tuple[Array, ...]
    module_s: Array
    attention_s: Array
    roofline_s: Array


@cache
def module_parts(source: Source, phase: str, kv_dtype: str) -> ModuleParts | None:
    """Take attention out of the measured modules, None where nobody measured them."""
    source = Source(STAND_INS.get(source.system, source.system), source.backend, source.version)
    found = beside_projections(source, phase, kv_dtype)
    if found is None:
        return None
    grid, left = found
    batch, length = grid.axes[0][None, :, None], grid.axes[1][None, None, :]
    kv_bytes = 1.0 if kv_dtype == "fp8" else 2.0
    part = hardware_of(source.system).accelerator
    roofline = latent_roofline(phase, grid.shapes[:, 0][:, None, None], batch, length, kv_bytes, part)
    left = left - host_s(left)
    if phase == "decode":
        left = np.maximum(left, grid.seconds - grid.seconds[:, :, :1] + roofline[:, :, :1])
    left = np.maximum(left, roofline)
    return ModuleParts(grid.shapes, grid.axes, grid.seconds, left, roofline)


def beside_projections(source: Source, phase: str, kv_dtype: str) -> tuple[Grid, Array] | None:
    """The modules measured on this very accelerator, and what they leave beside their projections [s]."""
    for path in table_files(source, "mla", _TABLES[phase]):
        if ("bfloat16", kv_dtype) in grid_keys(path):
            grid = read_grid(path, ("bfloat16", kv_dtype))
            heads = grid.shapes[:, 0][:, None, None]
            batch, length = grid.axes[0][None, :, None], grid.axes[1][None, None, :]
            kv_bytes = 1.0 if kv_dtype == "fp8" else 2.0
            return grid, grid.seconds - projections_s(source, phase, heads, batch, length, kv_bytes)
    return None


def host_s(left_s: Array) -> float:
    """Seconds beyond an attention kernel that even the smallest module leaves beside its projections."""
    return max(0.0, float(np.nanmin(left_s[:, :1, :1])) - FLOOR_S)


def projections_s(
    source: Source, phase: str, heads: Array, batch: Array, length: Array, kv_bytes: float
) -> Any:
    """Seconds of what a module does beside attention: `layers.py`'s operators on DeepSeek-V3's figures."""
    hardware = hardware_of(source.system)
    tokens = batch * (length if phase == "prefill" else np.ones_like(length))
    curves = gemm_curves(source, "bfloat16")
    total = np.zeros(np.broadcast_shapes(heads.shape, tokens.shape))
    if curves is not None:
        for rows, columns in (
            (QUERY_RANK + LATENT + ROPE + 0.0 * heads, HIDDEN),
            (heads * (NOPE + ROPE), QUERY_RANK),
            (heads * (NOPE + VALUE), LATENT),
            (HIDDEN + 0.0 * heads, heads * VALUE),
        ):
            roofline = np.maximum(
                *gemm_roofline(tokens, rows, columns, FORMATS["bfloat16"], hardware.accelerator)
            )
            log_u, _, _ = at(curves, (), (rows, columns, tokens))
            total = total + seconds_at(roofline, log_u)
    latent = LATENT + ROPE
    moved = 4.0 * (heads * (NOPE + ROPE) + latent) + latent * (2.0 + kv_bytes)
    return total + tokens * moved / (ELEMENTWISE * hardware.accelerator.memory_Bps) + 3.0 * hardware.launch_s


def latent_roofline(
    phase: str, heads: Array, batch: Array, length: Array, kv_bytes: float, part: Peaks
) -> Any:
    """Seconds at 100 % of the peaks: over expanded keys when prefilling, in the latent space in a decode."""
    latent = LATENT + ROPE
    if phase == "prefill":
        queries, pairs = batch * length, batch * length * (length + 1.0) / 2.0
        flops = 2.0 * heads * (NOPE + ROPE + VALUE) * pairs
        moved = (latent * kv_bytes + heads * (NOPE + VALUE) * 2.0) * queries
        moved = moved + heads * (NOPE + ROPE + VALUE) * 2.0 * queries
    else:
        flops = 2.0 * heads * (latent + LATENT) * batch * length
        moved = latent * kv_bytes * batch * length + heads * (latent + LATENT) * 2.0 * batch
    return np.maximum(flops / part.peak_flops["bf16"], moved / part.memory_Bps)
