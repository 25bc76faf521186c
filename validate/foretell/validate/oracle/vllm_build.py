"""Make a real vLLM Scheduler for a scenario's settings, as the engine core makes it, without a model.

Every scheduler gets a real VllmConfig, the KV cache groups that vLLM derives from the layers, and what
its constructor accepts in this version. Only the ModelConfig (from a config.json written to a temporary
folder) is made once. A GPU's ways are set where this machine's platform would force others: asynchronous
scheduling, and KV cache groups of more than one kind.
"""

from __future__ import annotations

import atexit
import copy
import dataclasses
import functools
import inspect
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
import vllm
from vllm.config import (
    CacheConfig,
    ModelConfig,
    ParallelConfig,
    SchedulerConfig,
    SpeculativeConfig,
    VllmConfig,
)
from vllm.v1.core import kv_cache_utils as kv
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, SlidingWindowSpec

try:
    from vllm.utils.hashing import sha256
except ImportError:  # before 0.12
    from vllm.utils import sha256

VERSION = vllm.__version__
SCHEDULER_SETTINGS = {
    "max_num_seqs": "max_num_seqs",
    "max_num_batched_tokens": "max_num_batched_tokens",
    "max_model_len": "max_model_len",
    "enable_chunked_prefill": "enable_chunked_prefill",
    "long_prefill_token_threshold": "long_prefill_token_threshold",
    "long_prefill_token_threshold_adaptive": "long_prefill_token_threshold_adaptive",
    "scheduler_reserve_full_isl": "scheduler_reserve_full_isl",
    "watermark": "watermark",
    "scheduling_policy": "policy",
    "async_scheduling": "async_scheduling",
}
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "vocab_size": 1000,
    "max_position_embeddings": 1 << 20,
    "rms_norm_eps": 1e-5,
    "torch_dtype": "bfloat16",
    "tie_word_embeddings": True,
}
EAGLE = {**LLAMA, "num_hidden_layers": 1}
ERNIE = {
    **LLAMA,
    "architectures": ["Ernie4_5_MoeForCausalLM"],
    "model_type": "ernie4_5_moe",
    "num_nextn_predict_layers": 1,
}


def fields_of(cls: Any) -> set[str]:
    """Names that a configuration class accepts."""
    found = set(inspect.signature(cls).parameters)
    if "args" in found:  # a subclass that passes all on
        found |= set(inspect.signature(cls.__mro__[1]).parameters)
    return found


def unknown_settings() -> list[str]:
    """Settings of foretell that this version's scheduler does not have."""
    known = fields_of(SchedulerConfig)
    return [ours for ours, theirs in SCHEDULER_SETTINGS.items() if theirs not in known]


def accepted(cls: Any, **given: Any) -> Any:
    """Make a `cls` from those of the arguments that it accepts."""
    known = fields_of(cls)
    return cls(**{name: value for name, value in given.items() if name in known})


def fill(cls: Any, **given: Any) -> Any:
    """Make a dataclass, None for the fields that must be given and are not."""
    for field in dataclasses.fields(cls):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in given:
            given[field.name] = {} if field.name.endswith("_dict") else None
    return cls(**given)


def is_prefill_chunk(request: Any) -> bool:
    """Whether the step just scheduled leaves tokens of the request uncomputed, so that it samples none.

    To be asked right after scheduling, where the scheduler has not kept it itself.
    """
    return bool(request.is_prefill_chunk)


