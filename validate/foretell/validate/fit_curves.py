"""Fit the shipped curves on the measured tables of the extra `silicon`, and write them with their errors.

    python -m foretell.validate.fit_curves [FILE | --json]

rewrites models' data/curves.toml; with --json it prints the errors and writes nothing.

Every curve is fitted on all its points, and three times on two thirds of its shapes to tell the others, which
gives its error. The pooled curves are fitted on all accelerators, chips weighing alike; their error is that
on a chip that was left out.
"""

from __future__ import annotations

import datetime
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from foretell.models.curve_forms import Curve, LinkCurve, Work
from foretell.models.silicon_gemm import BORROWED_MACHINE
from foretell.models.silicon_mla import STAND_INS
from foretell.models.silicon_source import PACKAGE, SYSTEMS, hardware_of, package_version, system_of
from foretell.validate.curve_points import Points, links_of, points_of

Array = npt.NDArray[Any]
FOLDS = 3
TABLE = "vllm 0.24.0"
"""Back end and version of most tables."""
FEWEST = 20
"""Points of a curve."""
CHIPS: Mapping[str, str] = {
    "h200": "h100-sxm",
    "b300": "b200",
    "gb200": "b200",
    "gb300": "b200",
}
"""Accelerators with the cores of another: they are left out together."""
SLOW_LINKS = ("l40s",)
"""Not in the pooled links, but in their error: its 8 ranks reached 4 % of PCIe, RTX PRO 6000's 22 %."""
WIRES = ("nvlink", "pcie")
_SOFT = 0.2
"""Log-errors beyond it count less: kernels chosen badly."""


class Errors(NamedTuple):
    """Of the logarithm of seconds: the median of its size, and the root mean square."""

    median: float
    rms: float


def fit_curve(points: Points, weights: Array | None = None) -> Curve:
    """Fit a curve's figures to the logarithm of seconds, in bounds that keep it from beating the peaks.

    Args:
        points: what was measured.
        weights: (N,) of points, None for equal ones.

    """
    from scipy.optimize import least_squares

    work, log_s = points.work, np.log(points.seconds)
    weigh = np.ones(len(log_s)) if weights is None else np.sqrt(weights)
    scales = (*work.compute_scales, *work.memory_scales)
    shortest = float(points.seconds.min())
    # logarithms of: launch, the fractions, sharpness, halves
    typical = [float(np.log(np.median(x))) for x in scales]
    low = np.array([np.log(1e-8), -5.0, -5.0, 0.0, *(float(np.log(x.min())) - 8.0 for x in scales)])
    high = np.array([np.log(5 * shortest), 0.0, 0.0, 2.1, *(float(np.log(x.max())) + 4.0 for x in scales)])
    start = np.array([np.log(0.7 * shortest), -0.3, -0.2, 0.7, *(value - 2.0 for value in typical)])

    def off(figures: Array) -> Array:
        told = _curve(figures, len(work.compute_scales)).seconds(work)
        return np.asarray(weigh * (np.log(told) - log_s))

    found = least_squares(
        off,
        np.clip(start, low + 1e-3, high - 1e-3),
        bounds=(low, high),
        loss="soft_l1",
        f_scale=_SOFT,
        max_nfev=80,
    )
    return _curve(found.x, len(work.compute_scales))


def _curve(figures: Array, compute_scales: int, error: float = 0.0) -> Curve:
    launch, compute, memory, sharpness, *halves = (float(value) for value in np.exp(figures))
    return Curve(
        launch,
        min(compute, 1.0),
        min(memory, 1.0),
        max(sharpness, 1.0),
        tuple(halves[:compute_scales]),
        tuple(halves[compute_scales:]),
        error,
    )


def log_errors(curve: Curve, points: Points) -> Array:
    """Logarithm of the curve's seconds over the measured ones."""
    return np.asarray(np.log(curve.seconds(points.work) / points.seconds))


