"""Runs of real vLLM as sections of the page of evidence: recorded step by step, and served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    check,
    checks,
    count,
    percent,
    seconds,
    signed,
    uncovered,
)

Summary = Mapping[str, Any]
FIGURES = ("tpot_mean", "e2e_mean", "ttft_mean", "tpot_p99", "e2e_p99", "ttft_p99")
LIMITS = {"tpot_mean": 10.0, "e2e_mean": 10.0, "ttft_mean": 20.0}
SERVED = {"tpot": 5.0, "e2e": 5.0, "ttft": 10.0}
"""What was asked of served runs: the mean over them of the error of a run's mean [%]."""


def runs(found: Summary) -> Section:
    """Recorded runs, of `runs_report.summary`."""
    by_run: Mapping[str, Summary] = found["by_run"]
    steps = f"{count(found['steps_equal'])} of {count(found['steps_compared'])} steps"
    tokens = f"{count(found['tokens_in_step'])} of {count(found['tokens'])} tokens"
    errors = ", ".join(f"{_name(name)} {percent(found.get(f'{name}_ape'))}" for name in LIMITS)
    different = [f"{name}: {one['difference']}" for name, one in by_run.items() if one.get("difference")]
    late = [
        f"{name}: {one['tokens'] - one['tokens_in_step']} tokens came in another step"
        for name, one in by_run.items()
        if one["tokens"] != one["tokens_in_step"]
    ]
    far = [
        line
        for name, limit in LIMITS.items()
        for line in beyond(
            _name(name), [(run, one.get(f"{name}_error")) for run, one in by_run.items()], limit
        )
    ]
    bursts: Summary = found.get("bursts_alone") or {}
    noise: Summary = found.get("noise") or {}
    if bursts.get("tpot_mean_error") is not None:
        far.append(
            f"a cost model fitted on bursts alone: {count(bursts.get('runs_predicted'))} other runs come out "
            f"{signed(bursts['tpot_mean_error'])} in mean TPOT (median)"
        )
    return Section(
        key="runs",
        title="Recorded runs of real vLLM on a CPU",
        answer=f"{found['runs']} runs: {steps} and {tokens} replayed as they were; "
        f"{found['runs_predicted']} forecast from the other half of the runs, median error of {errors}",
        claim="Given how long its steps took, foretell's engine makes the steps that vLLM made, token for "
        "token; with a cost model fitted on other runs, it foretells a run's latencies.",
        how=(
            "Replay: the trace and settings of a run, and its own step times. Every step's batch (which "
            "requests, in which order, how many tokens) is compared, and every token must come in the same "
            "step, its recorded time between the end of that step and the start of the next.",
            "Forecast: the runs of a model are divided in two halves; a cost model of the step is fitted on "
            "one half and forecasts the other, both ways round. Errors are medians over the runs.",
            f"On which side a time was taken: {found.get('boundary', 'not said')}.",
        ),
        would_fail=(
            "one step with another batch, or one token in another step",
            "a median error beyond the bounds below",
            "errors far beyond what a repeat of the same run differs by (the row “a repeat as the forecast”)",
        ),
        command="foretell validate runs --json > runs.json",
        source="Recordings that ship with foretell (own runs, its licence) and, where they are there, those "
        "of the folder vllm-cpu/runs (vLLM 0.32 on a CPU; recorded for this project).",
        checks=checks(found["targets"]),
        misses=(*different, *late, *far),
        grids=(_comparison(found, noise, bursts), _by_run(by_run), _bands(by_run)),
        charts=(
            _scatter("Mean TPOT", by_run, "tpot_mean"),
            _scatter("Mean E2E", by_run, "e2e_mean"),
            _scatter("Mean TTFT", by_run, "ttft_mean"),
            _over_load(by_run),
        ),
        absent=[
            f"{name} is not forecast: {one['not_predicted']}"
            for name, one in by_run.items()
            if one.get("not_predicted")
        ],
    )


