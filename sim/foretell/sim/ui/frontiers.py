"""How far a deployment could go: its frontier over the load, with other hardware or other models beside it.

A fixed number of points is computed by the kind of question, those that matter most first: about half a
second of the processor, and the same question has the same frontier on any machine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from foretell.sim.quantities import show_number, show_seconds
from foretell.sim.report.page import figure
from foretell.sim.report.pareto_front import Point, front
from foretell.sim.report.plots import Axis, Line, lines
from foretell.sim.report.words import limit_text, percent
from foretell.sim.ui.answers import finite, of_one_kind
from foretell.sim.ui.frontier_loads import Found, Sweep, came, over_load

if TYPE_CHECKING:
    from foretell.sim.scenario import Pool, Scenario

_OTHERS, _OTHERS_OF_MANY = 3, 1
"""Other hardware beside it; of several pools or unlike replicas a point takes about twice as long."""
_HARDWARE = ("h200", "b200", "h100-sxm", "a100-80gb-sxm", "mi300x", "l40s")
_LATENCIES = {"ttft": "first token", "e2e": "whole answer", "tpot": "each further token"}
_FULL = 0.7
"""Share of the capacity at which a query's cost is told."""
_SAMPLES = (1, 4, 16, 2, 8)
_VARIANTS, _VARIANTS_OF_MANY = 9, 5
"""Samples and models of a task that are tried."""


@dataclass(frozen=True, slots=True)
class _Words:
    """How a sweep is told.

    Attributes:
        axis: what grows.
        grows: in a sentence.
        reach: from where to where.
        full: the end of it.
        statistic: of latencies.

    """

    axis: str
    grows: str
    reach: str
    full: str
    statistic: str


_OPEN = _Words(
    "requests/s",
    "as the load grows",
    "from a tenth of the capacity to 95 %; the ring is the load asked",
    "capacity",
    "p99",
)
_CLOSED = _Words(
    "requests in flight",
    "as more requests are in flight",
    "from one to as many as the engines hold at once; the ring is the number asked",
    "engines full",
    "mean",
)


def frontier(scenario: Scenario) -> dict[str, Any]:
    """Tell how far it could go.

    Raises:
        ValueError: the scenario has no closed form, or is impossible; one line.

    """
    began = time.perf_counter()
    made = _of_tasks(scenario) if scenario.workload.task is not None else _of_load(scenario)
    return made | {"seconds": time.perf_counter() - began}


def _of_load(scenario: Scenario) -> dict[str, Any]:
    """Tokens/s of a user against tokens/s of an accelerator over the load."""
    words = _OPEN if scenario.workload.concurrency is None else _CLOSED
    load = came(scenario)
    own = over_load(_series(scenario), scenario, load)
    points = [one for one in own.points if one.here or one.at <= own.capacity]
    notes = []
    others = list(_elsewhere(scenario))
    most = _OTHERS if of_one_kind(scenario) else _OTHERS_OF_MANY
    for name, other in others[:most]:
        try:
            points += over_load(name, other, load, beside=True).points
        except ValueError as error:
            notes.append(f"{name}: {error}")
    if left := [name for name, _ in others[most:]]:
        notes.append(f"left out, to answer in time: {', '.join(left)}")
    x, y = Axis("tokens/s of a user (1 / mean TPOT)", low=0), Axis("output tokens/s of an accelerator", low=0)
    about = (
        f"Tokens/s of a user against tokens/s of an accelerator {words.grows}, {words.reach}; other hardware "
        "as it stands in place of this."
    )
    told = [
        Point(*_speeds(one.figures), told=f"{one.series} at {one.label}", group=one.series, chosen=one.here)
        for one in points
    ]
    chart = front(
        told, x, y, "Speed of a user against output of an accelerator", about,
        better=("max", "max"), apart=True, stairs=False,
    )  # fmt: skip
    charts = {"frontier": figure(chart, f"Speed of a user against output of an accelerator, {words.grows}")}
    if over := _latencies(scenario, own, words):
        charts["load"] = over
    return {
        "charts": charts,
        "about": about,
        "x": {"label": x.label, "unit": "1/s"},
        "y": {"label": y.label, "unit": "1/s"},
        "points": [_plain(one, *_speeds(one.figures)) for one in points],
        "notes": notes,
    }


