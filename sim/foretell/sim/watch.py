"""Run one engine on a case and keep every decision: batches, KV blocks, preemptions, cache hits, times.

And compare two such records step by step: that of vLLM's scheduler with ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from foretell.sim.case import Case
from foretell.sim.engine import Batch
from foretell.sim.engines import AnyEngine, make_engine
from foretell.sim.serve import serve_on
from foretell.sim.walk import LivelockError

Step = list[Any]
"""[start_s, end_s, [[id, tokens, computed before], ...], KV blocks used after scheduling, preemptions
since the step before]."""
STEP_FIELDS = ("start_s", "end_s", "batch", "kv_blocks_used", "preemptions")
Outcome = list[Any]
"""[status, first_token_s, finish_s, preemptions, cached tokens]."""
OUTCOME_FIELDS = ("status", "first_token_s", "finish_s", "n_preemptions", "cached_tokens")


@dataclass(slots=True)
class Record:
    """What a scheduler did: all steps that were not empty, and what became of every request.

    `livelock`: it preempts for ever, and the record ends somewhere in that.
    """

    steps: list[Step] = field(default_factory=list)
    requests: dict[str, Outcome] = field(default_factory=dict)
    livelock: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """The first thing in which two records differ.

    Attributes:
        step: number of the step, from 0; None where all steps agree and the outcome of `request` differs.
        request: whose outcome, "" for a step.
        fields: names of what differs.
        vllm, foretell: the whole step, or outcome, of either; None where one had already ended.

    """

    step: int | None
    request: str
    fields: tuple[str, ...]
    vllm: list[Any] | None
    foretell: list[Any] | None


def watch(case: Case, make: Callable[..., AnyEngine] = make_engine) -> Record:
    """Serve a case with a foretell engine and record it."""
    record = Record()
    requests = [call.request() for call in case.calls]
    watcher = _Watcher(record.steps)
    engine = make(case.config, case.cost, on_step=watcher.on_step)
    watcher.engine = engine
    try:
        serve_on(engine, requests, watcher.advance)
    except LivelockError:
        record.livelock = True
    record.requests = {
        r.id: [r.status, r.first_token_s, r.finish_s, r.n_preemptions, max(0, r.cached_tokens)]
        for r in requests
    }
    return record


class _Watcher:
    """Takes down each step with the blocks in use after it was scheduled."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps = steps
        self.engine: Any = None
        self.planning = False
        self.used = 0
        self.preemptions = 0

    def advance(self, until_s: float) -> None:
        """As the engine's own, knowing when it plans."""
        engine = self.engine
        while engine.wake < until_s:
            engine.commit()
            self.planning = True
            engine.plan()
            self.planning = False

    def on_step(self, step: int, start_s: float, end_s: float, batch: Batch) -> None:
        engine = self.engine
        stats = engine.stats
        if self.planning:
            self.used = stats.kv_blocks - engine.pool.free
        else:
            # A run of decoding is told of when it is over, and its blocks are taken after that.
            k = step - stats.steps
            if k == 0:
                self.used = stats.kv_blocks - engine.pool.free - engine.run_paid
            self.used += engine.phase[-(engine.step + k) % engine.block_size]
        rows = [[request.id, n, c] for request, n, c in batch]
        self.steps.append([start_s, end_s, rows, self.used, stats.preemptions - self.preemptions])
        self.preemptions = stats.preemptions


def first_difference(vllm: Record, foretell: Record) -> Difference | None:
    """The first thing in which two records differ, or None.

    Records of a livelock are compared as far as both go.
    """
    both_stuck = vllm.livelock and foretell.livelock
    for n in range(max(len(vllm.steps), len(foretell.steps))):
        theirs = vllm.steps[n] if n < len(vllm.steps) else None
        ours = foretell.steps[n] if n < len(foretell.steps) else None
        if theirs == ours:
            continue
        if theirs is None or ours is None:
            if both_stuck:
                return None
            return Difference(n, "", ("end",), theirs, ours)
        fields = tuple(name for name, a, b in zip(STEP_FIELDS, theirs, ours, strict=True) if a != b)
        return Difference(n, "", fields, theirs, ours)
    if both_stuck:
        return None
    if vllm.livelock != foretell.livelock:
        return Difference(None, "", ("livelock",), [vllm.livelock], [foretell.livelock])
    for id, outcome in foretell.requests.items():
        theirs = vllm.requests.get(id)
        if outcome[0] == "rejected" and theirs is None:
            continue  # vLLM's server refuses it too; its scheduler was not asked
        if theirs != outcome:
            pairs = zip(OUTCOME_FIELDS, theirs or [None] * 5, outcome, strict=True)
            return Difference(None, id, tuple(name for name, a, b in pairs if a != b), theirs, outcome)
    return None


def steps_equal(vllm: Record, foretell: Record) -> int:
    """How many steps agree before the first that does not."""
    n = 0
    for theirs, ours in zip(vllm.steps, foretell.steps, strict=False):
        if theirs != ours:
            break
        n += 1
    return n
