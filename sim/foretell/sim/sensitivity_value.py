r"""What it is worth to know an input before replicas are rented: the expected value of perfect information.

An input is θ = θ₀·e^{σz}, z standard normal, and n(θ) replicas are the fewest that meet the objectives. Today
one must rent n₀, enough with probability P: the P-quantile of n(θ). Who learns θ first rents min(n(θ), n₀):
as many as it takes, and never more than today. So both meet the objectives for exactly the same θ, and the
difference is money alone, EVPI = E[c(n₀) − c(min(n(θ), n₀))] >= 0. (With a free choice of where to fail, the
informed would fail where it is dear, and information could even seem to cost: Blau's dilemma.)

n(θ) is a step function; its integral is by bisection of the probability scale where it steps, until what is
left is too little to matter; the input's tails beyond 1 in 256 on either side are taken for their edges.

Source: Raiffa and Schlaifer, Applied Statistical Decision Theory (1961); Howard, Information value theory
(1966); Blau, Stochastic programming and decision analysis: an apparent dilemma (1974).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist

EDGE = 1 / 256
TOLERANCE = 1 / 64
"""Of the probability at which n(θ) steps."""
_SMALL = 1 / 200
"""Of the rent: a stretch whose rents differ by so much, times its probability, is not divided further."""


@dataclass(frozen=True, slots=True)
class Worth:
    """What it is worth to know an input; rents are in USD an hour, of what meets the objectives.

    Attributes:
        today_usd_per_h: rent without knowing; infinite where no number of replicas is sure enough.
        informed_usd_per_h: mean rent of who knows first; NaN then.
        chance: with which either meets the objectives.

    """

    today_usd_per_h: float
    informed_usd_per_h: float
    chance: float

    @property
    def usd_per_h(self) -> float:
        """The expected value of perfect information; NaN where no number of replicas is sure enough."""
        return self.today_usd_per_h - self.informed_usd_per_h


def worth_knowing(
    rent: Callable[[float], float], log_error: float, probability: float, tolerance: float = TOLERANCE
) -> Worth:
    """What it is worth to know an input.

    Args:
        rent: of the fewest replicas that meet the objectives, by the input's factor; infinite where none do.
            It must rise or fall with the factor.
        log_error: σ, standard deviation of the factor's logarithm.
        probability: P, with which the objectives must be met.
        tolerance: of the probabilities at which the rent steps.

    Raises:
        ValueError: an error below 0, or a probability that is not in (0, 1).

    >>> worth_knowing(lambda factor: 2.5 * math.ceil(10 * factor), 0.0, 0.9).usd_per_h
    0.0
    >>> worth = worth_knowing(lambda factor: 2.0 if factor > 1 else 1.0, 0.1, 0.9)  # one or two, as likely
    >>> round(worth.usd_per_h, 2), worth.chance
    (0.5, 1.0)

    """
    if not (math.isfinite(log_error) and log_error >= 0):
        raise ValueError(f"log_error: {log_error!r} is not a finite number >= 0")
    surely(probability, "probability")

    def at(share: float) -> float:
        return rent(math.exp(log_error * NormalDist().inv_cdf(share)))

    first, last = at(EDGE), at(1 - EDGE)
    if first == last:
        return Worth(first, first if math.isfinite(first) else math.nan, float(math.isfinite(first)))
    sure = min(max(probability if last > first else 1 - probability, EDGE), 1 - EDGE)
    today = at(sure)
    pieces = [
        *_pieces(at, EDGE, first, sure, today, tolerance),
        *_pieces(at, sure, today, 1 - EDGE, last, tolerance),
    ]
    whole = math.fsum(share for share, _ in pieces)
    chance = math.fsum(share for share, usd in pieces if usd <= today < math.inf) / whole
    if math.isinf(today):
        return Worth(today, math.nan, chance)
    informed = math.fsum(share * min(usd, today) for share, usd in pieces) / whole
    return Worth(today, min(informed, today), chance)


def surely(probability: float, where: str) -> float:
    """Take a probability with which replicas can be rented: no number of them is enough for certain.

    Raises:
        ValueError: it is not in (0, 1); one line that begins with `where`.

    """
    if not 0 < probability < 1:
        raise ValueError(f"{where}: {probability:.4g} is not in (0, 1); write 90 % or 0.9")
    return probability


def _pieces(
    at: Callable[[float], float], a: float, first: float, b: float, last: float, tolerance: float
) -> Iterator[tuple[float, float]]:
    """(share, rent) of the pieces between two probabilities with these rents."""
    step, most = abs(last - first), max(first, last)
    if first == last:
        yield b - a, first
    elif b - a <= tolerance or step * (b - a) < _SMALL * most < math.inf:
        yield (b - a) / 2, first
        yield (b - a) / 2, last
    else:
        middle = (a + b) / 2
        between = at(middle)
        yield from _pieces(at, a, first, middle, between, tolerance)
        yield from _pieces(at, middle, between, b, last, tolerance)
