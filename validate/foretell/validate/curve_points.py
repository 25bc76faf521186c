"""What the shipped curves are fitted on: measured points of the extra `silicon`, with the curves' scales."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from foretell.models.curve_forms import Work, attention_work, experts_work, gemm_work
from foretell.models.curves import ROUTING
from foretell.models.silicon import load_silicon
from foretell.models.silicon_attention import NO_WINDOW, TABLES, attention_curves, state_curves
from foretell.models.silicon_experts import distinct_experts, expert_curves, experts_roofline
from foretell.models.silicon_gemm import FORMATS, gemm_curves, gemm_roofline
from foretell.models.silicon_links import nccl_curves
from foretell.models.silicon_mla import LATENT, NOPE, ROPE, STAND_INS, VALUE, latent_curves
from foretell.models.silicon_source import BLACKWELL, Source, hardware_of, system_of, table_files
from foretell.models.utilisation import Curves as Table
from foretell.models.utilisation import seconds_at

Array = npt.NDArray[Any]
SAMPLE = 2500
"""Points of a curve's fit, drawn over all that were measured."""
SHORTEST, FEWEST_HEADS, MOST_RANKS = 16, 8, 64
"""Least tokens of a sequence and least heads of MLA, and most expert ranks, that the curves are fitted on:
what servers run. Beyond it they hold in form, not in error."""
RANKS = (2, 4, 8)
"""Of collectives."""


@dataclass(frozen=True, slots=True)
class Points:
    """Measured points of a family in one format on one accelerator.

    Attributes:
        work: arrays (N,) of the roofline's parts and the scales.
        seconds: (N,) measured.
        shape: (N,) integers, equal where points are of one shape.
        table: which table they come from.
        count: points measured, of which these are a sample.

    """

    work: Work
    seconds: Array
    shape: Array
    table: str
    count: int

    def at(self, rows: Array) -> Points:
        """Some of the points."""
        compute, memory, first, second = self.work
        work = Work(
            compute[rows], memory[rows], tuple(x[rows] for x in first), tuple(x[rows] for x in second)
        )
        return Points(work, self.seconds[rows], self.shape[rows], self.table, self.count)


def points_of(accelerator: str) -> Iterator[tuple[str, str, Points]]:
    """Measured points by family and format, as load_silicon picks the tables."""
    source = Source(system_of(accelerator))
    yield from _gemms(source)
    yield from _experts(source)
    for phase in TABLES:
        yield from _attention(source, phase)
        yield from _latent(source, phase)
        yield from _state(source, phase)


def _gemms(source: Source) -> Iterator[tuple[str, str, Points]]:
    for name, form in FORMATS.items():
        table = gemm_curves(source, name) if name != "fp8_block" else None
        if table is not None:
            at, _, (n, k, m) = _measured(table)
            compute, memory = gemm_roofline(m, n, k, form, hardware_of(source.system).accelerator)
            path = table_files(source, "gemm", "gemm_perf")[0]
            shape = at[1] * len(table.axes[1]) + at[2]
            yield "gemm", name, _points(gemm_work(compute, memory, m, n, k), table, at, shape, path)


def _experts(source: Source) -> Iterator[tuple[str, str, Points]]:
    for name, form in FORMATS.items():
        for path in table_files(source, "moe", "moe_perf"):
            table = expert_curves(source, path, name, ROUTING)
            if table is None:
                continue
            at, shape, (tokens,) = _measured(table, lambda shape, _: shape[4] <= MOST_RANKS)
            part = hardware_of(source.system).accelerator
            compute, memory = experts_roofline(tokens, tuple(shape), form, part, ROUTING)
            distinct = distinct_experts(tokens, shape[3], shape[2], ROUTING) / shape[4]
            work = experts_work(compute, memory, distinct, shape[1], shape[4])
            yield "experts", name, _points(work, table, at, at[0], path)
            break


def _attention(source: Source, phase: str) -> Iterator[tuple[str, str, Points]]:
    part = hardware_of(source.system).accelerator
    for name, kv_bytes in (("bfloat16", 2.0), ("fp8", 1.0)):
        for path in table_files(source, "attention", TABLES[phase]):
            table = attention_curves(source, path, phase, name)
            if table is None:
                continue
            at, shape, (batch, length) = _measured(table, lambda _, load: load[1] >= SHORTEST)
            heads, kv_heads, head_dim, window = shape
            window = np.where(window >= NO_WINDOW, np.inf, window)
            queries = batch * (length if phase == "prefill" else 1.0)
            pairs = batch * (length * (length + 1.0) / 2.0 if phase == "prefill" else length)
            compute = 4.0 * heads * head_dim * np.minimum(pairs, queries * window) / part.peak_flops["bf16"]
            context = np.minimum(batch * length, batch * (window - 1.0) + queries)
            moved = 2.0 * head_dim * (kv_heads * kv_bytes * context + heads * 2.0 * queries)
            work = attention_work(
                f"{phase}_attention",
                compute,
                moved / part.memory_Bps,
                (heads, kv_heads, head_dim, window, kv_bytes),
                batch,
                length,
                queries,
            )
            yield f"{phase}_attention", name, _points(work, table, at, at[0], path)
            break


