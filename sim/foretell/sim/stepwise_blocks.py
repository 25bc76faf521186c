"""The stepwise engine's KV blocks: one free queue for all KV cache groups, and an index of cached content.

Source: vLLM 0.32, v1/core/block_pool.py, kv_cache_coordinator.py and single_type_kv_cache_manager.py (read
2026-11).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Sequence

Table = list["Block | None"]
"""A request's blocks in one group, from its first token on; None is the null block: behind the window."""
Boundaries = Sequence[int]
"""Tokens up to which a later request may hit; what a window needs there is kept."""


class Block:
    """A KV block: how many requests use it, and what full, hashed content it holds for which group."""

    __slots__ = ("key", "users")

    def __init__(self) -> None:
        self.key: tuple[int, Hashable] | None = None
        self.users = 0


class Blocks:
    """The pool.

    Args:
        num_gpu_blocks: the null block among them.
        in_line: freed blocks queue up whether they have a hash or not (`EngineConfig.freed_blocks_in_line`).

    Attributes:
        usable: blocks that requests may take.
        cached: what the hashed blocks hold; of equal ones the oldest comes first.
        evictions: cached blocks that were handed out anew.
    """

    __slots__ = ("_in_line", "_queue", "cached", "evictions", "usable")

    def __init__(self, num_gpu_blocks: int, *, in_line: bool = False) -> None:
        self._in_line = in_line
        self.usable = num_gpu_blocks - 1  # one is the null block
        self._queue: OrderedDict[Block, None] = OrderedDict.fromkeys(Block() for _ in range(self.usable))
        self.cached: dict[tuple[int, Hashable], dict[Block, None]] = {}
        self.evictions = 0

    @property
    def free(self) -> int:
        """Blocks that nobody uses, cached ones among them."""
        return len(self._queue)

    def find(self, name: Hashable, groups: Sequence[int]) -> list[Block] | None:
        """The cached blocks of this content, one a group; None unless all groups have one."""
        found: list[Block] = []
        for group in groups:
            copies = self.cached.get((group, name))
            if copies is None:
                return None
            found.append(next(iter(copies)))
        return found

    def use(self, block: Block) -> None:
        """One request more uses a cached block."""
        if block.users == 0:
            del self._queue[block]
        block.users += 1

    def take(self, count: int) -> list[Block]:
        """Hand out the first blocks of the queue; what they cached is lost."""
        taken: list[Block] = []
        for _ in range(count):
            block, _none = self._queue.popitem(last=False)
            if block.key is not None:
                copies = self.cached[block.key]
                del copies[block]
                if not copies:
                    del self.cached[block.key]
                block.key = None
                self.evictions += 1
            block.users = 1
            taken.append(block)
        return taken

    def remember(self, block: Block, group: int, name: Hashable) -> None:
        """Others may hit this block from now on."""
        block.key = (group, name)
        self.cached.setdefault(block.key, {})[block] = None

    def give_back(self, blocks: Iterable[Block | None]) -> None:
        """Free blocks: hashed ones go to the tail in this order, the others, as a group, to the front."""
        queue = self._queue
        nameless: list[Block] = []
        for block in blocks:
            if block is None:
                continue
            block.users -= 1
            if block.users == 0:
                if block.key is None and not self._in_line:
                    nameless.append(block)
                else:
                    queue[block] = None
        for block in reversed(nameless):
            queue[block] = None
            queue.move_to_end(block, last=False)


# ---------------------------------------------------------------------------------------------- windows


def behind(window: int, block_size: int, computed: int) -> int:
    """Blocks that lie wholly behind the window of the next token, when so many tokens are computed."""
    return max(0, computed - window + 1) // block_size if window else 0


