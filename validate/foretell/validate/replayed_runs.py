"""Recorded runs fed through foretell's engine with their own step times: every batch and every token."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foretell.models.stepcost import constant_cost
from foretell.sim.engine import Batch
from foretell.sim.request import Request
from foretell.sim.serve import serve
from foretell.validate.recorded_runs import BatchRow, RecordedRun

Floats = npt.NDArray[np.float64]

_ROUNDING_S = 2e-6
_GAP_ROUNDING_S = 6 * 1e-6 / np.sqrt(12)
"""Times are written in microseconds. A token's is a sum of gaps: six standard errors of their rounding."""


@dataclass(frozen=True, slots=True)
class Replay:
    """How a replay compares with the run.

    Attributes:
        steps_compared, steps_equal: steps, and those with the same entries in the same order.
        difference: the first step that differs, in words; "" for none.
        tokens: of all answers.
        tokens_in_step: those that the same step made.
        tokens_in_time: those that were handed out between that step's end and the start of the next.
        requests, requests_equal: and those preempted as often, with as many tokens found in the cache.
        latest_s: the longest that a token took from the end of its step.

    """

    steps_compared: int
    steps_equal: int
    difference: str
    tokens: int
    tokens_in_step: int
    tokens_in_time: int
    requests: int
    requests_equal: int
    latest_s: float


def replay(run: RecordedRun) -> Replay:
    """Serve a run's requests, step by step on the run's own clock.

    The engine counts steps: step n lasts from n to n + 1, whatever it took in the run, and a request joins
    where the run's engine took it. What comes out is mapped back on the run's times.
    """
    prompts, outputs = run.trace.prompt_tokens.tolist(), run.trace.output_tokens.tolist()
    clock = on_step_clock(run)
    priority = run.trace.priority if run.trace.priority is not None else np.zeros(len(clock), dtype=np.int64)
    chains = run.trace.segments or [()] * len(clock)
    requests = [
        Request(id, at, prompt, output, row, priority=int(rank), segments=chain)
        for row, (id, at, prompt, output, rank, chain) in enumerate(
            zip(run.trace.ids(), clock.tolist(), prompts, outputs, priority, chains, strict=True)
        )
    ]
    made: list[list[int]] = [[] for _ in requests]
    equal, seen, difference = 0, 0, ""

    def on_step(step: int, start_s: float, end_s: float, batch: Batch) -> None:
        nonlocal equal, seen, difference
        ours: list[BatchRow] = []
        for request, scheduled, computed in batch:
            ours.append((request.id, scheduled, computed))
            if computed + scheduled == request.prompt_tokens + len(made[request.row]):
                made[request.row].append(step)
        theirs = run.batches[step] if step < len(run.batches) else None
        seen += 1
        if ours == theirs:
            equal += 1
        elif not difference:
            difference = f"step {step}: {_unlike(theirs, ours)}"

    serve(sorted(requests, key=lambda r: r.arrival_s), run.config, constant_cost(1.0), on_step=on_step)
    if not difference and seen < len(run.batches):
        difference = f"step {seen}: the run goes on, the engine is done"
    begin = np.append(run.starts_s[1:], np.inf)
    in_step = in_time = tokens = 0
    latest = 0.0
    for steps, recorded, times in zip(made, run.token_steps, run.token_s, strict=True):
        tokens += len(recorded)
        n = min(len(steps), len(recorded))
        ours_at = np.asarray(steps[:n], dtype=np.int64)
        in_step += int(np.sum(ours_at == recorded[:n]))
        known = ours_at[ours_at < len(run.ends_s)]
        late = times[: len(known)] - run.ends_s[known]
        slack = _ROUNDING_S + _GAP_ROUNDING_S * np.sqrt(np.arange(len(known)))
        before_next = times[: len(known)] <= begin[known] + slack
        in_time += int(np.sum((late >= -slack) & before_next))
        latest = max(latest, float(late.max(initial=0.0)))
    same = [
        request.n_preemptions == run.n_preemptions[row]
        and max(0, request.cached_tokens) == run.cached_tokens[row]
        for row, request in enumerate(requests)
    ]
    compared = max(seen, len(run.batches))
    return Replay(compared, equal, difference, tokens, in_step, in_time, len(same), int(sum(same)), latest)


def on_step_clock(run: RecordedRun) -> Floats:
    """When each request arrives if step n lasts from n to n + 1.

    One that was added between the starts of steps n - 1 and n arrives in (n - 1, n), so it joins before
    step n, in the order in which requests were added (those added in one go keep theirs).
    """
    order = np.argsort(run.added_s, kind="stable")
    rank = np.empty(len(order))
    rank[order] = np.arange(1, len(order) + 1)
    step = np.searchsorted(run.starts_s, run.added_s, side="left")
    return np.where(step > 0, step - 1 + rank / (len(order) + 1), 0.0)


def _unlike(theirs: list[BatchRow] | None, ours: list[BatchRow]) -> str:
    if theirs is None:
        return f"the run has ended, the engine goes on with {ours[0]}"
    for i in range(max(len(theirs), len(ours))):
        left, right = (rows[i] if i < len(rows) else None for rows in (theirs, ours))
        if left != right:
            return f"entry {i}: the run has {left}, the engine {right} (request, tokens, computed before)"
    return "equal"
