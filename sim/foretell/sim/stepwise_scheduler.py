"""vLLM's scheduler as it is written: every step looks at every request.

Which requests compute how many tokens in the next step, with speculative decoding and sliding windows. Out
of its scope are LoRA, grammars and streaming input; of remote KV it has what the tests of disaggregated
serving need.

Source: vLLM 0.32, v1/core/sched/scheduler.py and async_scheduler.py (read 2026-11).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable

from foretell.sim.config import EngineConfig
from foretell.sim.stepwise_blocks import Table
from foretell.sim.stepwise_memory import Memory
from foretell.sim.stepwise_requests import Entry, Live

Parts = dict[Live, tuple[int, int, bool]]
"""The entries of a step in the making, in order: tokens, drafts among them, whether those are fillers."""


class Scheduler:
    """Decides the steps.

    Attributes:
        running: in order of admission.
        waiting: in line; under FCFS those that hold blocks come first.
        preempted_now, wanted_now: in the last step: who was preempted, and who got blocks for a KV cache
            that is elsewhere.
        held: blocks of finished requests that somebody will read.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.memory = Memory(config)
        self.running: list[Live] = []
        self.waiting: list[Live] = []
        self.preempted_now: list[Live] = []
        self.wanted_now: list[Live] = []
        self.held: dict[Live, list[Table]] = {}

    @property
    def _spare(self) -> int:
        """Blocks that an admission must leave free now."""
        return self.config.watermark_blocks if self.running else 0

    def add(self, live: Live) -> None:
        """A request arrives."""
        if self.config.scheduling_policy == "priority":
            insort(self.waiting, live, key=_urgency)
        else:
            self.waiting.append(live)

    def _preempt(self, live: Live) -> None:
        self.running.remove(live)
        self.memory.give_back(live.tables)
        live.tables = [[] for _ in live.tables]
        live.hashed = [0] * len(live.hashed)
        live.computed = live.placeholders = live.drafts = 0
        live.kv = "local"  # it will be computed anew
        live.stale = live.in_flight
        live.request.n_preemptions += 1
        if self.config.scheduling_policy == "priority":
            self.waiting.insert(bisect_left(self.waiting, live.urgency, key=_urgency), live)
        else:
            at = next((i for i, r in enumerate(self.waiting) if not _holds_blocks(r)), len(self.waiting))
            self.waiting.insert(at, live)
        self.preempted_now.append(live)

    def remove(self, live: Live) -> None:
        """A request is over."""
        live.gone = True
        (self.running if live in self.running else self.waiting).remove(live)
        if live.holds and live.known == live.total:
            self.held[live] = live.tables
        else:
            self.memory.give_back(live.tables)
        live.tables = []

    def schedule(self) -> list[Entry]:
        """Decide a step; empty if nobody can go on."""
        config = self.config
        self.preempted_now = []
        self.wanted_now = []
        requests = len(self.running) + len(self.waiting)
        alone = requests == 1 and not config.long_prefill_token_threshold_alone
        threshold = 0 if alone else config.long_prefill_token_threshold
        if threshold and config.long_prefill_token_threshold_adaptive:
            threshold = max(threshold, config.max_num_batched_tokens // requests)
        batch: Parts = {}
        room, prefills = self._running_pass(batch, threshold)
        if not self.preempted_now:
            self._waiting_pass(batch, threshold, room, prefills)
        return [self._scheduled(live, *entry) for live, entry in batch.items()]

    def _running_pass(self, batch: Parts, threshold: int) -> tuple[int, bool]:
        """Requests that run already, in order.

        Returns:
            The tokens that the step may still schedule; whether it goes on with somebody's prefill.
        """
        config = self.config
        running = self.running
        # A drafter that is a model by itself computes one token more for each request.
        room = config.max_num_batched_tokens - config.draft_slots
        prefills = False
        index = 0
        while index < len(running) and room > 0:
            live = running[index]
            tokens = live.known + live.drafts + live.placeholders - live.computed
            if threshold:
                tokens = min(tokens, threshold)
            tokens = min(tokens, room, config.max_model_len - 1 - live.computed)
            ends = live.placeholders > 0 and live.computed + 2 - live.placeholders >= live.sure_end
            if ends or tokens == 0:
                index += 1
                continue
            while not self.memory.extend(live, tokens):
                if config.scheduling_policy == "priority":
                    victim = max(running, key=lambda r: (r.request.priority, r.request.arrival_s))
                    if victim in batch or not config.idle_victim_skips_next:
                        index -= running.index(victim) < index
                else:
                    victim = running[-1]
                if victim in batch:
                    room += batch.pop(victim)[0] + config.draft_slots
                self._preempt(victim)
                if victim is live:
                    return room, prefills  # it gave way itself, and those behind it get nothing
            drafts = min(live.drafts, max(0, live.computed + tokens - live.known - live.placeholders))
            live.drafts = 0
            batch[live] = (tokens, drafts, False)
            prefills |= live.prefilling
            room -= tokens + config.draft_slots
            index += 1
        return room, prefills

    def _waiting_pass(self, batch: Parts, threshold: int, room: int, prefills: bool) -> None:
        """Those that wait, from the head, up to the first that does not fit."""
        config = self.config
        waiting = self.waiting
        continued = bool(batch)
        at = 0
        while at < len(waiting) and room > 0 and len(self.running) < config.max_num_seqs:
            live = waiting[at]
            if live.stale or live.kv == "receiving":
                at += 1
                continue
            drafts = 0
            if live.kv == "received":
                tokens = 1
                if not self._begin_received(live):
                    return
            else:
                hit, computed = self.memory.lookup(live)
                if live.kv == "remote":
                    if not self.memory.admit_remote(live, hit, computed, self._spare):
                        return
                    live.kv = "receiving"
                    if config.scheduling_policy == "fcfs":
                        waiting.sort(key=lambda r: not _holds_blocks(r))
                    self.wanted_now.append(live)
                    at += 1
                    continue
                tokens = live.known - computed
                full = 1 + config.num_speculative_tokens
                alike = tokens == 1 < full and not prefills and (continued or computed > 0)
                if alike and computed + full < config.max_model_len:
                    # A step of decodes stays one of equal entries: fillers stand for the drafts.
                    if full > room:
                        return
                    tokens, drafts = full, full - 1
                if threshold:
                    tokens = min(tokens, threshold)
                if not config.enable_chunked_prefill and tokens > room:
                    return
                tokens = min(tokens, room)
                if not self.memory.admit(live, tokens, hit, computed, self._spare):
                    return
            del waiting[at]
            self.running.append(live)
            batch[live] = (tokens, drafts, drafts > 0)
            room -= tokens + config.draft_slots

    def _begin_received(self, live: Live) -> bool:
        """Let a request whose KV cache has come compute the last token it knows."""
        live.computed = live.known - 1
        self.memory.cache_up_to(live, live.computed)
        if self._spare > self.memory.pool.free:
            return False
        self.memory.cache_up_to(live, live.known)
        return True

    def _scheduled(self, live: Live, tokens: int, drafts: int, blank: bool) -> Entry:
        before = live.computed
        live.computed += tokens
        live.in_flight += tokens
        samples = live.computed >= live.known + live.placeholders
        live.prefilling = not samples
        if samples and self.config.async_scheduling:
            live.placeholders += 1 + drafts
            live.drafts = self.config.num_speculative_tokens
        decodes = tokens == 1 and samples and (before >= live.prompt or live.kv == "received")
        return Entry(live, tokens, before, drafts, blank, samples, decodes)

    def update(self, batch: list[Entry], sampled: Callable[[Live, int], None]) -> None:
        """Take in the output of a step; `sampled` is told who got how many tokens."""
        lag = self.config.async_scheduling
        for entry in batch:
            live = entry.live
            live.in_flight -= entry.tokens
            stale = live.stale > 0
            if stale:
                live.stale -= entry.tokens
            if live.gone or not entry.samples:
                continue
            accepted = _accepted(entry)
            if not stale:
                live.computed -= entry.drafts - accepted
                if lag:
                    live.placeholders -= 1 + entry.drafts
            live.known += 1 + accepted
            if not lag:
                live.drafts = self.config.num_speculative_tokens
            elif not stale:
                self.memory.cache_up_to(live, live.computed - live.placeholders)
            sampled(live, 1 + accepted)
            if live.known == live.total:
                self.remove(live)


def _accepted(entry: Entry) -> int:
    """How many of an entry's drafts are accepted, as far as the answer goes."""
    live = entry.live
    if not entry.drafts or entry.blank:
        return 0
    counts = live.request.accepted
    accepted = counts[live.verified] if live.verified < len(counts) else 0
    live.verified += 1
    return min(accepted, entry.drafts, live.total - live.known - 1)


def _holds_blocks(live: Live) -> bool:
    return live.kv in ("receiving", "received")


def _urgency(live: Live) -> tuple[int, float, str]:
    return live.urgency
