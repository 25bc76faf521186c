"""Programs on services that are never busy, and the test that a sample's mean is what theory says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from foretell.models.outcomes import Difficulty, Lengths, Outcomes
from foretell.sim.programs.llm import Program
from foretell.sim.programs.run import ProgramRun, run_programs
from foretell.sim.programs.servers import UnloadedPool

TPOT_S = 0.01
A, B = 2.0, 1.0


def profile(tokens: int = 1000, model: str = "model", a: float = A, b: float = B, **changes: Any) -> Outcomes:
    """Answers of exactly so many tokens, unless `lengths` is among the changes; chances Beta(a, b)."""
    lengths = changes.pop("lengths", Lengths(tokens - 0.5, 0.0, 0.0, cap_tokens=10**7))
    return Outcomes("task", model, Difficulty(a, b), lengths, **changes)


def run(
    program: Program,
    outcomes: Outcomes | Mapping[str, Outcomes] | None = None,
    n: int = 1000,
    *,
    tpot_s: Mapping[str, float] | None = None,
    **more: Any,
) -> ProgramRun:
    """Run a program for n queries; a token takes `TPOT_S` unless said otherwise for a pool."""
    profiles = outcomes if isinstance(outcomes, Mapping) else {"solver": outcomes or profile()}
    times = {name: (tpot_s or {}).get(name, TPOT_S) for name in [*profiles, *(tpot_s or {})]}
    pools = {name: UnloadedPool(seconds, seconds) for name, seconds in times.items()}
    return run_programs(program, pools, profiles, n_queries=n, **more)


def agrees(sample: Any, expected: float, rounding: float = 0.0) -> None:
    """The mean of a sample is within four standard errors of what is expected, and rounding."""
    values = np.asarray(sample, dtype=np.float64)
    error = values.std(ddof=1) / np.sqrt(len(values))
    apart = abs(values.mean() - expected)
    assert apart <= 4 * error + rounding + 1e-9 * abs(expected), (values.mean(), float(expected), error)


def beta_mean(figure: Any, a: float = A, b: float = B) -> float:
    """Mean of a function of a chance that is Beta(a, b), by quadrature over its quantiles."""
    from scipy.special import betaincinv

    node, weight = np.polynomial.legendre.leggauss(400)
    return float(np.sum(weight / 2 * figure(betaincinv(a, b, (node + 1) / 2))))
