"""Routed experts from the measured tables.

The tables have three routings: balanced, and two power laws, under which an expert's share of the tokens is
drawn from a density ∝ share^-α between 1 token and 0.8 of them all. Their roofline reads the distinct experts
that such a routing reaches, which are fewer than a balanced one does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from foretell.models.operators import Experts
from foretell.models.silicon_gemm import (
    BORROWED_FORMAT,
    FORMATS,
    Format,
    Peaks,
    Priced,
    borrowed_machine,
    peak_of,
)
from foretell.models.silicon_source import BLACKWELL, Source, hardware_of, table_files
from foretell.models.silicon_tables import grid_keys, read_grid
from foretell.models.utilisation import Curves, Rule, at, log_error, make_curves, seconds_at

_FOUR_BITS_WIDE = ("int4_wo", "w4a16_mxfp4")  # stored in 4 bits, multiplied in 16
_EXPERT_TABLES: Mapping[str, tuple[str, ...]] = {
    "fp8": ("fp8_block", "fp8"),
    "nvfp4": ("nvfp4", *_FOUR_BITS_WIDE),
    "fp4": ("nvfp4", *_FOUR_BITS_WIDE),
    "mxfp4": ("w4a16_mxfp4", "int4_wo"),
    "int4": _FOUR_BITS_WIDE,
}
RULE = Rule(scale=(1.0, 1.0, 1.0, 1.0, 0.5), carry=(0.0, 0.0, 1.0, -1.0, 0.0), per_octave=0.1, per_shape=0.27)
"""Shapes are (hidden size, a rank's width, experts a token, experts, expert ranks); lenders are asked at as
many tokens an expert."""
_QUANTILES = (np.arange(32) + 0.5) / 32


@cache
def expert_curves(source: Source, path: Path, dtype: str, distribution: str) -> Curves | None:
    """Utilisation of a format's experts over tokens in one table, None where it has none."""
    if (dtype, distribution) not in grid_keys(path):
        return None
    grid = read_grid(path, (dtype, distribution))
    hidden, whole, top_k, experts, tensor, ranks = (column[:, None] for column in grid.shapes.T)
    shape = (hidden, whole / tensor, top_k, experts, ranks)
    part = hardware_of(source.system).accelerator
    roofline = np.maximum(*experts_roofline(grid.axes[0][None, :], shape, FORMATS[dtype], part, distribution))
    return make_curves(np.concatenate(shape, axis=1), grid.axes, grid.seconds, roofline, RULE)


def experts_roofline(
    tokens: Any,
    shape: tuple[Any, ...],
    form: Format,
    part: Peaks,
    distribution: str,
    matrices: float = 3.0,
) -> tuple[Any, Any]:
    """Seconds at 100 % of the peaks on one rank that has its even share of pairs and experts.

    Args:
        tokens: of all ranks that share the experts.
        shape: hidden size, this rank's width of an expert, experts a token, experts, expert ranks.
        form: what the weights are.
        part: where.
        distribution: the tables' name of a routing.
        matrices: of an expert.

    """
    hidden, width, top_k, experts, ranks = shape
    pairs = tokens * top_k / ranks
    distinct = distinct_experts(tokens, experts, top_k, distribution) / ranks
    weights = matrices * hidden * width
    moved = weights * form.weight * distinct
    moved = moved + pairs * (hidden * (form.activation + 2.0) + 2.0 * matrices * width * 2.0)
    return 2.0 * weights * pairs / peak_of(part, form.peak), moved / part.memory_Bps


def distinct_experts(tokens: Any, experts: Any, top_k: Any, distribution: str) -> Any:
    """Experts that at least one of the tokens reaches, expected over the routing; arrays broadcast."""
    tokens, experts = np.asarray(tokens, dtype=float), np.asarray(experts, dtype=float)
    if distribution == "balanced":
        # as moe.expected_distinct_experts, over arrays of shapes
        return -experts * np.expm1(tokens * np.log1p(-np.minimum(top_k / experts, 1.0 - 1e-12)))
    alpha = float(distribution.rpartition("_")[2])
    most = np.maximum(0.8 * tokens, 1.0 + 1e-6)[..., None] ** (1.0 - alpha)
    share = (1.0 + (most - 1.0) * _QUANTILES) ** (1.0 / (1.0 - alpha))
    mean = (tokens * top_k / experts)[..., None]
    return -experts * np.expm1(-mean * share / share.mean(axis=-1, keepdims=True)).mean(axis=-1)


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
    curves, name = _lending(source, names, routing, shape)
    held = operator.hidden_size * operator.intermediate_size
    form, borrowed = FORMATS[name], 0.0
    if name == "bfloat16" and names[0] != "bfloat16":
        form = Format(operator.expert_bytes / (operator.flops_per / 2.0), 2.0, operator.precision)
        borrowed = BORROWED_FORMAT
    tokens = np.asarray(x, dtype=float) * operator.tokens_per_token
    compute, memory = experts_roofline(tokens, shape, form, part, routing, operator.flops_per / (2.0 * held))
    if operator.popularity:
        skew = _skew(operator, x, part)
        compute, memory = compute * skew, memory * skew
    log_u, gap, distance = at(curves, shape, (tokens,))
    error = log_error(curves, gap, distance, np.hypot(borrowed, borrowed_machine(source, part)))
    return Priced(seconds_at(np.maximum(compute, memory), log_u), error, compute, memory)


@cache
def _lending(
    source: Source, names: tuple[str, ...], distribution: str, shape: tuple[float, ...]
) -> tuple[Curves, str]:
    near = None
    for name in names:
        if near is not None and name == "bfloat16":
            break
        for path in table_files(source, "moe", "moe_perf"):
            curves = expert_curves(source, path, name, distribution)
            if curves is None:
                continue
            if at(curves, shape, (1.0,))[2] == 0.0:
                return curves, name
            near = near or (curves, name)
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
