"""What an engine adds up over its steps."""

from __future__ import annotations

from dataclasses import dataclass

from foretell.models import StepLoad


@dataclass(slots=True)
class EngineStats:
    """
    Totals over the steps of one engine.

    Attributes:
        kv_blocks: usable KV blocks.
        steps, busy_s: steps that were not empty, and the time they took.
        prefill_tokens ... sampled: sums of the steps' `StepLoad` figures.
        kv_block_seconds, running_seconds, waiting_seconds: integrals over the busy time of blocks in
            use (cached ones that nobody holds not counted; exact to half a block within a run of
            decoding), of requests running and of requests waiting.
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
    sampled: int = 0
    kv_block_seconds: float = 0.0
    running_seconds: float = 0.0
    waiting_seconds: float = 0.0
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
            self.sampled,
        )
