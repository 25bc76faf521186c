"""The scheduler of the reference engine: vLLM V1's, one token and one request at a time.

Every token of a request has a name, every KV block is an object in a plain list, and every step looks
at every request. Out of its scope are LoRA, grammars, streaming input, speculation and sliding windows;
of remote KV it has what disaggregated serving needs.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from foretell.sim.config import EngineConfig


@dataclass(frozen=True, slots=True)
class Call:
    """What a client asks for; `segments` and `stop_token` are those of foretell's Request.

    With `transfer_s` the KV of its prompt was computed elsewhere, and comes so long after it got blocks;
    with `sampled` so was its first token. With `held_s` its blocks stay taken so long after it finished.
    """

    id: str
    arrival_s: float
    prompt_tokens: int
    output_tokens: int
    priority: int = 0
    segments: tuple[tuple[Hashable, int], ...] = ()
    stop_token: bool = False
    transfer_s: float | None = None
    sampled: bool = False
    held_s: float | None = None


# ---------------------------------------------------------------------------------------------- blocks


@dataclass(slots=True, eq=False)
class Block:
    name: int | None = None  # what full, hashed content it holds
    users: int = 0


class Pool:
    """The KV blocks: a list of the free ones, next to be taken first, and an index of cached content."""

    def __init__(self, num_gpu_blocks: int, caching: bool, in_line: bool = False) -> None:
        self.usable = num_gpu_blocks - 1  # one is the null block
        self.free: list[Block] = [Block() for _ in range(self.usable)]
        self.caching = caching
        self.in_line = in_line  # whether freed blocks queue up whether they have a hash or not
        self.cached: dict[int, list[Block]] = {}  # oldest entry first
        self.evictions = 0

    def hit(self, names: Sequence[int]) -> list[Block]:
        """The longest run of cached blocks from the front, without side effect."""
        found: list[Block] = []
        for name in names:
            if name not in self.cached:
                break
            found.append(self.cached[name][0])
        return found

    def use(self, block: Block) -> None:
        if block.users == 0:
            self.free.remove(block)
        block.users += 1

    def take(self) -> Block:
        block = self.free.pop(0)
        if block.name is not None:
            self.cached[block.name].remove(block)
            if not self.cached[block.name]:
                del self.cached[block.name]
            block.name = None
            self.evictions += 1
        block.users = 1
        return block

    def remember(self, block: Block, name: int) -> None:
        assert block.name is None
        block.name = name
        self.cached.setdefault(name, []).append(block)

    def give_back(self, blocks: list[Block]) -> None:
        """Last block first: those with a hash to the tail, the others, as a group, to the front."""
        nameless: list[Block] = []
        for block in reversed(blocks):
            block.users -= 1
            if block.users == 0:
                (nameless if block.name is None and not self.in_line else self.free).append(block)
        self.free[:0] = nameless


# -------------------------------------------------------------------------------------------- requests


class Live:
    """A request inside the engine."""

    def __init__(self, call: Call, config: EngineConfig) -> None:
        self.call = call
        self.prompt = call.prompt_tokens
        self.total = min(call.prompt_tokens + call.output_tokens, config.max_model_len)
        # Where the scheduler is sure that it ends; a stop token is a surprise.
        self.sure_end = config.max_model_len if call.stop_token else self.total
        self.kv = "local" if call.transfer_s is None else "remote"  # then "receiving", then "received"
        self.known = call.prompt_tokens + call.sampled  # prompt and generated tokens, whose values are known
        self.computed = 0  # tokens computed, or being computed by a step in flight
        self.placeholders = 0  # tokens being sampled by a step in flight (asynchronous scheduling)
        self.in_flight = 0  # tokens scheduled by steps whose output has not been processed
        self.stale = 0  # those of them that were in flight at a preemption
        self.blocks: list[Block] = []
        self.hashed = 0  # of them, from the front
        self.admitted_once = False
        self.preemptions = 0
        self.gone = False  # finished or cancelled

    @property
    def urgency(self) -> tuple[int, float, str]:
        return (self.call.priority, self.call.arrival_s, self.call.id)


def token_name(call: Call, position: int) -> Hashable:
    """What a token of a request is: a place in a stream, or one of the request's own."""
    for stream, tokens in call.segments:
        if position < tokens:
            return (stream, position)
        position -= tokens
    return ("own", call.id, position)


