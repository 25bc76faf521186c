"""What a strategy asks of its pools, in the mean and over a grid of problems and luck, without a clock.

A plan is a list of stages, one after another: like calls that start together, of which a query waits for the
longest or the shortest. Branches say how likely a query goes through which stages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from foretell.models.outcomes import FloatArray, Outcomes
from foretell.sim.estimate_lengths import LengthGrid


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """Like calls of a query that start together.

    Attributes:
        pool: where they go.
        share: of the queries that come to this stage.
        calls: of one query.
        prompt_tokens: of a call, all of them.
        known_tokens: of these, what the same engine has seen already if it keeps prefixes.
        common_tokens: of these, what the stage's calls have in common.
        tokens: mean that a call writes.
        variability: squared coefficient of variation of these.
        overlap: share of a call's tokens during which a sibling is still writing.
        serial_tokens: that the query waits for, shape (problems, luck), or a number.
        prompt_ratio: prompts of a problem over the mean, shape (problems, 1), or a number.

    """

    pool: str
    calls: float
    prompt_tokens: float
    known_tokens: float
    common_tokens: float
    tokens: float
    serial_tokens: FloatArray | float
    share: float = 1.0
    variability: float = 0.0
    overlap: float = 0.0
    prompt_ratio: FloatArray | float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The stages of a strategy, and who goes through which.

    Attributes:
        stages: in their order.
        branches: (weight, places of the stages): weights have shape (problems, luck) and add up to 1.

    """

    stages: tuple[Stage, ...]
    branches: tuple[tuple[FloatArray, tuple[int, ...]], ...]

    @property
    def tokens_per_query(self) -> float:
        """Output tokens."""
        return sum(s.share * s.calls * s.tokens for s in self.stages)

    @property
    def prompt_tokens_per_query(self) -> float:
        """Prompt tokens, cached ones included."""
        return sum(s.share * s.calls * s.prompt_tokens for s in self.stages)

    @property
    def calls_per_query(self) -> float:
        """Calls."""
        return sum(s.share * s.calls for s in self.stages)


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What plans are made of.

    Attributes:
        profiles: outcomes by pool.
        grids: their lengths, by pool.
        first: the default pool.

    """

    profiles: Mapping[str, Outcomes]
    grids: Mapping[str, LengthGrid]
    first: str

    def sampled(
        self, pool: str, n: int, max_tokens: float | None, *, shortest: bool = False, share: float = 1.0
    ) -> Stage:
        """Ask for n samples of a query at once; the rest are given up at the first end if `shortest`."""
        profile, grid = self.profiles[pool], self.grids[pool]
        cap = np.inf if max_tokens is None else float(max_tokens)
        means, squares = grid.moments(cap, of=n if shortest else 1)
        mean, square = float(grid.weight @ means), float(grid.weight @ squares)
        return Stage(
            pool,
            n,
            profile.prompt_tokens,
            profile.shared_prompt_tokens,
            profile.prompt_tokens,
            mean,
            grid.spread(n, shortest=shortest, max_tokens=cap),
            share,
            variability=max(square / mean**2 - 1, 0.0),
            overlap=1.0 if shortest else grid.overlap(n, cap),
        )

    def judged(self, judge: Any, of: Stage, max_tokens: float | None = None) -> Stage | None:
        """The verifier's calls on the answers of a stage; None where it costs nothing."""
        if judge is None or judge.pool is None:
            return None
        pool = judge.pool or self.first
        grid, verifier = self.grids[of.pool], judge.verifier
        cap = np.inf if max_tokens is None else float(max_tokens)
        ended = grid.ended(cap)
        share = float(grid.weight @ ended)
        if share <= 0:
            return None
        # What is judged is what ended: a sample that was cut has no answer.
        text = grid.moments(cap)[0] - min(cap, grid.tokens[-1]) * (1 - ended)
        known = of.prompt_tokens + float(grid.weight @ text) / share
        prompt = known + verifier.prompt_tokens
        ratio = (ended * (of.prompt_tokens + verifier.prompt_tokens) + text) / (share * prompt)
        return Stage(
            pool,
            of.calls * share,
            prompt,
            known if pool == of.pool else 0.0,
            of.prompt_tokens,
            float(verifier.output_tokens),
            float(verifier.output_tokens),
            of.share,
            prompt_ratio=ratio[:, None],
        )

    def chain(self, pool: str, *stages: Stage | None) -> Plan:
        """All queries go through all of these."""
        kept = tuple(stage for stage in stages if stage is not None)
        return Plan(kept, ((self.grids[pool].luck, tuple(range(len(kept)))),))


