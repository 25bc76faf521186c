"""The measured tables as dense grids of seconds, kept in a compact cache of our own.

Of every table we keep, for each text key (a number format, a phase), the shapes measured, the axes of the
load, and float32 seconds, NaN where nothing was measured. Repeated rows count once, with their minimum; a
larger load is never faster than a smaller one (a kernel chosen badly has a neighbour that shows it).
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from foretell.models.silicon_source import package_version, read_columns

Array = npt.NDArray[Any]
FORMAT = 1
"""Of the cache: raise it whenever what it holds changes."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns of a table are what.

    Attributes:
        family: folder of the table.
        keys: text columns that tell grids apart.
        shape: number columns that tell the curves of a grid apart.
        load: number columns of the load, ascending axes of a grid.
        unit_s: seconds of one unit of `latency`.
        offsets: added to a load column, by its name.
        summed: text columns over which latencies add up (kernels that run one after another).
        where: text or number that a column must have.

    """

    family: str
    keys: tuple[str, ...]
    shape: tuple[str, ...]
    load: tuple[str, ...]
    unit_s: float = 1e-3
    offsets: Mapping[str, float] | None = None
    summed: str = ""
    where: tuple[str, float] | None = None


_HEADS = ("num_heads", "num_key_value_heads", "head_dim", "window_size")
_EXPERTS = ("hidden_size", "inter_size", "topk", "num_experts", "moe_tp_size", "moe_ep_size")
_MLA = ("gemm_type", "kv_cache_dtype")
_ABSENT = {"window_size": 0.0}  # older tables have attention without windows only
LAYOUTS: Mapping[str, Layout] = {
    "gemm_perf": Layout("gemm", ("gemm_dtype",), ("n", "k"), ("m",)),
    "moe_perf": Layout("moe", ("moe_dtype", "distribution"), _EXPERTS, ("num_tokens",)),
    "context_attention_perf": Layout("attention", ("kv_cache_dtype",), _HEADS, ("batch_size", "isl")),
    "generation_attention_perf": Layout(
        "attention", ("kv_cache_dtype",), _HEADS, ("batch_size", "step"), offsets={"step": 1.0}
    ),
    "mla_context_module_perf": Layout(
        "mla", _MLA, ("num_heads",), ("batch_size", "isl"), where=("step", 0.0)
    ),
    "mla_generation_module_perf": Layout("mla", _MLA, ("num_heads",), ("batch_size", "step")),
    "gdn_perf": Layout(
        "linear_attention",
        ("phase",),
        ("num_k_heads", "num_v_heads", "head_k_dim", "head_v_dim"),
        ("batch_size", "seq_len"),
        summed="kernel_source",
    ),
    "custom_allreduce_perf": Layout("comm", ("kernel_source",), ("num_gpus",), ("message_size",)),
    "nccl_perf": Layout("comm", ("op_name", "nccl_dtype"), ("num_gpus",), ("message_size",)),
    "moe_a2a_perf": Layout(
        "comm",
        ("comm_backend", "phase"),
        ("hidden_size", "topk", "num_experts", "ep_size"),
        ("num_tokens",),
        unit_s=1e-6,
    ),
    "scale_matrix_perf": Layout("quantize", ("quant_dtype",), ("k",), ("m",)),
}


@dataclass(frozen=True, slots=True)
class Grid:
    """Seconds measured over shapes × axes of the load.

    Attributes:
        shapes: (S, P), the Layout's shape columns.
        axes: the load's values, ascending.
        seconds: (S, *axes) float32, NaN where nothing was measured.

    """

    shapes: Array
    axes: tuple[Array, ...]
    seconds: Array


def cache_folder() -> Path:
    """Where our copies of the tables are: $XDG_CACHE_HOME, or ~/.cache."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return Path(home) / "foretell" / "silicon" / f"{package_version()}-{FORMAT}"


def grid_keys(path: Path) -> tuple[tuple[str, ...], ...]:
    """Keys of a table's grids: values of its Layout's key columns."""
    return tuple(_grids(path, cache_folder()))


def read_grid(path: Path, key: tuple[str, ...]) -> Grid:
    """Read one grid of a table file, from our cache where that has it.

    Raises:
        KeyError: the table has no such key.
        ValueError: the table cannot be read.

    """
    return _read_grid(path, cache_folder(), key)


