"""Collectives from the measured tables: all-reduce, all-gather, all-to-all, experts' dispatch and combine.

The same utilisation as elsewhere, on a link: u = (bytes that must cross it / bandwidth + LAUNCH_S) / seconds.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from foretell.models.silicon_source import (
    BLACKWELL,
    Source,
    data_folder,
    hardware_of,
    table_files,
    version_key,
)
from foretell.models.silicon_tables import grid_keys, read_grid
from foretell.models.utilisation import (
    Curves,
    Estimate,
    Rule,
    at,
    log_error,
    make_curves,
    seconds_at,
)

CUSTOM_LIMIT_BYTES = 8 * 2**20
"""Above it a back end's own all-reduce gives way to NCCL (vLLM's default limit of custom_all_reduce)."""
RULE = Rule(scale=(1.0,), carry=(0.0,), per_octave=0.11, per_shape=0.26)
# shapes are (hidden size, experts a token, experts, ranks)
DISPATCH_RULE = Rule(scale=(1.0, 1.0, 0.25, 1.0), carry=(0.0, 0.0, 0.0, 0.0), per_octave=0.13, per_shape=0.3)


def all_reduce(source: Source, num_bytes: Any, ranks: int, fused: bool) -> Estimate:
    """Sum `num_bytes` over `ranks` ranks of one node.

    The back end's own kernel in a CUDA graph below CUSTOM_LIMIT_BYTES, the faster of it and NCCL above, and
    NCCL alone among more than two ranks on PCIe, where vLLM turns its own off (custom_all_reduce.py); on
    Blackwell with `fused`, TensorRT-LLM's (which vLLM takes from FlashInfer, with the norm that follows)
    where that is faster.

    Raises:
        ValueError: the system's tables have no all-reduce.

    """
    size = np.asarray(num_bytes, dtype=float)
    own, nccl = custom_curves(source, source.backend), nccl_curves(source, "all_reduce")
    if nccl is not None and ranks > 2 and hardware_of(source.system).node.intra.name.startswith("pcie"):
        own = None
    if ranks == 1 or (own is None and nccl is None):
        return _none(source, ranks, size, "all-reduce")
    roofline = crossing_s(source, size, ranks, "all_reduce")
    best = _at(own, ranks, size, roofline) if own is not None else _at(nccl, ranks, size, roofline)
    if own is not None and nccl is not None:
        best = _lesser(best, _at(nccl, ranks, size, roofline), size > CUSTOM_LIMIT_BYTES)
    other = custom_curves(source, "trtllm") if fused and source.system in BLACKWELL else None
    if other is not None:
        best = _lesser(best, _at(other, ranks, size, roofline), size <= CUSTOM_LIMIT_BYTES)
    return best


def exchange(source: Source, operation: str, num_bytes: Any, ranks: int) -> Estimate:
    """NCCL's "all_gather" or "reduce_scatter" of `num_bytes` in all, or "alltoall" of as many a rank.

    Raises:
        ValueError: the system's tables have none.

    """
    size = np.asarray(num_bytes, dtype=float)
    curves = nccl_curves(source, operation)
    if ranks == 1 or curves is None:
        return _none(source, ranks, size, operation)
    return _at(curves, ranks, size, crossing_s(source, size, ranks))


def dispatch(
    source: Source, tokens: Any, hidden_size: int, top_k: int, num_experts: int, ranks: int, mode: str
) -> Estimate:
    """DeepEP's dispatch of each rank's `tokens` to their experts, and the combination of what comes back.

    Args:
        source: the system; its own back end's tables come first.
        tokens: of one rank.
        hidden_size, top_k, num_experts: of the layer.
        ranks: that hold the experts; 8 were measured, others borrow.
        mode: "ll" (low latency, decodes) or "ht" (high throughput, prompts).

    Raises:
        ValueError: another mode, or tables without any.

    """
    if mode not in ("ll", "ht"):
        raise ValueError(f"dispatch: mode {mode!r} is neither 'll' (low latency) nor 'ht' (high throughput)")
    tokens = np.asarray(tokens, dtype=float)
    seconds, error = np.zeros(tokens.shape), np.zeros(tokens.shape)
    if ranks == 1:
        return Estimate(seconds, error)
    shape = (hidden_size, top_k, num_experts, ranks)
    for phase in ("dispatch", "combine"):
        curves = dispatch_curves(source, f"deepep_{mode}", phase)
        if curves is None:
            raise ValueError(f"silicon: no measured dispatch of experts' tokens on {source.system}")
        roofline = crossing_s(source, tokens * (2.0 * hidden_size * top_k), ranks)
        log_u, gap, distance = at(curves, shape, (tokens,))
        seconds = seconds + seconds_at(roofline, log_u)
        error = np.maximum(error, log_error(curves, gap, distance))
    return Estimate(seconds, error)


def crossing_s(source: Source, num_bytes: Any, ranks: Any, operation: str = "") -> Any:
    """Seconds at 100 % of the link's bandwidth.

    A rank sends and receives (n − 1)/n of the bytes. In an all-reduce that is all of them: no rank may keep
    its part to itself even where the switch adds (NVLink SHARP); a ring sends up to twice as much.
    """
    share = 1.0 if operation == "all_reduce" else (ranks - 1.0) / ranks
    return share * num_bytes / hardware_of(source.system).node.intra.bandwidth_Bps


@cache
def custom_curves(source: Source, backend: str) -> Curves | None:
    """Utilisation of a back end's own all-reduce over bytes, from CUDA graphs where it was timed in them."""
    other = Source(source.system, backend, source.version if backend == source.backend else None)
    for path in table_files(other, "comm", "custom_allreduce_perf", others=False):
        keys = sorted(grid_keys(path), key=lambda key: "graph" not in key[0])
        grid = read_grid(path, keys[0])
        ranks = grid.shapes
        roofline = crossing_s(source, grid.axes[0][None, :], ranks, "all_reduce")
        return make_curves(ranks, grid.axes, grid.seconds, roofline, RULE)
    return None


