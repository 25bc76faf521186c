"""What is not known for sure about an engine, drawn once: its step cost and its KV cache."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from foretell.models import StepCost
from foretell.sim.deployment import Deployment, EnginePart

BAND_Z = 1.645
"""Standard normal deviate at the ends of a 90 % band."""


def is_uncertain(deployment: Deployment) -> bool:
    """Whether there is anything to draw."""
    return any(hasattr(p.cost, "perturbed") or p.capacity is not None for p in deployment.parts)


def drawn_part(part: EnginePart, rng: np.random.Generator) -> EnginePart:
    """The part with its step cost and its KV cache drawn from their errors."""
    perturbed = getattr(part.cost, "perturbed", None)
    cost: StepCost = part.cost if perturbed is None else perturbed(rng)
    config = part.config
    if part.capacity is not None:
        # The band is taken as 90 % of a normal law in logarithms, with a spread for either side.
        z = float(rng.standard_normal())
        blocks, edge = part.capacity.num_gpu_blocks, part.capacity.high if z > 0 else part.capacity.low
        drawn = round(blocks * (max(edge, 1) / blocks) ** (abs(z) / BAND_Z))
        least = -(-config.max_model_len // config.block_size) + 1  # less, and vLLM would not start
        config = replace(config, num_gpu_blocks=max(drawn, least))
    return replace(part, cost=cost, config=config)
