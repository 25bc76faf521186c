"""The report of `foretell validate silicon` as one HTML page that loads nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from foretell.sim.report.page import document, figure
from foretell.sim.report.page import table as _table
from foretell.sim.report.svg import legend
from foretell.validate.charts import Points, boxes, scatter
from foretell.validate.report import MAIN, name_of, residuals

if TYPE_CHECKING:
    import pandas as pd

_INPUTS = {
    "concurrency": "Concurrency",
    "prompt_tokens": "Prompt length [tokens]",
    "output_tokens": "Output length [tokens]",
    "tensor_parallel_size": "Tensor parallel size",
    "version": "Engine version",
    "weights": "Weights",
}
_NAMES = {"tpot": "Time per output token (TPOT)", "ttft": "Time to first token (TTFT)"}
_FOLDS = (
    "Whatever is fitted on measured runs (the scales of the cost terms, the width of the intervals) is "
    "fitted without the rows it is judged on. “Leave-one-(model, GPU)-out” leaves out all rows of one "
    "model on one accelerator, “leave-one-model-out” all rows of one model. “Three calibration rows” adds "
    "three rows of the group left out, which are not judged then. “Untuned” fits nothing; “in the sample” "
    "leaves out nothing and is a floor, not a forecast. Operator times were measured one by one by "
    "aiconfigurator's authors, apart from any server run."
)


def render(table: pd.DataFrame, summary: Mapping[str, Any]) -> str:
    """Make the page.

    Args:
        table: of `silicon.validate_silicon`.
        summary: of `report.summarise` of that table.

    Returns:
        HTML with its style and charts inside: no script, and nothing that a browser would load.

    """
    main = table[table["variant"] == MAIN]
    judged = main[main["judged"].astype(bool)]
    others = table[~table["judged"].astype(bool)]
    kept, foreign = _kept(judged), _kept(others)
    models = [str(model) for model in main["model"].value_counts().index]  # the largest below the others
    met = [target["met"] for target in summary["targets"]]
    parts = [
        f"<h1>{escape(headline(summary))}</h1>",
        f"<p>{met.count(True)} of {len(met)} targets are met, {met.count(False)} missed, {met.count(None)} "
        f"not measured. Errors are absolute, in per cent of what was measured. Variant: {escape(MAIN)}.</p>",
        "<h2>Against the targets</h2>",
        _targets(summary["targets"]),
        "<h2>In all variants</h2>",
        _figures(
            "variant",
            variant_figures(summary),
            "Judged rows; those set aside are left out unless it says “all rows”.",
        ),
        f"<p>{escape(_intervals(summary))}</p>",
        "<h2>Predicted and measured</h2>",
        *_scatters(kept, "the judged rows", models),
        "<h2>What is left, against each input</h2>",
        "<p>Predicted over measured, less one: box from 25 to 75 %, whiskers from 5 to 95 %, at the right "
        "the number of rows.</p>",
        *_residuals(kept),
        "<h2>By model and GPU</h2>",
        _figures(
            "model, GPU",
            summary["by_group"],
            "In the variant above; every group was left out of its own fit.",
        ),
        "<h2>Other backends, and disaggregated serving</h2>",
        *_foreign(foreign, summary, models),
        "<h2>Rows set aside, and rows without a forecast</h2>",
        _rows(("row", "why it is set aside"), [(one["id"], one["reason"]) for one in summary["set_aside"]]),
        _rows(("why there is no forecast", "rows"), summary["not_predicted"].items()),
        _rows(("why a row of the sample is not simulated", "rows"), summary["left_out"].items()),
        "<h2>Sources, and how the folds were made</h2>",
        f"<p>{escape(_FOLDS)}</p>",
        f"<p>Judged runs: {escape(summary['source'])}. Measured by InferenceX (SemiAnalysis, Apache-2.0) and "
        "others, collected in aiconfigurator's silicon_sample.csv; operators measured for "
        "aiconfigurator-core (both NVIDIA, Apache-2.0).</p>",
    ]
    return document("foretell: validated on silicon", "".join(parts))


def percent(value: float | None, digits: int = 1) -> str:
    """An error in per cent; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f} %"


def show_target(value: float | None, unit: str) -> str:
    """A target's figure: errors in per cent, shares turned into per cent."""
    return percent(value) if unit == "%" or value is None else percent(100 * value)


def show_asked(asked: Mapping[str, Any]) -> str:
    """What a target asks for, in words."""
    low, high, unit = asked["at_least"], asked["at_most"], asked["unit"]
    if low is None:
        return f"at most {show_target(high, unit)}"
    return (
        f"at least {show_target(low, unit)}"
        if high is None
        else f"{show_target(low, unit)} to {show_target(high, unit)}"
    )


def headline(summary: Mapping[str, Any]) -> str:
    """The answer in one line."""
    return (
        f"{summary['rows_predicted']} of {summary['rows']} server runs predicted: TPOT off by "
        f"{percent(summary['tpot_median_ape'])} in the median, TTFT by {percent(summary['ttft_median_ape'])}"
    )


