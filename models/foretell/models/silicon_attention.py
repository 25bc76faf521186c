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
    Rule,
    at,
    log_error,
    make_curves,
    seconds_at,
)

TABLES = {"prefill": "context_attention_perf", "decode": "generation_attention_perf"}
NO_WINDOW = 2.0**18
"""Stands for none among the octaves of windows."""
# shapes are (heads, KV heads, head size, window); lenders have as many heads in all, in a decode KV heads
RULES = {
    "prefill": Rule(scale=(0.5, 0.5, 1.0, 0.25), carry=(1.0, 0.0, 0.0, 0.0), per_octave=0.08, per_shape=0.17),
    "decode": Rule(scale=(0.5, 0.5, 1.0, 0.25), carry=(0.0, 1.0, 0.0, 0.0), per_octave=0.05, per_shape=0.1),
}
# shapes are (key heads, value heads, key size, value size)
STATE_RULE = Rule(scale=(0.25, 1.0, 1.0, 1.0), carry=(0.0, 1.0, 0.0, 0.0), per_octave=0.05, per_shape=0.12)


def price_attend(source: Source, operator: Attend, load: tuple[Any, ...], part: Peaks) -> Priced:
    """Price full or windowed attention of one layer; `load` is (queries, pairs, context, sequences).

    Raises:
        ValueError: the system's tables have no attention that could lend.

    """
    wanted = "fp8" if operator.element_bytes < 2.0 else "bfloat16"
    window = operator.window or NO_WINDOW
    shape = (operator.num_heads, operator.num_kv_heads, operator.head_dim, window)
    curves, borrowed = _lending(source, operator.phase, wanted, shape)
    return price_with(curves, source, operator, shape, load, part, borrowed)


def price_state(source: Source, operator: Attend, load: tuple[Any, ...], part: Peaks) -> Priced:
    """Price linear attention (a gated delta rule with its convolution) of one layer.

    Raises:
        ValueError: the system's tables have none.

    """
    curves = state_curves(source, operator.phase)
    if curves is None:
        raise ValueError(f"silicon: no measured linear attention of {source.system}")
    value_dim = operator.bytes_per_sequence / (8.0 * operator.num_heads * operator.head_dim)
    shape = (operator.num_heads, operator.num_heads, operator.head_dim, value_dim)
    # its work goes with the queries, one in a decode
    queries, _, _, sequences = load
    pairs = queries * (queries / np.where(np.asarray(sequences) > 0, sequences, 1.0) + 1.0) / 2.0
    return price_with(curves, source, operator, shape, (queries, pairs, queries, sequences), part, 0.0)


def price_with(
    curves: Curves,
    source: Source,
    operator: Attend,
    shape: tuple[float, ...],
    load: tuple[Any, ...],
    part: Peaks,
    borrowed: float,
) -> Priced:
    """Price an operator by curves over sequences × length."""
    log_u, gap, distance = at(curves, shape, mean_load(operator, load))
    flops, moved = operator.work(*(np.asarray(figure, dtype=float) for figure in load))
    compute, memory = flops / part.peak_flops[operator.precision], moved / part.memory_Bps
    error = log_error(curves, gap, distance, np.hypot(borrowed, borrowed_machine(source, part)))
    return Priced(seconds_at(np.maximum(compute, memory), log_u), error, compute, memory)


def mean_load(operator: Attend, load: tuple[Any, ...]) -> tuple[Any, Any]:
    """Sequences, and the length of one in a table: of as many pairs in a prefill, its context in a decode."""
    _, pairs, context, sequences = (np.asarray(figure, dtype=float) for figure in load)
    batch = np.where(sequences > 0, sequences, 1.0)
    if operator.phase == "decode":
        return batch, np.maximum(context / batch, 1.0)
    return batch, np.maximum((np.sqrt(1.0 + 8.0 * pairs / batch) - 1.0) / 2.0, 1.0)


@cache
def _lending(source: Source, phase: str, wanted: str, shape: tuple[float, ...]) -> tuple[Curves, float]:
    near = None
    for dtype in (wanted, "bfloat16" if wanted == "fp8" else "fp8"):
        borrowed = 0.0 if dtype == wanted else BORROWED_FORMAT
        for path in table_files(source, "attention", TABLES[phase]):
            curves = attention_curves(source, path, phase, dtype)
            if curves is None:
                continue
            if not borrowed and at(curves, shape, (1.0, 1.0))[2] == 0.0:
                return curves, borrowed
            near = near or (curves, borrowed)
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
    shapes[:, 3] = np.where(shapes[:, 3] == 0, NO_WINDOW, shapes[:, 3])
    return make_curves(shapes, grid.axes, grid.seconds, roofline, RULES[phase])


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
        return make_curves(grid.shapes, grid.axes, grid.seconds, roofline, STATE_RULE)
    return None
