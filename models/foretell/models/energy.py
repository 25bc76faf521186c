"""Power and energy of a step from what bounds it: a first model, to be replaced by measured curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from foretell.models.hardware import Accelerator

IDLE_FRACTION = 0.12
"""Idle power over the maximum where nobody published it: an assumption."""


@dataclass(frozen=True, slots=True)
class PowerModel:
    """P = idle + (TDP − idle)·(a·compute + b·memory + c·busy), of one accelerator.

    compute and memory are the shares of the step's time that each bounds, busy the share that is not the
    host's. With a + c <= 1 and b + c <= 1 no step draws more than the board's maximum.

    The defaults were set by hand on 281 runs of ml-energy (Apache-2.0; vLLM 0.11, H100 and B200): joules a
    token of decode-only steps are 10 % too low (median) up to a batch of 16, 25 % up to 64, and half of what
    was measured above. About half of that gap is time that a decode-only step misses (prompts interleave
    there); the rest is power: large batches keep compute and memory busy at once, which shares of time do
    not show.

    Attributes:
        idle_W, tdp_W: of one accelerator.
        compute, memory, busy: a, b and c.
        notes: what was assumed.

    Raises:
        ValueError: powers or coefficients out of range.

    """

    idle_W: float
    tdp_W: float
    compute: float = 0.7
    memory: float = 0.6
    busy: float = 0.25
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.idle_W <= self.tdp_W:
            raise ValueError(f"power idle_W: {self.idle_W!r} is not between 0 and tdp_W {self.tdp_W!r}")
        if min(self.compute, self.memory, self.busy) < 0 or max(self.compute, self.memory) + self.busy > 1:
            raise ValueError(
                "power: compute, memory and busy must be >= 0, and neither first two with busy > 1"
            )

    def power_W(self, breakdown: Mapping[str, Any]) -> Any:
        """Mean power of one accelerator over a step with this `StepCost.breakdown`."""
        total = sum(breakdown.values())
        active = (
            self.compute * breakdown["compute"]
            + self.memory * breakdown["memory"]
            + self.busy * (total - breakdown["host"])
        )
        return self.idle_W + (self.tdp_W - self.idle_W) * active / total

    def energy_J(self, breakdown: Mapping[str, Any], accelerators: int = 1) -> Any:
        """Energy of a step over `accelerators` of them, all as busy as this one."""
        return accelerators * sum(breakdown.values()) * self.power_W(breakdown)


def power_model(accelerator: Accelerator) -> PowerModel:
    """Build the power model of an accelerator; an unpublished idle power is IDLE_FRACTION of the maximum.

    Raises:
        ValueError: the accelerator's maximum power is unknown.

    """
    if accelerator.tdp_W is None:
        raise ValueError(f"hardware {accelerator.name}: tdp_W is unknown; energy cannot be estimated")
    notes = ["power is interpolated between idle and maximum by what bounds a step; not calibrated"]
    idle = accelerator.idle_W
    if idle is None:
        idle = IDLE_FRACTION * accelerator.tdp_W
        notes.append(f"{accelerator.name}: idle power assumed {IDLE_FRACTION:.0%} of the maximum")
    return PowerModel(idle, accelerator.tdp_W, notes=tuple(notes))
