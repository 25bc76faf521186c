"""A comparison in words, for tables and pages alike: who wins, what comes next, how it was found."""

from __future__ import annotations

from collections.abc import Iterator

from foretell.sim.comparing import Compared, Comparison, difference
from foretell.sim.report.words import chance, ranges, show, signed, signed_between

BY = {
    "usd_per_query": "cheapest a query",
    "usd_per_correct": "cheapest a right answer",
    "energy_per_query_J": "least energy a query",
    "energy_per_correct_J": "least energy a right answer",
    "tokens_per_query": "fewest tokens",
    "e2e_mean_s": "fastest in the mean",
}
_RESPECTS = {"accuracy": "more accuracy", "e2e_p99_s": "lower p99", "usd_per_query": "lower price a query"}


def told_cells(comparison: Comparison) -> list[Compared]:
    """The cells that have a forecast."""
    return [cell for cell in comparison.cells if not cell.reason]


def name(cell: Compared) -> str:
    """A cell's values."""
    return ", ".join(cell.labels.values())


def headline(comparison: Comparison) -> str:
    """Who wins, or that nobody does."""
    best, count = comparison.best, len(comparison.cells)
    if best is None:
        first = told_cells(comparison)[0]
        missed = ", ".join(
            f"{v.objective} ({v.objective.show(v.value)})" for v in first.verdicts if not v.met
        )
        return f"None of {count} cells meets every objective; closest: {name(first)}, which misses {missed}"
    meeting = sum(cell.met for cell in comparison.cells)
    sure = ", ".join(f"{v.objective}: {chance(v.probability)}" for v in best.verdicts)
    if best.verdicts and meeting == 1 < count:
        return f"Best: {name(best)}, the only one of {count} that meets every objective ({sure})"
    text = f"Best: {name(best)}, {BY[comparison.by]} of {meeting}"
    return text + (f" that meet every objective ({sure})" if best.verdicts else " cells")


def runner_up(comparison: Comparison) -> str:
    """What comes next, and by how much it loses; empty where nothing does."""
    first, by = comparison.cells[0], comparison.by
    others = [cell for cell in comparison.cells[1:] if cell.met]
    if comparison.best is None or not others:
        return ""
    second = others[0]
    text = f"Next: {name(second)}, with {show(by, second.value(by))}"
    if by not in first.summary or by not in second.summary:
        return text
    loss = difference(second.summary[by], first.summary[by])
    text += f", {signed(by, loss.value)}"
    low_high = signed_between(by, loss.low, loss.high)
    if low_high:
        alike = "; a run may go either way" if loss.low <= 0 <= loss.high else ""
        text += f" ({low_high}{alike})"
    return text


def respects(comparison: Comparison) -> str:
    """What the frontier is of."""
    return ", ".join(_RESPECTS.get(figure, figure) for figure, _ in comparison.respects)


def how_found(comparison: Comparison, where: str = "Below a figure") -> Iterator[str]:
    """How its figures were found, and what stands beside them."""
    n = comparison.scenario.replications
    estimated = comparison.method == "closed_form"
    if estimated:
        yield "Closed form of an endless run, queues in the mean; overloaded cells have no latency."
    if n > 1:
        yield f"{where}: {ranges(n, closed_form=estimated)}."
