"""Attention from the measured tables: full and windowed, of prompts and of decodes, and linear attention.

A table has sequences of one length from their first token on. A chunk that continues a prompt is asked for
at the length whose causal attention has as many query–key pairs, and its own roofline gives the time: the
same rule makes a mean over sequences of different lengths.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from foretell.models.operators import Attend
from foretell.models.silicon_gemm import BORROWED_FORMAT, Peaks, Priced, borrowed_machine
from foretell.models.silicon_source import Source, hardware_of, table_files
from foretell.models.silicon_tables import grid_keys, read_grid
from foretell.models.utilisation import (
    Curves,
    interpolate,
    lenders,
    log_error,
    make_curves,
    seconds_at,
)

_TABLES = {"prefill": "context_attention_perf", "decode": "generation_attention_perf"}
_NO_WINDOW = 2.0**18  # stands for none among the windows' octaves
_SCALE = np.array([0.5, 0.5, 1.0, 0.25])  # octaves of heads, KV heads, head size, window
_STATE_SCALE = np.array([0.25, 1.0, 1.0, 1.0])  # octaves of key heads, value heads, their sizes


def price_attend(source: Source, operator: Attend, load: tuple[Any, ...], part: Peaks) -> Priced:
    """Price full or windowed attention of one layer; `load` is (queries, pairs, context, sequences).

    Raises:
        ValueError: the system's tables have no attention that could lend.

    """
    wanted = "fp8" if operator.element_bytes < 2.0 else "bfloat16"
    shape = (operator.num_heads, operator.num_kv_heads, operator.head_dim, operator.window or 0)
    curves, borrowed, (places, weights, distance) = _lending(source, operator.phase, wanted, shape)
    batch, length = mean_load(operator, load)
    own = operator.num_heads if operator.phase == "prefill" else operator.num_kv_heads
    log_u, gap = 0.0, 0.0
    for place, weight in zip(places, weights, strict=True):
        # lenders are asked at as many heads in all
        lent = 2.0 ** curves.shapes[place, 0 if operator.phase == "prefill" else 1]
        part_u, part_gap = interpolate(curves, int(place), (batch * (own / lent), length))
        log_u, gap = log_u + weight * part_u, gap + weight * part_gap
    return _priced(source, operator, load, part, curves, log_u, gap, distance, borrowed)


def price_state(source: Source, operator: Attend, load: tuple[Any, ...], part: Peaks) -> Priced:
    """Price linear attention (a gated delta rule with its convolution) of one layer.

    Raises:
        ValueError: the system's tables have none.

    """
    curves = state_curves(source, operator.phase)
    if curves is None:
        raise ValueError(f"silicon: no measured linear attention of {source.system}")
    value_dim = operator.bytes_per_sequence / (8.0 * operator.num_heads * operator.head_dim)
    shape = np.array([operator.num_heads, operator.num_heads, operator.head_dim, value_dim])
    places, weights, distance = lenders(curves, shape, _STATE_SCALE)
    queries, _, _, sequences = (np.asarray(figure, dtype=float) for figure in load)
    batch, length = np.maximum(sequences, 1e-9), np.maximum(queries, 1e-9) / np.maximum(sequences, 1e-9)
    log_u, gap = 0.0, 0.0
    for place, weight in zip(places, weights, strict=True):
        scaled = batch * (operator.num_heads / 2.0 ** curves.shapes[place, 1])
        part_u, part_gap = interpolate(curves, int(place), (scaled, length))
        log_u, gap = log_u + weight * part_u, gap + weight * part_gap
    return _priced(source, operator, load, part, curves, log_u, gap, distance, 0.0)


def mean_load(operator: Attend, load: tuple[Any, ...]) -> tuple[Any, Any]:
    """Sequences, and the length of one in a table: of as many pairs in a prefill, its context in a decode."""
    _, pairs, context, sequences = (np.asarray(figure, dtype=float) for figure in load)
    batch = np.where(sequences > 0, sequences, 1.0)
    if operator.phase == "decode":
        return batch, np.maximum(context / batch, 1.0)
    return batch, np.maximum((np.sqrt(1.0 + 8.0 * pairs / batch) - 1.0) / 2.0, 1.0)


def _priced(
    source: Source,
    operator: Attend,
    load: tuple[Any, ...],
    part: Peaks,
    curves: Curves,
    log_u: Any,
    gap: Any,
    distance: float,
    borrowed: float,
) -> Priced:
    flops, moved = operator.work(*(np.asarray(figure, dtype=float) for figure in load))
    compute, memory = flops / part.peak_flops[operator.precision], moved / part.memory_Bps
    error = log_error(curves, gap, distance, np.hypot(borrowed, borrowed_machine(source, part)))
    return Priced(seconds_at(np.maximum(compute, memory), log_u), error, compute, memory)


@cache
def _lending(
    source: Source, phase: str, wanted: str, shape: tuple[int, ...]
) -> tuple[Curves, float, tuple[np.ndarray, np.ndarray, float]]:
    asked = np.array([*shape[:3], shape[3] or _NO_WINDOW], dtype=float)
    near = None
    for dtype in (wanted, "bfloat16" if wanted == "fp8" else "fp8"):
        borrowed = 0.0 if dtype == wanted else BORROWED_FORMAT
        for path in table_files(source, "attention", _TABLES[phase]):
            curves = attention_curves(source, path, phase, dtype)
            if curves is None:
                continue
            lent = lenders(curves, asked, _SCALE)
            if lent[2] == 0.0 and not borrowed:
                return curves, borrowed, lent
            near = near or (curves, borrowed, lent)
    if near is None:
        raise ValueError(f"silicon: no measured attention of {source.system}")
    return near


@cache
def attention_curves(source: Source, path: Path, phase: str, dtype: str) -> Curves | None:
    """Utilisation over sequences × length, of prompts or decodes, in one table, None where it has none."""
    if (dtype,) not in grid_keys(path):
        return None
    grid = read_grid(path, (dtype,))
    batch, length = grid.axes[0][None, :, None], grid.axes[1][None, None, :]
    shape = tuple(grid.shapes.T[:, :, None, None])
    part = hardware_of(source.system).accelerator
    roofline = attention_roofline(phase, shape, dtype, batch, length, part)
    shapes = grid.shapes.copy()
    shapes[:, 3] = np.where(shapes[:, 3] == 0, _NO_WINDOW, shapes[:, 3])
    return make_curves(shapes, grid.axes, grid.seconds, roofline, per_octave=0.1)


def attention_roofline(
    phase: str, shape: tuple[Any, ...], kv_dtype: str, batch: Any, length: Any, part: Peaks
) -> Any:
    """Seconds at 100 % of the peaks: `batch` sequences of `length` tokens, all prefilled or one decoded."""
    heads, kv_heads, head_dim, window = shape
    window = np.where(window == 0, np.inf, window)
    queries = batch * (length if phase == "prefill" else 1.0)
    pairs = batch * (length * (length + 1.0) / 2.0 if phase == "prefill" else length)
    pairs = np.minimum(pairs, queries * window)
    context = np.minimum(batch * length, batch * (window - 1.0) + queries)
    moved = 2.0 * kv_heads * head_dim * (1.0 if kv_dtype == "fp8" else 2.0) * context
    moved = moved + 2.0 * heads * head_dim * 2.0 * queries
    compute = 4.0 * heads * head_dim * pairs / part.peak_flops["bf16"]
    return np.maximum(compute, moved / part.memory_Bps)


@cache
def state_curves(source: Source, phase: str) -> Curves | None:
    """Utilisation of linear attention over sequences × length, None where nobody measured it."""
    key = ("context" if phase == "prefill" else "generation",)
    for path in table_files(source, "linear_attention", "gdn_perf"):
        if key not in grid_keys(path):
            continue
        grid = read_grid(path, key)
        key_heads, heads, key_dim, value_dim = grid.shapes.T[:, :, None, None]
        batch, length = grid.axes[0][None, :, None], grid.axes[1][None, None, :]
        part = hardware_of(source.system).accelerator
        state, queries = heads * key_dim * value_dim, batch * length
        moved = 2.0 * (2.0 * key_heads * key_dim + 2.0 * heads * value_dim) * queries + 8.0 * state * batch
        roofline = np.maximum(4.0 * state * queries / part.peak_flops["bf16"], moved / part.memory_Bps)
        return make_curves(grid.shapes, grid.axes, grid.seconds, roofline, per_octave=0.1)
    return None