def single(asked: Asked, *, solver: str, max_tokens: int | None = None) -> Plan:
    """One sample."""
    pool = solver or asked.first
    return asked.chain(pool, asked.sampled(pool, 1, max_tokens))


def best_of_n(
    asked: Asked, *, n: int, solver: str, verifier: Any = None, max_tokens: int | None = None
) -> Plan:
    """Several samples, then a verifier, if any, on each: best-of-n and votes."""
    pool = solver or asked.first
    samples = asked.sampled(pool, n, max_tokens)
    return asked.chain(pool, samples, asked.judged(verifier, samples, max_tokens))


def first_finish(asked: Asked, *, n: int, solver: str, max_tokens: int | None = None) -> Plan:
    """The first of several to end."""
    pool = solver or asked.first
    return asked.chain(pool, asked.sampled(pool, n, max_tokens, shortest=True))


def budget_forcing(asked: Asked, *, max_tokens: int, probe_tokens: int, solver: str) -> Plan:
    """One sample, and a short call that asks for the answer where it is cut."""
    pool = solver or asked.first
    profile, luck = asked.profiles[pool], asked.grids[pool].luck
    sample = asked.sampled(pool, 1, max_tokens)
    cut = np.asarray(sample.serial_tokens) >= min(max_tokens, profile.lengths.cap_tokens)
    share = float(luck[cut].sum())
    prompt = float(profile.prompt_tokens + max_tokens)
    probe = Stage(pool, 1, prompt, prompt, prompt, probe_tokens, float(probe_tokens), share)
    return Plan((sample, probe), ((luck * ~cut, (0,)), (luck * cut, (0, 1))))


def cascade(asked: Asked, *, weak: str, strong: str, threshold: float, verifier: Any = None) -> Plan:
    """A weak sample, a verdict on it if a verifier gates, and a strong sample where it is not kept."""
    from foretell.models.accuracy.cascade import gate

    profile, grid = asked.profiles[weak], asked.grids[weak]
    judge = None if verifier is None else verifier.verifier
    if judge is None or judge.completeness is None:
        keep_right, keep_wrong = gate(profile.confidence_auc if judge is None else judge.auc, threshold)
    elif -1 < threshold <= 1:
        keep_right, keep_wrong = judge.completeness, 1 - judge.soundness
    else:
        keep_right = keep_wrong = float(threshold <= -1)
    kept = keep_right * grid.chance + keep_wrong * grid.wrong
    luck = grid.luck
    share = float(grid.weight @ (1 - kept))
    first = asked.sampled(weak, 1, None)
    verdict = asked.judged(verifier, first)
    stages = [first, *([] if verdict is None else [verdict]), asked.sampled(strong, 1, None, share=share)]
    places = tuple(range(len(stages)))
    return Plan(tuple(stages), ((luck * kept[:, None], places[:-1]), (luck * (1 - kept)[:, None], places)))