@dataclass(slots=True)
class Entry:
    """A request's part of a scheduled batch."""

    live: Live
    tokens: int
    computed_before: int
    decodes: bool
    samples: bool


# ------------------------------------------------------------------------------------------- scheduler


class Scheduler:
    """Which requests compute how many tokens in the next step, and in which blocks."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.pool = Pool(config.num_gpu_blocks, config.enable_prefix_caching, config.freed_blocks_in_line)
        self.running: list[Live] = []
        self.waiting: list[Live] = []
        self.block_names: dict[Hashable, int] = {}
        self.names_of: dict[str, list[int]] = {}
        self.preempted_now: list[Live] = []
        self.wanted_now: list[Live] = []  # who got blocks for a KV cache that is elsewhere
        self.held: dict[str, list[Block]] = {}  # blocks of finished requests that somebody will read

    # -- block arithmetic

    def blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.config.block_size)

    def names(self, live: Live, full_blocks: int) -> list[int]:
        """Names of the first full blocks: equal for two requests iff all tokens up to there are."""
        size = self.config.block_size
        names = self.names_of.setdefault(live.call.id, [])
        while len(names) < full_blocks:
            start = len(names) * size
            content = tuple(token_name(live.call, p) for p in range(start, start + size))
            key = (names[-1] if names else None, content)
            names.append(self.block_names.setdefault(key, len(self.block_names)))
        return names[:full_blocks]

    def cache_up_to(self, live: Live, tokens: int) -> None:
        if not self.pool.caching:
            return
        full = tokens // self.config.block_size
        names = self.names(live, full)
        for i in range(live.hashed, full):
            self.pool.remember(live.blocks[i], names[i])
        live.hashed = max(live.hashed, full)

    def extend(self, live: Live, tokens: int) -> bool:
        """Give a running request the blocks for its next tokens, if the pool has them."""
        more = max(0, self.blocks_for(live.computed + tokens) - len(live.blocks))
        if more > len(self.pool.free):
            return False
        live.blocks += [self.pool.take() for _ in range(more)]
        self.cache_up_to(live, min(live.computed + tokens, live.known))
        return True

    def admit(self, live: Live, tokens: int, hit: list[Block]) -> bool:
        """Give a waiting request its cached blocks and those for its first tokens, if that fits."""
        revived = sum(block.users == 0 for block in hit)
        spare = self.config.watermark_blocks if self.running else 0
        computed = len(hit) * self.config.block_size
        free = len(self.pool.free)
        if self.config.scheduler_reserve_full_isl:
            all_known = self.blocks_for(live.known)
            if max(0, all_known - len(hit)) + revived + spare > free:
                return False
        more = max(0, self.blocks_for(computed + tokens) - len(hit))
        if more + revived + spare > free:
            return False
        for block in hit:
            self.pool.use(block)
        live.blocks = [*hit, *[self.pool.take() for _ in range(more)]]
        live.hashed = len(hit)
        live.computed = computed
        self.cache_up_to(live, min(computed + tokens, live.known))
        return True

    def admit_remote(self, live: Live, hit: list[Block]) -> bool:
        """Give a request blocks for a KV cache that is elsewhere, if all of them fit."""
        revived = sum(block.users == 0 for block in hit)
        spare = self.config.watermark_blocks if self.running else 0
        more = self.blocks_for(live.known) - len(hit)
        if more + revived + spare > len(self.pool.free):
            return False
        for block in hit:
            self.pool.use(block)
        live.blocks = [*hit, *[self.pool.take() for _ in range(more)]]
        live.hashed = len(hit)
        live.computed = len(hit) * self.config.block_size
        return True

    # -- queues

    def add(self, live: Live) -> None:
        self.waiting.append(live)
        self.sort_waiting()

    def sort_waiting(self) -> None:
        if self.config.scheduling_policy == "priority":
            self.waiting.sort(key=lambda live: live.urgency)
        else:  # vLLM keeps those that it passed over in a queue of their own, which comes first
            self.waiting.sort(key=lambda live: live.kv not in ("receiving", "received"))

    def preempt(self, live: Live) -> None:
        self.running.remove(live)
        self.pool.give_back(live.blocks)
        live.blocks, live.hashed, live.computed, live.placeholders = [], 0, 0, 0
        live.kv = "local"  # it will be computed anew
        live.stale = live.in_flight
        live.preemptions += 1
        self.waiting.insert(0, live)
        self.sort_waiting()
        self.preempted_now.append(live)

    def remove(self, live: Live) -> None:
        """A request is over."""
        live.gone = True
        (self.running if live in self.running else self.waiting).remove(live)
        if live.call.held_s is not None and live.known == live.total:
            self.held[live.call.id] = live.blocks
        else:
            self.pool.give_back(live.blocks)
        live.blocks = []

    # -- a step

    def schedule(self) -> list[Entry]:
        config = self.config
        self.preempted_now = []
        self.wanted_now = []
        budget = config.max_num_batched_tokens
        batch: dict[Live, int] = {}
        requests = len(self.running) + len(self.waiting)
        alone = requests == 1 and not config.long_prefill_token_threshold_alone
        threshold = 0 if alone else config.long_prefill_token_threshold
        if threshold and config.long_prefill_token_threshold_adaptive:
            threshold = max(threshold, budget // requests)

        # Requests that run already, in order.
        index = 0
        while index < len(self.running) and budget > 0:
            live = self.running[index]
            ends = live.placeholders > 0 and live.computed + 2 - live.placeholders >= live.sure_end
            tokens = live.known + live.placeholders - live.computed
            if threshold:
                tokens = min(tokens, threshold)
            tokens = min(tokens, budget, config.max_model_len - 1 - live.computed)
            if ends or tokens == 0:
                index += 1
                continue
            while live in self.running and not self.extend(live, tokens):
                if config.scheduling_policy == "priority":
                    victim = max(self.running, key=lambda r: (r.call.priority, r.call.arrival_s))
                else:
                    victim = self.running[-1]
                if self.running.index(victim) < index and (
                    victim in batch or not config.idle_victim_skips_next
                ):
                    index -= 1
                budget += batch.pop(victim, 0)
                self.preempt(victim)
            if live not in self.running:
                break  # it gave way itself, and those behind it get nothing
            batch[live] = tokens
            budget -= tokens
            index += 1

        # Then those that wait, from the head, unless memory was short.
        for live in [] if self.preempted_now else list(self.waiting):
            if budget == 0 or len(self.running) == config.max_num_seqs:
                break
            if live.stale or live.kv == "receiving":
                continue
            hit: list[Block] = []
            if config.enable_prefix_caching:
                # The last known token is always computed, to sample the next from.
                hit = self.pool.hit(self.names(live, (live.known - 1) // config.block_size))
            if live.kv == "remote":
                if not self.admit_remote(live, hit):
                    break
                live.kv = "receiving"
                self.sort_waiting()
                self.wanted_now.append(live)
                continue
            if live.kv == "received":
                live.computed = live.known - 1
                self.cache_up_to(live, live.computed)
                if (config.watermark_blocks if self.running else 0) > len(self.pool.free):
                    break
                self.cache_up_to(live, live.known)
                self.waiting.remove(live)
                self.running.append(live)
                batch[live] = 1
                budget -= 1
                continue
            tokens = live.known - len(hit) * config.block_size
            if threshold:
                tokens = min(tokens, threshold)
            if not config.enable_chunked_prefill and tokens > budget:
                break
            tokens = min(tokens, budget)
            if not self.admit(live, tokens, hit):
                break
            self.waiting.remove(live)
            self.running.append(live)
            batch[live] = tokens
            budget -= tokens

        return [self.scheduled(live, tokens) for live, tokens in batch.items()]

    def scheduled(self, live: Live, tokens: int) -> Entry:
        before = live.computed
        expected = live.known + live.placeholders
        live.computed += tokens
        live.in_flight += tokens
        samples = live.computed == expected
        if samples and self.config.async_scheduling:
            live.placeholders += 1
        decodes = tokens == 1 and samples and (before >= live.prompt or live.kv == "received")
        return Entry(live, tokens, before, decodes, samples)

    def update(self, batch: list[Entry], sampled: Callable[[Live], None]) -> None:
        """Take in the output of a step; `sampled` is told of every token."""
        for entry in batch:
            live = entry.live
            live.in_flight -= entry.tokens
            stale = live.stale > 0
            if stale:
                live.stale -= entry.tokens
            if live.gone or not entry.samples:
                continue
            live.known += 1
            if self.config.async_scheduling and not stale:
                live.placeholders -= 1
                self.cache_up_to(live, live.computed - live.placeholders)
            sampled(live)
            if live.known == live.total:
                self.remove(live)
