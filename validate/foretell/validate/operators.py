"""How far the interpolation of measured operators is off, family by family and accelerator by accelerator.

Two tests. "point": one measured point is left out and told by all others. "shape": all points of a shape (of
a matrix its n and k; a model's heads; its experts on so many ranks) are left out and told by the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from foretell.models import silicon_links as links
from foretell.models.silicon_attention import TABLES, attention_curves, state_curves
from foretell.models.silicon_experts import expert_curves
from foretell.models.silicon_gemm import FORMATS, gemm_curves
from foretell.models.silicon_mla import STAND_INS, latent_curves, module_parts
from foretell.models.silicon_source import SYSTEMS, Source, system_of, table_files
from foretell.models.silicon_tables import grid_keys
from foretell.models.utilisation import Curves, at, from_neighbours, left_out, log_error

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]
PUBLISHED = {("gemm", "point"): 0.049, ("gemm", "shape"): 0.036, ("prefill attention", "point"): 0.020}
"""Median errors that aiconfigurator's authors give for their interpolation of the same tables (2026)."""
_Z90 = 1.645


@dataclass(frozen=True, slots=True)
class _Family:
    """Curves of a family, and the share of the measured time that they tell (the rest is not theirs)."""

    name: str
    curves: Curves
    share: Array


def operator_errors(
    accelerators: Sequence[str] | None = None, sample: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Errors of the interpolation on the newest vLLM tables, in the median and for nine of ten points.

    Args:
        accelerators: names of silicon_source.SYSTEMS, None for all.
        sample: points of each family and test, drawn over all its formats.
        seed: of the drawing.

    Returns:
        One row an accelerator, family and test: accelerator, family, test, points, median_error and p90_error
        (relative, of seconds), coverage_90 (share within the 90 % interval of our own log-error), published
        (aiconfigurator's median, NaN where none is).

    Raises:
        ValueError: the extra `silicon` is missing, an unknown accelerator, or sample < 1.

    """
    import pandas as pd

    if sample < 1:
        raise ValueError(f"operator_errors: sample {sample!r} is not a number of points >= 1")
    rows = []
    for accelerator in accelerators or tuple(SYSTEMS):
        families: dict[tuple[str, str], list[tuple[Array, Array]]] = {}
        for family in _families(Source(system_of(accelerator))):
            for test, result in (("point", _points(family)), ("shape", _shapes(family))):
                if result[0].size:
                    families.setdefault((family.name, test), []).append(result)
        streams = np.random.SeedSequence(seed).spawn(len(families))
        for ((name, test), parts), stream in zip(families.items(), streams, strict=True):
            errors, covered = (np.concatenate(column) for column in zip(*parts, strict=True))
            if len(errors) > sample:
                drawn = np.random.default_rng(stream).choice(len(errors), sample, replace=False)
                errors, covered = errors[drawn], covered[drawn]
            rows.append(
                {
                    "accelerator": accelerator,
                    "family": name,
                    "test": test,
                    "points": len(errors),
                    "median_error": float(np.median(errors)),
                    "p90_error": float(np.quantile(errors, 0.9)),
                    "coverage_90": float(covered.mean()),
                    "published": PUBLISHED.get((name, test), float("nan")),
                }
            )
    return pd.DataFrame(rows)


def _families(source: Source) -> Iterator[_Family]:
    for dtype in FORMATS:
        curves = gemm_curves(source, dtype)
        if curves is not None:
            yield _whole("gemm", curves)
    for phase, table in TABLES.items():
        for path in table_files(source, "attention", table)[:1]:
            for dtype in ("bfloat16", "fp8"):
                curves = attention_curves(source, path, phase, dtype)
                if curves is not None:
                    yield _whole(f"{phase} attention", curves)
    for path in table_files(source, "moe", "moe_perf")[:1]:
        for dtype, distribution in grid_keys(path):
            curves = expert_curves(source, path, dtype, distribution)
            if curves is not None:
                yield _whole("experts", curves)
    for phase in TABLES:
        for dtype in ("bfloat16", "fp8"):
            curves, parts = latent_curves(source, phase, dtype), module_parts(source, phase, dtype)
            if curves is not None and parts is not None and source.system not in STAND_INS:
                yield _Family(f"{phase} MLA module", curves, parts.attention_s / parts.module_s)
        curves = state_curves(source, phase)
        if curves is not None:
            yield _whole(f"{phase} linear attention", curves)
    custom = links.custom_curves(source, source.backend)
    if custom is not None:
        yield _whole("custom all-reduce", custom)
    for operation in ("all_reduce", "all_gather", "reduce_scatter", "alltoall"):
        curves = links.nccl_curves(source, operation)
        if curves is not None:
            yield _whole("NCCL", curves)
    for mode, phase in (("ll", "dispatch"), ("ll", "combine"), ("ht", "dispatch"), ("ht", "combine")):
        curves = links.dispatch_curves(source, f"deepep_{mode}", phase)
        if curves is not None:
            yield _whole("expert dispatch", curves)


def _whole(name: str, curves: Curves) -> _Family:
    return _Family(name, curves, np.ones_like(curves.log_u))


def _points(family: _Family) -> tuple[Array, Array]:
    """Relative errors of each measured point told by the others, and whether our interval holds it."""
    curves = family.curves
    log_u = np.where(curves.gaps == 0, curves.log_u, np.nan)
    guess, gap = left_out(curves.shapes, curves.axes, log_u, curves.rule)
    return _result(family, log_u, guess, log_error(curves, gap, 0.0))


def _shapes(family: _Family) -> tuple[Array, Array]:
    """Relative errors of each measured point told by other shapes, and whether our interval holds it."""
    curves = family.curves
    log_u = np.where(curves.gaps == 0, curves.log_u, np.nan)
    if not curves.shapes.shape[1]:
        like, gap = from_neighbours(np.moveaxis(log_u, -1, 1), curves.axes[:-1])
        return _result(
            family, log_u, np.moveaxis(like, 1, -1), log_error(curves, np.moveaxis(gap, 1, -1), 0.0)
        )
    guess, error = np.full_like(log_u, np.nan), np.full_like(log_u, np.nan)
    if len(curves.shapes) < 2:
        return _result(family, log_u, guess, error)
    load = np.meshgrid(*(2.0**axis for axis in curves.axes), indexing="ij")
    for place, shape in enumerate(curves.shapes):
        others = replace(
            curves,
            shapes=np.delete(curves.shapes, place, axis=0),
            log_u=np.delete(curves.log_u, place, axis=0),
            gaps=np.delete(curves.gaps, place, axis=0),
        )
        guess[place], gap, distance = at(others, tuple(2.0**shape), tuple(load))
        error[place] = log_error(others, gap, distance)
    return _result(family, log_u, guess, error)


def _result(family: _Family, log_u: Array, guess: Array, error: Array) -> tuple[Array, Array]:
    told = np.isfinite(log_u) & np.isfinite(guess)
    off = (log_u - guess)[told]  # of the logarithm of seconds
    return np.abs(np.expm1(off)) * family.share[told], np.abs(off) <= _Z90 * error[told]