def sequential(asked: Asked, *, n: int, verifier: Any, solver: str) -> Plan:
    """Samples one after the other until the verifier accepts one, n at most."""
    from foretell.models.accuracy.cascade import gate
    from foretell.models.accuracy.verifier import by_rates

    pool, judge = solver or asked.first, verifier.verifier
    grid = asked.grids[pool]
    accept_right, accept_wrong = (
        gate(judge.auc, 0.0) if judge.completeness is None else (judge.completeness, 1 - judge.soundness)
    )
    refusals = [
        (weight, 1 - good - bad)
        for weight, good, bad in by_rates(grid.chance, accept_right, 1 - accept_wrong, judge.common)
    ]
    none = [np.asarray(sum(weight * refused**i for weight, refused in refusals)) for i in range(n + 1)]
    first = asked.sampled(pool, 1, None)
    later = np.broadcast_to(grid.moments()[0][:, None], grid.luck.shape)
    stages: list[Stage] = []
    branches = []
    for i in range(n):
        reached = grid.weight @ none[i]
        sample = replace(first, share=float(reached), serial_tokens=first.serial_tokens if i == 0 else later)
        verdict = asked.judged(verifier, sample)
        stages += [sample] if verdict is None else [sample, verdict]
        ends = none[i] - none[i + 1] if i < n - 1 else none[i]
        branches.append((grid.luck * ends[:, None], tuple(range(len(stages)))))
    return Plan(tuple(stages), tuple(branches))


def revision(asked: Asked, *, rounds: int, prompt_tokens: int, solver: str, select: str = "last") -> Plan:
    """A sample, and rounds of revision behind it: each reads all that was written before.

    Raises:
        ValueError: an answer other than the chain's last.

    """
    if select != "last":
        raise ValueError(f"strategy.select: {select} has no closed form; use --method simulate")
    pool = solver or asked.first
    grid, law = asked.grids[pool], asked.profiles[pool].revision
    first = asked.sampled(pool, 1, None)
    tokens = law.tokens_ratio * first.tokens
    serial = np.broadcast_to(law.tokens_ratio * grid.moments()[0][:, None], grid.luck.shape)
    stages, text = [first], first.prompt_tokens + first.tokens
    for _ in range(rounds):
        prompt = text + prompt_tokens
        stages.append(
            replace(
                first,
                prompt_tokens=prompt,
                known_tokens=text,
                common_tokens=prompt,
                tokens=tokens,
                serial_tokens=serial,
            )
        )
        text = prompt + tokens
    return asked.chain(pool, *stages)


PLANS: Mapping[str, Callable[..., Plan]] = {
    "single": single,
    "best_of_n": best_of_n,
    "self_consistency": best_of_n,
    "weighted_vote": best_of_n,
    "first_finish": first_finish,
    "budget_forcing": budget_forcing,
    "sequential_until_accepted": sequential,
    "revision": revision,
    "confidence_cascade": cascade,
    "verified_cascade": cascade,
}
"""Strategies whose calls have a closed form."""


def latencies(
    plan: Plan,
    first_s: Sequence[float],
    prompt_s: Sequence[float],
    token_s: Sequence[float],
    context_s: Sequence[float],
    context_tokens: Sequence[float],
) -> tuple[FloatArray, FloatArray]:
    """Seconds of a query, and their weights, over problems and luck: both of shape (points,).

    Long answers read a long context, and take longer a token.

    Args:
        plan: the stages.
        first_s: of each stage, time to the first token without that of the prompt.
        prompt_s: of each stage, mean time of the prompt.
        token_s: of each stage, time of a token that the query waits for, at a context of `context_tokens`.
        context_s: of each stage, what a token of context more adds to that.
        context_tokens: see there.

    """
    seconds, weights = [], []
    for weight, places in plan.branches:
        total = np.zeros_like(weight)
        for i in places:
            stage = plan.stages[i]
            total = total + first_s[i] + prompt_s[i] * np.asarray(stage.prompt_ratio)
            tokens = np.maximum(np.asarray(stage.serial_tokens) - 1, 0.0)
            longer = stage.prompt_tokens + tokens / 2 - context_tokens[i]
            total = total + tokens * (token_s[i] + context_s[i] * longer)
        seconds.append(total.ravel())
        weights.append(weight.ravel())
    return np.concatenate(seconds), np.concatenate(weights)


def quantiles(values: FloatArray, weights: FloatArray, percentiles: Sequence[float]) -> list[float]:
    """Weighted percentiles of values, linear between the middles of their weights."""
    order = np.argsort(values)
    heights = np.cumsum(weights[order]) - weights[order] / 2
    at = np.asarray(percentiles) / 100 * weights.sum()
    return [float(value) for value in np.interp(at, heights, values[order])]
