"""Continuous batching as a state-dependent queue, ours: latencies, throughput and goodput of one engine.

Three pieces, each of them a textbook queue whose service time is the step cost:

- how many decode: a birth–death chain with rate n/(D·s(n)) (`occupancy`);
- what prompts do to the steps of everybody: the chain of their backlog while n decode (`backlog`);
- who waits in line: beyond N requests, as in a queue with N servers (Allen–Cunneen's factor).

A request's own way is then put together on a fixed lattice of points: it comes in the middle of a step,
waits for what is ahead of it, computes its prompt in chunks, and decodes its own number of tokens at a step
time that follows the occupancy over its own stay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from foretell.models.queueing.backlog import Backlog, prompt_backlog, step_seconds
from foretell.models.queueing.bursts import clusters_of, together_of
from foretell.models.queueing.drawing import chance, counts, draw, lattice, tokens_of
from foretell.models.queueing.lengths import Lengths
from foretell.models.queueing.occupancy import entered, occupancy
from foretell.models.queueing.saturation import EngineLimits, Saturated, saturated
from foretell.models.stepcost import StepCost

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
_EXCESS = 64
"""Steps after which the backlog has forgotten where it started."""
_NODES = (0.003, 0.15, 0.5, 0.85, 0.997)


@dataclass(frozen=True, slots=True)
class ContinuousBatching:
    """An engine in steady state; times in seconds.

    Attributes:
        rate_per_s: requests a second.
        saturation: what it can carry.
        ttft_s, tpot_s, e2e_s: of the lattice's requests, shape (POINTS,), equal weights; TPOT is NaN for an
            answer of one token.
        row: of the law, that each of these requests has its lengths from.
        decoding: requests that decode, mean over time.
        waiting: requests in line for a slot, mean over time.
        step_s: mean step that a decoding request sees.

    """

    rate_per_s: float
    saturation: Saturated
    ttft_s: Array = field(repr=False)
    tpot_s: Array = field(repr=False)
    e2e_s: Array = field(repr=False)
    row: npt.NDArray[np.int64] = field(repr=False)
    decoding: float
    waiting: float
    step_s: float

    @property
    def rho(self) -> float:
        """Load over capacity."""
        return self.rate_per_s / self.saturation.rate_per_s

    def attainment(self, limits: Mapping[str, float]) -> float:
        """Share of the requests within every limit, {"ttft" | "tpot" | "e2e": seconds}."""
        good = np.ones(len(self.ttft_s), dtype=bool)
        for metric, values in (("ttft", self.ttft_s), ("tpot", self.tpot_s), ("e2e", self.e2e_s)):
            if metric in limits:
                good &= ~(values > limits[metric])
        return float(good.mean())


def continuous_batching(
    cost: StepCost,
    law: Lengths,
    limits: EngineLimits,
    rate_per_s: float,
    arrival_scv: float = 1.0,
    dispersion: float | None = None,
    most: Saturated | None = None,
    occupied: Callable[[Array, float], tuple[Array, float]] | None = None,
    joined: Callable[[Array, float], tuple[Array, Mask]] | None = None,
) -> ContinuousBatching:
    """Solve an engine with continuous batching at a load.

    Args:
        cost: seconds of a step.
        law: of the requests.
        limits: of the engine.
        rate_per_s: requests a second.
        arrival_scv: squared coefficient of variation of the gaps between arrivals; 1 for Poisson.
        dispersion: variance over mean of the arrivals during a request's stay; as `arrival_scv` when None.
        most: what `saturated` gives, where it is known already.
        occupied: from s(n) and the peakedness, the law of n that an arrival finds and the number in line,
            where a router sees n; as `occupancy` gives them for Poisson arrivals when None.
        joined: from evenly spread points and the mean step, which share of the running step is over when a
            request comes, and whether it comes because that has just begun; the points, and never, when None.

    Raises:
        ValueError: the rate is not > 0, or not below the capacity (which is told).

    Validity: steady state, first come first served, below 90 % of the capacity; answers of many tokens
    (the occupancy changes slowly against steps); few preemptions. docs/queueing.md has the errors.

    """
    if not (math.isfinite(rate_per_s) and rate_per_s > 0):
        raise ValueError(f"rate_per_s: {rate_per_s!r} is not a finite number > 0")
    most = saturated(cost, law, limits) if most is None else most
    if rate_per_s >= most.rate_per_s:
        raise ValueError(
            f"rate_per_s: {rate_per_s:.4g} is not below the capacity of {most.rate_per_s:.4g} requests/s "
            f"({most.bound_by} binds)"
        )
    steps = max(law.decode_steps, 1e-6)
    budget = limits.max_num_batched_tokens
    by_tokens = most.bound_by == "max_num_batched_tokens"
    limit = max(round(min(most.limit, budget - 1) if by_tokens else most.decoding), 1)
    n = np.arange(limit + 1.0)
    step_s, bare_s, full_s = _mean_steps(cost, law, n, rate_per_s, budget)
    prompts_per_s = np.maximum(budget - n, 1.0) / law.mean_prompt / full_s
    births = np.minimum(rate_per_s, prompts_per_s)
    spread = arrival_scv if dispersion is None else dispersion
    # Those in line start one by one, as others end; when prompts are known they add clusters below.
    peakedness = in_line = max(1 + (spread - 1) * law.alike, 0.1)

    def law_of_n(more: float = 0.0) -> tuple[Array, float]:
        if occupied is not None:
            return occupied(step_s, peakedness + more)
        return occupancy(births, steps, step_s, limit, peakedness + more, in_line)

    share, _ = law_of_n()
    n_most = n[prompts_per_s > rate_per_s / 0.95].max(initial=1.0)
    together = together_of(law, rate_per_s, float(share @ step_s), float(share @ full_s), budget, arrival_scv)
    for _ in range(2):  # once more where prompts change the law so much that the nodes were off
        middle = np.interp(_NODES, np.cumsum(share), n).round().clip(1, n_most)
        nodes = np.unique(np.concatenate([[0.0], middle, [n_most]]))
        backlog = prompt_backlog(cost, law, nodes, rate_per_s, budget, together=together)
        busy = nodes > 0
        step_s = bare_s * np.interp(n, nodes[busy], (backlog.mean_s / backlog.least_s)[busy])
        if not by_tokens:
            step_s[-1] = most.step_s  # with a line, one starts as one ends
        at = float((share * n).sum())
        prompts = 1 - 1 / float(np.interp(at, nodes[busy], (backlog.mean_s / backlog.least_s)[busy]))
        peakedness = max(1 + (spread * clusters_of(law, prompts) - 1) * law.alike, 0.1)
        share, _ = law_of_n()
        if middle[1] <= float((share * n).sum()) <= middle[-2]:
            break
    # Requests differ in the tokens that they hold, which adds to what counts in a step and in the KV cache.
    reading = law.held_scv * _context_share(cost, law, float((share * n).sum()), budget) ** 2
    filling = law.held_scv if most.bound_by == "kv_cache" else 0.0
    queued, line = law_of_n(filling)
    # With a full KV cache what a request takes is its tokens times the steps for which it holds them.
    variability = (1 + (law.work_scv if filling else law.variability)) / 2  # bursts are in the line already
    u = lattice()
    at_once = np.zeros(len(u), dtype=bool)
    if joined is not None:
        u[:, 3], at_once = joined(u[:, 3], float(share @ step_s))
    row = law.drawn(u[:, 0], u[:, 7])
    prompt, gaps = law.prompt[row], law.output[row] - 1

    def others(met: Array) -> npt.NDArray[np.int64]:
        return np.minimum(np.searchsorted(np.cumsum(met), u[:, 1]), limit)

    found = others(share)
    first, behind = _first_token(
        cost,
        law,
        limits,
        backlog,
        rate_per_s,
        arrival_scv,
        full_s,
        found,
        prompt,
        u,
        u[:, 1] > 1 - queued[-1] * (line > 0),
        at_once,
    )
    # Those who came behind it in line for their prompts lengthen the steps after its own.
    excess = backlog.excess_s(_EXCESS)
    node = np.maximum(_node(backlog, found), min(1, len(nodes) - 1))  # it decodes itself
    after = excess[np.clip(gaps, 1, _EXCESS).astype(np.int64) - 1, node, behind] * (gaps > 0)
    mean_after = np.array([after[node == k].mean() if (node == k).any() else 0.0 for k in range(len(nodes))])
    step_s = np.maximum(step_s + np.interp(n, nodes[busy], mean_after[busy]) / steps, 1e-9)
    seen = np.minimum(n + 1, limit).astype(np.int64)

    def met(more: float) -> Array:
        law_at = law_of_n(more)[0]
        return law_at if occupied is not None else entered(law_at, steps, step_s)

    tpot = float((met(0.0) * step_s[seen]).sum())
    spread_of_n = met(reading)
    queued, line = law_of_n(filling)
    first = first + _line_wait(u[:, 1], queued, line, rate_per_s, variability)
    own = after / np.maximum(gaps, 1.0) - mean_after[node] / steps
    gap = own + _gaps(
        law,
        backlog,
        backlog.spread_s2(excess),
        n,
        step_s,
        spread_of_n,
        tpot,
        seen[others(spread_of_n)],
        gaps,
        u[:, 6],
    )
    gap = np.minimum(gap, full_s[found])
    return ContinuousBatching(
        rate_per_s,
        most,
        first,
        np.where(gaps > 0, gap, np.nan),
        first + gaps * gap,
        row,
        rate_per_s * steps * tpot,
        line,
        tpot,
    )


def _context_share(cost: StepCost, law: Lengths, decoding: float, budget: int) -> float:
    """Share of the context in what one more decoding request adds to a step."""
    n = max(decoding, 1.0)
    base, other = (n, n * law.context), (n * 1.1, n * 1.1 * law.context)
    read = (n, other[1])
    at, more, longer = (float(cost(0.0, 0.0, 0.0, 0.0, k, c, k)) for k, c in (base, other, read))
    return min(max((longer - at) / (more - at), 0.0), 1.0) if more > at else 0.0


def _mean_steps(
    cost: StepCost, law: Lengths, n: Array, rate_per_s: float, budget: int
) -> tuple[Array, Array, Array]:
    """s(n) where every step carries the mean of the prompts that come in it, s = c(n, λ·E[P]·s).

    And the time of steps without prompts, and of those filled with them.
    """
    even = np.linspace(0, 1, min(len(n), 40)) ** 2  # closer where experts are read by few requests
    some = np.unique([0.0, *(1 + (n[-1] - 1) * even).round()])
    room = np.maximum(budget - some, 1.0)[:, None]
    tokens = room * np.linspace(0, 1, 33) ** 2
    seconds = step_seconds(cost, law, some[:, None], tokens, room)
    gap = tokens / (rate_per_s * law.mean_prompt) - seconds  # < 0 while more comes than is computed
    over = np.where((gap > 0).any(1), (gap > 0).argmax(1), gap.shape[1] - 1)
    at, rows = np.maximum(over, 1), np.arange(len(some))
    low, high = gap[rows, at - 1], gap[rows, at]
    part = np.clip(-low / np.where(high == low, 1.0, high - low), 0.0, 1.0)
    mean = seconds[rows, at - 1] * (1 - part) + seconds[rows, at] * part
    return np.interp(n, some, mean), np.interp(n, some, seconds[:, 0]), np.interp(n, some, seconds[:, -1])


def _line_wait(u: Array, share: Array, line: float, rate_per_s: float, variability: float) -> Array:
    """Wait for a slot: exponential for those who find all taken, with Allen–Cunneen's variability."""
    taken = float(share[-1])
    if taken <= 0 or line <= 0:
        return np.zeros_like(u)
    late = np.maximum(u - (1 - taken), 0.0) / taken
    wait: Array = -np.log1p(-np.minimum(late, 1 - 1e-6)) * (variability * line / rate_per_s / taken)
    return wait


