"""Measured servers, and the way between client and engine, as sections of the page of evidence."""

from __future__ import annotations

from collections.abc import Mapping
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
    checks,
    count,
    percent,
    seconds,
    signed,
    uncovered,
)

Summary = Mapping[str, Any]
_METRICS = {"tpot": "TPOT", "ttft": "TTFT", "e2e": "E2E"}


def silicon(found: Summary) -> Section:
    """Whole servers, of `report.summarise`."""
    covered = [
        Coverage(f"Servers, {_METRICS[m]}", float(share), int(found["rows_predicted"]))
        for m in ("tpot", "ttft")
        if (share := found.get(f"{m}_interval_coverage_90")) is not None
    ]
    foreign = (found.get("other_backends") or {}).get("all") or {}
    if foreign.get("interval_coverage_90") is not None:
        share, times = float(foreign["interval_coverage_90"]), 2 * int(foreign["rows_predicted"])
        covered.append(Coverage("Other back ends, both times", share, times))
    groups = found.get("by_group") or {}
    low = {
        name: one["interval_coverage_90"]
        for name, one in groups.items()
        if (one.get("interval_coverage_90") or 1.0) < 0.8
    }
    far = [
        line
        for metric, limit in (("tpot", 10.0), ("ttft", 15.0))
        for line in beyond(
            f"median error of {_METRICS[metric]} by (model, GPU)",
            [(name, one.get(f"{metric}_median_ape")) for name, one in groups.items()],
            limit,
            "groups",
            show=percent,
        )
    ]
    if low:
        named = ", ".join(
            f"{name} {100 * share:.0f} %" for name, share in sorted(low.items(), key=lambda i: i[1])
        )
        far.append(f"90 % intervals hold less than 80 % of {len(low)} groups: {named}")
    far += [
        f"other back ends, nothing fitted on them, {_METRICS[metric]}, median error: {', '.join(parts)}"
        for metric, limit in (("tpot", 12.0), ("ttft", 15.0))
        if (
            parts := [
                f"{name} {percent(one[f'{metric}_median_ape'])} ({one['rows_predicted']} runs)"
                for name, one in (found.get("other_backends") or {}).items()
                if name != "all" and (one.get(f"{metric}_median_ape") or 0) > limit
            ]
        )
    ]
    others, points = found.get("other_backends") or {}, found.get("points") or {}
    unseen = () if points else ("The summary has no points: it was made by an older foretell, so no plots.",)
    return Section(
        key="silicon",
        title="Whole servers on GPUs",
        answer=f"{count(found['rows_predicted'])} of {count(found['rows'])} measured server runs, every "
        f"(model, GPU) left out of its own fit: TPOT off by {percent(found['tpot_median_ape'])} in the "
        f"median and "
        f"{percent(found['tpot_mean_ape'])} in the mean, TTFT by {percent(found['ttft_median_ape'])} and "
        f"{percent(found['ttft_mean_ape'])}",
        claim="A server that was never measured is foretold from measured operators and from scales fitted "
        "on other servers.",
        how=(
            "Every measured run is simulated as the closed loop it was. Whatever is fitted on servers is "
            "fitted without all runs of the model on the accelerator that is judged (and, below, without all "
            "runs of the model).",
            "The form of the cost model was found while looking at these errors, so that they are somewhat "
            "optimistic; docs/validation.md lists what was chosen so.",
        ),
        would_fail=("errors beyond the bounds below", "intervals that hold clearly less than 9 of 10"),
        command="foretell validate silicon --json > silicon.json",
        source=f"{found.get('source', 'not said')}: InferenceX (SemiAnalysis, Apache-2.0) and others, as "
        f"collected "
        "in aiconfigurator-core (NVIDIA, Apache-2.0), whose measured operators are used.",
        checks=checks(found["targets"]),
        misses=(*far, *uncovered(covered)),
        grids=(
            _errors("In all kinds of fold", "fold", found.get("variants") or {}),
            _errors("By model and GPU, each left out of its own fit", "model, GPU", groups),
            _errors(
                "Other back ends, and disaggregated serving (nothing fitted on them)",
                "back end, mode",
                others,
            ),
        ),
        charts=_charts(points) if points else (),
        coverage=covered,
        absent=(
            *(f"{one['id']} is set aside: {one['reason']}" for one in found.get("set_aside") or ()),
            *(
                f"{count(n)} rows without a forecast: {why}"
                for why, n in (found.get("not_predicted") or {}).items()
            ),
            *(f"{count(n)} rows not simulated: {why}" for why, n in (found.get("left_out") or {}).items()),
            *unseen,
        ),
    )


