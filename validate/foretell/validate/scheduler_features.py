"""What a scenario of the differential test reaches, told from what vLLM did in it."""

from __future__ import annotations

from collections.abc import Iterable

from foretell.sim.case import Case
from foretell.validate.vllm_client import Answer

_SOON = 0.05
"""Share of a scenario's steps in which somebody waits, below which it is idle and above (1 −) it overload."""


def features(case: Case, answer: Answer) -> tuple[str, ...]:
    """Names of what this scenario reaches."""
    return tuple(name for name, reached in _reached(case, answer).items() if reached)


def count_features(found: Iterable[tuple[str, ...]]) -> dict[str, int]:
    """How many scenarios reach each feature, most frequent first."""
    counts: dict[str, int] = {}
    for names in found:
        for name in names:
            counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _reached(case: Case, answer: Answer) -> dict[str, bool]:
    config, record = case.config, answer.record
    calls = {call.id: call for call in case.calls}
    rows = [row for step in record.steps for row in step[2]]
    first: dict[str, tuple[int, int]] = {}
    for id, n, before in rows:
        first.setdefault(id, (n, before))
    outcomes = record.requests
    preempted = any(outcome[3] for outcome in outcomes.values())
    hit = any(outcome[4] for outcome in outcomes.values())
    arrivals = [call.arrival_s for call in case.calls]
    urgent = config.scheduling_policy == "priority" and len({call.priority for call in case.calls}) > 1
    window = max(config.kv_cache_groups)
    chunked = any(n + before < calls[id].prompt_tokens for id, (n, before) in first.items())
    waiting = _share_waiting(case, answer, first)
    return {
        "load: idle (nobody waits)": waiting < _SOON,
        "load: in between": _SOON <= waiting <= 1 - _SOON,
        "load: overload (somebody always waits)": waiting > 1 - _SOON,
        "burst": len(set(arrivals)) < len(arrivals),
        "preemption": preempted,
        "preempted twice": any(outcome[3] > 1 for outcome in outcomes.values()),
        "preemption under priority": preempted and urgent,
        "priorities": urgent,
        "prefix hit": hit,
        "hit in a conversation": any(
            outcome[4] and str(calls[id].segments[:1]).startswith("(('s") for id, outcome in outcomes.items()
        ),
        "eviction": answer.evictions > 0,
        "preemption, hit and eviction": preempted and hit and answer.evictions > 0,
        "prompt in chunks": chunked,
        "chunked prefill off": not config.enable_chunked_prefill,
        "threshold": config.long_prefill_token_threshold > 0,
        "adaptive threshold": config.long_prefill_token_threshold_adaptive,
        "watermark": config.watermark_blocks > 0,
        "reservation off": not config.scheduler_reserve_full_isl,
        "asynchronous": config.async_scheduling,
        "asynchronous preemption": config.async_scheduling and preempted,
        "stop token": any(call.stop_token for call in case.calls),
        "cancelled while running": any(o[0] == "cancelled" and id in first for id, o in outcomes.items()),
        "cancelled in line": any(o[0] == "cancelled" and id not in first for id, o in outcomes.items()),
        "cut at max_model_len": any(
            outcomes[id][0] == "finished" and call.prompt_tokens + call.output_tokens > config.max_model_len
            for id, call in calls.items()
        ),
        "sliding window": window > 0,
        "window passed": window > 0
        and any(
            before - w >= config.block_size for w in config.kv_cache_groups if w for _, _, before in rows
        ),
        "hybrid groups": len(config.kv_cache_groups) > 1,
        "speculation": config.num_speculative_tokens > 0,
        f"speculation: {config.speculative_method}": config.num_speculative_tokens > 0,
        "drafts accepted": answer.drafts_accepted > 0,
        "drafts rejected": answer.drafts_rejected > 0,
        "speculation and windows": config.num_speculative_tokens > 0 and window > 0,
        "livelock": record.livelock,
        f"block size {config.block_size}": True,
    }


def _share_waiting(case: Case, answer: Answer, first: dict[str, tuple[int, int]]) -> float:
    """Share of steps before which somebody had arrived whom no step had carried yet, nor that step does."""
    seen: set[str] = set()
    steps = answer.record.steps
    waiting = 0
    arrived = 0
    for start, _, batch, _, _ in steps:
        seen.update(id for id, _, _ in batch)
        while arrived < len(case.calls) and case.calls[arrived].arrival_s <= start:
            arrived += 1
        waiting += any(call.id in first and call.id not in seen for call in case.calls[:arrived])
    return waiting / len(steps) if steps else 0.0
