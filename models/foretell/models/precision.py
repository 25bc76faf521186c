"""Number formats: bytes a stored element takes, and the precision a matrix multiplication runs in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ELEMENT_BYTES: Mapping[str, float] = {
    "fp32": 4.0,
    "tf32": 4.0,
    "bf16": 2.0,
    "fp16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "fp6": 0.75 + 1 / 32,
    "fp4": 0.5 + 1 / 16,  # NVFP4: an FP8 scale for every 16 elements (NVIDIA, "Introducing NVFP4", 2025-06)
    "nvfp4": 0.5 + 1 / 16,
    "mxfp4": 0.5 + 1 / 32,  # an 8-bit scale for every 32 elements (OCP MX v1.0, 2023-09)
    "int4": 0.5 + 2 / 32,  # a 16-bit scale for every 32 elements (compressed-tensors group 32)
}
"""Bytes of one stored element with its share of the scales, by format."""

_COMPUTE_KEY = {"nvfp4": "fp4", "mxfp4": "fp4"}
_FALLBACK = ("bf16", "fp16", "tf32", "fp32")
PARTS = ("linear", "mlp", "experts")


@dataclass(frozen=True, slots=True)
class Precision:
    """What weights, activations and the KV cache are kept in.

    Attributes:
        weights: format of the quantised matrices, a key of ELEMENT_BYTES.
        activations: format that matrix multiplications over quantised weights take their input in.
        kv_cache: format of cached keys and values.
        quantized_parts: which matrices have `weights`: "linear", "mlp" or "experts", the rest being bf16;
            None takes the checkpoint's own parts when `weights` is what it ships, otherwise "experts" for
            four-bit mixtures of experts (what published NVFP4, MXFP4 and INT4 ones quantise), else "linear".

    Raises:
        ValueError: an unknown format or part.

    """

    weights: str = "bf16"
    activations: str = "bf16"
    kv_cache: str = "bf16"
    quantized_parts: str | None = None

    def __post_init__(self) -> None:
        for name in ("weights", "activations", "kv_cache"):
            value = getattr(self, name)
            if value not in ELEMENT_BYTES:
                raise ValueError(f"precision {name}: {value!r} is not one of {', '.join(ELEMENT_BYTES)}")
        if self.quantized_parts is not None and self.quantized_parts not in PARTS:
            raise ValueError(
                f"precision quantized_parts: {self.quantized_parts!r} is not one of {', '.join(PARTS)}"
            )


def compute_precision(peak_flops: Mapping[str, float], weights: str, activations: str) -> str:
    """The key of `peak_flops` under which a multiplication of these formats runs.

    The wider of the two operands decides; a part that has no peak for it (fp8 on an A100) dequantises and
    runs at the first of bf16, fp16, tf32, fp32 that it has.

    Raises:
        ValueError: the part has none of them.

    """
    wider = weights if ELEMENT_BYTES[weights] > ELEMENT_BYTES[activations] else activations
    for key in (_COMPUTE_KEY.get(wider, wider), *_FALLBACK):
        if key in peak_flops:
            return key
    raise ValueError(f"hardware peak_flops: none of {wider}, {', '.join(_FALLBACK)} among {list(peak_flops)}")


def is_weight_only(peak_flops: Mapping[str, float], weights: str, activations: str) -> bool:
    """Whether quantised weights are only stored so, and multiplied in a wider precision."""
    key = compute_precision(peak_flops, weights, activations)
    return ELEMENT_BYTES[weights] < 2.0 and ELEMENT_BYTES[key] >= 2.0


def quantized_parts(precision: Precision, shipped: str, shipped_parts: str, is_moe: bool) -> str:
    """Which matrices carry `precision.weights`; see Precision.quantized_parts."""
    if precision.quantized_parts is not None:
        return precision.quantized_parts
    four_bit = {"fp4", "nvfp4", "mxfp4", "int4"}
    if precision.weights == shipped or {precision.weights, shipped} <= four_bit:
        return shipped_parts
    return "experts" if is_moe and precision.weights in four_bit else "linear"