def _series(scenario: Scenario) -> str:
    return " and ".join(dict.fromkeys(str(pool.hardware or "as given") for pool in scenario.pools.values()))


def _elsewhere(scenario: Scenario) -> Iterator[tuple[str, Scenario]]:
    """The same pools on other hardware, where it is one kind that does not say its own price or times."""
    pools = scenario.pools.values()
    kinds = {pool.hardware for pool in pools}
    bare = all(
        isinstance(pool.replicas, int) and pool.model is not None and pool.calibration is None
        for pool in pools
    )
    if len(kinds) != 1 or not bare:
        return
    for name in _HARDWARE:
        if name not in kinds:
            changed: dict[str, Pool] = {
                pool: replace(spec, hardware=name, price_usd_per_h=None)
                for pool, spec in scenario.pools.items()
            }
            yield name, replace(scenario, pools=changed)


def _speeds(figures: dict[str, float]) -> tuple[float, float]:
    tpot = figures.get("tpot_mean_s", math.nan)
    speed = 1 / tpot if tpot > 0 and math.isfinite(tpot) else math.nan
    return speed, figures.get("output_throughput_per_accelerator_tps", math.nan)


def _latencies(scenario: Scenario, own: Sweep, words: _Words) -> str:
    """Latencies of the scenario over its load, with its limits."""
    from foretell.sim.objectives import objectives_from_mapping

    which = words.statistic
    rows = sorted(
        (one.at, one.figures)
        for one in own.points
        if math.isfinite(one.figures.get(f"e2e_{which}_s", math.inf))
    )
    if len(rows) < 3:
        return ""
    x = [at for at, _ in rows]
    series = {
        f"{label}, {which}": Line(x, [figures[f"{metric}_{which}_s"] for _, figures in rows])
        for metric, label in _LATENCIES.items()
    }
    limits = {
        limit_text(o): o.limit
        for o in objectives_from_mapping(scenario.objectives)
        if o.kind == "time" and o.limit > 0
    }
    here = own.points[0]
    uprights = {words.full: own.capacity}
    if here.at in x:
        uprights = {"asked": here.at} | uprights
    title = f"Latency {words.grows}"
    chart = lines(
        series, Axis(words.axis, log=words is _CLOSED), Axis("time", "s", log=True), title,
        f"{which} of latencies against {words.axis}; {words.full}: {show_number(own.capacity)}",
        upright=uprights, level=limits,
    )  # fmt: skip
    return figure(chart, f"{title}, up to the capacity" if words is _OPEN else title)


def _of_tasks(scenario: Scenario) -> dict[str, Any]:
    """Accuracy against cost and latency over the samples of a strategy and over models."""
    points, notes = [], []
    most = _VARIANTS if of_one_kind(scenario) else _VARIANTS_OF_MANY
    variants = _variants(scenario)
    for index, (series, label, other) in enumerate(islice(variants, most)):
        if index:
            with suppress(ValueError):  # a model without a profile, or one that does not fit
                points.append(Found(series, label, _task_figures(other)))
        else:
            points.append(Found(series, label, _task_figures(other), here=True))
    if next(variants, None) is not None:
        notes.append("some samples and models are left out, to answer in time")
    about = (
        "Right answers against the cost of a query and against its latency, over the samples of the strategy "
        f"and over models. Cost: rent where the accelerators carry {_FULL:.0%} of what they can; latency: at "
        "the rate asked."
    )
    charts = {}
    rows = (
        ("cost", "usd", Axis("cost of a query", "usd", log=True), "Right answers against cost"),
        (
            "latency",
            "s",
            Axis("p99 of a query at the rate asked", "s", log=True),
            "Right answers against latency",
        ),
    )
    for name, kind, x, title in rows:
        told = [_choice(one, _costs(one.figures)[name], kind) for one in points]
        if sum(point.drawn for point in told) > 1:
            y = Axis("right answers", "share")
            charts[f"frontier_{name}"] = figure(front(told, x, y, title, about), title)
    if not charts:
        notes.append("no second point: nothing else has a closed form and a profile here")
    return {
        "charts": charts,
        "about": about,
        "x": {"label": "cost of a query", "unit": "usd"},
        "y": {"label": "right answers", "unit": "share"},
        "points": [_plain(one, _costs(one.figures)["cost"], one.figures["accuracy"]) for one in points],
        "notes": notes,
    }