def served(found: Summary) -> Section:
    """Served runs, of `served_runs.served_runs`."""
    by_run: Mapping[str, Summary] = found["runs"]
    off = {
        run: {name: _error(figure) for name, figure in one["figures"].items()} for run, one in by_run.items()
    }
    targets = []
    for metric, limit in SERVED.items():
        values = [abs(errors[f"{metric}_mean"]) for errors in off.values() if f"{metric}_mean" in errors]
        mean = float(np.mean(values)) if values else None
        targets.append(check(f"mean {metric.upper()}: mean error over the runs", mean, high=limit))
    inside = [bool(figure.get("inside")) for one in by_run.values() for figure in one["figures"].values()]
    covered = (Coverage("Served runs, all figures", float(np.mean(inside)) if inside else 0.0, len(inside)),)
    requests = sum(int(one.get("requests", 0)) for one in by_run.values())
    words = ", ".join(f"{one.name.split(':')[0]} {one.reached}" for one in targets)
    series = {
        run: Points(
            np.array([figure["measured_s"] for figure in one["figures"].values()], float),
            np.array([figure["forecast_s"] for figure in one["figures"].values()], float),
            [
                f"{run}, {_name(name)}: measured {seconds(f['measured_s'])}, "
                f"forecast {seconds(f['forecast_s'])}"
                for name, f in one["figures"].items()
            ],
        )
        for run, one in by_run.items()
    }
    rows = [
        (
            run,
            _name(name),
            seconds(figure["measured_s"]),
            seconds(figure["forecast_s"]),
            " to ".join(seconds(end) for end in figure["interval_s"]),
            signed(off[run][name]),
            "inside" if figure.get("inside") else "outside",
        )
        for run, one in by_run.items()
        for name, figure in one["figures"].items()
    ]
    return Section(
        key="served",
        title="Served runs on GPUs, forecast from their description alone",
        answer=f"{len(by_run)} servers ({count(requests)} requests), nothing fitted on them: "
        f"mean error of {words}",
        claim="Model, accelerator, plan, settings and arrivals are enough to foretell a server's latencies, "
        "with nothing fitted on that server.",
        how=(
            "Every request's arrival and lengths are taken from the recording, everything else from what its "
            "authors wrote of the server (vLLM 0.19 on RTX PRO 6000). Mean and 99th percentile of TTFT, TPOT "
            "and E2E are compared, and whether the forecast's interval holds them.",
            "All times are taken in the engine, from its queue to its tokens: without HTTP and tokeniser.",
        ),
        would_fail=("mean errors beyond the bounds below", "intervals that hold clearly less than 9 of 10"),
        command="foretell validate report --html page.html --data DIR  # DIR/llmservingsim",
        source="LLMServingSim's bench examples (casys-kaist, commit 5daddb2, MIT): real vLLM 0.19.0 runs. "
        "Operators: aiconfigurator-core (NVIDIA, Apache-2.0).",
        checks=targets,
        misses=(
            *(
                line
                for run, errors in off.items()
                for line in beyond(
                    run, ((_name(n), e) for n, e in errors.items()), 10.0, "figures", len(FIGURES)
                )
            ),
            *uncovered(covered),
        ),
        grids=(
            Grid(
                "Every figure of every run",
                ("run", "figure", "measured", "forecast", "90 % interval", "error", "interval"),
                rows,
            ),
        ),
        charts=(
            Scatter("All figures of the served runs", series),
            Residuals("Errors of these figures", _relative(series), "measured [s]", 100.0),
        ),
        coverage=covered,
        absent=[f"{run}: {note}" for run, one in by_run.items() for note in one.get("notes", ())],
    )


def _relative(series: Mapping[str, Points]) -> dict[str, Points]:
    """Errors [%] over what was measured."""
    return {
        name: Points(one.measured, 100 * (one.predicted / one.measured - 1), one.labels)
        for name, one in series.items()
    }


def _error(figure: Summary) -> float:
    return float(100 * (figure["forecast_s"] / figure["measured_s"] - 1))


def _name(figure: str) -> str:
    metric, _, statistic = figure.partition("_")
    return f"{statistic} {metric.upper()}"


