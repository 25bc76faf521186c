"""The reference engine: a naive scheduler, driven step by step.

It is written to be checked by eye against the semantics, not to be fast. The lazy engine must produce
the same batches and the same times. Checked step by step, synchronous and asynchronous, against
vLLM 0.32's own Scheduler, AsyncScheduler and KVCacheManager on tens of thousands of random scenarios.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from foretell.models.stepcost import StepLoad
from foretell.sim.config import EngineConfig
from naive_scheduler import Call, Entry, Live, Scheduler

__all__ = ["BatchRow", "Call", "LivelockError", "NaiveRun", "Step", "naive_simulate"]


class LivelockError(RuntimeError):
    """Requests preempt each other for ever, as they would in vLLM.

    It takes the priority policy, two requests of equal priority and arrival (the victim is then the
    first of them, even if it is the older one), and prompts admitted without reserving their blocks.
    """


BatchRow = tuple[str, int, int]
"""Request id, tokens scheduled, tokens computed before."""


@dataclass(frozen=True, slots=True)
class Step:
    start_s: float
    end_s: float
    batch: list[BatchRow]
    blocks_used_after_schedule: int = 0
    new_preemptions: int = 0  # since the step before this one
    load: StepLoad = field(default_factory=StepLoad)

    @property
    def times_and_batch(self) -> tuple[float, float, list[BatchRow]]:
        return self.start_s, self.end_s, self.batch


@dataclass(slots=True)
class NaiveRun:
    steps: list[Step] = field(default_factory=list)
    first_token_s: dict[str, float] = field(default_factory=dict)
    finish_s: dict[str, float] = field(default_factory=dict)
    n_preemptions: dict[str, int] = field(default_factory=dict)
    cached_tokens: dict[str, int] = field(default_factory=dict)
    token_s: dict[str, list[float]] = field(default_factory=dict)
    status: dict[str, str] = field(default_factory=dict)
    evictions: int = 0  # cached blocks that were handed out anew
    empty_schedules: int = 0
    delivered_while_waiting: int = 0  # tokens in flight at a preemption, delivered after it


def load_of(batch: list[Entry]) -> StepLoad:
    prefills = [(e.tokens, e.computed_before) for e in batch if not e.decodes]
    decodes = [e.computed_before for e in batch if e.decodes]
    return StepLoad(
        prefill_tokens=sum(n for n, _ in prefills),
        prefill_pairs=sum(n * (c + (n + 1) / 2) for n, c in prefills),
        prefill_context=sum(c + n for n, c in prefills),
        prefill_seqs=len(prefills),
        decode_seqs=len(decodes),
        decode_context=sum(c + 1 for c in decodes),
        sampled=sum(e.samples for e in batch),
    )


def naive_simulate(
    calls: Sequence[Call],
    config: EngineConfig,
    cost: Callable[..., float],
    cancels: Mapping[str, float] | None = None,
) -> NaiveRun:
    """Serve the calls; `cancels` says when a client gives up.

    Synchronous scheduling has one step in flight, asynchronous scheduling two: the host schedules
    while the device still computes, and the device never waits if it can help it.

    Raises:
        LivelockError: no token came for far more steps than all the calls need.
        RuntimeError: the engine can make no further step, which its admission rules exclude.
    """
    cancels = cancels or {}
    patience = 1000 + 10 * sum(call.prompt_tokens + call.output_tokens for call in calls)
    idle_steps = 0
    depth = 2 if config.async_scheduling else 1
    run = NaiveRun()
    scheduler = Scheduler(config)
    coming = deque(sorted(calls, key=lambda call: call.arrival_s))
    inside: dict[str, Live] = {}
    cancelling = sorted(cancels, key=lambda id: cancels[id])
    in_flight: deque[tuple[float, list[Entry]]] = deque()
    now = device_free = 0.0
    preemptions = 0

    def join() -> None:
        while coming and coming[0].arrival_s <= now:
            call = coming.popleft()
            run.n_preemptions[call.id] = 0
            run.cached_tokens[call.id] = 0
            run.token_s[call.id] = []
            if call.id in cancels and cancels[call.id] <= call.arrival_s:
                run.status[call.id] = "cancelled"
            elif config.rejects(call.prompt_tokens, call.output_tokens) is not None:
                run.status[call.id] = "rejected"
            else:
                inside[call.id] = Live(call, config)
                scheduler.add(inside[call.id])

    def cancel() -> None:
        for id in cancelling:
            if id in inside and not inside[id].gone and cancels[id] <= now:
                scheduler.remove(inside[id])
                run.status[id] = "cancelled"

    def sampled(live: Live) -> None:
        nonlocal idle_steps
        idle_steps = 0
        id = live.call.id
        run.token_s[id].append(now)
        run.first_token_s.setdefault(id, now)
        run.delivered_while_waiting += live not in scheduler.running
        if live.known == live.total:
            run.finish_s[id] = now
            run.status[id] = "finished"

    while True:
        join()
        cancel()
        unfinished = bool(scheduler.running or scheduler.waiting)
        if not unfinished and not in_flight:
            if not coming:
                break
            now = coming[0].arrival_s
            continue

        batch = scheduler.schedule() if unfinished else []
        preemptions += len(scheduler.preempted_now)
        idle_steps += 1
        if idle_steps > patience:
            raise LivelockError(f"no token in the last {patience} steps, at {now}")
        if batch:
            for entry in batch:
                if not entry.live.admitted_once:
                    entry.live.admitted_once = True
                    run.cached_tokens[entry.live.call.id] = entry.computed_before
            load = load_of(batch)
            start = max(now, device_free)
            device_free = start + cost(*load)
            rows = [(e.live.call.id, e.tokens, e.computed_before) for e in batch]
            used = scheduler.pool.usable - len(scheduler.pool.free)
            run.steps.append(Step(start, device_free, rows, used, preemptions, load))
            preemptions = 0
            in_flight.append((device_free, batch))
            if len(in_flight) < depth:
                continue
        elif unfinished:
            run.empty_schedules += 1
            if not in_flight and not scheduler.preempted_now:
                raise RuntimeError(f"no step is possible at {now}")

        if in_flight:
            now, done = in_flight.popleft()
            cancel()
            scheduler.update(done, sampled)
        if not batch and (scheduler.running or scheduler.waiting):
            now += config.empty_step_s

    run.evictions = scheduler.pool.evictions
    for id, live in inside.items():
        run.n_preemptions[id] = live.preemptions
    assert len(scheduler.pool.free) == scheduler.pool.usable, "a block was lost"
    return run
