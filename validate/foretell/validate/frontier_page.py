"""The page of `foretell validate frontier`: one offline file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from foretell.sim.report.page import document, figure, table
from foretell.sim.report.svg import legend
from foretell.validate.frontier_charts import NAMES, frontier_chart
from foretell.validate.frontier_rows import Group
from foretell.validate.silicon_report import show_asked, show_target

SHOWN = 8
"""Pictures of judged groups, from the best to the worst; and half as many of the others."""
_ASIDE = {"vllm agg": "vllm agg, runs that are not judged (in no total)"}
HEADS = (
    "groups",
    "frontier points",
    "beyond our ends",
    "at equal speed of a user",
    "90 % of resamples",
    "groups' median",
    "at equal tokens/s/accelerator",
    "as a factor of speed",
    "each configuration",
    "steepness",
)
METHOD = (
    "Every server is forecast in closed form as the closed loop that it was, by costs that had seen no run "
    "of its model on its accelerator. A frontier is what no other configuration of its group beats; both "
    "have the same configurations. Measured throughput follows from the measured times by Little's law. "
    "Errors are absolute, in per cent, medians over the points of measured frontiers, straight lines "
    "between predicted points on logarithmic axes; nothing is extrapolated. "
    "Steepness is by how much an error of speed is larger at equal speed of a user, in the median."
)


def headline(summary: Mapping[str, Any]) -> str:
    """What came out, in a sentence."""
    judged, others = summary["judged"], summary["others"]
    if not judged["groups"]:
        return (
            f"Capacity frontiers of {others['groups']} groups of other servers: off by "
            f"{percent(others['across']['median_ape'])} at equal speed for a user"
        )
    return (
        f"Capacity frontiers of {judged['groups']} groups of vLLM servers: off by "
        f"{percent(judged['across']['median_ape'])} at equal speed for a user "
        f"({percent(judged['across']['median_ape_beyond_missed'])} with the "
        f"{judged['across']['beyond']} points that have no counterpart counted as missed), by "
        f"{percent(judged['speed']['median_ape'])} as a factor of speed"
    )


def cells(one: Mapping[str, Any]) -> list[str]:
    """A line of the tables, below HEADS."""
    across = one["across"]
    spread = across["median_ape_90"]
    return [
        str(one["groups"]) if "groups" in one else "–",
        str(across["points"] + across["beyond"]),
        str(across["beyond"]),
        percent(across["median_ape"]),
        "–" if spread is None else "{:.1f} to {:.1f} %".format(*spread),
        percent(across["group_median_ape"]),
        percent(one["along"]["median_ape"]),
        percent(one["speed"]["median_ape"]),
        percent(one["same_configuration"]["median_ape"]) if "same_configuration" in one else "–",
        "–" if one["steepness"] is None else f"{one['steepness']:.1f}",
    ]


def parts(summary: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Named figures, in the order of the tables."""
    return [
        ("vLLM, aggregated (judged)", summary["judged"]),
        ("… nothing left out of the fit (no forecast)", summary["in_sample"]),
        ("other back ends, disaggregated", summary["others"]),
        *((f"… {_ASIDE.get(name, name)}", one) for name, one in summary["by_backend"].items()),
    ]


def judged_parts(summary: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The judged groups by what they have in common."""
    names = ("by_concurrency", "by_model", "by_accelerator", "by_weights", "by_lengths")
    ends = {"by_concurrency": " requests in flight"}
    return [(f"{name}{ends.get(by, '')}", one) for by in names for name, one in summary[by].items()]


def percent(value: float | None) -> str:
    """An error; a dash where there is none."""
    return "–" if value is None else f"{value:.1f} %"


def render(summary: Mapping[str, Any], groups: Sequence[Group]) -> str:
    """One offline page."""
    body = [
        f"<h1>{escape(headline(summary))}</h1>",
        f"<p>{escape(METHOD)}</p>",
        "<h2>Against the target</h2>",
        table(("target", "asked", "reached", ""), "".join(map(_target, summary["targets"])), ""),
        "<h2>By back end</h2>",
        table(("part", *HEADS), _lines(parts(summary)), ""),
        "<h2>The judged runs, by what they have in common</h2>",
        table(("part", *HEADS), _lines(judged_parts(summary)), ""),
        "<h2>Frontiers, measured and foretold</h2>",
        "<p>From the smallest error of the judged groups to the largest, evenly; then the same of the "
        "others. Small dim marks are measured configurations that others beat.</p>",
        legend(NAMES),
        *(_charts(summary, [group for group in groups if group.judged], SHOWN)),
        *(_charts(summary, [group for group in groups if not group.judged], SHOWN // 2)),
        "<h2>Every group</h2>",
        table(
            ("group", "configurations", "frontier points", "beyond", "across", "along", "speed", "bias"),
            "".join(_group(name, one) for name, one in summary["by_group"].items()),
            "Median errors [%] of the points of each frontier; the bias has its sign.",
        ),
        "<h2>What is not in it</h2>",
        "<ul>",
        *(f"<li>{rows} rows: {escape(why)}</li>" for why, rows in summary["left_out"].items()),
        f"<li>{summary['rows_set_aside']} rows that contradict themselves, set aside</li></ul>",
        f"<p>Judged rows: {escape(summary['source'])}.</p>",
    ]
    return document("Capacity frontiers", "".join(body))


def chosen(summary: Mapping[str, Any], groups: Sequence[Group], number: int) -> list[Group]:
    """So many groups, evenly from the smallest error to the largest."""
    errors = {group.name: summary["by_group"][group.name]["across"] for group in groups}
    known = sorted((g for g in groups if errors[g.name] is not None), key=lambda g: errors[g.name])
    if len(known) <= number:
        return known
    return [known[round(i * (len(known) - 1) / (number - 1))] for i in range(number)]


def _charts(summary: Mapping[str, Any], groups: Sequence[Group], number: int) -> Iterable[str]:
    yield '<div class="pair">'
    for group in chosen(summary, groups, number):
        error = percent(summary["by_group"][group.name]["across"])
        on = {tuple(point) for point in group.measured.tolist()}
        rest = [one.measured for one in group.configurations if one.measured not in on]
        chart = frontier_chart(group.measured, group.predicted, group.name, rest)
        yield figure(chart, f"{group.name}: {error}")
    yield "</div>"


def _lines(rows: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    return "".join(_row(name, cells(one)) for name, one in rows)


def _target(target: Mapping[str, Any]) -> str:
    word = {True: "met", False: "missed", None: "not measured"}[target["met"]]
    reached = show_target(target["reached"], target["asked"]["unit"])
    return _row(target["name"], (show_asked(target["asked"]), reached, word))


def _group(name: str, one: Mapping[str, Any]) -> str:
    errors = (percent(one[key]) for key in ("across", "along", "speed", "bias"))
    return _row(name, (str(one["configurations"]), str(one["points"]), str(one["beyond"]), *errors))


def _row(name: str, values: Iterable[str]) -> str:
    return f"<tr><th scope=row>{escape(name)}</th>{''.join(f'<td>{escape(v)}</td>' for v in values)}</tr>"
