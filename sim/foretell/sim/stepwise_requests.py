"""What the stepwise scheduler knows of a request, and of its part in a step."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal

from foretell.sim.config import EngineConfig
from foretell.sim.request import Request
from foretell.sim.stepwise_blocks import Table


class Live:
    """A request inside the engine.

    Attributes:
        total: prompt and answer, cut at max_model_len.
        sure_end: where the scheduler is sure that it ends; a stop token is a surprise.
        known: prompt and generated tokens, whose values are known.
        computed: tokens computed, or being computed by a step in flight.
        placeholders: tokens being sampled, and drafts being verified, by steps in flight (asynchronous).
        in_flight: tokens scheduled by steps whose output has not been processed.
        stale: those of them that were in flight at a preemption.
        drafts: draft tokens to be verified in its next step.
        prefilling: its last step did not compute all it knew.
        verified: steps so far that verified drafts.
        tables, hashed: its blocks in each group, and how many of them had their turn to be hashed.
        shared: where a hit would end if some group with a window had not lagged behind; 0 if none did.
        names: names of its first full blocks.
        kv: where its KV cache is; all but "local" are for disaggregated serving.
        holds: its blocks stay taken when it has finished, until somebody has read them.
        gone: finished or cancelled.
    """

    __slots__ = (
        "computed",
        "drafts",
        "gone",
        "hashed",
        "holds",
        "in_flight",
        "known",
        "kv",
        "links",
        "names",
        "placeholders",
        "prefilling",
        "prompt",
        "request",
        "shared",
        "stale",
        "sure_end",
        "tables",
        "total",
        "urgency",
        "verified",
    )

    def __init__(self, request: Request, config: EngineConfig) -> None:
        self.request = request
        self.urgency = (request.priority, request.arrival_s, request.id)
        self.prompt = request.prompt_tokens
        self.total = min(request.prompt_tokens + request.output_tokens, config.max_model_len)
        self.sure_end = config.max_model_len if request.stop_token else self.total
        self.known = request.prompt_tokens
        self.computed = self.placeholders = self.in_flight = self.stale = 0
        self.drafts = self.verified = 0
        self.prefilling = True
        self.tables: list[Table] = [[] for _ in config.kv_cache_groups]
        self.hashed = [0] * len(config.kv_cache_groups)
        self.shared = 0
        self.links: list[tuple[int, int, Hashable]] | None = None
        self.names: list[Hashable] = []
        self.kv: Literal["local", "remote", "receiving", "received"] = "local"
        self.holds = False
        self.gone = False


@dataclass(slots=True)
class Entry:
    """A request's part of a scheduled batch.

    Attributes:
        tokens: how many it computes, drafts among them.
        computed_before: tokens computed before.
        drafts: how many it verifies.
        blank: they are fillers that nobody drafted, all of which will be rejected.
        samples: it computes all that the request knows.
        decodes: it samples from the one token that was sampled last, and verifies nothing.
    """

    live: Live
    tokens: int
    computed_before: int
    drafts: int
    blank: bool
    samples: bool
    decodes: bool