def _task_figures(scenario: Scenario) -> dict[str, float]:
    from foretell.sim.analytic import analyse
    from foretell.sim.forecasting import deployed

    return analyse(scenario, None, deployed(scenario, math.nan)).figures


def _costs(figures: dict[str, float]) -> dict[str, float]:
    usd = figures.get("usd_per_h", math.nan)
    return {
        "cost": usd / 3600 / (_FULL * figures["capacity_rps"]),
        "latency": figures.get("e2e_p99_s", math.nan),
    }


def _variants(scenario: Scenario) -> Iterator[tuple[str, str, Scenario]]:
    """The scenario as asked, then with other samples, then with other models of the same strategy."""
    pool = scenario.parsed_strategy.solvers[0]  # type: ignore[union-attr]
    spec = scenario.pools[pool]
    counts: Sequence[int | None] = (None,)
    n = scenario.strategy.get("n")
    yield str(spec.model), f"n={n}" if n else str(scenario.strategy["name"]), scenario
    if isinstance(n, int):
        for other in [count for count in _SAMPLES if count != n][:4]:
            strategy = dict(scenario.strategy) | {"n": other}
            with suppress(ValueError):
                yield str(spec.model), f"n={other}", replace(scenario, strategy=strategy)
        counts = (n, 1)
    for model in _other_models(scenario, spec):
        pools = dict(scenario.pools) | {pool: replace(spec, model=model, outcomes=None)}
        for count in counts:
            strategy = dict(scenario.strategy) | ({} if count is None else {"n": count})
            with suppress(ValueError):
                label = f"n={count}" if count else str(scenario.strategy["name"])
                yield model, label, replace(scenario, pools=pools, strategy=strategy)


def _other_models(scenario: Scenario, spec: Pool) -> Iterator[str]:
    """Models with a profile of the task and an architecture, those of about the same size first."""
    from foretell.models.architecture import list_architectures, load_architecture
    from foretell.models.profiles import list_outcomes

    if spec.model is None:
        return
    known = set(list_architectures())
    task = scenario.workload.task
    names = [m for t, m in list_outcomes() if t == task and m in known and m != spec.model]
    size = math.log(load_architecture(spec.model).active_parameters())
    yield from sorted(
        names, key=lambda name: abs(math.log(load_architecture(name).active_parameters()) - size)
    )


def _choice(one: Found, x: float, unit: str) -> Point:
    accuracy = one.figures["accuracy"]
    told = f"{one.series}, {one.label}: {percent(accuracy)} right, {_shown(x, unit)}"
    return Point(x, accuracy, one.label, told, group=one.series, chosen=one.here)


def _plain(one: Found, x: float, y: float) -> dict[str, Any]:
    return {"series": one.series, "label": one.label, "x": finite(x), "y": finite(y), "here": one.here}


def _shown(value: float, unit: str) -> str:
    if not math.isfinite(value):
        return "more comes than can be served"
    return show_seconds(value) if unit == "s" else f"{show_number(value)} USD"
