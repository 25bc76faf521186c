"""Parts of a forecast as sections of the page of evidence: operators, energy, the KV cache's capacity."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from foretell.validate.charts import Points
from foretell.validate.evidence import (
    Coverage,
    Grid,
    Residuals,
    Scatter,
    Section,
    beyond,
    count,
    percent,
    signed,
    uncovered,
)

Summary = Mapping[str, Any]
_TESTS = {"point": "a point told by its neighbours", "shape": "a whole shape told by other shapes"}


def operators(found: Sequence[Summary]) -> Section:
    """Interpolated operators, the rows of `operators.operator_errors`; a ValueError without any."""
    if isinstance(found, Mapping) or not found:
        raise ValueError("a list of rows is wanted")
    families = list(dict.fromkeys((one["family"], one["test"]) for one in found))
    parts = {key: [o for o in found if (o["family"], o["test"]) == key] for key in families}
    covered = [
        Coverage(f"Operators, {test}s", *_covered([o for o in found if o["test"] == test]))
        for test in dict.fromkeys(one["test"] for one in found)
    ]
    medians = ", ".join(
        f"{_middle([o for o in found if o['test'] == test])} for {_TESTS.get(test, test)}"
        for test in dict.fromkeys(one["test"] for one in found)
    )
    rows = []
    for (family, test), some in parts.items():
        ranked = sorted(some, key=lambda o: o["median_error"])
        published = next((o["published"] for o in some if o.get("published") is not None), None)
        rows.append(
            (
                family,
                test,
                count(sum(o["points"] for o in some)),
                _middle(some),
                f"{percent(100 * ranked[-1]['median_error'])} ({ranked[-1]['accelerator']})",
                percent(100 * max(o["p90_error"] for o in some)),
                percent(100 * _covered(some)[0], 0),
                percent(None if published is None else 100 * published),
            )
        )
    return Section(
        key="operators",
        title="Single operators",
        answer=f"{count(sum(o['points'] for o in found))} times a measured point of an operator was left "
        f"out and told by others, on {len({o['accelerator'] for o in found})} accelerators: median error of "
        f"the middle (accelerator, family) {medians}",
        claim="Between measured operators, foretell interpolates with a known error.",
        how=(
            "Every point of the newest tables of vLLM's operators is left out and told by the others; then "
            "every whole shape is left out. The operators are those that server forecasts are built of.",
        ),
        would_fail=(
            "medians beyond those that aiconfigurator's authors publish for the same tables",
            "intervals that hold clearly less than 9 of 10 points",
        ),
        command="foretell validate operators --json > operators.json",
        source="aiconfigurator-core (NVIDIA, Apache-2.0), operators measured one by one; "
        "published medians by its authors (2026).",
        misses=(*_off_operators(found, parts), *uncovered(covered)),
        grids=(
            Grid(
                "By family, over the accelerators",
                (
                    "family",
                    "left out",
                    "points",
                    "middle median",
                    "worst median",
                    "worst 90th percentile",
                    "90 % interval holds",
                    "published median",
                ),
                rows,
            ),
        ),
        coverage=covered,
        absent=("Points are not in the summary: there is no scatter plot of operators.",),
    )


def energy(found: Summary) -> Section:
    """Power and energy, of `foretell validate energy --json`."""
    summary, rows = found["summary"], [row for row in found["rows"] if row.get("fitted")]
    aside = [row for row in found["rows"] if not row.get("fitted")]
    end, power = summary["joules_end_to_end"], summary["power_left_model_out"]
    parts = {
        "all runs that are judged": summary,
        **{f"batch {name}": one for name, one in (summary.get("by_batch") or {}).items()},
        **{f"GPU {name}": one for name, one in (summary.get("by_gpu") or {}).items()},
        "set aside": summary.get("set_aside") or {},
    }
    names = ("power_left_model_out", "power_left_gpu_out", "joules_given_time", "joules_end_to_end")
    table = [
        (
            name,
            count((one.get("joules_end_to_end") or {}).get("runs")),
            *(
                f"{percent(100 * one[n]['median_ape'])} / {percent(100 * one[n]['p90_ape'])}"
                if n in one
                else "–"
                for n in names
            ),
            signed(100 * one["joules_end_to_end"]["bias"]) if "joules_end_to_end" in one else "–",
        )
        for name, one in parts.items()
    ]
    return Section(
        key="energy",
        title="Power and joules a token",
        answer=f"{count(end['runs'])} measured runs, each model left out of the power curve: power within "
        f"{percent(100 * power['median_ape'])} in the median, joules a token with foretell's own step times "
        f"within {percent(100 * end['median_ape'])}",
        claim="Power follows from what a step does; joules a token follow from power and step time.",
        how=(
            "The three coefficients of the power curve are fitted without the model (or the GPU) that is "
            "judged. “Given time” takes the measured step time, “end to end” foretell's own.",
        ),
        would_fail=("errors that grow with a model or GPU left out, beyond those inside of the fit",),
        command="foretell validate energy --json > energy.json",
        source="ml-energy leaderboard, llm_runs.csv (dataset Apache-2.0; vLLM 0.11 on H100 and B200).",
        misses=(
            *beyond(
                "power, its model left out", _medians(rows, _off_power).items(), 20.0, "(model, GPU) medians"
            ),
            *beyond("joules a token, end to end", _medians(rows, _off).items(), 20.0, "(model, GPU) medians"),
            *(
                [
                    f"{len(aside)} runs are set aside by rules stated before (B200 gpqa, which contradicts "
                    f"the same server's other task; sourcegraph-fim, whose prompts are not known): off by "
                    f"{percent(100 * summary['set_aside']['joules_end_to_end']['median_ape'])} in the median"
                ]
                if aside and summary.get("set_aside")
                else []
            ),
            f"joules a token, end to end: one run in ten is off by more than {percent(100 * end['p90_ape'])}",
        ),
        grids=(
            Grid(
                "Median / 90th percentile of absolute errors",
                (
                    "",
                    "runs",
                    "power, model left out",
                    "power, GPU left out",
                    "joules, given time",
                    "joules, end to end",
                    "its bias",
                ),
                table,
            ),
        ),
        charts=(
            Scatter(
                "Power of one accelerator, its model left out",
                _by(rows, "power_W", "power_left_model_W", "W"),
                "W",
            ),
            Scatter(
                "Joules a token, end to end",
                _by(rows, "joules_per_token", "joules_per_token_estimate", "J"),
                "J",
            ),
            Residuals(
                "Error of joules a token over the batch",
                {
                    gpu: Points(
                        np.array([row["batch"] for row in some], float),
                        np.array([_off(row) for row in some]),
                        [f"{row['model']}, batch {row['batch']:.0f}: {signed(_off(row))}" for row in some],
                    )
                    for gpu, some in _groups(rows, "gpu").items()
                },
                "mean batch [sequences]",
            ),
        ),
    )


def kv(found: Summary) -> Section:
    """KV capacity, of `foretell validate kv --json`."""
    summary, rows = found["summary"], found["rows"]
    covered = (Coverage("KV capacity", float(summary["coverage"]), len(rows)),)
    names = [
        f"{row['model'].rpartition('/')[2]}, {row['accelerator']}, TP {row['tensor_parallel_size']}, "
        f"vLLM {row['engine_version']}"
        for row in rows
    ]
    errors = [(name, 100 * row["error"]) for name, row in zip(names, rows, strict=True)]
    outside = [name for name, row in zip(names, rows, strict=True) if not row["inside"]]
    order = sorted(zip(names, rows, strict=True), key=lambda pair: -abs(pair[1]["error"]))
    return Section(
        key="kv",
        title="Capacity of the KV cache",
        answer=f"{len(rows)} starts of real servers, each left out of the fit: off by "
        f"{percent(100 * summary['median_ape'])} in the median and "
        f"{percent(100 * summary['mean_ape'])} in the mean",
        claim="How much KV cache a server has can be told before it starts.",
        how=(
            "The capacity that a server logged at its start is compared with the estimate, whose constants "
            "were fitted without that start (the factors of the band stay).",
        ),
        would_fail=("errors of more than a few per cent", "bands that hold clearly less than 9 of 10 starts"),
        command="foretell validate kv --json > kv.json",
        source="Start-up logs of public issues and reports, each with its source and date in "
        "data/kv_capacity.toml.",
        misses=(
            *beyond("capacity", errors, 10.0, "starts"),
            *([f"outside of the band: {'; '.join(outside)}"] if outside else []),
        ),
        grids=(
            Grid(
                "Every start, the worst first",
                ("start", "logged", "estimated", "band", "error", "band holds it"),
                [
                    (
                        name,
                        f"{row['actual_gib']:.2f} GiB",
                        f"{row['estimate_gib']:.2f} GiB",
                        f"{row['low']:.2f} to {row['high']:.2f} GiB",
                        signed(100 * row["error"]),
                        "yes" if row["inside"] else "no",
                    )
                    for name, row in order
                ],
            ),
        ),
        charts=(
            Scatter("KV capacity", _by(rows, "actual_gib", "estimate_gib", "GiB", "accelerator"), "GiB"),
            Residuals(
                "Error of KV capacity over the capacity",
                {
                    name: Points(
                        np.array([row["actual_gib"] for row in some], float),
                        np.array([100 * row["error"] for row in some]),
                        [f"{row['model']}: {signed(100 * row['error'])}" for row in some],
                    )
                    for name, some in _groups(rows, "accelerator").items()
                },
                "logged capacity [GiB]",
            ),
        ),
        coverage=covered,
    )


def _off_operators(
    found: Sequence[Summary], parts: Mapping[tuple[str, str], Sequence[Summary]]
) -> Iterator[str]:
    named = [(f"{o['family']} on {o['accelerator']} ({o['test']})", o) for o in found]
    for what, key, limit in (("median", "median_error", 10.0), ("90th percentile", "p90_error", 50.0)):
        errors = [(name, None if o[key] is None else 100 * o[key]) for name, o in named]
        yield from beyond(f"{what} of a family on an accelerator", errors, limit, "cases", show=percent)
    low = [
        f"{family} ({test}) {percent(100 * _covered(some)[0], 0)}"
        for (family, test), some in parts.items()
        if _covered(some)[0] < 0.85
    ]
    if low:
        yield f"90 % intervals hold less than 85 % of {len(low)} families: {', '.join(low)}"
    for name, one in named:
        if one.get("published") is not None and one["median_error"] > one["published"]:
            yield (
                f"{name}: median {percent(100 * one['median_error'], 2)}, beyond the published "
                f"{percent(100 * one['published'], 2)}"
            )


def _covered(rows: Sequence[Summary]) -> tuple[float, int]:
    points = sum(int(row["points"]) for row in rows)
    return sum(row["coverage_90"] * row["points"] for row in rows) / max(points, 1), points


def _middle(rows: Sequence[Summary]) -> str:
    return percent(100 * float(np.median([row["median_error"] for row in rows])))


def _medians(rows: Sequence[Summary], off: Callable[[Summary], float]) -> dict[str, float]:
    """Median error [%] of each model on each GPU."""
    parts: dict[str, list[float]] = {}
    for row in rows:
        parts.setdefault(f"{row['model']} on {row['gpu']}", []).append(off(row))
    return {name: float(np.median(values)) for name, values in parts.items()}


def _off_power(row: Summary) -> float:
    return float(100 * (row["power_left_model_W"] / row["power_W"] - 1))


def _off(row: Summary) -> float:
    return float(100 * (row["joules_per_token_estimate"] / row["joules_per_token"] - 1))


def _groups(rows: Sequence[Summary], by: str) -> dict[str, list[Summary]]:
    return {
        str(name): [row for row in rows if row[by] == name] for name in dict.fromkeys(r[by] for r in rows)
    }


def _by(rows: Sequence[Summary], truth: str, told: str, unit: str, by: str = "gpu") -> dict[str, Points]:
    return {
        name: Points(
            np.array([row[truth] for row in some], float),
            np.array([row[told] for row in some], float),
            [
                f"{row['model']}: measured {row[truth]:.4g} {unit}, forecast {row[told]:.4g} {unit}"
                for row in some
            ],
        )
        for name, some in _groups(rows, by).items()
    }
