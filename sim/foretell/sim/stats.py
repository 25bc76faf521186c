"""What an engine adds up over its steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from foretell.models import StepLoad


@dataclass(slots=True)
class EngineStats:
    """Totals over the steps of one engine.

    Attributes:
        kv_blocks: usable KV blocks.
        steps, busy_s: steps that were not empty, and the time they took.
        prefill_tokens ... decode_context: sums of the steps' `StepLoad` figures.
        prefill_sampled: prefill entries that sampled a token; every decoding entry does.
        prompt_steps, prompt_busy_s, prompt_decode_seqs, prompt_decode_context: what of these is of steps that
            computed prompts.
        kv_block_seconds: integral over the busy time of the blocks in use (cached ones that nobody holds
            not counted), taken as linear within a run of decoding.
        queue_s: summed time between arrival, or preemption, and admission.
        preemptions: requests sent back to recompute.
        prompt_tokens, cached_tokens: prompt tokens first admitted, and those found in the prefix cache.

    """

    kv_blocks: int
    steps: int = 0
    busy_s: float = 0.0
    prefill_tokens: int = 0
    prefill_pairs: float = 0.0
    prefill_context: int = 0
    prefill_seqs: int = 0
    decode_seqs: int = 0
    decode_context: int = 0
    prefill_sampled: int = 0
    prompt_steps: int = 0
    prompt_busy_s: float = 0.0
    prompt_decode_seqs: int = 0
    prompt_decode_context: int = 0
    kv_block_seconds: float = 0.0
    queue_s: float = 0.0
    preemptions: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0

    @property
    def load(self) -> StepLoad:
        """The summed load of all steps."""
        return StepLoad(
            self.prefill_tokens,
            self.prefill_pairs,
            self.prefill_context,
            self.prefill_seqs,
            self.decode_seqs,
            self.decode_context,
            self.decode_seqs + self.prefill_sampled,
        )

    def kinds(self) -> Iterator[tuple[float, StepLoad]]:
        """Busy seconds and mean load of the steps that computed prompts, and of those that only decoded."""
        seqs, context = self.prompt_decode_seqs, self.prompt_decode_context
        prompts = StepLoad(*self.load[:4], seqs, context, seqs + self.prefill_sampled)
        if self.prompt_steps:
            yield self.prompt_busy_s, StepLoad(*(figure / self.prompt_steps for figure in prompts))
        if alone := self.steps - self.prompt_steps:
            rest = (whole - part for whole, part in zip(self.load, prompts, strict=True))
            yield self.busy_s - self.prompt_busy_s, StepLoad(*(figure / alone for figure in rest))