@cache
def _grids(path: Path, folder: Path) -> dict[tuple[str, ...], Any]:
    """All grids of a file by key: whole ones, or (our copy, prefix) to be read when they are wanted."""
    copy = folder.joinpath(*path.parts[-5:-1], f"{path.stem}.npz")
    with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile):
        with copy.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            names = [tuple(str(name).split("|")) for name in archive["keys"]]
        return {name: (copy, f"{index}:") for index, name in enumerate(names)}
    grids = parse(path)
    # a cache that cannot be written costs time, not correctness
    with contextlib.suppress(OSError):
        _write(copy, grids)
    return dict(grids)


@cache
def _read_grid(path: Path, folder: Path, key: tuple[str, ...]) -> Grid:
    found = _grids(path, folder)[key]
    if isinstance(found, Grid):
        return found
    copy, prefix = found
    try:
        with copy.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            axes = tuple(archive[f"{prefix}{axis}"] for axis in range(int(archive[f"{prefix}axes"])))
            return Grid(archive[f"{prefix}shapes"], axes, archive[f"{prefix}seconds"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
        return parse(path)[key]  # the copy is damaged


def _write(copy: Path, grids: Mapping[tuple[str, ...], Grid]) -> None:
    arrays: dict[str, Any] = {"keys": np.array(["|".join(key) for key in grids])}
    for index, grid in enumerate(grids.values()):
        arrays[f"{index}:shapes"] = grid.shapes
        arrays[f"{index}:seconds"] = grid.seconds
        arrays[f"{index}:axes"] = np.array(len(grid.axes))
        arrays |= {f"{index}:{axis}": values for axis, values in enumerate(grid.axes)}
    copy.parent.mkdir(parents=True, exist_ok=True)
    # written beside and renamed: a reader sees a whole file or none
    handle, beside = tempfile.mkstemp(dir=copy.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)
        Path(beside).replace(copy)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def parse(path: Path) -> dict[tuple[str, ...], Grid]:
    """Read a Parquet table into grids, cleaned.

    Raises:
        ValueError: it lacks a column.

    """
    layout = LAYOUTS[path.stem]
    texts = [*layout.keys, *([layout.summed] if layout.summed else [])]
    numbers = [*layout.shape, *layout.load, *([layout.where[0]] if layout.where else []), "latency"]
    columns = read_columns(path, texts, numbers, _ABSENT)
    good = np.isfinite(columns["latency"]) & (columns["latency"] > 0)
    if layout.where:
        good &= columns[layout.where[0]] == layout.where[1]
    grids: dict[tuple[str, ...], Grid] = {}
    names = [columns[key][1] for key in layout.keys]
    for codes in product(*(range(len(values)) for values in names)):
        rows = good.copy()
        for key, code in zip(layout.keys, codes, strict=True):
            rows &= columns[key][0] == code
        if rows.any():
            name = tuple(str(values[code]) for values, code in zip(names, codes, strict=True))
            grids[name] = _grid(layout, columns, rows)
    return grids


def _grid(layout: Layout, columns: Mapping[str, Any], rows: Array) -> Grid:
    seconds = columns["latency"][rows] * layout.unit_s
    shapes, shape = np.unique(
        np.stack([columns[name][rows] for name in layout.shape], axis=1), axis=0, return_inverse=True
    )
    axes, places = [], [shape.reshape(-1)]
    for name in layout.load:
        values, place = np.unique(columns[name][rows], return_inverse=True)
        axes.append(values + (layout.offsets or {}).get(name, 0.0))
        places.append(place)
    if layout.summed:
        codes = columns[layout.summed][0][rows]
        layers = [_least(shapes, axes, places, seconds, codes == code) for code in np.unique(codes)]
        # a point counts where all kernels that this shape ever ran were measured
        ran = [np.isfinite(layer).any(axis=tuple(range(1, layer.ndim)), keepdims=True) for layer in layers]
        table = np.sum([np.where(has, layer, 0.0) for has, layer in zip(ran, layers, strict=True)], axis=0)
    else:
        table = _least(shapes, axes, places, seconds, np.ones(len(seconds), dtype=bool))
    for axis in range(1, table.ndim):
        table = _monotone(table, axis)
    table = np.where(np.isfinite(table), table, np.nan).astype(np.float32)
    return Grid(shapes, tuple(axes), table)


def _least(
    shapes: Array,
    axes: list[Array],
    places: list[Array],
    seconds: Array,
    rows: Array,
) -> Array:
    table = np.full((len(shapes), *map(len, axes)), np.inf)
    np.minimum.at(table, tuple(place[rows] for place in places), seconds[rows])
    return table


def _monotone(table: Array, axis: int) -> Array:
    """Time that does not fall as the load grows: each point the least of itself and all larger ones."""
    least = np.flip(np.minimum.accumulate(np.flip(table, axis), axis=axis), axis)
    return np.where(np.isfinite(table), least, np.inf)
