"""The calls that programs make of an engine: their lengths, how they cluster, and how long a stage takes.

A query's siblings start together, so that calls come as batches: n at a time on one engine, or one on each of
so many engines. Variance over mean of such arrivals is n times that of the queries (compound Poisson), which
the occupancy gets; the prompts of a batch are computed together, before any of its first tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from foretell.models.queueing import Lengths
from foretell.sim.analytic_engines import Array, Solved, alike, shared, shuffled, solve
from foretell.sim.config import EngineConfig
from foretell.sim.deployment import EnginePart
from foretell.sim.estimate_lengths import LengthGrid
from foretell.sim.estimate_plans import Stage, quantiles

SAMPLE = 2048
_LEAST = 32
"""Calls that a stage has in the sample at least."""


@dataclass(frozen=True, slots=True)
class Calls:
    """What the engines of a pool are asked for.

    Attributes:
        stages: of the program, those on this pool.
        law: of the calls; what a prefix cache holds is not in their prompts.
        stage: of each call of the law, the place of its stage.
        first: of each call, whether it computes the prompt that its siblings share.

    """

    stages: tuple[Stage, ...]
    law: Lengths
    stage: npt.NDArray[np.int64]
    first: npt.NDArray[np.bool_]


def siblings(stage: Stage, engines: int) -> float:
    """Calls of one query on the same engine at once: they are spread as evenly as it goes."""
    return max(stage.calls / engines, 1.0)


def calls_of(
    stages: Sequence[Stage],
    weights: Sequence[Array],
    grid: LengthGrid | None,
    max_tokens: float,
    config: EngineConfig,
    engines: int,
) -> Calls:
    """Draw what an engine is asked for, each stage as often as it calls.

    Args:
        stages: on this pool.
        weights: of each, those of the (problem, luck) that come to it, of its `serial_tokens`.
        grid: lengths of the answers of the pool's model; None where it only judges.
        max_tokens: at which they are cut.
        config: of the engines.
        engines: in the pool.

    """
    rates = np.array([stage.share * stage.calls for stage in stages])
    sizes = np.maximum((SAMPLE * rates / rates.sum()).astype(int), _LEAST)
    rows = [
        _stage(stage, weight, grid, max_tokens, config, siblings(stage, engines), int(size))
        for stage, weight, size in zip(stages, weights, sizes, strict=True)
    ]
    prompt, output, cached, first = (np.concatenate(column) for column in zip(*rows, strict=True))
    number = np.repeat(np.arange(len(rows)), [len(row[0]) for row in rows])
    # `Lengths` puts its rows in an order of its own, and leaves them in it the second time.
    order = np.asarray(Lengths(prompt, output, np.arange(float(len(prompt)))).cached).astype(np.int64)
    law = Lengths(prompt[order], output[order], cached[order])
    return Calls(tuple(stages), law, number[order], first[order])


def _waited(stage: Stage, weight: Array) -> float:
    """Mean tokens that queries wait for."""
    return float((np.asarray(stage.serial_tokens) * weight).sum() / weight.sum())


def _stage(
    stage: Stage,
    weight: Array,
    grid: LengthGrid | None,
    max_tokens: float,
    config: EngineConfig,
    beside: float,
    size: int,
) -> tuple[Array, Array, Array, npt.NDArray[np.bool_]]:
    """Prompt, output and cached tokens of so many calls of a stage, and who computes the common prompt."""
    at = (np.arange(size) + 0.5) / size
    mixed = shuffled(size)
    whole = np.full(size, stage.prompt_tokens)
    if np.ndim(stage.prompt_ratio):
        ratio = np.broadcast_to(np.asarray(stage.prompt_ratio), weight.shape)
        whole *= np.array(quantiles(ratio.ravel(), weight.ravel(), list(100 * at)))[mixed]
    output = np.full(size, stage.tokens)
    if np.ndim(stage.serial_tokens) and grid is not None:
        output = _lengths(stage, weight, grid, max_tokens, at)
    output = np.maximum(output, 1.0)
    first = mixed < size / beside
    cached = np.zeros(size)
    if config.enable_prefix_caching:
        known = stage.known_tokens // config.block_size * config.block_size
        common = max(min(stage.common_tokens, stage.prompt_tokens - 1), 0.0)
        common = max(common // config.block_size * config.block_size, known)
        cached = np.minimum(np.where(first, known, common), np.maximum(whole - 1, 0.0))
    return np.maximum(whole - cached, 1.0), output, cached, first


def _lengths(stage: Stage, weight: Array, grid: LengthGrid, max_tokens: float, at: Array) -> Array:
    """Quantiles of the tokens that calls of a stage write: their own, or as many as the first to end."""
    share = grid.share
    if stage.calls > 1 and _waited(stage, weight) < 1.02 * stage.tokens:
        share = 1 - (1 - share) ** stage.calls
    law = weight.sum(1) / weight.sum() @ share
    place = np.minimum(np.searchsorted(law, at), len(law) - 1)
    low = np.maximum(place - 1, 0)
    part = np.clip((at - law[low]) / np.maximum(law[place] - law[low], 1e-12), 0.0, 1.0)
    tokens = np.minimum(grid.tokens[low] * (grid.tokens[place] / grid.tokens[low]) ** part, max_tokens)
    return np.asarray(tokens * (stage.tokens / tokens.mean()))


def solve_calls(
    part: EnginePart,
    calls: Calls,
    rate_per_s: float,
    scv: Callable[[float], float],
    engines: int,
    router: str,
) -> Solved:
    """Solve one engine of a pool under its share of the calls.

    Args:
        part: the engine.
        calls: what is asked.
        rate_per_s: queries a second.
        scv: variance over mean of the queries in so many seconds; at 0 s that of their gaps.
        engines: in the pool.
        router: of the pool.

    """
    rates = [stage.share * stage.calls for stage in calls.stages]

    def bursts(stay_s: float) -> float:
        # Siblings' answers are more alike than those of any two calls, and so overlap for longer.
        together = [
            1 + (max(s.calls, 1.0) - 1) * s.overlap / max(calls.law.alike, 1e-3) for s in calls.stages
        ]
        each = [shared(n * scv(stay_s), engines, router) for n in together]
        return float(np.average(each, weights=rates))

    # Batches are in the occupancy; between them gaps are those of the queries that come to this engine.
    gaps = min(shared(max(rates) * scv(0.0), engines, router), scv(0.0))
    together = float(np.average([siblings(s, engines) for s in calls.stages], weights=rates))
    solved = solve(part, calls.law, rate_per_s * math.fsum(rates) / engines, gaps, bursts)
    return replace(solved, together=together)


@dataclass(frozen=True, slots=True)
class StageTimes:
    """How long calls of a stage take in an engine under load.

    Attributes:
        ttft_s: of calls, shape (k,): with the prompts of their siblings.
        tpot_s: of the same calls.
        tokens: that each of them writes.
        steps, paces: of calls of all stages: steps after the first token, and their mean time.
        solved: the engine.
        beside: siblings on the same engine.
        overlap: share of a call's tokens during which one of them is still writing.
        prompt: tokens.

    """

    ttft_s: Array
    tpot_s: Array
    tokens: Array
    steps: Array
    paces: Array
    solved: Solved
    beside: float
    overlap: float
    prompt: float

    def waited_s(self, tokens: Array, others: Array) -> Array:
        """Time from the first to the last token of answers that queries wait for.

        Siblings of G tokens beside one of g are there for G/g of its steps, at a mean context of G/2.

        Args:
            tokens: of such answers.
            others: mean tokens of the siblings of each.

        """
        gaps = np.maximum(tokens - 1, 0.0)
        if not len(self.steps):  # every answer is one token
            return gaps
        ratio = np.minimum(others / np.maximum(tokens, 1.0), 1.0)
        gone = self.beside * np.maximum(self.overlap - ratio, 0.0)
        pace = self.paces[alike(self.steps, gaps)]
        seconds: Array = gaps * pace
        return seconds * slowed(self.solved, self.beside * ratio**2, self.prompt, tokens, gone)


def stage_times(solved: Solved, calls: Calls, place: int, engines: int) -> StageTimes:
    """Times of a stage on this engine; its queue must be stable."""
    queue, law, stage = solved.queue, calls.law, calls.stages[place]
    assert queue is not None
    together = siblings(stage, engines)
    row = queue.row
    mine = calls.stage[row] == place
    lead = mine & calls.first[row]
    own = lead if lead.sum() >= _LEAST // 4 else mine
    if not own.any():  # a rare stage: anybody's wait
        own = np.ones(len(row), dtype=bool)
    rest = float((law.prompt[~calls.first & (calls.stage == place)]).mean()) if together > 1 else 0.0
    ttft = queue.ttft_s[own] + _prompts_s(solved, float(law.prompt[row[own]].mean()), (together - 1) * rest)
    gaps = np.maximum(law.output[row] - 1, 0.0)
    writes = gaps > 0
    tokens = law.output[row[own]]
    pace = queue.tpot_s[own] * slowed(solved, (together - 1) * stage.overlap, stage.prompt_tokens, tokens)
    return StageTimes(
        ttft,
        pace,
        tokens,
        gaps[writes],
        queue.tpot_s[writes],
        solved,
        together - 1,
        stage.overlap,
        stage.prompt_tokens,
    )


def slowed(
    solved: Solved, beside: Array | float, prompt: float, tokens: Array, gone: Array | float = 0.0
) -> Array:
    """Step with a context of one's own and of so many siblings, over that with everybody's.

    `gone`: siblings less than a call of its stage sees in the mean, since they have ended.
    """
    law, queue = solved.law, solved.queue
    assert queue is not None
    decoding = max(queue.decoding, 1.0)
    alike = np.minimum(1 + np.asarray(beside), decoding)
    own = prompt + tokens / 2
    zero = np.zeros_like(own)
    come = solved.rate_per_s * queue.step_s
    fresh = come * law.mean_prompt
    chunk = (fresh, fresh * law.pairs_per_token, fresh, come)

    def step_s(context: Array, gone: Array | float) -> Array:
        n = np.maximum(decoding - gone, alike)
        read = (n - alike) * law.context + alike * context
        load = (*(zero + x for x in chunk), zero + n, read, zero + n + come)
        return np.asarray(solved.part.cost(*load), dtype=np.float64)

    slower: Array = step_s(own, gone) / step_s(zero + law.context, 0.0)
    return slower


def _prompts_s(solved: Solved, own: float, more: float) -> float:
    """Seconds that so many more prompt tokens add to a step that computes a call's own."""
    queue, law = solved.queue, solved.law
    assert queue is not None
    n = queue.decoding
    budget = max(solved.part.config.max_num_batched_tokens - n, 1.0)

    def step_s(tokens: float) -> float:
        steps = max(tokens / budget, 1.0)
        each = tokens / steps
        return steps * float(
            solved.part.cost(each, each * law.pairs_per_token, each, 1.0, n, n * law.context, n + 1)
        )

    return step_s(own + more) - step_s(own) if more > 0 else 0.0
