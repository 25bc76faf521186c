"""Power and energy of a step: idle, and a curve that saturates with what compute and memory do at once."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from foretell.models.architecture import Architecture
from foretell.models.hardware import Accelerator, Hardware
from foretell.models.layers import step_operators
from foretell.models.operators import Attend, Operator
from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision
from foretell.models.stepcost import StepLoad

IDLE_FRACTION = 0.12
"""Idle power over the maximum where nobody published it: an assumption."""
_REACHED = 0.5
"""Fraction of a peak that kernels reach which it bounds, where only the breakdown is known."""


@dataclass(frozen=True, slots=True)
class PeakWork:
    """Seconds that a step's FLOPs, and its bytes, would take one accelerator at its peaks.

    Over the step's time they are the utilisations of compute and memory, whatever bounds the step.

    Attributes:
        operators: of one rank.
        peak_flops: by precision [FLOP/s].
        memory_Bps: bandwidth of the memory.
        stages: of the pipeline, which share the operators.

    """

    operators: tuple[Operator, ...]
    peak_flops: Mapping[str, float]
    memory_Bps: float
    stages: int = 1

    def __call__(self, *load: Any) -> tuple[Any, Any]:
        """(compute, memory) seconds at the peaks of a step with this `StepLoad`; scalars or arrays."""
        at = StepLoad(*load)
        drivers = {
            "tokens": at.prefill_tokens + at.decode_seqs,
            "sampled": at.sampled,
            "prefill_context": at.prefill_context,
            "decode_seqs": at.decode_seqs,
        }
        compute: Any = 0.0
        memory: Any = 0.0
        for op in self.operators:
            if not isinstance(op, Attend):
                flops, num_bytes = op.work(drivers[op.driver])
            elif op.phase == "prefill":
                flops, num_bytes = op.work(
                    at.prefill_tokens, at.prefill_pairs, at.prefill_context, at.prefill_seqs
                )
            else:
                flops, num_bytes = op.work(
                    at.decode_seqs, at.decode_context, at.decode_context, at.decode_seqs
                )
            compute = compute + op.layers * flops / self.peak_flops[op.precision]
            memory = memory + op.layers * num_bytes / self.memory_Bps
        return compute / self.stages, memory / self.stages


def peak_work(
    architecture: Architecture, hardware: Hardware, parallelism: Parallelism, precision: Precision
) -> PeakWork:
    """Collect what a step of this model on this hardware computes and moves."""
    accelerator = hardware.accelerator
    return PeakWork(
        step_operators(architecture, parallelism, precision, accelerator.peak_flops),
        accelerator.peak_flops,
        accelerator.memory_Bps,
        parallelism.pipeline_parallel_size,
    )


@dataclass(frozen=True, slots=True)
class PowerModel:
    """P = idle + (max − idle)·(1 − exp(−(busy·b + compute·u_c + memory·u_m))), of one accelerator.

    b is the share of the step that is not the host's, u_c and u_m the utilisations of the peak FLOPS and of
    the memory's bandwidth. Power rises with each, with both at once more than with either, never above the
    board's maximum. docs/energy.md has the fit (ml-energy, Apache-2.0; vLLM 0.11 on H100 and B200) and its
    errors.

    Attributes:
        idle_W, tdp_W: of one accelerator.
        busy, compute, memory: coefficients.
        error: nine of ten measured powers lie within this fraction of the estimate.
        notes: what was assumed.

    Raises:
        ValueError: powers or coefficients out of range.

    """

    idle_W: float
    tdp_W: float
    busy: float = 0.93
    compute: float = 7.5
    memory: float = 0.03
    error: float = 0.4
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.idle_W <= self.tdp_W:
            raise ValueError(f"power idle_W: {self.idle_W!r} is not between 0 and tdp_W {self.tdp_W!r}")
        for name in ("busy", "compute", "memory", "error"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"power {name}: {value!r} is not a finite number >= 0")

    def power_W(self, breakdown: Mapping[str, Any], work: tuple[Any, Any] | None = None) -> Any:
        """Mean power of one accelerator over a step with this `StepCost.breakdown`.

        Args:
            breakdown: seconds by what bounds them.
            work: seconds at the peaks, from a `PeakWork`; without, half the time that compute bounds, and
                half of what memory bounds, which misses what runs beside the bound.

        """
        total = sum(breakdown.values())
        compute_s, memory_s = work or (_REACHED * breakdown["compute"], _REACHED * breakdown["memory"])
        active = (
            self.busy * (total - breakdown["host"])
            + self.compute * np.minimum(compute_s, total)
            + self.memory * np.minimum(memory_s, total)
        ) / total
        return self.idle_W + (self.tdp_W - self.idle_W) * -np.expm1(-active)

    def energy_J(
        self, breakdown: Mapping[str, Any], accelerators: int = 1, work: tuple[Any, Any] | None = None
    ) -> Any:
        """Energy of a step over `accelerators` of them, all as busy as this one."""
        return accelerators * sum(breakdown.values()) * self.power_W(breakdown, work)


@cache
def _coefficients() -> dict[str, Any]:
    return tomllib.loads((files("foretell.models") / "data" / "power.toml").read_text(encoding="utf-8"))


def power_model(accelerator: Accelerator) -> PowerModel:
    """Build the power model of an accelerator; an unpublished idle power is IDLE_FRACTION of the maximum.

    Source: the curve is ours, fitted to ml-energy's measured runs (docs/energy.md).

    Raises:
        ValueError: the accelerator's maximum power is unknown.

    """
    if accelerator.tdp_W is None:
        raise ValueError(f"hardware {accelerator.name}: tdp_W is unknown; energy cannot be estimated")
    record = _coefficients()
    measured = record["measured"].get(accelerator.name)
    error = (measured or record["default"])["error"]
    where = "here" if measured else "on H100 and B200, not here"
    notes = [f"power curve measured {where}: nine of ten runs within {error:.0%}"]
    idle = accelerator.idle_W
    if idle is None:
        idle = IDLE_FRACTION * accelerator.tdp_W
        notes.append(f"{accelerator.name}: idle power assumed {IDLE_FRACTION:.0%} of the maximum")
    curve = {name: record["curve"][name] for name in ("busy", "compute", "memory")}
    return PowerModel(idle, accelerator.tdp_W, **curve, error=error, notes=tuple(notes))
