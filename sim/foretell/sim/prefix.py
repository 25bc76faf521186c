"""KV blocks under prefix caching: vLLM's hits and its eviction order, kept as runs of blocks.

vLLM keeps a queue of free blocks. Those without a hash stand in front, where only their number
matters (in older versions, where they were freed); behind them stand hashed ones, each request's
from its last block to its first, in the order in which requests let go. Blocks are hashed, hit and
freed in stretches, so the queue is kept as *parts*: stretches of consecutive blocks of one stream,
with one reference count. A part is cut where a hit ends inside it and eaten from its high end where
blocks are evicted, so that the work is proportional to the number of requests, not of blocks.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from foretell.sim.request import PREFILLING, Request

if TYPE_CHECKING:
    from foretell.sim.engine import Engine

_FAR = 1 << 60
_LO, _BORN = attrgetter("lo"), attrgetter("born")


class _Stream:
    """Blocks with one history behind them: the text after a given chain of links, under one id."""

    __slots__ = ("children", "parts", "writers")

    def __init__(self) -> None:
        self.children: dict[tuple[int, Hashable], _Stream] | None = None
        self.parts: list[_Part] = []
        self.writers: list[Request] | None = None


class _Part:
    """Blocks lo..hi-1 of a stream, one physical copy, all held by the same requests."""

    __slots__ = ("after", "before", "born", "heir", "hi", "lo", "ref", "stream")

    def __init__(self, stream: _Stream | None, lo: int, hi: int, ref: int, born: int) -> None:
        self.stream: Any = stream
        self.lo = lo
        self.hi = hi
        self.ref = ref
        self.born = born  # (step, place in it) of the hash: of equal blocks, the oldest is hit
        self.heir: Any = None  # what was cut off its high end while held
        self.before: Any = None  # neighbours in the free queue
        self.after: Any = None


class _Table:
    """The blocks of a request: which streams its tokens run through, and the parts that it holds."""

    __slots__ = ("grown", "held", "hits", "named_tokens", "streams")

    def __init__(self) -> None:
        self.streams: list[tuple[_Stream, int]] = []  # (stream, first block past it)
        self.named_tokens = 0
        self.held: list[tuple[_Part, int]] = []  # (part, first block past it when it was taken)
        self.grown = 0  # blocks hashed
        self.hits: list[tuple[_Part, int, int]] = []  # what the last look-up found


class PrefixPool:
    """A pool whose full blocks can be hit by requests that share a prefix.

    Args:
        blocks: usable blocks (the null block not counted).
        block_size: tokens a block.
        engine: whose step counter dates the hashes, and which knows how far a decoding request is.
        in_line: freed blocks without a hash go to the end of the queue too (`freed_blocks_in_line`).

    Source: vLLM 0.32, v1/core/block_pool.py and kv_cache_manager.py (read 2026-11); tested batch for
    batch against recordings of the real one.

    """

    __slots__ = "_blank", "_engine", "_head", "_in_line", "_root", "_tail", "block_size", "free", "growing"

    def __init__(self, blocks: int, block_size: int, engine: Engine, in_line: bool = False) -> None:
        self.free = blocks
        self.block_size = block_size
        self.growing = False
        self._blank = blocks  # free blocks without a hash in front of all others
        self._in_line = in_line
        self._engine = engine
        self._root = _Stream()
        self._head = _Part(None, 0, 0, 0, 0)
        self._tail = _Part(None, 0, 0, 0, 0)
        self._head.after = self._tail
        self._tail.before = self._head

    def lookup(self, request: Request) -> tuple[int, int]:
        """(hit, idle): cached blocks at the front of the request's known tokens, and how many are free.

        At least one token is left to compute.
        """
        table = request.blocks
        if table is None:
            table = request.blocks = self._enter(request)
        self.growing = False
        limit = (request.target - 1) // self.block_size
        hits = table.hits = []
        j = idle = 0
        for stream, end in table.streams:
            stop = end if end < limit else limit
            if stream.writers:
                self.growing = True
                for writer in stream.writers:
                    self.hash(writer, self._engine.hashed_now(writer))
            if stream.parts and j < stop:
                j = _hit(stream.parts, j, stop, hits)
            if j < stop or j >= limit:
                break
        for part, a, b in hits:
            if not part.ref:
                idle += b - a
        return j, idle

    def admit(self, request: Request, hit: int) -> None:
        """Hold what the last look-up of this request found; the blocks leave the free queue."""
        table = request.blocks
        for found, a, b in table.hits:
            part = found
            if part.ref:
                if a > part.lo:
                    part = self._cut(part, a)
                if b < part.hi:
                    self._cut(part, b)
            else:
                part = self._pick(part, a, b)
                self.free -= b - a
            part.ref += 1
            table.held.append((part, b))
        table.hits = []
        table.grown = hit

    def take(self, blocks: int) -> None:
        """Take free blocks from the front of the queue, which evicts the hashes they carry."""
        self.free -= blocks
        blocks -= self._blank
        if blocks <= 0:
            self._blank = -blocks
            return
        self._blank = 0
        while blocks:
            part = self._head.after
            size = part.hi - part.lo
            if size > blocks:
                part.hi -= blocks
                return
            blocks -= size
            _unlink(part)
            if part.stream is not None:
                part.stream.parts.remove(part)

    def hash(self, request: Request, tokens: int) -> None:
        """The full blocks among the request's first `tokens` tokens can be hit from now on."""
        table = request.blocks
        upto = tokens // self.block_size
        j = table.grown
        if upto <= j:
            return
        table.grown = upto
        held = table.held
        for stream, end in table.streams:
            if end <= j:
                continue
            b = end if end < upto else upto
            parts = stream.parts
            if not stream.writers and (not parts or (len(parts) == 1 and held and held[-1][0] is parts[0])):
                # Nobody else is here: the common case. What copies are to come are younger.
                if parts and parts[0].ref == 1 and parts[0].hi == j:
                    parts[0].hi = b
                    held[-1] = (parts[0], b)
                else:
                    self._add(request, stream, j, b)
            else:
                self._extend(request, stream, j, b)
            j = b
            if j == upto:
                return

    def _extend(self, request: Request, stream: _Stream, lo: int, hi: int) -> None:
        """The request has hashed blocks lo..hi-1 of a stream that others use too."""
        held = request.blocks.held
        last = _last(held)
        if last is None or last.stream is not stream or last.hi != lo or last.ref > 1:
            last = None
        if not _copied(stream, last, lo, request):
            # Copies that are to come are younger, so that one date does for all of these.
            if last is not None:
                last.hi = hi
                held[-1] = (held[-1][0], hi)
            else:
                self._add(request, stream, lo, hi)
        elif request.state == PREFILLING:
            self._add(request, stream, lo, hi)
        else:
            for k in range(lo, hi):
                self._add(request, stream, k, k + 1)

    def _add(self, request: Request, stream: _Stream, lo: int, hi: int) -> None:
        """The request has hashed blocks lo..hi-1 of the stream."""
        engine = self._engine
        if request.state == PREFILLING:
            when = 2 * engine.step
        else:  # it decodes, so that the step in which it filled a block, and was seen to, follows
            step = (lo + 1) * self.block_size - request.base - 1 + engine.lag
            when = 2 * step
            if step > request.finish_at and not request.stop_token:
                when += 1  # not scheduled again, so seen to when its last output came
            elif engine.lag and step == request.stalled_at + 1:
                when -= 1  # the same, as it was left out of the step before
        part = _Part(stream, lo, hi, 1, when << 40 | request.serial)
        stream.parts.append(part)
        request.blocks.held.append((part, hi))

    def follow(self, request: Request) -> None:
        """Let others hit the request's answer while it grows, if the answer has a name."""
        table = request.blocks
        if table.named_tokens > request.prompt_tokens:
            for stream, end in table.streams[:-1]:
                if end > table.grown:
                    if stream.writers is None:
                        stream.writers = []
                    stream.writers.append(request)

    def release(self, request: Request, computed: int, hashed: int) -> None:
        """Give back the blocks of `computed` tokens, of which the first `hashed` can be hit later."""
        self.hash(request, hashed)
        table = request.blocks
        if table.named_tokens > request.prompt_tokens:
            for stream, _ in table.streams:
                if stream.writers and request in stream.writers:
                    stream.writers.remove(request)
        blank = -(-computed // self.block_size) - table.grown
        self.free += blank
        if not self._in_line:
            self._blank += blank
        elif blank:
            self._queue_blank(blank)
        for part, hi in reversed(table.held):
            chain = [part]
            while chain[-1].hi < hi:
                chain.append(chain[-1].heir)
            for piece in reversed(chain):
                piece.ref -= 1
                if not piece.ref:
                    self.free += piece.hi - piece.lo
                    self._queue(piece)
        table.held.clear()
        table.grown = 0

    def _enter(self, request: Request) -> _Table:
        """Find the streams that the request's tokens run through."""
        table = _Table()
        stream = self._root
        offset = start = 0
        for key, tokens in request.segments:
            if tokens <= 0:
                continue
            if stream.children is None:
                stream.children = {}
            link = (start, key)
            child = stream.children.get(link)
            if child is None:
                child = stream.children[link] = _Stream()
            stream = child
            offset += tokens
            start = tokens
            end = offset // self.block_size
            if not table.streams or end > table.streams[-1][1]:
                table.streams.append((stream, end))
        table.named_tokens = offset
        table.streams.append((_Stream(), _FAR))
        return table

    def _queue(self, part: _Part) -> None:
        """Put a part that nobody holds any more at the end of the free queue, joined to what it continues."""
        last = self._tail.before
        if last.lo == part.hi and last.stream is part.stream:
            parts = part.stream.parts
            if last.born == part.born or not (
                part.stream.writers
                or any(p.lo < last.hi and p.hi > part.lo for p in parts if p is not part and p is not last)
            ):
                _unlink(last)
                parts.remove(last)
                part.hi = last.hi
                if last.born < part.born:
                    part.born = last.born
        _link(part, self._tail)

    def _queue_blank(self, blocks: int) -> None:
        """Put free blocks without a hash at the end of the queue: a part of no stream."""
        last = self._tail.before
        if last is not self._head and last.stream is None:
            last.hi += blocks
        else:
            _link(_Part(None, 0, blocks, 0, 0), self._tail)

    def _cut(self, part: _Part, at: int) -> _Part:
        """Cut a held part in two; its holders keep both. Returns the high one."""
        high = _Part(part.stream, at, part.hi, part.ref, part.born)
        high.heir = part.heir
        part.heir = high
        part.hi = at
        part.stream.parts.append(high)
        return high

    def _pick(self, part: _Part, a: int, b: int) -> _Part:
        """Take blocks a..b-1 out of a free part; what is left keeps its place in the queue."""
        if a == part.lo and b == part.hi:
            _unlink(part)
            return part
        middle = _Part(part.stream, a, b, 0, part.born)
        part.stream.parts.append(middle)
        if b == part.hi:
            part.hi = a
            return middle
        if a > part.lo:
            low = _Part(part.stream, part.lo, a, 0, part.born)
            part.stream.parts.append(low)
            _link(low, part.after)
        part.lo = b
        return middle


def _hit(parts: list[_Part], j: int, stop: int, hits: list[tuple[_Part, int, int]]) -> int:
    """Add the blocks from j on, up to `stop`, that are cached: the oldest copy of each, in stretches.

    Returns:
        The first block that is not.
    """
    if len(parts) > 1:
        parts = sorted(parts, key=_LO)
    i, n = 0, len(parts)
    while i < n and j < stop:
        part = parts[i]
        if part.lo > j:
            break
        first, hi = i, part.hi
        i += 1
        while i < n and parts[i].lo < hi:
            if parts[i].hi > hi:
                hi = parts[i].hi
            i += 1
        if hi > j:
            b = hi if hi < stop else stop
            if i == first + 1:
                hits.append((part, j, b))
            else:
                hits += _oldest(parts[first:i], j, b)
            j = b
    return j


def _oldest(parts: list[_Part], j: int, stop: int) -> Iterator[tuple[_Part, int, int]]:
    """Of blocks j..stop-1, all of which are cached and some several times, the oldest copy of each."""
    while j < stop:
        best = min([part for part in parts if part.lo <= j < part.hi], key=_BORN)
        b: int = min([best.hi, stop, *(p.lo for p in parts if p.born < best.born and j < p.lo < best.hi)])
        yield best, j, b
        j = b


def _copied(stream: _Stream, own: _Part | None, j: int, by: Request) -> bool:
    """Whether somebody else has hashed, or may hash meanwhile, block j or later ones of the stream."""
    if any(part.hi > j and part is not own for part in stream.parts):
        return True
    return bool(stream.writers) and any(writer is not by for writer in stream.writers or ())


def _last(held: list[tuple[_Part, int]]) -> _Part | None:
    """The part that holds a request's last hashed block."""
    if not held:
        return None
    part, hi = held[-1]
    while part.hi < hi:
        part = part.heir
    return part


def _link(part: _Part, after: _Part) -> None:
    """Put a part into the free queue in front of `after`."""
    before = after.before
    before.after = part
    part.before = before
    part.after = after
    after.before = part


def _unlink(part: _Part) -> None:
    """Take a part out of the free queue."""
    part.before.after = part.after
    part.after.before = part.before
