"""A call to an engine, and what became of it."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

Segments = Sequence[tuple[Hashable, int]]
"""A chain of (id, tokens) that covers a request's tokens, prompt then answer, from the front.

Two requests share their first k tokens exactly if their chains agree there: behind equal links,
(id, n) names the first n tokens of the stream `id`. Tokens past the chain are the request's own.
"""

WAITING, PREFILLING, DECODING, DRAINING, REMOTE, RECEIVING, RECEIVED = range(7)
FINISHED, CANCELLED, REJECTED = range(7, 10)
"""States. REMOTE waits for blocks for a KV cache that another engine computed, RECEIVING has them and waits
for the transfer, RECEIVED waits for its first step here."""
STATUS = (
    "waiting",
    "prefilling",
    "decoding",
    "draining",
    "remote",
    "receiving",
    "received",
    "finished",
    "cancelled",
    "rejected",
)


class Request:
    """One call: the prompt and answer it has, when it came and, after the run, what happened.

    Attributes:
        id: its name, unique in a run; a string (ties under the priority policy go by it).
        arrival_s: when it reached the engine.
        prompt_tokens, output_tokens: lengths; the answer is cut at max_model_len.
        priority: lower is more urgent (priority policy only).
        segments: prefix identity, see `Segments`.
        session: the conversation it belongs to, for routers; "" for none.
        stop_token: the answer ends by a stop token, which asynchronous scheduling cannot foresee.
        accepted: drafts accepted by its successive verification steps; none once they run out.
        cancel_s: when its client gives up, if it has not ended by then; at or before its arrival: it never
            comes. A driver acts on it.
        row: the caller's own number for it.
        first_token_s, finish_s: None until they happen.
        scheduled_s: when the first step that carried it started; NaN until then.
        n_preemptions: how often it was preempted.
        cached_tokens: tokens found in the prefix cache when first admitted; -1 until then.
        total: prompt and answer in tokens once cut at max_model_len; set on submission.

    """

    # The engine's own, set before they are read.
    base: int  # while decoding, tokens computed less the step counter
    blocks: Any  # its KV blocks under prefix caching
    computed: int  # tokens computed, unless decoding
    finish_at: int  # the step that samples the last token
    last_at: int  # the last step it is scheduled in, -1 once that is void
    paused_s: float  # when its last token before a preemption, or elsewhere, came; else when first admitted
    place: int  # among those that received their KV cache from elsewhere; -1: it computes it here
    stalled_at: int  # the last step that left it out while it was decoding
    serial: int  # order of admission: its place among the running
    target: int  # tokens known at admission; the next one is sampled when all are computed
    total: int

    __slots__ = (
        "accepted",
        "arrival_s",
        "base",
        "blocks",
        "cached_tokens",
        "cancel_s",
        "computed",
        "finish_at",
        "finish_s",
        "first_token_s",
        "id",
        "last_at",
        "n_preemptions",
        "output_tokens",
        "paused_s",
        "place",
        "priority",
        "prompt_tokens",
        "row",
        "scheduled_s",
        "segments",
        "serial",
        "session",
        "stalled_at",
        "state",
        "stop_token",
        "target",
        "total",
    )

    def __init__(
        self,
        id: str,
        arrival_s: float,
        prompt_tokens: int,
        output_tokens: int,
        row: int = -1,
        *,
        priority: int = 0,
        segments: Segments = (),
        session: str = "",
        stop_token: bool = False,
        accepted: Sequence[int] = (),
        cancel_s: float = math.inf,
    ) -> None:
        self.id = id
        self.arrival_s = arrival_s
        self.prompt_tokens = prompt_tokens
        self.output_tokens = output_tokens
        self.priority = priority
        self.segments = segments
        self.session = session
        self.stop_token = stop_token
        self.accepted = accepted
        self.cancel_s = cancel_s
        self.row = row
        self.first_token_s: float | None = None
        self.finish_s: float | None = None
        self.scheduled_s = math.nan
        self.n_preemptions = 0
        self.cached_tokens = -1
        self.state = WAITING
        self.target = prompt_tokens
        self.blocks = None
        self.place = -1

    @property
    def status(self) -> str:
        """What it is doing or how it ended, one of `STATUS`."""
        return STATUS[self.state]

    def __repr__(self) -> str:
        return (
            f"Request({self.id!r}, arrival_s={self.arrival_s}, prompt_tokens={self.prompt_tokens}, "
            f"output_tokens={self.output_tokens}, status={self.status!r})"
        )


def in_line(request: Request) -> tuple[int, float, str, int, int, Request]:
    """Entry of the queue under the priority policy: vLLM's key, and what tells requests of one name apart."""
    return request.priority, request.arrival_s, request.id, request.row, id(request), request
