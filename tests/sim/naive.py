"""The reference engine: the stepwise scheduler, driven in time by the plainest possible loop.

The lazy engine must produce the same batches and the same times. The scheduler is checked step by step
against vLLM 0.32's own Scheduler, AsyncScheduler and KVCacheManager on tens of thousands of random scenarios.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from foretell.models.stepcost import StepLoad
from foretell.sim import case
from foretell.sim.config import EngineConfig
from foretell.sim.stepwise_requests import Entry, Live
from foretell.sim.stepwise_scheduler import Scheduler

__all__ = ["BatchRow", "Call", "LivelockError", "NaiveRun", "Step", "naive_simulate"]


class LivelockError(RuntimeError):
    """Requests preempt each other for ever, as they would in vLLM.

    It takes the priority policy, two requests of equal priority and arrival (the victim is then the
    first of them, even if it is the older one), and prompts admitted without reserving their blocks.
    """


@dataclass(frozen=True, slots=True)
class Call(case.Call):
    """What a client asks for, and what it needs of other engines.

    With `transfer_s` the KV of its prompt was computed elsewhere, and comes so long after it got blocks;
    with `sampled` so was its first token. With `held_s` its blocks stay taken so long after it finished.
    """

    transfer_s: float | None = None
    sampled: bool = False
    held_s: float | None = None

    def live(self, config: EngineConfig) -> Live:
        """The same for the scheduler."""
        live = Live(self.request(), config)
        live.kv = "local" if self.transfer_s is None else "remote"
        live.known += self.sampled
        live.holds = self.held_s is not None
        return live


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
    handed: list[tuple[float, int, Live]] = []  # when a KV cache comes or has been read; order; whose
    order = count()
    depth = 2 if config.async_scheduling else 1
    run = NaiveRun()
    scheduler = Scheduler(config)
    pool = scheduler.memory.pool
    coming = deque(sorted(calls, key=lambda call: call.arrival_s))
    asked = {call.id: call for call in calls}
    inside: dict[str, Live] = {}
    admitted: set[str] = set()
    cancelling = sorted([call.id for call in coming if call.id in cancels], key=lambda id: cancels[id])
    in_flight: deque[tuple[float, list[Entry]]] = deque()
    now = device_free = 0.0
    preemptions = 0

    def join() -> None:
        for event in sorted(e for e in handed if e[0] <= now):
            handed.remove(event)
            live = event[2]
            if live in scheduler.held:
                scheduler.memory.give_back(scheduler.held.pop(live))
            elif live.kv == "receiving" and not live.gone:
                live.kv = "received"
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
                inside[call.id] = call.live(config)
                scheduler.add(inside[call.id])

    def next_event() -> float:
        times = [at for at, _, _ in handed] + [call.arrival_s for call in list(coming)[:1]]
        times += [cancels[id] for id in cancelling if id in inside and not inside[id].gone]
        return max(now, min(times))

    def cancel() -> None:
        for id in cancelling:
            if id in inside and not inside[id].gone and cancels[id] <= now:
                scheduler.remove(inside[id])
                run.status[id] = "cancelled"

    def sampled(live: Live, tokens: int) -> None:
        nonlocal idle_steps
        idle_steps = 0
        id = live.request.id
        run.token_s[id] += [now] * tokens
        run.first_token_s.setdefault(id, now)
        run.delivered_while_waiting += live not in scheduler.running
        if live.known == live.total:
            run.finish_s[id] = now
            run.status[id] = "finished"
            held_s = asked[id].held_s
            if held_s is not None:
                handed.append((now + held_s, next(order), live))

    while True:
        join()
        cancel()
        unfinished = bool(scheduler.running or scheduler.waiting)
        if not unfinished and not in_flight:
            if not coming and not handed:
                break
            now = next_event()
            continue

        batch = scheduler.schedule() if unfinished else []
        for live in scheduler.wanted_now:
            transfer_s = asked[live.request.id].transfer_s
            assert transfer_s is not None
            admitted.add(live.request.id)
            run.cached_tokens[live.request.id] = live.computed
            handed.append((now + transfer_s, next(order), live))
        preemptions += len(scheduler.preempted_now)
        idle_steps += 1
        if idle_steps > patience:
            raise LivelockError(f"no token in the last {patience} steps, at {now}")
        if batch:
            for entry in batch:
                id = entry.live.request.id
                if id not in admitted:
                    admitted.add(id)
                    run.cached_tokens[id] = entry.computed_before
            load = load_of(batch)
            start = max(now, device_free)
            device_free = start + cost(*load)
            rows = [(e.live.request.id, e.tokens, e.computed_before) for e in batch]
            used = pool.usable - pool.free
            run.steps.append(Step(start, device_free, rows, used, preemptions, load))
            preemptions = 0
            in_flight.append((device_free, batch))
            if len(in_flight) < depth:
                continue
        elif unfinished:
            run.empty_schedules += 1
            if not in_flight and not scheduler.preempted_now and handed:
                now = next_event()
                continue
            if not in_flight and not scheduler.preempted_now:
                if any(live.kv == "received" for live in scheduler.waiting):
                    raise LivelockError("who holds blocks waits behind who needs them")
                raise RuntimeError(f"no step is possible at {now}")

        if in_flight:
            now, done = in_flight.popleft()
            cancel()
            scheduler.update(done, sampled)
        if not batch and (scheduler.running or any(live.kv != "receiving" for live in scheduler.waiting)):
            now += config.empty_step_s

    run.evictions = pool.evictions
    for id, live in inside.items():
        run.n_preemptions[id] = live.request.n_preemptions
    assert pool.free == pool.usable, "a block was lost"
    return run
