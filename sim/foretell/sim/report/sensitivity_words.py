"""A sensitivity in words, for tables and pages alike: what has the least room, what the columns mean."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from foretell.sim.objectives import objectives_from_mapping
from foretell.sim.quantities import show_number
from foretell.sim.report.words import chance, lowered

if TYPE_CHECKING:
    from foretell.sim.sensitivity import Sensitivity


def headline(found: Sensitivity) -> str:
    """Whether the objectives are met, and which has the least room."""
    value = found.base.figures.get(found.nearest.key, math.nan)
    where = f"{found.nearest}, found {found.nearest.show(value)}"
    if found.met:
        return f"Meets every objective; the least room has {where}"
    if not found.base.met:
        return f"Misses {where}"
    counts = "+".join(map(str, found.base.replicas or ()))
    return f"Overloaded; with {counts} replicas, the least room has {where}"


def missed_as_well(found: Sensitivity) -> Iterator[str]:
    """Other objectives that a change of some input makes missed."""
    others = [o for o in objectives_from_mapping(found.scenario.objectives) if o != found.nearest]
    for objective in others:
        labels = [
            lowered(swing.label)
            for swing in found.swings
            if min(swing.low.margins[objective.name], swing.high.margins[objective.name]) < 0
        ]
        if labels:
            yield f"{objective.name} is missed as well, by a change of: {', '.join(labels)}."


def meanings(found: Sensitivity) -> Iterator[str]:
    """What replicas, worth and known to mean, and how the figures were found."""
    yield f"Replicas: the fewest that meet every objective{_terms(found)}; {_today(found)}."
    if math.isfinite(found.base.usd_per_h):
        yield (
            "Worth: what is saved, on average, by learning an input before renting instead of after, meeting "
            f"every objective with a chance of {chance(found.probability)} either way, others as they are."
        )
    if any(swing.assumed for swing in found.swings):
        yield "Known to: one standard deviation; * assumed, the others by their models' own errors."
    yield f"{found.method[0].upper()}{found.method[1:]}."


def _terms(found: Sensitivity) -> str:
    more = [f"{found.headroom:.0%} more traffic".replace("%", " %")] if found.headroom else []
    more += [f"{found.spare} lost"] if found.spare else []
    return f", with {' or '.join(more)} too" if more else ""


def _today(found: Sensitivity) -> str:
    names = f" of {' + '.join(found.parts)}" if len(found.parts) > 1 else ""
    if found.base.replicas is None:
        return f"as things are, no number{names} does"
    counts = "+".join(map(str, found.base.replicas))
    rent = f", {show_number(found.base.usd_per_h)} USD/h" if math.isfinite(found.base.usd_per_h) else ""
    return f"as things are, {counts}{names}{rent}"