def held_out(points: Points, folds: int = FOLDS) -> Errors:
    """Errors on shapes that the fit did not see."""
    _, place = np.unique(points.shape, return_inverse=True)
    order = np.random.default_rng(np.random.SeedSequence(1)).permutation(place.max() + 1)
    fold, off = order[place] % folds, np.zeros(len(place))
    for mine in range(folds):
        if (fold == mine).all():  # one shape alone
            return errors(log_errors(fit_curve(points), points))
        if (fold == mine).any():
            curve = fit_curve(points.at(fold != mine))
            off[fold == mine] = log_errors(curve, points.at(fold == mine))
    return errors(off)


def errors(off: Array) -> Errors:
    """Median size and root mean square."""
    return Errors(float(np.median(np.abs(off))), float(np.sqrt(np.mean(off**2))))


def fit_pooled(parts: Mapping[str, Points]) -> Curve:
    """One curve for several accelerators, all chips weighing as much."""
    works = [part.work for part in parts.values()]
    work = Work(
        np.concatenate([each.compute_s for each in works]),
        np.concatenate([each.memory_s for each in works]),
        *(
            tuple(np.concatenate(scale) for scale in zip(*(each[place] for each in works), strict=True))
            for place in (2, 3)
        ),
    )
    seconds = np.concatenate([part.seconds for part in parts.values()])
    weights = np.concatenate(
        [
            np.full(len(part.seconds), 1.0 / (len(part.seconds) * _alike(name, parts)))
            for name, part in parts.items()
        ]
    )
    joint = Points(work, seconds, np.zeros(len(seconds)), "", len(seconds))
    return fit_curve(joint, weights / weights.mean())


def fit_link(crossing_s: Array, seconds: Array, weights: Array | None = None) -> LinkCurve:
    """Fit a collective's curve; `crossing_s` is what the link's whole bandwidth would take."""
    from scipy.optimize import least_squares

    weigh = np.ones(len(seconds)) if weights is None else np.sqrt(weights)
    shortest = float(seconds.min())
    low, high = np.array([np.log(1e-7), -6.0, -25.0]), np.array([np.log(2 * shortest), 0.0, 0.0])

    def off(figures: Array) -> Array:
        return np.asarray(weigh * np.log(_link(figures).seconds(crossing_s) / seconds))

    start = np.array([np.log(0.8 * shortest), -0.3, np.log(1e-5)])
    return _link(least_squares(off, start, bounds=(low, high), loss="soft_l1", f_scale=_SOFT).x)


def _link(figures: Array) -> LinkCurve:
    latency, bandwidth, half = (float(value) for value in np.exp(figures))
    return LinkCurve(latency, min(bandwidth, 1.0), half, 0.0)


def chip_of(accelerator: str) -> str:
    """The accelerator whose cores it has."""
    return CHIPS.get(accelerator, accelerator)


def left_out(parts: Mapping[str, Points]) -> Errors | None:
    """Errors of pooled curves on each chip left out, chips weighing alike; None of one chip alone."""
    chips = sorted({chip_of(name) for name in parts})
    if len(chips) < 2:
        return None
    found = []
    for chip in chips:
        curve = fit_pooled({name: part for name, part in parts.items() if chip_of(name) != chip})
        mine = [log_errors(curve, part) for name, part in parts.items() if chip_of(name) == chip]
        found.append(errors(np.concatenate(mine)))
    return Errors(
        float(np.mean([each.median for each in found])),
        float(np.sqrt(np.mean([each.rms**2 for each in found]))),
    )


