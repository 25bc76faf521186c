"""What every engine did over time: the whole run, and its busiest moment step by step."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from foretell.sim.metrics import span_s
from foretell.sim.quantities import show_number, show_seconds
from foretell.sim.report.page import figure, table
from foretell.sim.report.timeline_chart import close_up, overview
from foretell.sim.report.words import whole_percent
from foretell.sim.steps import KINDS, EngineSteps, engine_steps

if TYPE_CHECKING:
    from foretell.sim.forecasting import Forecast

ROWS = 32
"""Engines of which each gets a row; of more, some are chosen."""
_NEAR_ROWS, _NEAR_STEPS = 6, 360
"""Engines in the close-up, and about how many steps of them it shows."""
_CANDIDATES = 400


def timeline_section(result: Forecast) -> str:
    """Engines by time, as words, pictures and a table: HTML."""
    engines = engine_steps(result)
    run = result.run
    span = span_s(run)
    if not span or not any(len(steps) for steps in engines):
        return "<p>No engine ran a step.</p>"
    start = float(np.min(run.arrival_s))
    end = max(start + span, *(float(steps.end_s[-1]) for steps in engines if len(steps)))
    shown = chosen(engines)
    text = f"<p>{escape(_words(engines, span))}</p>"
    about = f"{_plain(engines, span)} {_each(shown, span)}"
    caption = "Engines over time: how much of each moment went to steps of each kind"
    if len(shown) < len(engines):
        caption += f" ({len(shown)} of {len(engines)} engines: of each pool the busiest and the idlest)"
    whole = _wide(overview(shown, start, end, "Engines over time", about), caption)
    return text + whole + _close_up(engines) + _table(shown, span)


def chosen(engines: Sequence[EngineSteps], rows: int = ROWS) -> list[EngineSteps]:
    """Engines that get a row, in their order: all, or of every pool its share, half busiest, half idlest."""
    if len(engines) <= rows:
        return list(engines)
    found: list[EngineSteps] = []
    for _, each in groupby(engines, key=lambda steps: steps.pool):
        pool = list(each)
        some = max(min(len(pool), 2), rows * len(pool) // len(engines))
        by_busy = sorted(pool, key=lambda steps: -float(steps.seconds.sum()))
        kept = by_busy[: (some + 1) // 2] + by_busy[len(pool) - some // 2 :]
        found += sorted(kept, key=lambda steps: steps.place)
    return found


def busiest_window(engines: Sequence[EngineSteps], length_s: float) -> tuple[float, float]:
    """The window of this length in which all engines together compute most tokens [s]."""
    starts = np.concatenate([steps.start_s for steps in engines])
    low, high = float(starts.min()), max(float(steps.end_s[-1]) for steps in engines if len(steps))
    begin = np.linspace(low, max(low, high - length_s), _CANDIDATES)
    tokens = np.zeros(_CANDIDATES)
    for steps in engines:
        if not len(steps):
            continue
        done = (np.asarray(steps.load.prefill_tokens) + np.asarray(steps.load.decode_seqs)) * steps.count
        times = np.column_stack([steps.start_s, steps.end_s]).ravel()
        sums = np.column_stack([np.cumsum(done) - done, np.cumsum(done)]).ravel()
        tokens += np.interp(begin + length_s, times, sums) - np.interp(begin, times, sums)
    at = float(begin[int(tokens.argmax())])
    return at, min(at + length_s, high)


def _close_up(engines: Sequence[EngineSteps]) -> str:
    """The busiest moment, as long as single steps can be seen."""
    ran = [steps for steps in engines if len(steps)]
    per_s = sum(float(steps.count.sum()) / float(steps.seconds.sum()) for steps in ran[:_NEAR_ROWS])
    window = busiest_window(engines, _NEAR_STEPS / per_s)
    busy = [
        (float(np.clip(np.minimum(s.end_s, window[1]) - np.maximum(s.start_s, window[0]), 0, None).sum()), s)
        for s in engines
    ]
    kept = [steps for busy_s, steps in sorted(busy, key=lambda item: -item[0])[:_NEAR_ROWS] if busy_s > 0]
    rows = [steps for steps in engines if any(steps is one for one in kept)]
    which = "" if len(rows) == len(engines) else f", {len(rows)} of {len(engines)} engines, the busiest there"
    caption = (
        f"The busiest {show_seconds(window[1] - window[0])}, by tokens computed{which}: a box is a step, as "
        "wide as it takes and the higher the more requests are in it"
    )
    counted = ", ".join(
        f"{steps.name}: {_steps_within(steps, window)} steps or runs of like steps" for steps in rows
    )
    about = f"From {window[0]:.3f} s to {window[1]:.3f} s. {counted}."
    return _wide(close_up(rows, *window, "Steps of the busiest moment", about), caption)


def _wide(chart: str, caption: str) -> str:
    """A picture that scrolls by itself where there is no room for it, by keyboard too."""
    name = escape(caption)
    inside = f'<div style="min-width:40rem;margin-bottom:.8rem">{chart}</div>'
    return figure(
        f'<div class="scroll" tabindex="0" role="region" aria-label="{name}">{inside}</div>', caption
    )


def _steps_within(steps: EngineSteps, window: tuple[float, float]) -> int:
    return int(((steps.start_s < window[1]) & (steps.end_s > window[0])).sum())


def _seconds(steps: EngineSteps) -> list[float]:
    return [float(steps.seconds[steps.kind == kind].sum()) for kind in range(len(KINDS))]


def _plain(engines: Sequence[EngineSteps], span: float) -> str:
    """What all engines did."""
    whole = span * len(engines)
    sums = np.array([_seconds(steps) for steps in engines]).sum(axis=0) / whole
    kinds = ", ".join(
        f"{name} {whole_percent(share)}" for name, share in zip(KINDS, sums, strict=True) if share
    )
    who = "The engine was" if len(engines) == 1 else f"The {len(engines)} engines were"
    busy = float(sums.sum())
    rest = "; the rest was idle" if busy < 0.9995 else ""
    lost = sum(len(steps.preempted_s) for steps in engines)
    times = "Once" if lost == 1 else f"{lost:,} times"
    again = f" {times} a request was preempted: it lost its KV blocks, waited, and was computed anew."
    text = f"{who} busy for {whole_percent(busy)} of {show_seconds(span)} ({kinds}){rest}."
    return text + again if lost else text


def _words(engines: Sequence[EngineSteps], span: float) -> str:
    text = [_plain(engines, span)]
    pools = [list(own) for _, own in groupby(engines, key=lambda steps: steps.pool)]
    if len(pools) > 1:
        means = (
            f"{own[0].pool} {whole_percent(sum(float(s.seconds.sum()) for s in own) / span / len(own))}"
            for own in pools
        )
        text.append(f"By pool: {', '.join(means)}.")
    for own in pools:
        busy = sorted((float(steps.seconds.sum()) / span, steps.name) for steps in own)
        if len(own) > 1 and busy[-1][0] - busy[0][0] >= 0.1:
            text.append(
                f"The load is uneven: {busy[-1][1]} was busy for {whole_percent(busy[-1][0])}, "
                f"{busy[0][1]} for {whole_percent(busy[0][0])}."
            )
    return " ".join(text)


def _each(engines: Sequence[EngineSteps], span: float) -> str:
    return " ".join(f"{s.name}: busy {whole_percent(float(s.seconds.sum()) / span)}." for s in engines)


def _table(engines: Sequence[EngineSteps], span: float) -> str:
    """Seconds of every engine that is shown, by what it did."""
    rows = []
    for steps in engines:
        kinds = _seconds(steps)
        busy = sum(kinds)
        decodes = np.asarray(steps.load.decode_seqs) * steps.count
        batch = float(decodes.sum() / max(steps.count[decodes > 0].sum(), 1))
        rows.append(
            f"<tr><th scope=row>{escape(steps.name)}</th>"
            + "".join(f"<td>{show_number(seconds)}</td>" for seconds in (*kinds, max(span - busy, 0.0)))
            + f"<td>{escape(whole_percent(busy / span))}</td><td>{steps.count.sum():,.0f}</td>"
            + f"<td>{show_number(batch)}</td></tr>"
        )
    heads = ["engine", *(f"{kind} [s]" for kind in KINDS), "idle [s]", "busy", "steps", "decoding together"]
    made = table(heads, "".join(rows), "What each engine did, first run")
    if len(engines) <= 8:
        return made
    return f"<details><summary>Figures of every engine shown</summary>{made}</details>"
