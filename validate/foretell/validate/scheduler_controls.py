"""Negative controls: each setting made wrong on our side, which the comparison must notice where it binds.

A wrong setting binds in a scenario where our own engine's record changes with it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from foretell.sim.case import Call, Case
from foretell.sim.config import EngineConfig
from foretell.sim.watch import Record, first_difference, watch


@dataclass(frozen=True, slots=True)
class Control:
    """One setting made wrong in one scenario."""

    setting: str
    binds: bool
    caught: bool


def _wrong_settings(config: EngineConfig) -> Mapping[str, Any]:
    """A wrong value for each setting, one at a time."""
    threshold = config.long_prefill_token_threshold
    return {
        "num_gpu_blocks": config.num_gpu_blocks + 1,
        "block_size": config.block_size + 1,
        "max_num_seqs": config.max_num_seqs - 1 or 2,
        "max_num_batched_tokens": config.max_num_batched_tokens + 1,
        "max_model_len": config.max_model_len + 1,
        "enable_chunked_prefill": not config.enable_chunked_prefill,
        "long_prefill_token_threshold": 0 if threshold else 7,
        "long_prefill_token_threshold_adaptive": not config.long_prefill_token_threshold_adaptive,
        "scheduler_reserve_full_isl": not config.scheduler_reserve_full_isl,
        "watermark": 0.0 if config.watermark else 0.2,
        "scheduling_policy": "fcfs" if config.scheduling_policy == "priority" else "priority",
        "enable_prefix_caching": not config.enable_prefix_caching,
        "async_scheduling": not config.async_scheduling,
        "empty_step_s": 2.0**-10 - config.empty_step_s,
        "kv_cache_groups": tuple(w and w + config.block_size for w in config.kv_cache_groups)
        if max(config.kv_cache_groups)
        else (config.block_size,),
        "num_speculative_tokens": config.num_speculative_tokens - 1 if config.num_speculative_tokens else 1,
        "speculative_method": "draft_model" if config.speculative_method in ("eagle", "mtp") else "eagle",
    }


_WRONG_CALLS: Mapping[str, Callable[[Call], Mapping[str, Any]]] = {
    "request priority": lambda call: {"priority": -call.priority},
    "request segments": lambda call: {"segments": ()},
    "request stop_token": lambda call: {"stop_token": not call.stop_token},
    "request cancel_s": lambda call: {"cancel_s": None},
    "request accepted": lambda call: {"accepted": ()},
    "request output_tokens": lambda call: {"output_tokens": call.output_tokens + 1},
}


def wrong_cases(case: Case) -> Iterator[tuple[str, Case]]:
    """The case with one thing wrong, by what is wrong; combinations that no engine takes are left out."""
    for name, value in _wrong_settings(case.config).items():
        changes = {name: value}
        if name == "long_prefill_token_threshold" and not value:
            changes["long_prefill_token_threshold_adaptive"] = False
        try:
            yield name, dataclasses.replace(case, config=dataclasses.replace(case.config, **changes))
        except ValueError:
            continue
    for name, change in _WRONG_CALLS.items():
        calls = tuple(dataclasses.replace(call, **change(call)) for call in case.calls)
        if calls != case.calls:
            yield name, dataclasses.replace(case, calls=calls)


def check_controls(case: Case, ours: Record, vllm: Record) -> Iterator[Control]:
    """Make each setting wrong and see whether it binds, and whether comparing with vLLM catches it."""
    for name, wrong in wrong_cases(case):
        changed = watch(wrong)
        binds = (changed.steps, changed.requests, changed.livelock) != (
            ours.steps,
            ours.requests,
            ours.livelock,
        )
        yield Control(name, binds, first_difference(vllm, changed) is not None)