def fit_all(accelerators: Sequence[str] = tuple(SYSTEMS)) -> dict[str, Any]:
    """Everything that data/curves.toml holds.

    Raises:
        ValueError: the extra `silicon` is missing, or an unknown accelerator.

    """
    kernels: dict[str, dict[str, dict[str, Points]]] = {}
    record: dict[str, Any] = {"source": _source(), "pooled": {"kernels": {}}, "accelerators": {}}
    for accelerator in accelerators:
        mine: dict[str, Any] = {}
        for family, name, points in points_of(accelerator):
            if points.count < FEWEST:
                continue
            lent = family.endswith("latent") and system_of(accelerator) in STAND_INS
            if not lent:
                kernels.setdefault(family, {}).setdefault(name, {})[accelerator] = points
            error = held_out(points)
            if lent and chip_of(accelerator) == accelerator:
                error = Errors(error.median, float(np.hypot(error.rms, BORROWED_MACHINE)))
            figures = _figures(fit_curve(points), points, error)
            mine.setdefault(family, {})[name] = figures | (
                {"table": points.table} if points.table != TABLE else {}
            )
        record["accelerators"][accelerator] = {"kernels": mine, "links": _links([accelerator])}
    for family, formats in kernels.items():
        for name, parts in formats.items():
            error_elsewhere = left_out(parts)
            if error_elsewhere is not None:
                whole = next(iter(parts.values()))
                figures = _figures(fit_pooled(parts), whole, error_elsewhere)
                figures["points"] = sum(part.count for part in parts.values())
                record["pooled"]["kernels"].setdefault(family, {})[name] = figures
    for wires in WIRES:
        of = [name for name in accelerators if wires in hardware_of(system_of(name)).node.intra.name]
        if of:
            record["pooled"][wires] = _links(of)
    return record


def _source() -> dict[str, Any]:
    return {
        "package": PACKAGE,
        "version": package_version(),
        "licence": "Apache-2.0",
        "table": TABLE,
        "fitted": datetime.datetime.now(datetime.UTC).date(),
        "by": "python -m foretell.validate.fit_curves",
    }


def _figures(curve: Curve, points: Points, error: Errors) -> dict[str, Any]:
    """A curve's record; halves too small to be felt are none."""
    scales = (points.work.compute_scales, points.work.memory_scales)
    halves = [
        [0.0 if half < 1e-3 * float(np.min(scale)) else half for half, scale in zip(own, of, strict=True)]
        for own, of in zip((curve.compute_halves, curve.memory_halves), scales, strict=True)
    ]
    return {
        "launch_s": curve.launch_s,
        "compute": curve.compute,
        "memory": curve.memory,
        "p": curve.sharpness,
        **{key: own for key, own in zip("hg", halves, strict=True) if own},
        "median": round(error.median, 2),
        "error": round(error.rms, 2),
        "points": points.count,
    }


def _links(accelerators: Sequence[str]) -> dict[str, Any]:
    """Collectives of one accelerator, or of several together with the error of chips left out."""
    found: dict[tuple[str, int], dict[str, tuple[Array, Array]]] = {}
    for accelerator in accelerators:
        for operation, ranks, crossing, seconds in links_of(accelerator):
            found.setdefault((operation, ranks), {})[accelerator] = (crossing, seconds)
    chips = sorted({chip_of(name) for name in accelerators})
    record: dict[str, Any] = {}
    for (operation, ranks), parts in found.items():
        if len(accelerators) > 1 and operation == "all_reduce_fused":
            continue  # of one vendor's kernels on one chip
        off = []
        for place in range(FOLDS) if len(chips) < 2 else range(len(chips)):
            kept, mine = {}, {}
            for name, (crossing, seconds) in parts.items():
                # every third size, or a chip
                out = np.arange(len(seconds)) % FOLDS == place
                if len(chips) > 1:
                    out = np.full(len(seconds), chip_of(name) == chips[place])
                kept[name] = (crossing[~out], seconds[~out])
                mine[name] = (crossing[out], seconds[out])
            curve = _fit_links(kept)
            off += [np.log(curve.seconds(crossing) / seconds) for crossing, seconds in mine.values()]
        usual = {name: part for name, part in parts.items() if name not in SLOW_LINKS}
        curve, error = _fit_links(usual or parts), errors(np.concatenate(off))
        record.setdefault(operation, {})[str(ranks)] = {
            "latency_s": curve.latency_s,
            "bandwidth": curve.bandwidth,
            "half_s": curve.half_s,
            "median": round(error.median, 2),
            "error": round(error.rms, 2),
        }
    return record


