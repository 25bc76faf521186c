"""Prompts in the steps of an engine: the Markov chain of the tokens that wait to be computed.

While n requests decode, a step computes u = min(x, B − n) of the x prompt tokens there are, and takes
s = c(n, u) seconds, in which more arrive: x' = x − u + A(s), A compound Poisson. The chain has the law of
step times, with everything that chunks, bursts of prompts and a kink of the cost do to it.

Validity: n changes slowly against steps (answers of many tokens); the tokens are counted on a grid.
Source: an M/G/1-type chain embedded at step ends, as in bulk service (Bailey 1954; Neuts 1989); with the
service time a step cost, ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foretell.models.queueing.lengths import Lengths
from foretell.models.stepcost import StepCost

Array = npt.NDArray[np.float64]
STATES = 96
"""Points of the grid of tokens."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """The chain for several numbers of decoding requests, in the rows.

    Attributes:
        decoding: n, shape (j,).
        unit: tokens between grid points.
        share: stationary share of the steps that start with so many tokens, shape (j, STATES).
        step_s: their time, same shape; an empty one (n = 0) lasts until somebody comes.
        least_s: a step of decoding alone, shape (j,).
        move: transition probabilities, shape (j, STATES, STATES).

    """

    decoding: Array
    unit: float
    share: Array
    step_s: Array
    least_s: Array
    move: Array

    @property
    def mean_s(self) -> Array:
        """Mean step, shape (j,)."""
        mean: Array = (self.share * self.step_s).sum(1)
        return mean

    @property
    def planned(self) -> Array:
        """Weights of the states of the step that is planned while a step runs, shape (j, STATES).

        Where nobody decodes it has who came during the step before the running one: none if that was idle.
        Of a running step's neighbours as many are idle, on either side, as there are idle steps for each one.
        """
        weights = self.share.copy()
        runs = 1 - weights[:, 0]
        beside = np.minimum(weights[:, 0] / np.maximum(runs, 1e-12), 1 - 1e-6)
        alone = self.decoding < 0.5
        weights[alone, 0] = (runs * (1 / (1 - beside) ** 2 - 1))[alone]
        return weights

    def spread_s2(self, excess: Array) -> Array:
        """Variance of the sum of many steps for each of them, shape (j,), from `excess_s`."""
        off = self.step_s - self.mean_s[:, None]
        variance: Array = (self.share * off * (2 * excess[-1] - off)).sum(1)
        return np.maximum(variance, 0.0)

    def excess_s(self, steps: int) -> Array:
        """Seconds that the first k steps from a state take beyond k mean steps, shape (steps, j, STATES)."""
        value = self.step_s - self.mean_s[:, None]
        total = np.empty((steps, *value.shape))
        total[0] = value
        for k in range(1, steps):
            value = np.matmul(self.move, value[..., None])[..., 0]
            total[k] = total[k - 1] + value
        return total


def step_seconds(cost: StepCost, law: Lengths, decoding: Array, tokens: Array, room: Array) -> Array:
    """Seconds of steps that decode so many and compute so many prompt tokens of average prompts."""
    chunks = np.maximum(law.mean_prompt / np.maximum(room, 1.0), 1.0)
    prompts = tokens / law.mean_prompt * chunks
    context = decoding * law.context
    zero = np.zeros(np.broadcast_shapes(np.shape(decoding), np.shape(tokens)))
    load = (
        tokens,
        tokens * law.pairs_per_token,
        tokens * (1 + chunks) / 2,
        prompts,
        decoding,
        context,
        decoding + prompts / chunks,
    )
    seconds: Array = np.asarray(cost(*(np.asarray(figure + zero) for figure in load)), dtype=np.float64)
    return seconds


def step_s(cost: StepCost, law: Lengths, decoding: float, tokens: float, room: float) -> float:
    """Seconds of one step that decodes so many and computes so many prompt tokens of at most `room`."""
    n, some, most = (np.array([x]) for x in (decoding, tokens, room))
    return float(step_seconds(cost, law, n, some, most)[0])


def prompt_backlog(
    cost: StepCost,
    law: Lengths,
    decoding: Array,
    rate_per_s: float,
    budget: int,
    per_step: float | None = None,
    together: float = 1.0,
) -> Backlog:
    """Solve the chain for each number of decoding requests.

    Args:
        cost: seconds of a step.
        law: of the requests.
        decoding: n, shape (j,), each < budget.
        rate_per_s: requests a second.
        budget: tokens that a step may schedule.
        per_step: where requests come as others end, so many a step however long it is.
        together: mean number of those who come at once, geometrically distributed: bursts.

    """
    room = np.maximum(budget - decoding, 1.0)
    unit = _unit(cost, law, decoding, rate_per_s, room, together)
    states = np.arange(STATES)
    whole = np.floor(room[:, None] / unit)
    part = room[:, None] / unit - whole  # the grid may not divide the room: one more unit that often
    taken = np.minimum(states, room[:, None] / unit)  # (j, STATES), in units
    step_s = step_seconds(cost, law, decoding[:, None], taken * unit, room[:, None])
    least_s = step_s[:, 0].copy()
    idle = decoding < 0.5
    step_s[idle, 0] = together / rate_per_s
    prompts = np.zeros(2 * STATES)
    scaled = np.minimum(law.prompt / unit, STATES - 1.0)
    low = np.floor(scaled).astype(np.int64)
    np.add.at(prompts, low, 1 - (scaled - low))
    np.add.at(prompts, low + 1, scaled - low)
    prompts /= len(scaled)
    wave = np.fft.rfft(prompts)
    if together > 1:
        wave = wave / (together - (together - 1) * wave)
        prompts = np.maximum(np.fft.irfft(wave, 2 * STATES), 0.0)
        rate_per_s = rate_per_s / together
    come = rate_per_s * step_s if per_step is None else np.full_like(step_s, per_step)
    arrive = np.fft.irfft(np.exp(come[..., None] * (wave - 1)), 2 * STATES)
    arrive[idle, 0] = prompts  # it ends with the first who comes
    move = (1 - part)[..., None] * _shifted(arrive, np.maximum(states - whole, 0))
    move += part[..., None] * _shifted(arrive, np.maximum(states - whole - 1, 0))
    move[..., -1] += 1 - move.sum(-1)
    return Backlog(decoding, unit, _stationary(move), step_s, least_s, move)


def _shifted(arrive: Array, left: Array) -> Array:
    """Law of what is left plus what arrives, for each state; what leaves the grid is missing."""
    padded = np.zeros((*left.shape, 2 * STATES))  # nothing before the first
    padded[..., STATES:] = arrive[..., :STATES]
    start = np.arange(left.size).reshape(left.shape) * 2 * STATES + STATES - left.astype(np.int64)
    moved: Array = padded.ravel()[start[..., None] + np.arange(STATES)]
    return moved


def _unit(
    cost: StepCost, law: Lengths, decoding: Array, rate_per_s: float, room: Array, together: float
) -> float:
    """Grid spacing so that the grid holds what a step may meet, some steps' backlog included."""
    tokens = np.stack([room, np.minimum(law.mean_prompt, room)])
    full_s, mean_s = step_seconds(cost, law, decoding, tokens, room)
    second = float((law.prompt**2).mean()) + 2 * (together - 1) * law.mean_prompt**2
    load = rate_per_s * law.mean_prompt * full_s / room
    line = rate_per_s * full_s * second / (2 * room * np.maximum(1 - load, 0.05))
    come = rate_per_s * np.where(load > 0.5, full_s, mean_s)
    most = law.mean_prompt * come + 5 * np.sqrt(second * come) + 4 * np.where(load > 0.3, line, 0.0)
    burst = 5 * (together - 1) * law.mean_prompt
    span = float(np.max(most) + np.quantile(law.prompt, 0.9996) + burst)
    return min(span / (STATES - 1), float(room.min()))


def _stationary(move: Array) -> Array:
    """Stationary laws of the chains `move`, shape (j, m, m), by their balance equations."""
    balance = np.swapaxes(move, 1, 2) - np.eye(move.shape[1])
    balance[:, -1, :] = 1.0
    right = np.zeros(move.shape[:2])
    right[:, -1] = 1.0
    found = np.maximum(np.linalg.solve(balance, right[..., None])[..., 0], 0.0)
    shares: Array = found / found.sum(1, keepdims=True)
    return shares
