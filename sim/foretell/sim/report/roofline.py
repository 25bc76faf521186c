"""Where the time of a run's steps goes: what bounds them, and how far from the hardware's roof they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

from foretell.sim.bounds import BOUNDS
from foretell.sim.operating import MEAN_STEP, Spent, peaks, spent
from foretell.sim.quantities import show_number
from foretell.sim.report.page import figure, table
from foretell.sim.report.plots import bars
from foretell.sim.report.roofline_chart import roofline_chart
from foretell.sim.report.words import whole_percent
from foretell.sim.steps import KINDS

if TYPE_CHECKING:
    from foretell.sim.closed_form import ClosedForm
    from foretell.sim.forecasting import Forecast

_WHO = {
    KINDS[0]: "Steps that compute prompts alone",
    KINDS[1]: "Mixed steps, which compute prompts beside decoding requests,",
    KINDS[2]: "Decode-only steps",
}
_WHY = {
    "compute": (
        "do arithmetic for",
        "more FLOP/s (a faster accelerator, a smaller format to compute in)",
        "would help, more bandwidth would not",
    ),
    "memory": (
        "read and write memory for",
        "more bandwidth or fewer bytes (smaller formats of weights and KV cache, larger batches)",
        "would help, more FLOP/s would not",
    ),
    "communication": (
        "wait for other accelerators for",
        "faster links or fewer accelerators to an engine",
        "would help, faster accelerators would not",
    ),
    "launch": (
        "start kernels for",
        "larger batches",
        "would share the launches; neither more FLOP/s nor more bandwidth would help",
    ),
    "host": (
        "wait for the host for",
        "a faster host or larger batches",
        "would help, a faster accelerator would not",
    ),
}
_ABOUT = (
    "Under a roof, left of its corner memory is the limit, right of it arithmetic. How far a point lies "
    "below the roof is what launches, communication, the host and kernels that do not reach the peaks take."
)
_TERM = {
    "compute": "tokens computed",
    "memory": "context read",
    "communication": "communication",
    "launch": "launches",
    "host": "fixed time and time for each request",
}
_WORTH_A_WORD = 0.05
"""Share of the busy time from which on a kind of step gets a sentence."""
_WORTH_HELP = 0.1
"""Share of a step's time from which on the second bound counts too."""


def step_time_section(result: Forecast | ClosedForm) -> str:
    """What bounds the steps, in words, bars and rooflines: HTML.

    Every simulated step counts on its own, for as long as it took; a forecast in closed form has a mean step.
    """
    found = [one for one in spent(result) if one.busy_s > 0]
    if not found:
        return "<p>No engine ran a step.</p>"
    body = []
    engines = [list(own) for _, own in groupby(found, key=lambda one: (one.pool, id(one.part)))]
    bounds = [bound for bound in BOUNDS if any(one.shares[bound] >= 0.0005 for one in found)]
    for own in engines:
        name = _name(own[0], engines)
        heading = f"<h3>{escape(name)}</h3>" if name else ""
        words = "".join(f"<p>{escape(text)}</p>" for text in _finding(own))
        body.append(f"{heading}{words}{_bars(own, name, bounds)}")
    parts = {one.part.hardware.name: one.part for one in found if one.part.hardware and one.flops is not None}
    modelled = [one for one in found if one.flops is not None]
    if parts:
        body.append(f"<p>{_ABOUT}</p>")
    body += [_roofline([one for one in modelled if _on(one) == hardware]) for hardware in parts]
    if any(one.flops is None for one in found):
        body.append(
            "<p>The cost of a step is given, so that nobody knows its FLOPs and bytes: there is no roofline"
            f"{' of it' if parts else ''}.</p>"
        )
    return "".join(body)


def _on(one: Spent) -> str:
    return one.part.hardware.name if one.part.hardware is not None else ""


def _name(one: Spent, engines: Sequence[Sequence[Spent]]) -> str:
    """What tells these engines from the others; empty where there are no others."""
    if len(engines) == 1:
        return ""
    alike = sum(own[0].pool == one.pool for own in engines)
    where = _on(one) or f"{one.part.cost!r}"
    return f"{one.pool} on {where}" if alike > 1 else one.pool


def _finding(own: Sequence[Spent]) -> Iterator[str]:
    """A sentence on every kind of step that takes some time, the longest first."""
    busy = sum(one.busy_s for one in own)
    if own[0].part.work is None:
        yield (
            "The cost of a step is a formula: its fixed time and time for each request count as the host's, "
            "time for each token computed as compute, for each token of context read as memory."
        )
    for one in sorted(own, key=lambda one: -one.busy_s):
        part = one.busy_s / busy
        if part < _WORTH_A_WORD:
            continue
        if one.kind == MEAN_STEP:
            yield f"The mean step {_bound_by(one, 'its time')}"
        else:
            yield f"{_WHO[one.kind]} take {whole_percent(part)} of the busy time. They {_bound_by(one, 'it')}"