def _fit_links(parts: Mapping[str, tuple[Array, Array]]) -> LinkCurve:
    crossing, seconds = (np.concatenate(column) for column in zip(*parts.values(), strict=True))
    weights = np.concatenate([np.full(len(s), 1.0 / _alike(name, parts)) for name, (_, s) in parts.items()])
    return fit_link(crossing, seconds, weights / weights.mean())


def _alike(accelerator: str, among: Mapping[str, Any]) -> int:
    """How many of them have its cores."""
    return sum(chip_of(name) == chip_of(accelerator) for name in among)


def to_toml(record: Mapping[str, Any]) -> str:
    """The record as TOML, a curve a line, numbers to three figures."""
    return "\n".join(_lines(record, ())) + "\n"


def _lines(record: Mapping[str, Any], where: tuple[str, ...]) -> Iterator[str]:
    plain = {key: value for key, value in record.items() if not _is_table(value)}
    if plain:
        yield f"\n[{'.'.join(where)}]"
        yield from (f"{key} = {_value(value)}" for key, value in plain.items())
    for key, value in record.items():
        if _is_table(value):
            yield from _lines(value, (*where, key))


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and "error" not in value


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(_value(each) for each in value)}]"
    if isinstance(value, float):
        return re.sub("e([-+])0", r"e\1", f"{value:.3g}")
    return f'"{value}"' if isinstance(value, str) else str(value)


HEAD = """\
# Curves of operators by accelerator, family and number format, fitted on measured tables; docs/curves.md.
# Kernels: seconds = launch_s + (c^p + m^p)^(1/p), c = compute seconds (1 + sum of h / scales) / compute,
# and m likewise with g. Collectives: seconds = latency_s + (x + sqrt(half_s x)) / bandwidth. median, error:
# median size and root mean square of the logarithm of seconds on shapes left out; of pooled ones, on left-out
# chips. points: measured ones. table: back end and version, where not that of [source].
"""


def errors_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Errors of a record's curves: `kernels` and `collectives`, by what they tell, then by accelerator.

    "others" is the pooled curve on chips left out; of collectives by their link, "nvlink" or "pcie".
    """
    pooled = record["pooled"]
    kernels = {**_of_curves(record["accelerators"], "kernels"), "others": pooled["kernels"]}
    links = {**_of_curves(record["accelerators"], "links"), **{w: pooled[w] for w in WIRES if w in pooled}}
    return {
        "source": {key: str(value) for key, value in record["source"].items()},
        "kernels": _turned(kernels, ", "),
        "collectives": _turned(links, ", ranks "),
    }


def _of_curves(accelerators: Mapping[str, Any], part: str) -> dict[str, Any]:
    return {name: each[part] for name, each in accelerators.items()}


def _turned(by_accelerator: Mapping[str, Any], between: str) -> dict[str, dict[str, dict[str, float]]]:
    """By curve, then by accelerator."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for accelerator, families in by_accelerator.items():
        for family, curves in families.items():
            for name, figures in curves.items():
                told = {"median": figures["median"], "rms": figures["error"]}
                found.setdefault(f"{family}{between}{name}", {})[accelerator] = told
    return found


def main(arguments: Sequence[str]) -> None:
    """Fit everything and write it to the file, by default the one that is shipped."""
    if list(arguments) == ["--json"]:
        print(json.dumps(errors_of(fit_all()), indent=2))
        return
    shipped = Path(str(files("foretell.models"))) / "data" / "curves.toml"
    path = Path(arguments[0]) if arguments else shipped
    path.write_text(HEAD + to_toml(fit_all()), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