def _targets(targets: Iterable[Mapping[str, Any]]) -> str:
    words = {True: ("met", "✓ met"), False: ("missed", "✗ missed"), None: ("dim", "not measured")}
    rows = []
    for target in targets:
        style, word = words[target["met"]]
        reached = show_target(target["reached"], target["asked"]["unit"])
        rows.append(
            f"<tr><th scope=row>{escape(target['name'])}</th><td>{show_asked(target['asked'])}</td>"
            f"<td>{reached}</td><td class={style}>{word}</td></tr>"
        )
    return _table(("target", "asked", "reached", ""), "".join(rows), "")


def variant_figures(summary: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Every variant's figures: as judged, of all rows, and the median of its groups."""
    found: dict[str, Mapping[str, Any]] = {}
    for name, one in summary["variants"].items():
        found[name] = one
        found[f"{name}, all rows"] = one["with_set_aside"]
        found[f"{name}, median of {one['group_medians']['groups']} groups"] = one["group_medians"]
    return found


def _figures(what: str, parts: Mapping[str, Mapping[str, Any]], caption: str) -> str:
    cells: tuple[tuple[str, Callable[[Mapping[str, Any]], str]], ...] = (
        ("rows", lambda one: str(one.get("rows", ""))),
        ("predicted", lambda one: str(one.get("rows_predicted", ""))),
        ("TPOT median", lambda one: percent(one["tpot_median_ape"])),
        ("mean", lambda one: percent(one["tpot_mean_ape"])),
        ("TTFT median", lambda one: percent(one["ttft_median_ape"])),
        ("mean", lambda one: percent(one["ttft_mean_ape"])),
        ("90 % interval covers", lambda one: show_target(one.get("interval_coverage_90"), "")),
    )
    body = "".join(
        f"<tr><th scope=row>{escape(name)}</th>{''.join(f'<td>{show(one)}</td>' for _, show in cells)}</tr>"
        for name, one in parts.items()
    )
    return _table((what, *(head for head, _ in cells)), body, caption)


def _intervals(summary: Mapping[str, Any]) -> str:
    words = []
    for key, name in (("tpot_median_ape", "TPOT median"), ("ttft_median_ape", "TTFT median")):
        ends = summary[f"{key}_90"]
        if ends:
            words.append(f"{name} {percent(summary[key])} ({percent(ends[0])} to {percent(ends[1])})")
    if not words:
        return "Too few groups to say how sure these figures are."
    return f"How sure these are, when whole groups are drawn anew, in 9 of 10 cases: {'; '.join(words)}."


def _scatters(rows: pd.DataFrame, whose: str, models: Sequence[str]) -> list[str]:
    if not len(rows):
        return ["<p>No row.</p>"]
    found = [legend(models), '<div class="pair">']
    for metric, name in _NAMES.items():
        series = {}
        for model in models:
            part = rows[rows["model"] == model]
            measured, predicted = (
                part[f"{metric}{middle}_s"].to_numpy(float) for middle in ("", "_predicted")
            )
            labels = [
                f"{row}: measured {a * 1e3:.4g} ms, predicted {b * 1e3:.4g} ms"
                for row, a, b in zip(part["id"], measured, predicted, strict=True)
            ]
            series[model] = Points(measured, predicted, labels)
        found.append(figure(scatter(series, f"{name} of {whose}, predicted and measured"), name))
    return [*found, "</div>"]


def _residuals(rows: pd.DataFrame) -> list[str]:
    found = []
    for column, name in _INPUTS.items():
        values = list(rows[column].unique())
        found.append(f'<h3>{name}</h3><div class="pair">')
        for metric, long in _NAMES.items():
            groups = {
                name_of(value): residuals(rows[rows[column] == value], metric) for value in _in_order(values)
            }
            found.append(figure(boxes(groups, f"Residuals of {metric.upper()} by {name}"), long))
        found.append("</div>")
    return found


def _in_order(values: Sequence[Any]) -> list[Any]:
    """Numbers by size, versions by their parts, everything else as text."""
    known = [value for value in values if value == value]

    def key(value: Any) -> tuple[Any, ...]:
        if isinstance(value, str):
            return tuple(
                (0, int(p), "") if p.isdigit() else (1, 0, p) for p in value.replace("-", ".").split(".")
            )
        return value if isinstance(value, tuple) else (value,)

    return sorted(known, key=key)


def _foreign(rows: pd.DataFrame, summary: Mapping[str, Any], models: Sequence[str]) -> list[str]:
    if not summary["other_backends"]:
        return ["<p>None were looked at.</p>"]
    caption = "“all”: everything but aggregated vLLM. Rows set aside are left out."
    table = _figures("backend, mode", summary["other_backends"], caption)
    first = rows[rows["variant"] == MAIN] if (rows["variant"] == MAIN).any() else rows
    return [table, *_scatters(first, "other backends", models)]


def _rows(heads: tuple[str, str], rows: Iterable[tuple[Any, Any]]) -> str:
    body = "".join(f"<tr><td>{escape(str(a))}</td><td>{escape(str(b))}</td></tr>" for a, b in rows)
    return _table(heads, body, "", "text") if body else ""


def _kept(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["set_aside"].fillna("") == ""]