@cache
def nccl_curves(source: Source, operation: str) -> Curves | None:
    """Utilisation of an NCCL collective over bytes, of the newest version measured."""
    folder = data_folder() / source.system / "comm" / "nccl"
    paths = sorted(folder.glob("*/nccl_perf.parquet"), key=lambda path: version_key(path.parent.name))
    for path in reversed(paths):
        if (operation, "half") in grid_keys(path):
            grid = read_grid(path, (operation, "half"))
            sizes = 2.0 * grid.axes[0]  # the table counts elements of 2 bytes
            roofline = crossing_s(source, sizes[None, :], grid.shapes, operation)
            return make_curves(grid.shapes, (sizes,), grid.seconds, roofline, RULE)
    return None


@cache
def dispatch_curves(source: Source, mode: str, phase: str) -> Curves | None:
    """Utilisation of a DeepEP phase over a rank's tokens."""
    for path in table_files(source, "comm", "moe_a2a_perf", others=False):
        if (mode, phase) in grid_keys(path):
            grid = read_grid(path, (mode, phase))
            hidden, top_k, _, ranks = (column[:, None] for column in grid.shapes.T)
            roofline = crossing_s(source, grid.axes[0][None, :] * (2.0 * hidden * top_k), ranks)
            return make_curves(grid.shapes, grid.axes, grid.seconds, roofline, DISPATCH_RULE)
    return None


def _at(curves: Curves | None, ranks: int, size: Any, roofline: Any) -> Estimate:
    assert curves is not None
    log_u, gap, distance = at(curves, (ranks,), (size,))
    return Estimate(seconds_at(roofline, log_u), log_error(curves, gap, distance))


def _lesser(first: Estimate, second: Estimate, where: Any) -> Estimate:
    """The faster one where `where`, else the first."""
    take = where & (second.seconds < first.seconds)
    return Estimate(
        np.where(take, second.seconds, first.seconds), np.where(take, second.log_error, first.log_error)
    )


def _none(source: Source, ranks: int, size: Any, what: str) -> Estimate:
    if ranks > 1:
        raise ValueError(f"silicon: no measured {what} on {source.system}")
    return Estimate(np.zeros(size.shape), np.zeros(size.shape))