def _latent(source: Source, phase: str) -> Iterator[tuple[str, str, Points]]:
    """As silicon_mla has it, stand-ins and all."""
    stand_in = Source(STAND_INS.get(source.system, source.system), source.backend, source.version)
    part, latent = hardware_of(stand_in.system).accelerator, LATENT + ROPE
    for name, kv_bytes in (("bfloat16", 2.0), ("fp8", 1.0)):
        table = latent_curves(source, phase, name)
        if table is None:
            continue
        at, (heads,), (batch, length) = _measured(
            table, lambda shape, load: (load[1] >= SHORTEST) & (shape[0] >= FEWEST_HEADS)
        )
        if phase == "prefill":
            queries = batch * length
            flops = heads * (NOPE + ROPE + VALUE) * queries * (length + 1.0)
            moved = (latent * kv_bytes + heads * (NOPE + VALUE) * 2.0) * queries
            moved = moved + heads * (NOPE + ROPE + VALUE) * 2.0 * queries
        else:
            queries = batch
            flops = 2.0 * heads * (latent + LATENT) * batch * length
            moved = latent * kv_bytes * batch * length + heads * (latent + LATENT) * 2.0 * batch
        work = attention_work(
            f"{phase}_latent",
            flops / part.peak_flops["bf16"],
            moved / part.memory_Bps,
            (heads, heads, latent, np.inf, kv_bytes),
            batch,
            length,
            queries,
        )
        stem = "mla_context_module_perf" if phase == "prefill" else "mla_generation_module_perf"
        shape = at[0] * len(table.axes[0]) + at[1]
        path = table_files(stand_in, "mla", stem)[0]
        yield f"{phase}_latent", name, _points(work, table, at, shape, path)


def _state(source: Source, phase: str) -> Iterator[tuple[str, str, Points]]:
    table = state_curves(source, phase)
    if table is None:
        return
    at, (key_heads, heads, key_dim, value_dim), (batch, length) = _measured(table)
    part = hardware_of(source.system).accelerator
    state, queries = heads * key_dim * value_dim, batch * length
    moved = 4.0 * (key_heads * key_dim + heads * value_dim) * queries + 8.0 * state * batch
    work = attention_work(
        f"{phase}_state",
        4.0 * state * queries / part.peak_flops["bf16"],
        moved / part.memory_Bps,
        (heads, heads, key_dim, np.inf, 4.0),
        batch,
        length,
        queries,
    )
    path = table_files(source, "linear_attention", "gdn_perf")[0]
    shape = at[0] * len(table.axes[0]) + at[1]
    yield f"{phase}_state", "bfloat16", _points(work, table, at, shape, path)


def _measured(table: Table, where: Any = None) -> tuple[tuple[Array, ...], Array, list[Array]]:
    """Places of the measured points, their shapes (P, N) and loads."""
    at = np.nonzero(table.gaps == 0)
    shape = 2.0 ** table.shapes[at[0]].T
    load = [2.0 ** axis[place] for axis, place in zip(table.axes, at[1:], strict=True)]
    if where is None:
        return at, shape, load
    rows = where(shape, load)
    return tuple(place[rows] for place in at), shape[:, rows], [values[rows] for values in load]


def _points(work: Work, table: Table, at: tuple[Array, ...], shape: Array, path: Path) -> Points:
    seconds = seconds_at(np.maximum(work.compute_s, work.memory_s), table.log_u[at])
    count = len(seconds)
    spread = [tuple(np.broadcast_to(x, count) for x in scales) for scales in work[2:]]
    whole = Points(
        Work(work.compute_s, work.memory_s, *spread),
        seconds,
        shape,
        f"{path.parts[-3]} {path.parts[-2]}",
        count,
    )
    rows = np.arange(count)
    if count > SAMPLE:
        rows = np.sort(np.random.default_rng(np.random.SeedSequence(0)).choice(count, SAMPLE, replace=False))
    return whole.at(rows)


def links_of(accelerator: str) -> Iterator[tuple[str, int, Array, Array]]:
    """Collectives by operation and ranks: seconds at the link's whole bandwidth, and those measured."""
    silicon = load_silicon(accelerator)
    source, link = silicon.source, hardware_of(silicon.source.system).node.intra
    sizes = 2.0 ** np.arange(10.0, 29.0)
    crossing = sizes / link.bandwidth_Bps
    for ranks in RANKS:
        yield "all_reduce", ranks, crossing, silicon.all_reduce_s(sizes, ranks, fused=False)
        if source.system in BLACKWELL:
            yield "all_reduce_fused", ranks, crossing, silicon.all_reduce_s(sizes, ranks, fused=True)
        if nccl_curves(source, "all_gather") is not None:
            share = (ranks - 1.0) / ranks
            yield "all_gather", ranks, share * crossing, silicon.all_gather_s(sizes, ranks)
