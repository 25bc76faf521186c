"""What is not known for sure, drawn once: step costs, KV caches and outcome profiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from foretell.models import StepCost
from foretell.models.outcomes import Outcomes
from foretell.sim.deployment import Deployment, EnginePart

BAND_Z = 1.645
"""Standard normal deviate at the ends of a 90 % band."""


def is_uncertain(deployment: Deployment) -> bool:
    """Whether there is anything to draw."""
    return any(hasattr(p.cost, "perturbed") or p.capacity is not None for p in deployment.parts)


def drawn_deployment(deployment: Deployment, seed: np.random.SeedSequence) -> Deployment:
    """The deployment with its parts, and a program's profiles, drawn as a simulated replication does."""
    rng = np.random.default_rng(seed)
    changes: dict[str, Any] = {"parts": tuple(drawn_part(part, rng) for part in deployment.parts)}
    profiles = getattr(deployment, "profiles", None)
    if profiles is not None:
        changes["profiles"] = drawn_profiles(profiles, np.random.default_rng(seed.spawn(1)[0]))
    return replace(deployment, **changes)


def drawn_profiles(profiles: Mapping[str, Outcomes], rng: np.random.Generator) -> dict[str, Outcomes]:
    """Profiles by pool, each drawn from its error once, also where two pools share it."""
    drawn = {id(profile): profile for profile in profiles.values()}
    drawn = {key: profile.perturbed(rng) for key, profile in drawn.items()}
    return {pool: drawn[id(profile)] for pool, profile in profiles.items()}


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