def _bound_by(one: Spent, of: str) -> str:
    """What bounds it, after the subject of a sentence, and what would help."""
    shares = sorted(one.shares.items(), key=lambda item: -item[1])
    (first, most), (second, next_most) = shares[:2]
    if one.part.work is None:
        verb = "owes" if one.kind == MEAN_STEP else "owe"
        rest = f", {whole_percent(next_most)} to {_TERM[second]}" if next_most >= 0.005 else ""
        return f"{verb} {whole_percent(most)} of {of} to {_TERM[first]}{rest}."
    does, remedy, effect = _WHY[first]
    if one.kind == MEAN_STEP:
        does = _singular(does)
    told, other = f"{does} {whole_percent(most)} of {of}", f"{second} takes {whole_percent(next_most)}"
    if most < 0.5:
        return f"{told}; {other}: no single change would shorten them much."
    if next_most >= _WORTH_HELP:  # what would shorten the second is not in vain
        return f"{told}: {remedy} would help most; {other}."
    return f"{told}: {remedy} {effect}."


def _singular(words: str) -> str:
    verb, _, rest = words.partition(" ")
    if words.startswith("read and write"):
        return "reads and writes memory for"
    return f"{'does' if verb == 'do' else verb + 's'} {rest}"


def _bars(own: Sequence[Spent], name: str, bounds: Sequence[str]) -> str:
    """Shares of the time by bound, of all steps and of each kind; bounds have one colour on the page."""
    busy = sum(one.busy_s for one in own)
    rows = {}
    if len(own) > 1:
        means = [sum(one.shares[bound] * one.busy_s for one in own) / busy for bound in BOUNDS]
        rows["all steps"] = dict(zip(BOUNDS, means, strict=True))
    for one in own:
        label = one.kind if one.kind == MEAN_STEP else f"{one.kind}, {whole_percent(one.busy_s / busy)}"
        rows[label] = one.shares
    rows = {label: {bound: row[bound] for bound in bounds} for label, row in rows.items()}
    told = "; ".join(
        f"{label}: " + ", ".join(f"{bound} {whole_percent(share)}" for bound, share in row.items())
        for label, row in rows.items()
    )
    where = f" of {name}" if name else ""
    caption = f"What bounds the steps{where}: shares of their time"
    if any(one.kind != MEAN_STEP for one in own):
        caption += " (beside each kind, its share of the busy time)"
    return figure(bars(rows, f"What bounds the steps{where}", told + ".", width=560), caption)


def _roofline(points: Sequence[Spent]) -> str:
    """The roofline of one kind of hardware, with a table of the mean points."""
    part = points[0].part
    assert part.hardware is not None and part.work is not None
    chip, memory_Bps = part.hardware.accelerator, part.work.memory_Bps
    tops: dict[str, float] = {}
    for one in points:
        tops |= peaks(one.part)
    tops = dict(sorted(tops.items(), key=lambda item: -item[1]))
    top = max(tops.values())
    ridge = top / memory_Bps
    busy = sum(one.busy_s for one in points)
    rows, told = [], []
    several = len({one.pool for one in points}) > 1
    for one in points:
        intensity, rate = one.mean or (0.0, 0.0)
        moved = rate / intensity if intensity else 0.0
        name = f"{one.pool}: {one.kind}" if several else one.kind
        share = "" if one.kind == MEAN_STEP else f"<td>{escape(whole_percent(one.busy_s / busy))}</td>"
        rows.append(
            f"<tr><th scope=row>{escape(name)}</th>{share}<td>{show_number(intensity)}</td>"
            f"<td>{show_number(rate / 1e12)}</td><td>{escape(whole_percent(rate / top))}</td>"
            f"<td>{show_number(moved / 1e12)}</td><td>{escape(whole_percent(moved / memory_Bps))}</td></tr>"
        )
        told.append(
            f"{name}: {show_number(intensity)} FLOP/byte at {show_number(rate / 1e12)} TFLOP/s, "
            f"{whole_percent(rate / top)} of the peak and "
            f"{whole_percent(moved / memory_Bps)} of the bandwidth"
        )
    about = (
        f"Roof of one {chip.name}: {show_number(memory_Bps / 1e12)} TB/s up to {show_number(ridge)} "
        f"FLOP/byte, then {show_number(top / 1e12)} TFLOP/s. Means of the steps: {'; '.join(told)}."
    )
    title = f"Roofline of {chip.name}"
    heads = ["mean of steps", "FLOP/byte", "TFLOP/s", "of peak", "TB/s", "of bandwidth"]
    if any(one.kind != MEAN_STEP for one in points):
        heads.insert(1, "busy time")
    chart = roofline_chart(points, tops, memory_Bps, title, about)
    sources = "; ".join(
        f"{name}: {escape(chip.sources[field])}"
        for field, name in (("peak_flops", "peaks"), ("memory_Bps", "bandwidth"))
        if chip.sources.get(field)
    )
    notes = (
        f"<p><small>Sources: {sources}. Of one accelerator each; FLOPs and bytes that the operators need."
        "</small></p>"
    )
    caption = (
        f"{title}: how close to its limits the steps come. Its corner is at {show_number(ridge)} FLOP/byte"
    )
    return f"{figure(chart, caption)}{table(heads, ''.join(rows), 'Mean points of the picture')}{notes}"