def needed_for_hit(window: int, block_size: int, drop: bool) -> int:
    """Cached blocks in a row that a hit must end with; `drop` asks for one more, which is then dropped."""
    return -(-(window - 1) // block_size) + drop


def boundaries(prompt_tokens: int, block_size: int, drop: bool) -> Boundaries:
    """Where a request that repeats this prompt, or goes on from it, would stop to hit."""
    if not drop:
        return (prompt_tokens - 1,)
    repeated, extended = (n // block_size * block_size for n in (prompt_tokens - 1, prompt_tokens))
    return (max(repeated - block_size, 0), max(extended - block_size, 0))


def kept(window: int, block_size: int, full: range, ends: Boundaries, drop: bool) -> Iterator[int]:
    """Which of these full blocks are hashed: all under full attention, else those that a hit may need."""
    if not window:
        yield from full
        return
    need = needed_for_hit(window, block_size, drop)
    ends = [end // block_size + drop for end in ends]
    for i in range(max(full.start, min(ends) - need), min(full.stop, max(ends))):
        if any(end - need <= i < end for end in ends):
            yield i


# ------------------------------------------------------------------------------------------------- hits


def find_hit(
    pool: Blocks,
    windows: Sequence[int],
    names: Sequence[Hashable],
    known: int,
    block_size: int,
    dropping: frozenset[int],
) -> tuple[list[Table], int, int]:
    """The longest prefix that all groups have cached, without side effect.

    Args:
        pool: the blocks.
        windows: `EngineConfig.kv_cache_groups`.
        names: names of the request's full blocks.
        known: its tokens; the last one is always computed, to sample the next from.
        block_size: tokens a block.
        dropping: windows whose last block of a hit is dropped, for the drafter to compute it again.

    Returns:
        The blocks of each group, the tokens they hold, and up to where some group alone had a hit.

    """
    if len(windows) == 1:
        window = windows[0]
        most = (known - 1) // block_size
        found = _search(pool, window, names, most, (0,), block_size, window in dropping)
        return [[each[0] if each else None for each in found]], len(found) * block_size, 0
    alike = {window: [g for g, w in enumerate(windows) if w == window] for window in windows}
    order = sorted(alike, key=bool)  # full attention first
    hits: dict[int, list[list[Block] | None]] = {}
    dropped: set[int] = set()  # windows that have dropped their block at the present length
    longest, length = 0, known - 1
    while True:
        now = length
        for window in order:
            if window == 0 and window in hits:
                now = min(now, len(hits[window]) * block_size)
                continue
            drop = window in dropping and window not in dropped
            most = min(now // block_size + drop, len(names))
            hits[window] = _search(pool, window, names, most, alike[window], block_size, drop)
            at = len(hits[window]) * block_size
            if drop:
                dropped.add(window)
            elif at < now:
                dropped.clear()
            now = at
            longest = max(longest, now)
        if now >= length:
            break
        length = now
        if len(order) == 2 and order[0] == 0:
            break
    if 0 in hits:
        del hits[0][length // block_size :]
    tables: list[Table] = []
    for g, window in enumerate(windows):
        k = alike[window].index(g)
        tables.append([each[k] if each else None for each in hits[window]])
    return tables, length, longest


def _search(
    pool: Blocks,
    window: int,
    names: Sequence[Hashable],
    most: int,
    groups: Sequence[int],
    block_size: int,
    drop: bool,
) -> list[list[Block] | None]:
    """The hit of groups with one window: at each place the groups' blocks, None where none is needed."""
    found: list[list[Block] | None]
    if window == 0:
        found = []
        for name in names[:most]:
            each = pool.find(name, groups)
            if each is None:
                break
            found.append(each)
    else:
        need = needed_for_hit(window, block_size, drop)
        found = [None] * most
        row = 0
        for i in range(most - 1, -1, -1):
            found[i] = pool.find(names[i], groups)
            row = row + 1 if found[i] else 0
            if row and row >= need:
                del found[i + row :]
                break
        else:  # what stands at the very front needs nothing before it
            del found[row:]
    if drop and found:
        found.pop()
    return found
