"""The fewest replicas with which a case meets its objectives, by closed form."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from foretell.sim.objectives import COSTS, Objective
from foretell.sim.sensitivity_case import Case

Replicas = tuple[int, ...]
"""Of each part of a deployment."""
MOST = 64
"""So many times the replicas of today, about, are tried."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a deployment must keep, and when.

    Attributes:
        objectives: of the scenario.
        headroom: they must hold at so much more traffic too, as a share of it.
        spare: and with so many replicas of any part lost.

    """

    objectives: tuple[Objective, ...]
    headroom: float = 0.0
    spare: int = 0

    def kept(self, case: Case) -> bool:
        """Whether all objectives that more replicas help hold, at more traffic and with replicas lost too."""
        helped = [o for o in self.objectives if o.kind not in COSTS]
        return all(_holds(helped, figures_of(hard)) for hard in self._hardships(case))

    def affordable(self, case: Case) -> bool:
        """Whether the others hold: rent, price, energy and power, which more replicas never help."""
        dear = [o for o in self.objectives if o.kind in COSTS]
        return not dear or _holds(dear, figures_of(case))

    def _hardships(self, case: Case) -> Iterator[Case]:
        """The cases that imply all others: harder ones, and where more traffic is easier, it as it is."""
        if self.headroom > 0:
            yield case.busier(1 + self.headroom)
        if self.spare > 0:
            for i, count in enumerate(case.replicas):
                left = list(case.replicas)
                left[i] = count - self.spare
                yield case.with_replicas(left)
        rates = any(o.kind == "rate" and o.direction == ">=" for o in self.objectives)
        if self.spare == 0 and (self.headroom == 0 or rates):
            yield case


def fewest(
    kept: Callable[[Replicas], bool],
    start: Replicas,
    prices: Sequence[float],
    least: Replicas,
    *,
    sure: bool = False,
) -> Replicas | None:
    """The fewest replicas that keep what must be kept; None where more than `MOST` times as many are needed.

    Args:
        kept: whether so many do; with more of any part it must not become false.
        start: where to begin, such as what there is today.
        prices: of a replica, by part: the dearest part is made smallest first.
        least: fewer are not looked at.
        sure: `start` is known to do.

    Exact for one part. With several it is a smallest answer, from which no part can lose a replica, but not
    always the cheapest: one part may make up for another.

    """
    begun = tuple(max(pair) for pair in zip(start, least, strict=True))
    found, more = begun, 1
    while not (sure and found == start) and not kept(found):
        if more > MOST * 8:
            return None
        if len(found) == 1:
            least = (found[0] + 1,)
        found = tuple(count + more * -(-count // 8) for count in begun)
        more = 2 * more + 1
    for part in sorted(range(len(found)), key=lambda i: -prices[i]):
        rest = found

        def does(count: int, part: int = part, rest: Replicas = rest) -> bool:
            return kept((*rest[:part], count, *rest[part + 1 :]))

        found = (*rest[:part], _smallest(does, least[part], rest[part]), *rest[part + 1 :])
    return found


def _smallest(kept: Callable[[int], bool], low: int, high: int) -> int:
    """The smallest count in [low, high] that does, as `high` does: in growing steps down, then by halves."""
    step = max(high // 16, 1)
    while low < high:
        at = max(high - step, (low + high) // 2)
        if not kept(at):
            low = at + 1
            break
        high, step = at, 2 * step
    while low < high:
        at = (low + high) // 2
        low, high = (low, at) if kept(at) else (at + 1, high)
    return high


def needed(
    case: Case, terms: Terms, start: Replicas, least: Replicas | None = None, *, sure: bool = False
) -> Replicas | None:
    """The fewest replicas with which a case keeps its terms; see `fewest`."""
    prices = [
        each * part.accelerators * (part.usd_per_h or 0.0)
        for part, each in zip(case.deployment.parts, case.engines_each, strict=True)
    ]
    more = 1 + terms.spare
    least = tuple(max(count, more) for count in (least or (more,) * len(start)))
    return fewest(lambda counts: terms.kept(case.with_replicas(counts)), start, prices, least, sure=sure)


def rent_of(case: Case, replicas: Replicas | None) -> float:
    """Rent of so many replicas in USD an hour, infinite for None."""
    return math.inf if replicas is None else case.with_replicas(replicas).usd_per_h


def figures_of(case: Case) -> Mapping[str, float]:
    """Its figures; none where a change has made it impossible, as prompts that are too long."""
    try:
        return case.analysed().figures
    except ValueError:
        return {}


def _holds(objectives: Sequence[Objective], figures: Mapping[str, float]) -> bool:
    if not figures.get("load", math.inf) < 1:
        return False
    return all(objective.met(figures.get(objective.key, math.nan)) for objective in objectives)
