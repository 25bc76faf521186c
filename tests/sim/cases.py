"""Random small scenarios for engines: each setting and each habit of the calls, turned up high.

A scenario is drawn from a `random.Random`, so that hypothesis (which shrinks it), fixed seeds and
outside checks all draw the same. Times and cost coefficients are multiples of 2**-40 and small, so
that sums of them are exact and two engines must agree on every bit.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from foretell.models.stepcost import AffineCost
from foretell.sim.config import EngineConfig
from naive import Call

GRID = 2.0**-40
MILLISECOND = 2**30 * GRID  # about one


@dataclass(frozen=True, slots=True)
class Case:
    """A scenario: calls in order of arrival, when which client gives up, settings, step cost."""

    calls: tuple[Call, ...]
    cancels: dict[str, float]
    config: EngineConfig
    cost: AffineCost


@dataclass(frozen=True, slots=True)
class Size:
    """Calls at most, and how many times a small scenario's tokens and blocks."""

    calls: int
    tokens: int
    blocks: int


SMALL = Size(calls=14, tokens=1, blocks=1)
LARGE = Size(calls=120, tokens=6, blocks=8)


def draw_case(random: random.Random, size: Size = SMALL) -> Case:
    """A scenario of at most `size`: as it stands, up to 14 calls in a pool of a few blocks."""
    config = _config(random, size)
    calls = _calls(random, config, size)
    cost = AffineCost(
        base_s=MILLISECOND * random.randint(1, 8),
        per_token_s=MILLISECOND / 16 * random.randint(0, 4),
        per_seq_s=MILLISECOND / 16 * random.randint(0, 4),
        per_context_token_s=MILLISECOND / 256 * random.randint(0, 4),
        per_attention_pair_s=MILLISECOND / 256 * random.randint(0, 4),
    )
    cancels: dict[str, float] = {}
    if random.random() < 0.3:
        for call in random.sample(calls, min(len(calls), random.randint(1, 4))):
            after = random.choice((-1, 0, 1, 3, 10, 30, 100)) * MILLISECOND * random.randint(0, 4)
            cancels[call.id] = max(0.0, call.arrival_s + after + random.choice((0, GRID)))
    return Case(tuple(calls), cancels, config, cost)


def _config(random: random.Random, size: Size) -> EngineConfig:
    block_size = random.choice((1, 2, 3, 4, 8))
    num_gpu_blocks = random.randint(4, random.choice((10, 20, 40))) * size.blocks
    max_num_seqs = random.choice((1, 2, 3, 4, 8, 16)) * size.tokens
    budget = max(max_num_seqs, random.choice((4, 5, 8, 16, 33, 64)) * size.tokens)
    max_model_len = random.choice((8, 16, 24, 40, 200)) * size.tokens
    chunked = random.random() < 0.75
    if not chunked:
        budget = max(budget, max_model_len)
    threshold = random.choice((0, 0, 0, 1, 2, 5, 9)) * random.choice((1, size.tokens))
    return EngineConfig(
        num_gpu_blocks=num_gpu_blocks,
        block_size=block_size,
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=budget,
        max_model_len=max_model_len,
        enable_chunked_prefill=chunked,
        long_prefill_token_threshold=threshold,
        long_prefill_token_threshold_adaptive=threshold > 0 and random.random() < 0.4,
        scheduler_reserve_full_isl=random.random() < 0.6,
        watermark=random.choice((0.0, 0.0, 0.0, 0.1, 0.3)),
        scheduling_policy=random.choice(("fcfs", "fcfs", "priority")),
        enable_prefix_caching=random.random() < 0.6,
        async_scheduling=random.random() < 0.5,
        empty_step_s=random.choice((0.0, 0.0, MILLISECOND)),
        long_prefill_token_threshold_alone=random.random() < 0.3,
        freed_blocks_in_line=random.random() < 0.3,
        idle_victim_skips_next=random.random() < 0.3,
    )


def _calls(random: random.Random, config: EngineConfig, size: Size) -> list[Call]:
    capacity = (config.num_gpu_blocks - 1) * config.block_size
    most = min(capacity, config.max_model_len)
    longest_prompt = max(1, min(most - 1, random.choice((6, 16, 24, 40)) * size.tokens))
    longest_answer = random.choice((1, 4, 12, 30, 30)) * random.choice((1, size.tokens))
    urgent = config.scheduling_policy == "priority"
    gap = random.choice((0, 1, 4, 20, 60))
    habit = random.choice(("own", "prefixes", "sessions", "equal", "mixed"))
    stops = random.choice((0.0, 0.0, 0.5, 1.0))
    ids = [f"r{i}" for i in range(random.randint(2, size.calls))]
    if random.random() < 0.2:
        random.shuffle(ids)  # ties go by name under the priority policy
    prompt_of_equals = config.block_size * random.randint(1, max(1, min(4, (most - 1) // config.block_size)))
    history: list[tuple[tuple[str | int, int], ...]] = []
    calls: list[Call] = []
    arrival = 0
    for id in ids:
        if random.random() < 0.6:
            arrival += random.randint(0, gap) * (2**30 if random.random() < 0.7 else 2**29)
        prompt = random.randint(1, longest_prompt)
        answer = random.randint(1, longest_answer)
        if random.random() < 0.95:
            answer = min(answer, max(1, capacity + 1 - prompt))  # or it may be refused
        if random.random() < 0.03:
            prompt = random.randint(1, most + 8)
        if random.random() < 0.1:
            answer = 400 * size.tokens  # up to max_model_len, or refused
        chosen = random.choice(("own", "prefixes", "sessions", "equal")) if habit == "mixed" else habit
        segments: tuple[tuple[str | int, int], ...] = ()
        if chosen == "prefixes":
            stream = random.choice("abc")
            segments = ((stream, random.randint(1, prompt)),)
            if random.random() < 0.3:
                segments = (*segments, (random.choice("de"), random.randint(1, longest_prompt)))
        elif chosen == "sessions":
            # Each turn's prompt holds all that was said before; the answer belongs to the stream too.
            stream = random.choice("st")
            segments = ((stream, prompt + random.randint(0, answer)),)
        elif chosen == "equal":
            prompt = prompt_of_equals
            segments = (("q", prompt + random.choice((0, 0, 3, answer))),)
        if history and random.random() < 0.15:
            segments = random.choice(history)
        history.append(segments)
        calls.append(
            Call(
                id=id,
                arrival_s=arrival * GRID,
                prompt_tokens=prompt,
                output_tokens=answer,
                priority=random.randint(0, 2) if urgent else 0,
                segments=segments,
                stop_token=random.random() < stops,
            )
        )
    return calls