@functools.cache
def _folder(kind: str) -> str:
    folder = tempfile.mkdtemp(prefix="foretell-vllm-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    config = {"eagle": EAGLE, "mtp": ERNIE}.get(kind, LLAMA)
    Path(folder, "config.json").write_text(json.dumps(config))
    return folder


@functools.cache
def _model(kind: str) -> Any:
    return accepted(
        ModelConfig,
        model=_folder(kind),
        skip_tokenizer_init=True,
        dtype="bfloat16",
        seed=0,
        max_model_len=1 << 20,
        enforce_eager=True,
    )


@functools.cache
def _speculation(method: str, k: int) -> Any:
    """Drafting by `method`, k tokens a step."""
    given: dict[str, Any] = {"method": method, "num_speculative_tokens": k}
    if method == "ngram":
        given |= {"prompt_lookup_max": 4, "prompt_lookup_min": 2}
    elif method == "draft_model":
        given |= {"model": _folder("target")}
    elif method == "eagle":
        given |= {"model": _folder("eagle")}
    return SpeculativeConfig(
        **given,
        target_model_config=_model("mtp" if method == "mtp" else "target"),
        target_parallel_config=ParallelConfig(),
    )


def _vllm_config(settings: dict[str, Any]) -> Any:
    k = settings.get("num_speculative_tokens", 0)
    method = settings.get("speculative_method", "ngram")
    model = copy.copy(_model("mtp" if k and method == "mtp" else "target"))
    model.max_model_len = settings["max_model_len"]
    theirs = {name: settings[ours] for ours, name in SCHEDULER_SETTINGS.items() if ours in settings}
    scheduler = accepted(SchedulerConfig, **theirs, is_encoder_decoder=False)
    cache = accepted(
        CacheConfig,
        block_size=settings["block_size"],
        enable_prefix_caching=settings["enable_prefix_caching"],
    )
    config = VllmConfig(
        model_config=model,
        scheduler_config=scheduler,
        cache_config=cache,
        speculative_config=copy.copy(_speculation(method, k)) if k else None,
    )
    cache.block_size = settings["block_size"]
    cache.num_gpu_blocks = settings["num_gpu_blocks"]
    cache.enable_prefix_caching = settings["enable_prefix_caching"]
    if hasattr(cache, "kv_cache_layout"):
        cache.kv_cache_layout = "LBNHC"  # layers outermost: what a GPU's attention back ends take
    # This machine's platform turns these off, a GPU's does not.
    for name, value in {**theirs, "disable_hybrid_kv_cache_manager": False}.items():
        if hasattr(scheduler, name):
            setattr(scheduler, name, value)
    return config


def _kv_cache_config(config: Any, settings: dict[str, Any]) -> Any:
    """The KV cache groups that vLLM makes of layers whose attention is that of the groups asked for.

    Raises:
        ValueError: it makes other groups.
    """
    windows = list(settings.get("kv_cache_groups") or (0,))
    size = settings["block_size"]
    shape = {"block_size": size, "num_kv_heads": 1, "head_size": 32, "dtype": torch.bfloat16}
    layers: dict[str, Any] = {}
    # Two layers a group, registered in turn as a model's are; the last is a drafter's where there is one.
    for i in range(2):
        for group, window in enumerate(windows):
            one = (
                FullAttentionSpec(**shape)
                if not window
                else accepted(SlidingWindowSpec, **shape, sliding_window=window)
            )
            layers[f"model.layers.{i * len(windows) + group}.attn"] = one
    groups = kv.get_kv_cache_groups(config, layers)
    made = [getattr(group.kv_cache_spec, "sliding_window", None) or 0 for group in groups]
    if made != windows:
        raise ValueError(f"kv_cache_groups: vLLM makes {made} of layers with {windows}")
    return accepted(
        KVCacheConfig,
        num_blocks=settings["num_gpu_blocks"],
        kv_cache_tensors=[],
        kv_cache_groups=groups,
        prefix_cache_retention_interval=getattr(config.cache_config, "prefix_cache_retention_interval", None),
    )


class NoGrammar:
    """Stands in for the StructuredOutputManager: there is no grammar."""

    def accept_tokens(self, *_: Any) -> bool:
        """Take any token."""
        return True

    def should_advance(self, *_: Any) -> bool:
        """Advance no grammar."""
        return False

    def validate_tokens(self, _: Any, tokens: list[int]) -> list[int]:
        """Take all drafts."""
        return tokens

    def __getattr__(self, _: str) -> Any:
        return lambda *args, **kwargs: None


def scheduler(settings: dict[str, Any]) -> tuple[Any, Any, int]:
    """A scheduler as the engine core makes it; the hasher of its requests' blocks; drafts a step."""
    config = _vllm_config(settings)
    kv_config = _kv_cache_config(config, settings)
    size = hash_size = settings["block_size"]
    if hasattr(kv, "resolve_kv_cache_block_sizes"):
        size, hash_size = kv.resolve_kv_cache_block_sizes(kv_config, config)
    if hasattr(kv, "resolve_cache_hit_alignment_tokens"):
        kv_config.hash_block_size = hash_size
        kv_config.cache_hit_alignment_tokens = kv.resolve_cache_hit_alignment_tokens(
            kv_config, config, size, hash_size
        )
    made = accepted(
        AsyncScheduler if settings.get("async_scheduling") else Scheduler,
        vllm_config=config,
        kv_cache_config=kv_config,
        structured_output_manager=NoGrammar(),
        block_size=size,
        hash_block_size=hash_size,
        log_stats=False,
    )
    hasher = None
    if settings["enable_prefix_caching"]:
        kv.init_none_hash(sha256)
        hasher = kv.get_request_block_hasher(hash_size, sha256)
    return made, hasher, settings.get("num_speculative_tokens", 0)