def client(found: Summary) -> Section:
    """The client's side, of `client_sides.client_errors`."""
    summary, rows = found["summary"], found["rows"]
    about = found.get("client") or {}
    far = [
        line
        for metric, name in _METRICS.items()
        for line in beyond(
            f"mean {name}",
            [
                (f"{row['load']} ({row['recording']})", 100 * row[f"{metric}_mean_predicted_error"])
                for row in rows
            ],
            10.0,
            "loads",
        )
    ]
    told = ", ".join(
        f"{name} {percent(100 * summary[f'{m}_mean_ape_predicted'])} (engine's side alone "
        f"{percent(100 * summary[f'{m}_mean_ape_engine'])})"
        for m, name in _METRICS.items()
    )
    table = [
        (
            f"{row['load']} ({row['recording']})",
            count(row["requests"]),
            *(
                cell
                for m in _METRICS
                for cell in (
                    seconds(row[f"{m}_mean_client_s"]),
                    signed(100 * row[f"{m}_mean_engine_error"]),
                    signed(100 * row[f"{m}_mean_predicted_error"]),
                    "–" if row.get(f"{m}_noise") is None else percent(100 * row[f"{m}_noise"]),
                )
            ),
        )
        for row in rows
    ]
    heads = [
        f"{name}{part}"
        for name in _METRICS.values()
        for part in ("", ", engine alone", ", predicted", ", repeat")
    ]
    return Section(
        key="client",
        title="From the engine to the client",
        answer=f"{count(summary['requests'])} requests of {count(summary['loads'])} loads, measured on both "
        f"sides; each load left out of the fit, mean error of means: {told}",
        claim="What HTTP, tokeniser, queueing and streaming add to the engine's times can be told from "
        "other loads.",
        how=(
            "Both sides of every request were measured: at the client of a load, and in the engine that it "
            "asked. The client's part is fitted on the other loads and predicts this one.",
            f"The boundary: {found.get('boundary', 'not said')}.",
        ),
        would_fail=("predictions that are no nearer than the engine's times alone",),
        command="foretell validate client --json > client.json",
        source=f"Own recordings, shipped with foretell: {about.get('source', 'not said')}, "
        f"{about.get('machine', '')} "
        f"({about.get('date', 'no date')}).",
        misses=(*far, *_no_gain(summary)),
        grids=(Grid("Means of every load, as the client has them", ("load", "requests", *heads), table),),
        charts=tuple(
            Scatter(
                f"Mean {name}: predicted from other loads, and the engine's side alone",
                {
                    kind: Points(
                        np.array([row[f"{m}_mean_client_s"] for row in rows], float),
                        np.array(
                            [row[f"{m}_mean_client_s"] * (1 + row[f"{m}_mean_{key}_error"]) for row in rows],
                            float,
                        ),
                        [
                            f"{row['load']} ({row['recording']}): "
                            f"{signed(100 * row[f'{m}_mean_{key}_error'])}"
                            for row in rows
                        ],
                    )
                    for kind, key in (("predicted", "predicted"), ("engine alone", "engine"))
                },
            )
            for m, name in _METRICS.items()
        ),
    )


def _no_gain(summary: Summary) -> list[str]:
    return [
        f"{name}: predicted {percent(100 * summary[f'{m}_mean_ape_predicted'])} off, which is no nearer than "
        f"the engine's side alone ({percent(100 * summary[f'{m}_mean_ape_engine'])})"
        for m, name in _METRICS.items()
        if summary[f"{m}_mean_ape_predicted"] >= summary[f"{m}_mean_ape_engine"]
    ]


def _errors(caption: str, what: str, parts: Mapping[str, Summary]) -> Grid:
    keys = ("tpot_median_ape", "tpot_mean_ape", "ttft_median_ape", "ttft_mean_ape")
    rows = []
    for name, one in parts.items():
        share = one.get("interval_coverage_90")
        rows.append(
            (
                name,
                count(one.get("rows")),
                count(one.get("rows_predicted")),
                *(percent(one.get(key)) for key in keys),
                percent(None if share is None else 100 * share, 0),
            )
        )
    heads = (
        what,
        "runs",
        "predicted",
        "TPOT median",
        "TPOT mean",
        "TTFT median",
        "TTFT mean",
        "90 % interval holds",
    )
    return Grid(caption, heads, rows)


def _charts(points: Summary) -> tuple[Scatter | Residuals, ...]:
    charts: list[Scatter | Residuals] = []
    model = np.array(points["model"])
    names = [str(name) for name in dict.fromkeys(points["model"])]
    load = np.array(points["concurrency"], float)
    for m, name in (("tpot", "TPOT"), ("ttft", "TTFT")):
        measured, told = (np.array(points[f"{m}{middle}_s"], float) for middle in ("", "_predicted"))
        error = 100 * (told / measured - 1)
        labels = np.array([f"{one}: {signed(e)}" for one, e in zip(points["id"], error, strict=True)])
        of = {one: model == one for one in names}
        charts.append(
            Scatter(
                f"{name} of the judged runs",
                {one: Points(measured[of[one]], told[of[one]], labels[of[one]].tolist()) for one in names},
            )
        )
        charts.append(
            Residuals(
                f"Error of {name} over concurrency",
                {one: Points(load[of[one]], error[of[one]], labels[of[one]].tolist()) for one in names},
                "requests in flight",
            )
        )
    return tuple(charts)
