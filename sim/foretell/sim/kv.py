"""KV blocks without a prefix cache: only how many are free matters."""

from __future__ import annotations

from typing import Protocol

from foretell.sim.request import Request


class BlockPool(Protocol):
    """What the engine asks of its KV blocks. `free` counts those that an allocation may take."""

    free: int
    growing: bool
    """Whether the last look-up met an answer that is still being written, and so may hit more later."""

    def lookup(self, request: Request) -> tuple[int, int]:
        """(hit, idle): cached blocks of what the request knows, and how many of them are free."""

    def admit(self, request: Request, hit: int) -> None:
        """Hold the first `hit` cached blocks for a request that starts (again)."""

    def take(self, blocks: int) -> None:
        """Take free blocks, the next to be evicted first."""

    def hash(self, request: Request, tokens: int) -> None:
        """The full blocks among the request's first `tokens` tokens can be hit from now on."""

    def release(self, request: Request, computed: int, hashed: int) -> None:
        """Give back the blocks of `computed` tokens, of which the first `hashed` can be hit later."""

    def follow(self, request: Request) -> None:
        """The request starts to decode; its answer may be named for others to hit while it grows."""


class BlockCounter:
    """A pool in which blocks have no identity.

    Args:
        blocks: usable blocks (the null block not counted).
        block_size: tokens a block.

    """

    __slots__ = ("block_size", "free", "growing")

    def __init__(self, blocks: int, block_size: int) -> None:
        self.free = blocks
        self.block_size = block_size
        self.growing = False

    def lookup(self, request: Request) -> tuple[int, int]:
        """Nothing is ever cached."""
        return 0, 0

    def admit(self, request: Request, hit: int) -> None:
        """Nothing to hold."""

    def take(self, blocks: int) -> None:
        """Take free blocks."""
        self.free -= blocks

    def hash(self, request: Request, tokens: int) -> None:
        """Nothing to remember."""

    def release(self, request: Request, computed: int, hashed: int) -> None:
        """Give back the blocks of `computed` tokens."""
        self.free += -(-computed // self.block_size)

    def follow(self, request: Request) -> None:
        """Nobody can read its answer."""
