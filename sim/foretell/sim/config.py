"""Engine settings, under vLLM's names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

SPECULATIVE_METHODS = ("ngram", "draft_model", "eagle", "mtp")
OLD_WAYS = (
    "drafted_hits_end_early",
    "long_prefill_token_threshold_alone",
    "freed_blocks_in_line",
    "idle_victim_skips_next",
)
"""The fields of `EngineConfig` that say what an older version does otherwise than the newest."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """The settings of one vLLM engine that its scheduler reads.

    Defaults are those of vLLM 0.32's scheduler where the device does not decide, with prefix caching
    and asynchronous scheduling off; presets (`foretell list presets`) give a server's. The last four
    are no settings of vLLM but what older versions do; their presets switch them on (docs/versions.md).

    Attributes:
        num_gpu_blocks: KV blocks of the pool, the reserved null block among them (as vLLM logs it).
        block_size: tokens a block.
        max_num_seqs: requests that may run at once.
        max_num_batched_tokens: tokens that one step may schedule.
        max_model_len: prompt and generated tokens of a request at most.
        enable_chunked_prefill: whether a prompt may be split to fit the step's token budget.
        long_prefill_token_threshold: most tokens of one prompt in a step; 0 is no limit. It is off
            while a single request is in the engine, and splits prompts even without chunked prefill.
        long_prefill_token_threshold_adaptive: raise that limit to a fair share of the budget.
        scheduler_reserve_full_isl: admit a request only if all its known tokens would fit now.
        watermark: fraction of num_gpu_blocks that an admission must leave free while others run.
        scheduling_policy: "fcfs" or "priority" (lower is more urgent).
        enable_prefix_caching: share the KV of equal prefixes.
        async_scheduling: schedule step n + 1 while step n runs, as vLLM does on GPUs.
        empty_step_s: pause before a retry when a step came out empty (1 ms in vLLM's server).
        kv_cache_groups: one entry a KV cache group (layers that share a block table): 0 is full attention,
            another number a sliding window in tokens. All groups take blocks from one pool.
        num_speculative_tokens: draft tokens that each decode step verifies; 0 is no speculation.
        speculative_method: who drafts. All but "ngram" keep KV of their own for the drafts to come.
        drafted_hits_end_early: with an "eagle" or "mtp" drafter and several KV cache groups the look-up of a
            prompt that fills its last block stops short of that block, before one is dropped (0.31).
        long_prefill_token_threshold_alone: that limit holds for a request alone in the engine, too (0.30).
        freed_blocks_in_line: a freed block that nobody can hit is used again after those that were free
            before, as all others are, not ahead of them (0.19).
        idle_victim_skips_next: under the priority policy a preemption of somebody who has no part in the
            step makes the step pass over the request behind the one that needed the blocks (0.19).

    Raises:
        ValueError: a setting is out of range, or two contradict each other as vLLM has it.

    Source: vLLM 0.32, vllm/config/scheduler.py and vllm/config/cache.py; 0.31, 0.30 and 0.19,
    vllm/v1/core/ (read 2026-11).

    """

    num_gpu_blocks: int = 2000
    block_size: int = 16
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 2048
    max_model_len: int = 131_072
    enable_chunked_prefill: bool = True
    long_prefill_token_threshold: int = 0
    long_prefill_token_threshold_adaptive: bool = False
    scheduler_reserve_full_isl: bool = True
    watermark: float = 0.0
    scheduling_policy: Literal["fcfs", "priority"] = "fcfs"
    enable_prefix_caching: bool = False
    async_scheduling: bool = False
    empty_step_s: float = 0.0
    kv_cache_groups: tuple[int, ...] = (0,)
    num_speculative_tokens: int = 0
    speculative_method: Literal["ngram", "draft_model", "eagle", "mtp"] = "ngram"
    drafted_hits_end_early: bool = False
    long_prefill_token_threshold_alone: bool = False
    freed_blocks_in_line: bool = False
    idle_victim_skips_next: bool = False

    def __post_init__(self) -> None:
        for name, least in (
            ("num_gpu_blocks", 2),
            ("block_size", 1),
            ("max_num_seqs", 1),
            ("max_num_batched_tokens", 1),
            ("max_model_len", 2),
            ("long_prefill_token_threshold", 0),
            ("num_speculative_tokens", 0),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name}: {value!r} is not a whole number >= {least}")
        if not (math.isfinite(self.watermark) and 0 <= self.watermark < 1):
            raise ValueError(f"watermark: {self.watermark!r} is not a fraction in [0, 1)")
        if not (math.isfinite(self.empty_step_s) and self.empty_step_s >= 0):
            raise ValueError(f"empty_step_s: {self.empty_step_s!r} is not a number of seconds >= 0")
        if self.scheduling_policy not in ("fcfs", "priority"):
            raise ValueError(f"scheduling_policy: {self.scheduling_policy!r} is not 'fcfs' or 'priority'")
        groups = self.kv_cache_groups
        if not isinstance(groups, tuple) or not groups or not all(_is_window(w) for w in groups):
            raise ValueError(
                f"kv_cache_groups: {groups!r} is not one whole number or more, "
                "each 0 (full attention) or a window in tokens"
            )
        if self.speculative_method not in SPECULATIVE_METHODS:
            raise ValueError(
                f"speculative_method: {self.speculative_method!r} is not one of "
                f"{', '.join(SPECULATIVE_METHODS)}"
            )
        if self.num_speculative_tokens:
            self._check_speculation()
        if self.max_num_batched_tokens < self.max_num_seqs:
            raise ValueError(
                f"max_num_batched_tokens: {self.max_num_batched_tokens} is less than max_num_seqs "
                f"{self.max_num_seqs}; a step must have a token for each running request"
            )
        if not self.enable_chunked_prefill and self.max_num_batched_tokens < self.max_model_len:
            raise ValueError(
                f"max_num_batched_tokens: {self.max_num_batched_tokens} is less than max_model_len "
                f"{self.max_model_len} and enable_chunked_prefill is off; raise it to at least "
                f"{self.max_model_len}, lower max_model_len, or allow chunked prefill"
            )

    def _check_speculation(self) -> None:
        if self.async_scheduling and self.speculative_method == "ngram":
            raise ValueError(
                "async_scheduling: True with speculative_method ngram, which vLLM refuses; turn it off"
            )
        entry = 1 + self.num_speculative_tokens
        if self.max_num_batched_tokens < entry + self.draft_slots:
            raise ValueError(
                f"max_num_batched_tokens: {self.max_num_batched_tokens} is less than one entry of "
                f"num_speculative_tokens needs; raise it to at least {entry + self.draft_slots}"
            )
        if 0 < self.long_prefill_token_threshold < entry:
            raise ValueError(
                f"long_prefill_token_threshold: {self.long_prefill_token_threshold} cuts entries of "
                f"num_speculative_tokens, on which vLLM fails; set it to 0 or at least {entry}"
            )

    @property
    def stepwise(self) -> bool:
        """Whether it takes `foretell.sim.stepwise`: speculation, sliding windows, or several groups."""
        return self.num_speculative_tokens > 0 or self.kv_cache_groups != (0,)

    @property
    def watermark_blocks(self) -> int:
        """Blocks that an admission must leave free while other requests run."""
        return int(self.watermark * self.num_gpu_blocks)

    @property
    def most_tokens(self) -> int:
        """Prompt and answer tokens of one request that the pool can hold, with full attention in one group.

        The last one is never computed.
        """
        return (self.num_gpu_blocks - 1) * self.block_size + 1

    @property
    def num_lookahead_tokens(self) -> int:
        """Tokens behind those of a step that need a place too: the drafter writes its KV there."""
        return self.num_speculative_tokens if self.speculative_method != "ngram" else 0

    @property
    def draft_slots(self) -> int:
        """Tokens of the budget that each entry takes for the drafter (vLLM: draft slots)."""
        return int(self.num_speculative_tokens > 0 and self.speculative_method == "draft_model")

    @property
    def dropping_windows(self) -> frozenset[int]:
        """Windows of the groups that compute the last block of a hit again, for the drafter's sake.

        An MTP drafter's layers come last, and vLLM finds their group by that; of EAGLE it takes all groups.
        """
        if not self.num_speculative_tokens or self.speculative_method not in ("eagle", "mtp"):
            return frozenset()
        return frozenset(
            self.kv_cache_groups[-1:] if self.speculative_method == "mtp" else self.kv_cache_groups
        )

    def window_blocks(self, window: int) -> int:
        """Blocks that a request holds at most in a group of this window, as vLLM counts them to admit it."""
        in_flight = self.max_num_batched_tokens * (1 + self.async_scheduling)
        return -(-min(window - 1 + in_flight, self.max_model_len) // self.block_size) + 1

    def _most_blocks(self, total: int) -> int:
        """Blocks that a request of so many tokens may come to hold; its last token is never computed."""
        drafts = self.num_speculative_tokens * (1 + self.async_scheduling) + self.num_lookahead_tokens
        blocks = -(-min(total - 1 + drafts, self.max_model_len) // self.block_size)
        ahead = -(-self.num_lookahead_tokens // self.block_size)
        return sum(min(blocks, self.window_blocks(w) + ahead) if w else blocks for w in self.kv_cache_groups)

    def rejects(self, prompt_tokens: int, output_tokens: int) -> str | None:
        """Why a request can never be served by this engine, or None if it can.

        vLLM's scheduler would let such a request block its queue for ever; its server refuses it.
        """
        if prompt_tokens >= self.max_model_len:
            return f"prompt of {prompt_tokens} tokens leaves no room in max_model_len {self.max_model_len}"
        blocks = self._most_blocks(min(prompt_tokens + output_tokens, self.max_model_len))
        if blocks >= self.num_gpu_blocks:
            return f"needs {blocks} KV blocks, the pool has {self.num_gpu_blocks - 1}"
        return None


def _is_window(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
