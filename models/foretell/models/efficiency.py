"""How much of an accelerator's peaks real kernels reach, and how well we know it."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

FRACTIONS = (
    "gemm",
    "moe",
    "prefill_attention",
    "decode_attention",
    "narrow_decode_attention",
    "memory",
    "moe_memory",
    "link",
)
OVERHEADS = ("launch_scale", "host_scale", "host_per_sequence_s")
_BY_COMPUTE = ("gemm", "moe", "prefill_attention", "link")


@dataclass(frozen=True, slots=True)
class Efficiency:
    """Fractions of peak by class of operator, and the overheads beside them.

    Attributes:
        gemm, moe, prefill_attention: of the peak FLOPS, for matrix multiplications, grouped ones of experts,
            and attention.
        memory, moe_memory: of the memory bandwidth, for weights and activations, and for experts' weights.
        decode_attention, narrow_decode_attention: of it, for a KV cache of 16 bits, and for one of fewer,
            whose kernels convert what they read.
        link: of a link's bandwidth.
        launch_scale: time of a kernel besides its work, over the hardware's launch time.
        host_scale: host's visible time for a step over the hardware's host time.
        host_per_sequence_s: host's time for every entry of a batch.
        compute_error, memory_error: standard errors of the logarithm of the time that is bound by compute
            and links, and of that bound by memory, kernels' launches and the host.
        measured: whether the figures were fitted on this very accelerator.
        source: where they come from.

    Raises:
        ValueError: a fraction outside (0, 1], an overhead or an error that is negative or not finite.

    """

    gemm: float
    moe: float
    prefill_attention: float
    decode_attention: float
    narrow_decode_attention: float
    memory: float
    moe_memory: float
    link: float
    launch_scale: float = 1.0
    host_scale: float = 1.0
    host_per_sequence_s: float = 0.0
    compute_error: float = 0.0
    memory_error: float = 0.0
    measured: bool = False
    source: str = ""

    def __post_init__(self) -> None:
        for name in FRACTIONS:
            value = getattr(self, name)
            if not 0 < value <= 1:
                raise ValueError(f"efficiency {name}: {value!r} is not a fraction in (0, 1]")
        for name in (*OVERHEADS, "compute_error", "memory_error"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"efficiency {name}: {value!r} is not a finite number >= 0")

    def compute_of(self, kind: str) -> float:
        """Fraction of the peak FLOPS for a class of operator."""
        return {"gemm": self.gemm, "memory": self.gemm, "moe": self.moe}.get(kind, self.prefill_attention)

    def memory_of(self, kind: str) -> float:
        """Fraction of the memory bandwidth for a class of operator."""
        return {
            "moe": self.moe_memory,
            "decode_attention": self.decode_attention,
            "narrow_decode_attention": self.narrow_decode_attention,
        }.get(kind, self.memory)

    def perturbed(self, rng: np.random.Generator) -> Efficiency:
        """Draw the figures from their errors; fractions never exceed 1.

        Figures of a kind move together: what is left over where a model or a GPU was left out is off by
        one factor for all steps of a phase, and drawing each figure by itself would average that away.
        """
        compute = math.exp(self.compute_error * rng.standard_normal())
        memory = math.exp(self.memory_error * rng.standard_normal())
        drawn = {name: min(getattr(self, name) / compute, 1.0) for name in _BY_COMPUTE}
        drawn |= {
            name: min(getattr(self, name) / memory, 1.0) for name in FRACTIONS if name not in _BY_COMPUTE
        }
        drawn |= {name: getattr(self, name) * memory for name in OVERHEADS}
        return dataclasses.replace(self, **drawn)


PERFECT = Efficiency(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, launch_scale=0.0, host_scale=0.0)
"""All peaks reached and nothing lost: what no step beats."""


def load_efficiency(accelerator: str) -> Efficiency:
    """Load the bundled efficiencies: the fitted ones, with wider errors for accelerators outside the fit.

    Which figures were fitted on what, and how well, stands in the data file.
    """
    record: dict[str, Any] = tomllib.loads(
        (files("foretell.models") / "data" / "efficiency.toml").read_text(encoding="utf-8")
    )
    fitted = record["fitted"]
    measured = accelerator in fitted.pop("accelerators")
    if not measured:
        for name in ("compute_error", "memory_error"):
            fitted[name] = max(fitted[name], record["elsewhere"][name])
    return Efficiency(**fitted, measured=measured)
