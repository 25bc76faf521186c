"""Sequential revision: a chain of answers whose rates of repair and corruption change with the round."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from foretell.models.outcomes import FloatArray, Revision


def revision_rates(law: Revision, rounds: int) -> FloatArray:
    """(repair, corruption) of each round, shape (rounds, 2); the last rate stands for all later rounds."""
    rates = [
        (law.repair[min(t, len(law.repair) - 1)], law.corruption[min(t, len(law.corruption) - 1)])
        for t in range(rounds)
    ]
    return np.array(rates, dtype=np.float64).reshape(rounds, 2)


def revised(p: npt.ArrayLike, law: Revision, rounds: int) -> FloatArray:
    """Chance that the answer is right after 0, 1, ..., `rounds` revisions, along a new first axis.

    q_{t+1} = q_t·(1 − β_t) + (1 − q_t)·α_t, q_0 = p, with repair α and corruption β by round. Linear in p: a
    mean over problems is the chain of the mean. Rates that stay the same would lead to α/(α+β); measured
    ones do not (repair .08→.39→.02 and corruption .75→.006 over ten rounds).
    """
    chain = [np.asarray(p, dtype=np.float64)]
    for repair, corruption in revision_rates(law, rounds):
        chain.append(chain[-1] * (1 - corruption) + (1 - chain[-1]) * repair)
    return np.array(chain)


def ever_right(p: npt.ArrayLike, law: Revision, rounds: int) -> FloatArray:
    """Chance that one answer of the chain at least is right: what an oracle would pick, by round as above.

    1 − (1−p)·Π(1 − α_t): as long as none was right there is nothing to corrupt.
    """
    kept = np.cumprod(np.concatenate([[1.0], 1 - revision_rates(law, rounds)[:, 0]]))
    wrong = 1 - np.asarray(p, dtype=np.float64)
    return np.asarray(1 - kept.reshape(-1, *[1] * wrong.ndim) * wrong)


def best_rounds(p: float, law: Revision, most: int) -> int:
    """The fewest rounds, `most` at most, after which the chain is best."""
    return int(np.argmax(revised(p, law, most)))


def fitted_rates(accuracy: npt.ArrayLike, corruption: npt.ArrayLike) -> Revision:
    """The repair rates that lead through measured accuracies, given the corruption rates between them.

    Raises:
        ValueError: lengths that do not fit.

    """
    q = [float(x) for x in np.asarray(accuracy, dtype=np.float64)]
    lost = [float(x) for x in np.asarray(corruption, dtype=np.float64)]
    if len(q) != len(lost) + 1 or not lost:
        raise ValueError(f"accuracy: {len(q)} figures are not one more than the {len(lost)} corruption rates")
    repair = (
        0.0 if before == 1 else min(max((after - before * (1 - b)) / (1 - before), 0.0), 1.0)
        for (before, after), b in zip(pairwise(q), lost, strict=True)
    )
    return Revision(repair=tuple(repair), corruption=tuple(lost))
