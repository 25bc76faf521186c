"""Queueing models against simulation as a section of the page of evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from foretell.validate.charts import Points
from foretell.validate.evidence import Grid, Residuals, Section, beyond, check, signed
from foretell.validate.theory_batching import JUDGED_LOAD, LIMITS
from foretell.validate.theory_map import NAMES

Row = Mapping[str, Any]


def theory(found: Mapping[str, Any]) -> Section:
    """What `theory_tables.theory_summary` returns; a KeyError or ValueError where it is something else."""
    points: Sequence[Row] = found["batching"]["points"]
    textbook = found["textbook"]
    if not points or not textbook["rows"]:
        raise ValueError("a summary with textbook rows and points of continuous batching is wanted")
    judged = [one for one in points if _judged(one)]
    own = {figure: [one for one in judged if one["figure"] == figure] for figure in NAMES}
    within = {figure: sum(_off(one) <= LIMITS[figure] for one in some) for figure, some in own.items()}
    beyond_limit = [one for one in judged if _off(one) > LIMITS[one["figure"]]]
    held, made = textbook["judged"], found["made"]
    inside = 100 * (1 - len(held["outside"]) / held["exact_and_bounds"])
    return Section(
        key="theory",
        title="Queueing theory",
        answer=f"{held['exact_and_bounds']} textbook figures on foretell's engines and others' "
        f"({inside:.3g} % inside their intervals), and {len(judged)} figures of continuous batching below "
        f"90 % load, {sum(within.values())} of them within their limits",
        claim="The engines are the queues that they can be set up to be, and the closed form of continuous "
        "batching agrees with them where a forecast's notes do not say otherwise.",
        how=(
            "Textbook queues are played on foretell's engines with constant step costs (slots are servers, "
            "answers services), by recursions that share no code with them, and by ciw, at loads from 0.1 to "
            "0.98; theory must lie in intervals of independent replications that hold all at once with 99 %.",
            "Continuous batching by closed form is compared with its simulation in "
            f"{len({one['case'] for one in points})} systems: step costs of one's own, models on GPUs, "
            "bursts, several engines, at shares of the simulated capacity. An error counts as it is, however "
            "uncertain the simulation.",
            f"Simulated {made['date']} ({made['effort']}, seed {made['seed']}); the closed form is that of "
            "this page's making.",
        ),
        would_fail=(
            "an exact figure outside of its interval",
            "errors beyond the limits below 90 % load",
            "such errors where the forecast's notes say nothing",
        ),
        command="foretell validate theory --recorded --json > theory.json",
        source="foretell's own simulations and textbooks; no measured data.",
        checks=(
            check("textbook: exact figures and bounds inside their intervals", inside, low=100),
            *(
                check(
                    f"{NAMES[figure]}: within ±{100 * LIMITS[figure]:g} % below 90 % load",
                    100 * within[figure] / len(some) if some else None,
                    low=100,
                )
                for figure, some in own.items()
            ),
            check(
                "errors beyond a limit of which the forecast's notes warn",
                100 * sum(map(_warned, beyond_limit)) / len(beyond_limit) if beyond_limit else 100.0,
                low=100,
            ),
        ),
        misses=[
            line
            for figure, some in own.items()
            for line in beyond(
                NAMES[figure],
                [(_name(one), None if one["off"] is None else 100 * one["off"]) for one in some],
                100 * LIMITS[figure],
                "points",
            )
        ],
        grids=(_worst(own), _textbook(textbook["rows"])),
        charts=tuple(
            Residuals(
                f"{kind}: errors over load",
                {NAMES[figure]: _drawn(points, figure) for figure in NAMES if figure.endswith(kind)},
                "load, as a share of the capacity",
                100.0,
            )
            for kind in ("mean", "p99")
        ),
        absent=[
            *found["absent"],
            f"From {JUDGED_LOAD:g} load on nothing is asked: waits are right in order of magnitude at best.",
            "Near saturation the means of replications are skewed: intervals hold less than they say.",
        ],
    )


def _judged(one: Row) -> bool:
    return one["load"] is None or not one["load"] >= JUDGED_LOAD


def _off(one: Row) -> float:
    """Size of an error; a closed form that sees an overload, null in JSON, is off by any measure."""
    return float("inf") if one["off"] is None else abs(one["off"])


def _warned(one: Row) -> bool:
    return bool(one["warned"])


def _name(one: Row) -> str:
    load = one["load"]
    return one["case"] if load is None or load != load else f"{one['case']} at {load:g}"


def _worst(own: Mapping[str, Sequence[Row]]) -> Grid:
    """The largest error of each case and figure."""
    cases = dict.fromkeys(one["case"] for some in own.values() for one in some)

    def cell(case: str, figure: str) -> str:
        some = [one for one in own[figure] if one["case"] == case]
        return signed(100 * max(some, key=_off)["off"]) if some and max(map(_off, some)) < 1e9 else "–"

    return Grid(
        "Largest error of the closed form below 90 % load, by system",
        ("system", *NAMES.values()),
        [(case, *(cell(case, figure) for figure in NAMES)) for case in cases],
    )


def _textbook(rows: Sequence[Row]) -> Grid:
    """Errors of textbook models at three loads, and half the intervals."""
    loads = (0.3, 0.7, 0.9)
    found: dict[tuple[str, ...], dict[float, str]] = {}
    for row in rows:
        key = row["model"], row["figure"], row["kind"], row["by"]
        if row["off"] is not None:
            text = f"{signed(100 * row['off'])} ± {100 * row['half_width']:.2g}"
            found.setdefault(key, {})[row["load"]] = text
    return Grid(
        "Textbook queues: error of theory, and half the 95 % interval",
        ("queue", "figure", "theory", "played by", *(f"load {load:g}" for load in loads)),
        [(*key, *(cells.get(load, "–") for load in loads)) for key, cells in found.items()],
    )


def _drawn(points: Sequence[Row], figure: str) -> Points:
    some = [one for one in points if one["figure"] == figure and one["off"] is not None]
    return Points(
        np.array([one["load"] for one in some], dtype=np.float64),
        np.array([100 * one["off"] for one in some], dtype=np.float64),
        [f"{_name(one)}: {signed(100 * one['off'])}" for one in some],
    )