def _first_token(
    cost: StepCost,
    law: Lengths,
    limits: EngineLimits,
    backlog: Backlog,
    rate_per_s: float,
    arrival_scv: float,
    full_s: Array,
    others: npt.NDArray[np.int64],
    prompt: Array,
    u: Array,
    from_line: Mask,
    at_once: Mask,
) -> tuple[Array, npt.NDArray[np.int64]]:
    """Time from a slot to the first token: the running step, who is ahead, and the own prompt's chunks.

    And the state of the backlog in the step after it.
    """
    node = _node(backlog, others)
    length = backlog.share * backlog.step_s
    if arrival_scv != 1:
        # Steps with prompts began soon after another arrival, which is less or more likely than at random.
        near = chance(rate_per_s * backlog.step_s, 1, arrival_scv)
        length[:, 1:] *= (near / -np.expm1(-rate_per_s * backlog.step_s))[:, 1:]
        # And of several prompts in a step, where arrivals keep apart there are fewer; the more the prompts
        # vary, the more are its tokens one prompt's. (Bursts raise that without bound; they are left.)
        come = rate_per_s * backlog.mean_s[:, None]
        others_in_it = np.arange(length.shape[1]) * backlog.unit / law.mean_prompt - 1
        spread = float((law.prompt**2).mean()) / law.mean_prompt**2
        with_it = np.maximum(np.round(others_in_it / spread), 0.0)
        for k in range(1, min(int(with_it.max()), 8) + 1 if arrival_scv < 1 else 1):
            alike = with_it == k
            length[:, alike] *= chance(come, k, arrival_scv) / np.maximum(chance(come, k, 1.0), 1e-300)
    at = draw(length, node, u[:, 2])
    if at_once.any():
        at = np.where(at_once, draw(backlog.share, node, u[:, 2]), at)
    running = backlog.step_s[node, at]
    idle = (others == 0) & (at == 0)
    past = np.where(from_line | idle, 0.0, u[:, 3] * running)
    rest = np.where(from_line | idle, 0.0, running - past)
    room = np.maximum(limits.max_num_batched_tokens - others, 1.0)
    tokens = at * backlog.unit
    left = np.where(from_line, 0.0, np.maximum(tokens - room, 0.0))
    planned: Array | float = 0.0
    if limits.async_scheduling:
        # The step after the running one is planned already; chunks of a long prompt go on in it.
        drawn = draw(backlog.planned, node, (u[:, 4] + u[:, 5]) % 1.0)
        chunk = np.minimum(np.ceil(left / backlog.unit).astype(np.int64), backlog.share.shape[1] - 1)
        next_at = np.maximum(drawn, chunk)
        none = from_line | idle | ((others == 0) & (next_at == 0))  # nothing to plan in an empty engine
        planned = np.where(none, 0.0, backlog.step_s[node, next_at])
        left = np.maximum(left - room, 0.0)
    ahead = left + tokens_of(law, rate_per_s * past, arrival_scv, u[:, 4], u[:, 6])
    total = ahead + prompt
    whole = np.maximum(np.ceil(total / room) - 1, 0.0)
    full_s = full_s[others]
    behind = tokens_of(law, rate_per_s * rest, arrival_scv, u[:, 5], (u[:, 6] + 0.5) % 1.0)
    behind += law.mean_prompt * rate_per_s * whole * full_s
    rest = rest + planned
    last = np.minimum(total - whole * room + behind, room)
    own = np.minimum(prompt, last)
    other = (last - own) / law.mean_prompt
    pairs = own * (prompt - own / 2) + (last - own) * law.pairs_per_token
    decoding = others.astype(np.float64)
    final = cost(
        last, pairs, prompt + last - own, 1 + other, decoding, decoding * law.context, 1 + other + decoding
    )
    final = np.asarray(final, dtype=np.float64)
    left = np.maximum(total - whole * room + behind - room, 0.0)
    left += law.mean_prompt * counts(rate_per_s * final, arrival_scv, (u[:, 5] + u[:, 3]) % 1.0)
    after = np.minimum(np.round(left / backlog.unit), backlog.share.shape[1] - 1).astype(np.int64)
    return rest + whole * full_s + final, after


