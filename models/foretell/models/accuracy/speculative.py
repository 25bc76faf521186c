"""Expected speed-up of speculative reasoning: drafts of whole steps, and of tokens within them.

Times are those of an unloaded server, with step lengths independent of what is accepted; acceptances are
independent from step to step. Figures broadcast unless said otherwise.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def accepted_run(acceptance: npt.ArrayLike, length: npt.ArrayLike) -> FloatArray:
    """Mean of 1 + a + ... + a^(length − 1): units gained by `length` tries, the first failure's included.

    With length = drafts + 1 it is the tokens per cycle of speculative decoding (Leviathan et al. 2023,
    eq. 1); with length = lookahead, the steps per round of Lookahead Reasoning.
    """
    a, n = np.broadcast_arrays(_chance(acceptance), np.asarray(length, dtype=np.float64))
    sure = a >= 1
    return np.asarray(np.where(sure, n, (1 - a**n) / np.where(sure, 1.0, 1 - a)))


def token_speedup(
    acceptance: npt.ArrayLike, drafted: npt.ArrayLike, draft_ratio: npt.ArrayLike
) -> FloatArray:
    """Speed-up of token-level speculation, E/(γ·c + 1) (Leviathan et al. 2023, theorem 3.8).

    Args:
        acceptance: chance that a drafted token is accepted.
        drafted: γ, drafted tokens a cycle.
        draft_ratio: c, time of a draft's decode step over the target's; the target's verification of γ + 1
            tokens is taken to cost one decode step, which holds at small batches only.
    """
    gamma = np.asarray(drafted, dtype=np.float64)
    return accepted_run(acceptance, gamma + 1) / (gamma * np.asarray(draft_ratio, dtype=np.float64) + 1)


def spec_reason_step(
    draft_s: npt.ArrayLike, verify_s: npt.ArrayLike, base_s: npt.ArrayLike, acceptance: npt.ArrayLike
) -> FloatArray:
    """Mean seconds of a step under SpecReason, t_s + t_verify + (1 − a)·t_b (Pan et al. 2025, §3).

    The small model drafts the step, the base reads it and says a score; what it refuses it writes itself.
    """
    refused = 1 - _chance(acceptance)
    return np.asarray(draft_s + np.asarray(verify_s) + refused * np.asarray(base_s), dtype=np.float64)


def spec_reason_speedup(
    draft_s: npt.ArrayLike, verify_s: npt.ArrayLike, base_s: npt.ArrayLike, acceptance: npt.ArrayLike
) -> FloatArray:
    """Speed-up of SpecReason over the base alone: t_b over the mean time of a step.

    Nest token-level speculation by giving base seconds already divided by `token_speedup`.
    """
    return np.asarray(base_s, dtype=np.float64) / spec_reason_step(draft_s, verify_s, base_s, acceptance)


def lookahead_speedup(
    acceptance: npt.ArrayLike,
    lookahead: npt.ArrayLike,
    draft_ratio: npt.ArrayLike,
    verify_ratio: npt.ArrayLike = 0.0,
) -> FloatArray:
    """Speed-up of synchronous Lookahead Reasoning on a long trace (Fu et al. 2025, §3.3).

    A round looks `lookahead` steps ahead: steps are drafted one after the other, and the target writes its
    own version of every one as soon as the drafts before it are there; the longest prefix of drafts that
    means the same is kept, with the target's step after it. A round takes (k − 1)·c + 1 base steps.

    Args:
        acceptance: chance that a drafted step means the same as the target's.
        lookahead: k, steps a round; 1 is the target alone.
        draft_ratio: c, time of a drafted step over the target's.
        verify_ratio: time of the verifier over the target's step; 0 in the paper's form.
    """
    k = np.asarray(lookahead, dtype=np.float64)
    time = 1 + (k - 1) * np.asarray(draft_ratio) + np.where(k > 1, verify_ratio, 0.0)
    return np.asarray(accepted_run(acceptance, k) / time)


def lookahead_rounds(steps: int, acceptance: float, lookahead: int) -> FloatArray:
    """Mean numbers of rounds that look 1, 2, ... `lookahead` steps ahead, in a trace of `steps` steps.

    A round never looks further than the trace; renewal over the steps done. Shape (lookahead,).

    Raises:
        ValueError: steps or lookahead below 1, or an acceptance outside [0, 1].
    """
    if steps < 1 or lookahead < 1:
        raise ValueError(f"lookahead: {steps} steps, {lookahead} ahead; give at least 1 of each")
    a = float(_chance(acceptance))
    visits = np.zeros(steps + 1)
    visits[0] = 1.0
    rounds = np.zeros(lookahead)
    for done in range(steps):
        ahead = min(lookahead, steps - done)
        rounds[ahead - 1] += visits[done]
        for gain in range(1, ahead + 1):
            visits[done + gain] += visits[done] * a ** (gain - 1) * (1 - a if gain < ahead else 1.0)
    return rounds


def _chance(acceptance: npt.ArrayLike) -> FloatArray:
    a = np.asarray(acceptance, dtype=np.float64)
    if not bool(np.all((a >= 0) & (a <= 1))):
        raise ValueError(f"acceptance: {acceptance!r} is not in [0, 1]")
    return a
