"""What the measured tables of operators are like, for docs/silicon.md and curves.md: JSON on stdout.

    python docs/measure_tables.py [ACCELERATOR ...]

By accelerator: `fp8_block_least_s` and `bf16_least_s`, the fastest of vLLM's matrices in either format;
`beat_the_roofline`, the share of bf16 matrices faster than 100 % of the peaks allow; `mla_host_s`, what even
the smallest MLA module leaves beside projections and an attention kernel (least and most of its tables);
`mla_attention_share`, what is left of a whole module's time (5th and 95th percentile, prompts under 2,000
tokens); `all_reduce_reaches`, the greatest share of a link's bandwidth by ranks.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from foretell.models.silicon_gemm import FORMATS, gemm_roofline
from foretell.models.silicon_mla import beside_projections, host_s, module_parts
from foretell.models.silicon_source import SYSTEMS, Source, hardware_of, system_of, table_files
from foretell.models.silicon_tables import Grid, grid_keys, read_grid
from foretell.validate.curve_points import links_of

SHORT = 2000
"""Tokens of a prompt under which MLA's share is told."""


def least_s(source: Source, dtype: str) -> float | None:
    """The fastest matrix of a format in the newest table of vLLM's, None where it has none."""
    grid = _matrices(source, dtype)
    return None if grid is None else float(np.nanmin(grid.seconds))


def beat_the_roofline(source: Source) -> float | None:
    """Share of bf16 matrices that are faster than their roofline at 100 % of the peaks."""
    grid = _matrices(source, "bfloat16")
    if grid is None:
        return None
    n, k = (grid.shapes[:, place][:, None] for place in (0, 1))
    peaks = hardware_of(source.system).accelerator
    roofline = np.maximum(*gemm_roofline(grid.axes[0][None, :], n, k, FORMATS["bfloat16"], peaks))
    known = np.isfinite(grid.seconds)
    return float((grid.seconds < roofline)[known].mean())


def mla_host_s(source: Source) -> list[float] | None:
    """The least and the most of its tables, on this accelerator's own."""
    found = [host_s(left) for _, left in _modules(source)]
    return [min(found), max(found)] if found else None


def mla_attention_share(source: Source) -> list[float] | None:
    """Attention's share of a module's time, prompts under SHORT tokens: 5th and 95th percentile."""
    shares = []
    for dtype in ("bfloat16", "fp8"):
        parts = module_parts(source, "prefill", dtype)
        if parts is not None:
            share = (parts.attention_s / parts.module_s)[:, :, parts.axes[1] < SHORT]
            shares.append(share[np.isfinite(share)])
    if not shares:
        return None
    low, high = np.quantile(np.concatenate(shares), [0.05, 0.95])
    return [float(low), float(high)]


def all_reduce_reaches(accelerator: str) -> dict[str, float]:
    """The greatest share of a link's bandwidth that an all-reduce reaches, by ranks."""
    return {
        str(ranks): float(np.max(crossing / seconds))
        for operation, ranks, crossing, seconds in links_of(accelerator)
        if operation == "all_reduce"
    }


def measure(accelerators: Sequence[str]) -> dict[str, Any]:
    """All of it, by accelerator."""
    found = {}
    for accelerator in accelerators:
        source = Source(system_of(accelerator))
        found[accelerator] = {
            "bf16_least_s": least_s(source, "bfloat16"),
            "fp8_block_least_s": least_s(source, "fp8_block"),
            "beat_the_roofline": beat_the_roofline(source),
            "mla_host_s": mla_host_s(source),
            "mla_attention_share": mla_attention_share(source),
            "all_reduce_reaches": all_reduce_reaches(accelerator),
        }
    return found


def _matrices(source: Source, dtype: str) -> Grid | None:
    paths = [path for path in table_files(source, "gemm", "gemm_perf") if "vllm" in path.parts]
    path = next((path for path in paths if (dtype,) in grid_keys(path)), None)
    return None if path is None else read_grid(path, (dtype,))


def _modules(source: Source) -> Iterator[tuple[Grid, Any]]:
    for phase in ("prefill", "decode"):
        for dtype in ("bfloat16", "fp8"):
            found = beside_projections(source, phase, dtype)
            if found is not None:
                yield found


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1:] or tuple(SYSTEMS)), indent=2))
