"""Random small scenarios with speculative decoding, sliding windows and several KV cache groups."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Literal

from cases import SMALL, Case, Size, draw_case

METHODS: tuple[Literal["ngram", "draft_model", "eagle", "mtp"], ...] = (
    "ngram",
    "draft_model",
    "eagle",
    "mtp",
)


def draw_widened(random: random.Random, size: Size = SMALL) -> Case:
    """A scenario of `cases`, with drafts for some, and windows for some."""
    case = draw_case(random, size)
    config = case.config
    if random.random() < 0.7:
        drafts = random.choice((1, 1, 2, 3, 5))
        method = random.choice(METHODS)
        threshold = config.long_prefill_token_threshold
        config = replace(
            config,
            num_speculative_tokens=drafts,
            speculative_method=method,
            async_scheduling=config.async_scheduling and method != "ngram",
            max_num_batched_tokens=max(config.max_num_batched_tokens, drafts + 2),
            long_prefill_token_threshold=max(threshold, 1 + drafts) if threshold else 0,
        )
    if random.random() < 0.7:
        windows = random.choice(((5,), (0, 3), (0, 9), (0, 4, 4), (0, 2, 12), (6, 0), (0, 0), (7, 3)))
        config = replace(config, kv_cache_groups=windows, num_gpu_blocks=config.num_gpu_blocks * len(windows))
    counts = (0, 0, 1, 2, 5)
    calls = [
        replace(call, accepted=tuple(random.choices(counts, k=random.randint(0, 20)))) for call in case.calls
    ]
    return replace(case, calls=tuple(calls), config=config)
