"""Claims of papers on memory and the costs of steps: partitioning, memory-bound decoding, coupled hosts."""

from __future__ import annotations

from foretell.models.architecture import Architecture, Attention, LayerGroup, Mlp, load_architecture
from foretell.models.hardware import load_hardware
from foretell.models.memory import kv_bytes_per_token, kv_capacity
from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision
from foretell.models.pricing import step_cost
from foretell.models.roofline import roofline_cost
from foretell.models.stepcost import StepLoad
from foretell.validate.papers import Claim, Found


def palm_540b(kv_heads: int, head_dim: int) -> Architecture:
    """PaLM 540B (arXiv 2204.02311, table 1) with its 48 heads padded to 64, as 64 chips hold them."""
    layer = LayerGroup(118, Attention(64, kv_heads, head_dim), Mlp(73_728))
    return Architecture("palm-540b", 18_432, 256_000, (layer,), True, 2048)


def _multiquery(_: float) -> Found:
    chips, room = 64, 0.3 * 32 * 2**30  # a TPU v4 has 32 GiB, of which 30 % for the KV cache
    batch, formats = 128, Precision()
    multihead = kv_bytes_per_token(palm_540b(64, 128), Parallelism(chips), formats)  # heads over chips
    copied = kv_bytes_per_token(palm_540b(1, 256), Parallelism(chips), formats)  # the one head on each
    spread = copied / chips  # sequences over chips: each holds two of the 128
    contexts = {name: room / (batch * size) for name, size in (("multi-head", multihead), ("spread", spread))}
    contexts["multi-query, head copied"] = room / (batch * copied)
    return Found(contexts["spread"] / contexts["multi-head"], beside=contexts)


def decode_load(batch: int, context: int) -> StepLoad:
    """A step in which `batch` sequences of `context` tokens decode."""
    return StepLoad(decode_seqs=batch, decode_context=batch * context, sampled=batch)


def prefill_load(batch: int, tokens: int) -> StepLoad:
    """A step that prefills `batch` prompts of `tokens`."""
    return StepLoad(
        prefill_tokens=batch * tokens,
        prefill_pairs=batch * tokens * (tokens + 1) / 2,
        prefill_context=batch * tokens,
        prefill_seqs=batch,
        sampled=batch,
    )


def _memory_bound(_: float) -> Found:
    shares = {}
    for name in ("qwen2.5-1.5b", "llama-3.2-3b", "llama-2-7b", "llama-2-13b"):
        model, h100 = load_architecture(name), load_hardware("h100-sxm")
        fit = kv_capacity(model, h100, Parallelism(), Precision()).num_kv_tokens // 500
        parts = roofline_cost(model, h100).breakdown(*decode_load(min(fit, 1024), 500))
        shares[name] = parts["memory"] / (parts["memory"] + parts["compute"])
    return Found(
        min(shares.values()) - 0.5,
        beside=shares,
        why="of the accelerator's time; that of the host, which our small models' large batches wait for, "
        "is left "
        "out",
    )


def _coupled(_: float) -> Found:
    model = load_architecture("llama-3.2-1b")
    seconds = {
        name: float(step_cost(model, load_hardware(name))(*prefill_load(64, 512)))
        for name in ("h100-sxm", "h100-pcie", "a100-80gb-pcie")
    }
    own = seconds["h100-sxm"]
    gains = {f"over {name}": seconds[name] / own for name in ("h100-pcie", "a100-80gb-pcie")}
    return Found(
        (gains["over h100-pcie"] * gains["over a100-80gb-pcie"]) ** 0.5,
        beside=gains,
        why="the catalogue has no GH200; an H100 SXM stands for its GPU, which has a fifth more bandwidth",
    )


ROWS = [
    Claim(
        "Efficiently Scaling Transformer Inference",
        "longer context with multi-query attention spread over sequences",
        "32x",
        "ratio",
        32.0,
        32.0,
        "x",
        "PaLM 540B on 64 chips of 32 GiB, 30 % of memory for the KV cache, 128 sequences",
        "arXiv 2211.05102, abstract and table 1 (2022)",
        _multiquery,
    ),
    Claim(
        "Mind the Memory Gap",
        "decoding at large batch stays bound by memory",
        "qualitative",
        "direction",
        None,
        None,
        "share of compute and memory time that is bound by memory, less a half",
        "1.5B to 13B on one H100, as many sequences of 500 tokens as fit, 1,024 at most; the smallest "
        "share counts",
        "arXiv 2503.08311, abstract (2025)",
        _memory_bound,
    ),
    Claim(
        "CPU-GPU coupled architectures (SKIP)",
        "faster prefill on GH200 than on H100 and A100 over PCIe",
        "1.9-2.7x",
        "ratio",
        1.9,
        2.7,
        "x",
        "Llama-3.2-1B, 64 prompts of 512 tokens; geometric mean over the two",
        "arXiv 2504.11750, abstract (2025)",
        _coupled,
    ),
]
