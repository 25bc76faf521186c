"""Who gets which KV blocks, and which of them others may hit: vLLM's KVCacheManager.

Source: vLLM 0.32, v1/core/kv_cache_manager.py and single_type_kv_cache_manager.py (read 2026-11).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from foretell.sim.config import EngineConfig
from foretell.sim.stepwise_blocks import Blocks, Table, behind, boundaries, find_hit, kept
from foretell.sim.stepwise_requests import Live


class Memory:
    """The blocks of an engine's requests.

    Attributes:
        pool: all blocks.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.pool = Blocks(config.num_gpu_blocks, in_line=config.freed_blocks_in_line)
        self._dropping = config.dropping_windows
        self._chains: dict[tuple[int, Hashable, int], int] = {}  # (chain before, stream, tokens): chain

    def names(self, live: Live, full_blocks: int) -> list[Hashable]:
        """Names of the first full blocks: equal for two requests iff all tokens up to there are.

        A name is (the chain of links before, the stream of its last token, tokens of that stream).
        """
        if live.links is None:
            live.links = []
            end = chain = 0
            for stream, tokens in live.request.segments:
                end += tokens
                live.links.append((end, chain, stream))
                chain = self._chains.setdefault((chain, stream, tokens), len(self._chains) + 1)
            live.links.append((self.config.max_model_len + 1, chain, live))  # the rest is its own
        names, size = live.names, self.config.block_size
        at = 0
        while len(names) < full_blocks:
            tokens = (len(names) + 1) * size
            while live.links[at][0] < tokens:
                at += 1
            names.append((*live.links[at][1:], tokens - (live.links[at - 1][0] if at else 0)))
        return names

    def cache_up_to(self, live: Live, tokens: int) -> None:
        """Let others hit a request's full blocks, as far as so many tokens."""
        config = self.config
        if not config.enable_prefix_caching:
            return
        full = tokens // config.block_size
        if min(live.hashed) >= full:
            return
        names = self.names(live, full)
        ends = boundaries(live.prompt, config.block_size, bool(self._dropping))
        if live.shared:
            ends = (*ends, live.shared)
        for group, window in enumerate(config.kv_cache_groups):
            fresh = range(live.hashed[group], full)
            for i in kept(window, config.block_size, fresh, ends, window in self._dropping):
                block = live.tables[group][i]
                if block is not None:
                    self.pool.remember(block, group, names[i])
            live.hashed[group] = max(live.hashed[group], full)

    def _slots(self, tokens: int) -> int:
        """Blocks of one group for so many tokens, and those that the drafter will write behind them."""
        config = self.config
        return -(-min(tokens + config.num_lookahead_tokens, config.max_model_len) // config.block_size)

    def extend(self, live: Live, tokens: int) -> bool:
        """Give a running request the blocks for its next tokens, if the pool has them."""
        config = self.config
        for window, table in zip(config.kv_cache_groups, live.tables, strict=True):
            if window:  # what steps in flight still read, or may fall back to, stays
                self._forget(table, behind(window, config.block_size, live.computed - live.in_flight))
        blocks = self._slots(live.computed + tokens)
        if sum([max(0, blocks - len(table)) for table in live.tables]) > self.pool.free:
            return False
        for table in live.tables:
            table += self.pool.take(blocks - len(table))
        self.cache_up_to(live, min(live.computed + tokens, live.known))
        return True

    def _forget(self, table: Table, blocks: int) -> None:
        """Free the first blocks of a table, which lie behind its window."""
        freed: Table = []
        for i in range(min(blocks, len(table)) - 1, -1, -1):
            if table[i] is None:
                break
            freed.append(table[i])
            table[i] = None
        self.pool.give_back(freed)

    def lookup(self, live: Live) -> tuple[list[Table], int]:
        """A waiting request's cached blocks, and how many tokens they hold."""
        config = self.config
        if not config.enable_prefix_caching:
            return [[] for _ in config.kv_cache_groups], 0
        names = self.names(live, (live.known - config.drafted_hits_end_early) // config.block_size)
        hit, tokens, longest = find_hit(
            self.pool, config.kv_cache_groups, names, live.known, config.block_size, self._dropping
        )
        live.shared = longest if longest > tokens else 0
        return hit, tokens

    def admit(self, live: Live, tokens: int, hit: list[Table], computed: int, spare: int) -> bool:
        """Give a waiting request its cached blocks and those for its first tokens, if `spare` stay free."""
        config = self.config
        if config.scheduler_reserve_full_isl:
            blocks = -(-live.known // config.block_size)
            if spare + self._price(hit, computed, blocks, capped=True) > self.pool.free:
                return False
        blocks = self._slots(computed + tokens)
        if spare + self._price(hit, computed, blocks, capped=False) > self.pool.free:
            return False
        self._adopt(live, hit, computed)
        for table in live.tables:
            table += self.pool.take(blocks - len(table))
        self.cache_up_to(live, min(computed + tokens, live.known))
        return True

    def _price(self, hit: list[Table], computed: int, blocks: int, *, capped: bool) -> int:
        """Free blocks that an admission takes: new ones, and cached ones that nobody uses now.

        Args:
            hit, computed: what it finds cached.
            blocks: how long its tables must be.
            capped: count no more of a window's than a request ever holds at once.
        """
        config = self.config
        price = 0
        for window, table in zip(config.kv_cache_groups, hit, strict=True):
            skipped = behind(window, config.block_size, computed)
            most = min(blocks, config.window_blocks(window)) if capped and window else blocks
            price += max(0, most - max(skipped, len(table)))
            price += sum([block is not None and block.users == 0 for block in table[skipped:]])
        return price

    def _adopt(self, live: Live, hit: list[Table], computed: int) -> None:
        """Cached blocks become a request's own, but for those behind its window."""
        for group, window in enumerate(self.config.kv_cache_groups):
            skipped = behind(window, self.config.block_size, computed)
            live.tables[group] = [*[None] * skipped, *hit[group][skipped:]]
            live.hashed[group] = len(live.tables[group])
            for block in hit[group][skipped:]:
                if block is not None:
                    self.pool.use(block)
        live.computed = computed

    def admit_remote(self, live: Live, hit: list[Table], computed: int, spare: int) -> bool:
        """Give a request blocks for a KV cache that is elsewhere, if `spare` stay free."""
        blocks = self._slots(live.known)
        if spare + self._price(hit, computed, blocks, capped=False) > self.pool.free:
            return False
        self._adopt(live, hit, computed)
        for table in live.tables:
            table += self.pool.take(blocks - len(table))
        return True

    def give_back(self, tables: Iterable[Table]) -> None:
        """Free a request's blocks: group by group, last block first."""
        for table in tables:
            self.pool.give_back(reversed(table))
