"""The answer first: are the objectives met, how surely, with how much room, at what cost; what to mind."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, TypeAlias

from foretell.sim.intervals import FEW
from foretell.sim.objectives import room_of
from foretell.sim.report.page import section
from foretell.sim.report.told import headline, interval_words, refused, subject
from foretell.sim.report.words import between, chance, limit_text, percent, prose, show, words_of

if TYPE_CHECKING:
    from foretell.sim.closed_form import ClosedForm
    from foretell.sim.forecasting import Forecast, Verdict
    from foretell.sim.intervals import Estimate

    Told: TypeAlias = "Forecast | ClosedForm"

_COSTS = (
    "usd_per_h",
    "usd_per_correct",
    "usd_per_query",
    "usd_per_million_output_tokens",
    "energy_per_correct_J",
    "energy_per_output_token_J",
)
_KEY = (
    "accuracy",
    "e2e_p99_s",
    "ttft_p99_s",
    "tpot_p99_s",
    "query_throughput_rps",
    "goodput_rps",
    "output_throughput_tps",
    "utilisation",
    "load",
    "tokens_per_query",
)
_TILES = 6
_SURE, _UNSURE = 0.9, 0.1


def answer_section(result: Told) -> str:
    """Headline, objectives as tiles, the main other figures, notes."""
    surely = all(not v.probability < _SURE for v in result.verdicts) and not refused(result)
    style = "" if not result.verdicts else " missed" if not result.met else " met" if surely else ""
    parts = [
        f'<p class="answer{style}">{prose(_said(result))}.</p>',
        f"<p>{' '.join(prose(text) for text in _sentences(result))}</p>",
    ]
    parts += [
        f'<p class="missed"><strong>{prose(_capital(note))}.</strong></p>' for note in _warnings(result)
    ]
    if result.verdicts:
        tiles = "".join(_objective_tile(verdict, result) for verdict in result.verdicts)
        parts.append(f'<ul class="tiles">{tiles}</ul>')
    asked = {verdict.objective.key for verdict in result.verdicts}
    tiles = "".join(_figure_tile(key, result.summary[key]) for key in _main(result, asked))
    parts.append(f'<ul class="tiles small-tiles">{tiles}</ul>')
    parts.append(_notes(result))
    return section("answer", "The answer", "".join(parts))


def _said(result: Told) -> str:
    return headline(result).replace("<=", "≤").replace(">=", "≥")


def _warnings(result: Told) -> list[str]:
    """Notes without which the figures mislead."""
    return [note for note in result.notes if note.startswith("overloaded") or "requests rejected" in note]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _sentences(result: Told) -> Iterator[str]:
    """What it is, how sure one is, and what it costs."""
    yield f"{subject(result)}."
    told = [v for v in result.verdicts if not math.isnan(v.probability)]
    unsure = [v for v in told if _UNSURE < v.probability < _SURE]
    if unsure:
        names = ", ".join(f"{v.objective.name} ({chance(v.probability)})" for v in unsure)
        yield f"One run may go either way on {names}: plan for more room, or calibrate."
    nearest = _nearest(result)
    if nearest is not None:
        room = room_of(nearest.objective, nearest.value)
        if room >= 0:
            least = "Least room: " if len(result.verdicts) > 1 else ""
            side = "below" if nearest.objective.direction == "<=" else "above"
            yield f"{least}{nearest.objective.name} lies {percent(room)} {side} its limit."
        elif math.isfinite(room):
            side = "above" if nearest.objective.direction == "<=" else "below"
            yield f"Furthest off: {nearest.objective.name} lies {percent(-room)} {side} its limit."
    costs = [
        f"{show(key, result.summary[key].value)}{_per(key)}"
        for key in _COSTS
        if key in result.summary and math.isfinite(result.summary[key].value)
    ]
    if costs:
        yield f"It costs {', '.join(costs)}."


def _nearest(result: Told) -> Verdict | None:
    """The objective with the least room."""
    return min(result.verdicts, key=lambda v: room_of(v.objective, v.value), default=None)


def _per(key: str) -> str:
    words = {
        "usd_per_h": " an hour",
        "usd_per_correct": " a right answer",
        "usd_per_query": " a query",
        "usd_per_million_output_tokens": " a million output tokens",
        "energy_per_correct_J": " a right answer",
        "energy_per_output_token_J": " an output token",
    }
    return words[key]


def _objective_tile(verdict: Verdict, result: Told) -> str:
    objective = verdict.objective
    room = room_of(objective, verdict.value)
    mark, style = ("met", "met") if verdict.met else ("missed", "missed")
    lines = [f"limit {limit_text(objective).split(' ', 1)[1]}"]
    found = result.summary.get(objective.key)
    low_high = between(objective.key, found) if found is not None else ""
    if low_high:
        lines.append(f"{_whose(result)}: {low_high}")
    if not math.isnan(verdict.probability):
        lines.append(f"chance to be met: {chance(verdict.probability)}")
    if math.isfinite(room):
        lines.append(f"room: {percent(room)}" if room >= 0 else f"over by {percent(-room)}")
    told = "".join(f"<br>{prose(line)}" for line in lines)
    return (
        f'<li class="{style}"><span class="what">{escape(objective.name)}: {mark}</span>'
        f"<strong>{prose(objective.show(verdict.value))}</strong>{_gauge(verdict, found)}"
        f"<small>{told[4:]}</small></li>"
    )


def _whose(result: Told) -> str:
    """Whose interval it is, in a tile."""
    from foretell.sim.closed_form import ClosedForm

    n = result.scenario.replications
    if isinstance(result, ClosedForm):
        return "range of the models' errors"
    return "one run" if n >= FEW else f"{n} runs"


def _gauge(verdict: Verdict, found: Estimate | None) -> str:
    """The value as a bar against its limit, with its interval; screen readers have the text beside it."""
    limit, value = verdict.objective.limit, verdict.value
    if not (math.isfinite(limit) and math.isfinite(value)) or limit <= 0:
        return ""
    low, high = (found.low, found.high) if found is not None else (math.nan, math.nan)
    most = 1.12 * max(x for x in (limit, min(value, 4 * limit), min(high, 2.5 * limit)) if math.isfinite(x))
    if verdict.objective.kind == "share":
        most = max(1.0, limit)

    def place(at: float) -> float:
        return min(max(196 * at / most, 0.0), 199.0) + 0.5

    parts = [
        f'<rect x="0" y="4" width="{place(value):.1f}" height="8" fill="currentColor" fill-opacity=".35"/>'
    ]
    if math.isfinite(low) and math.isfinite(high) and high > low:
        parts.append(f'<path stroke="currentColor" d="M{place(low):.1f} 8H{place(high):.1f}"/>')
        parts += [f'<path stroke="currentColor" d="M{place(end):.1f} 5v6"/>' for end in (low, high)]
    parts.append(f'<path stroke="var(--text)" stroke-width="2" d="M{place(limit):.1f} 0v16"/>')
    frame = 'class="gauge" viewBox="0 0 200 16" preserveAspectRatio="none" aria-hidden="true"'
    return f"<svg {frame}>{''.join(parts)}</svg>"


def _main(result: Told, asked: set[str]) -> Sequence[str]:
    """The other figures that one asks for first."""
    task = result.scenario.workload.task is not None
    costs = ("usd_per_correct", "usd_per_query") if task else ("usd_per_million_output_tokens",)
    keys = [*_KEY[:2], *costs, *_KEY[2:], "usd_per_h", "power_W"]
    if task:
        keys = [key for key in keys if key not in ("ttft_p99_s", "tpot_p99_s")]
    there = (key for key in keys if key in result.summary and math.isfinite(result.summary[key].value))
    return [key for key in there if key not in asked][:_TILES]


def _figure_tile(key: str, found: Estimate) -> str:
    low_high = between(key, found)
    below = f"<small>{prose(low_high)}</small>" if low_high else ""
    return (
        f'<li><span class="what">{escape(words_of(key))}</span>'
        f"<strong>{prose(show(key, found.value))}</strong>{below}</li>"
    )


def _notes(result: Told) -> str:
    """How the figures were found, and what is estimated, assumed or outside what is validated."""
    method = f"{result.method[0].upper()}{result.method[1:]}."
    runs = any(math.isfinite(found.low) for found in result.summary.values())
    told = f" Ranges: {interval_words(result)}." if runs else " No intervals."
    items = "".join(f"<li>{prose(note)}</li>" for note in result.notes if note not in _warnings(result))
    body = f"<p>{prose(method + told)}</p>"
    if items:
        body += f'<h3>Estimated, assumed, or outside what was validated</h3><ul class="notes">{items}</ul>'
    return body