def _node(backlog: Backlog, others: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Row of the backlog that is nearest; that of an engine without decoding requests only for none."""
    node: npt.NDArray[np.int64] = np.abs(backlog.decoding[None, :] - others[:, None]).argmin(1)
    node[(others > 0) & (node == 0)] = min(1, len(backlog.decoding) - 1)
    return node


def _gaps(
    law: Lengths,
    backlog: Backlog,
    spread_s2: Array,
    n: Array,
    step_s: Array,
    share: Array,
    tpot: float,
    seen: npt.NDArray[np.int64],
    gaps: Array,
    u: Array,
) -> Array:
    """Mean time between tokens of requests with so many gaps."""
    from scipy.special import gammaincinv

    centre = float(np.interp(float((share * n).sum()), n, np.gradient(step_s, n)))
    elastic = min(centre * float((share * n).sum()) / tpot, 0.9) if len(n) > 1 else 0.0
    shrink = np.sqrt(law.persistence(gaps, 1 / (1 - elastic)))
    mean = tpot + (step_s[seen] - float(step_s[seen].mean())) * shrink
    # Prompts in single steps: their sum over the stay as a gamma law.
    busy = backlog.decoding > 0
    base = np.interp(seen, backlog.decoding[busy], backlog.least_s[busy])
    variance = np.interp(seen, backlog.decoding[busy], spread_s2[busy])
    extra = np.maximum(mean - np.minimum(base, mean), 1e-12)
    shape = np.maximum(gaps, 1.0) * extra**2 / np.maximum(variance, 1e-24)
    drawn = gammaincinv(shape, u) / shape * extra
    gap: Array = mean - extra + np.where(shape > 1e8, extra, drawn)
    return gap