def _comparison(found: Summary, noise: Summary, bursts: Summary) -> Grid:
    """The errors beside what they are to be seen against."""
    parts: list[tuple[str, Any, Summary]] = [
        ("forecast from the other half", found["runs_predicted"], found),
        (
            "a repeat as the forecast of its twin (the noise)",
            2 * len(noise.get("pairs", ())) if noise else None,
            noise,
        ),
        ("the machine's speed in that run known", found["runs_predicted"], found.get("speed_known") or {}),
        (
            "halves drawn at random, mean of divisions",
            found["runs_predicted"],
            found.get("random_halves") or {},
        ),
        ("fitted on bursts alone", bursts.get("runs_predicted"), bursts),
        *(
            (f"model {name}", one.get("runs_predicted"), one)
            for name, one in (found.get("by_model") or {}).items()
        ),
        *(
            (f"recordings: {name}", one.get("runs_predicted"), one)
            for name, one in (found.get("by_origin") or {}).items()
        ),
        *(
            (
                f"recordings: {name}, a repeat as the forecast",
                2 * len(one["noise"].get("pairs", ())),
                one["noise"],
            )
            for name, one in (found.get("by_origin") or {}).items()
            if one.get("noise")
        ),
    ]
    rows = [
        (name, count(n), *(percent(one.get(f"{figure}_ape")) for figure in FIGURES))
        for name, n, one in parts
        if one
    ]
    return Grid(
        "Median error over the runs, beside what a repeat differs by and other ways to fit",
        ("", "runs", *map(_name, FIGURES)),
        rows,
    )


def _by_run(by_run: Mapping[str, Summary]) -> Grid:
    rows = [
        (
            name,
            str(one.get("model", "")),
            f"{count(one['steps_equal'])} of {count(one['steps_compared'])}",
            f"{count(one['tokens_in_time'])} of {count(one['tokens'])}",
            *(signed(one.get(f"{figure}_error")) for figure in FIGURES),
        )
        for name, one in by_run.items()
    ]
    heads = ("run", "model", "steps equal", "tokens in their time", *map(_name, FIGURES))
    return Grid("Every run: the replay, and the forecast's errors", heads, rows)


def _bands(by_run: Mapping[str, Summary]) -> Grid:
    """Where the errors of a run's means lie when parts of the run are drawn anew."""
    keys = [f"{name}_error_90" for name in LIMITS]
    rows = [
        (name, *(" to ".join(signed(end) for end in one[key]) if one.get(key) else "–" for key in keys))
        for name, one in by_run.items()
        if any(one.get(key) for key in keys)
    ]
    heads = ("run", *map(_name, LIMITS))
    return Grid("How sure those errors are: nine of ten draws of twentieths of a run", heads, rows)


def _scatter(title: str, by_run: Mapping[str, Summary], figure: str) -> Scatter:
    series = {}
    for model, names in _models(by_run).items():
        pairs = [(by_run[n]["measured_s"][figure], by_run[n]["predicted_s"][figure]) for n in names]
        labels = [
            f"{n}: measured {seconds(a)}, forecast {seconds(b)}"
            for n, (a, b) in zip(names, pairs, strict=True)
        ]
        a, b = (np.array(column, float) for column in zip(*pairs, strict=True))
        series[model] = Points(a, b, labels)
    return Scatter(f"{title} of the recorded runs", series)


def _over_load(by_run: Mapping[str, Summary]) -> Residuals:
    series = {}
    for model, names in _models(by_run).items():
        load = np.array(
            [by_run[n]["measured_s"]["ttft_mean"] / by_run[n]["measured_s"]["tpot_mean"] for n in names]
        )
        error = np.array([by_run[n].get("tpot_mean_error", np.nan) for n in names], float)
        labels = [f"{n}: {signed(e)}" for n, e in zip(names, error, strict=True)]
        series[model] = Points(load, error, labels)
    return Residuals(
        "Error of mean TPOT over how crowded the run was",
        series,
        "mean TTFT in steps of mean TPOT (more: longer queue)",
    )


def _models(by_run: Mapping[str, Summary]) -> dict[str, list[str]]:
    """The runs that are forecast, by model."""
    told = [name for name, one in by_run.items() if one.get("predicted_s")]
    models: Sequence[str] = sorted({str(by_run[name].get("model", "")) for name in told})
    return {model: [n for n in told if str(by_run[n].get("model", "")) == model] for model in models}
