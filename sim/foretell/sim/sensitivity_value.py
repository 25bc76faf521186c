r"""What it is worth to know an input before replicas are rented: the expected value of perfect information.

An input is θ = θ₀·e^{σz}, z standard normal, and n(θ) replicas are the fewest that meet the objectives. Today
one must rent n₀, enough with probability P: the P-quantile of n(θ). Who learns θ first rents min(n(θ), n₀):
as many as it takes, and never more than today. So both meet the objectives for exactly the same θ, and the
difference is money alone, EVPI = E[c(n₀) − c(min(n(θ), n₀))] >= 0. (With a free choice of where to fail, the
informed would fail where it is dear, and information could even seem to cost: Blau's dilemma.)

n(θ) is a step function; where it steps is found by bisection of the probability scale, the input's tails
beyond 1 in 256 on either side taken for their edges.

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
"""Of the probabilities at which n(θ) steps."""


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

    >>> worth_knowing(lambda factor: math.ceil(10 * factor), 0.0, 0.9).usd_per_h
    0.0
    >>> worth = worth_knowing(lambda factor: 2.0 if factor > 1 else 1.0, 0.1, 0.9)  # one or two, as likely
    >>> round(worth.usd_per_h, 2), worth.chance
    (0.5, 1.0)

    """
    if not (math.isfinite(log_error) and log_error >= 0):
        raise ValueError(f"log_error: {log_error!r} is not a finite number >= 0")
    if not 0 < probability < 1:
        raise ValueError(f"probability: {probability!r} is not in (0, 1)")

    def at(share: float) -> float:
        return rent(math.exp(log_error * NormalDist().inv_cdf(share)))

    pieces = sorted(_pieces(at, EDGE, 1 - EDGE, tolerance), key=lambda piece: piece[1])
    whole = math.fsum(share for share, _ in pieces)
    today, below = math.inf, 0.0
    for share, usd in pieces:
        below += share / whole
        if below >= probability - 1e-9:
            today = usd
            break
    chance = math.fsum(share for share, usd in pieces if usd <= today < math.inf) / whole
    if math.isinf(today):
        return Worth(today, math.nan, chance)
    informed = math.fsum(share * min(usd, today) for share, usd in pieces) / whole
    return Worth(today, min(informed, today), chance)


def _pieces(
    at: Callable[[float], float], low: float, high: float, tolerance: float
) -> Iterator[tuple[float, float]]:
    """(share, rent) of the pieces between two probabilities."""
    open_ = [(low, at(low), high, at(high))]
    while open_:
        a, first, b, last = open_.pop()
        if first == last:
            yield b - a, first
        elif b - a <= tolerance:
            yield (b - a) / 2, first
            yield (b - a) / 2, last
        else:
            middle = (a + b) / 2
            between = at(middle)
            open_ += [(a, first, middle, between), (middle, between, b, last)]
