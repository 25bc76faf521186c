"""How busy an engine is in steady state: share of the time, KV cache, the mean step, and its power."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from foretell.models import StepLoad
from foretell.models.energy import power_model
from foretell.models.queueing import Lengths
from foretell.sim.deployment import EnginePart


@dataclass(frozen=True, slots=True)
class Busy:
    """An engine over time.

    Attributes:
        utilisation: share of the time in which it runs a step.
        kv_use: share of the KV cache that requests hold.
        load: the mean step while it is busy.

    """

    utilisation: float
    kv_use: float
    load: StepLoad


def busy(
    part: EnginePart,
    law: Lengths,
    rate_per_s: float,
    stay_s: float,
    step_s: float,
    together: float = 1.0,
) -> Busy:
    """Describe an engine that serves so many requests a second.

    Args:
        part: the engine.
        law: of its requests.
        rate_per_s: of them.
        stay_s: mean time of one in the engine, without that in line.
        step_s: about the time of a step.
        together: requests that come at once, and so leave it idle for longer.

    Validity: the share of idle time is that of Poisson arrivals whose stays do not depend on each other,
    e^(−rate·stay) (M/G/∞), right where it matters, of a few requests; and no less than that of an engine
    that serves them one by one. The mean step s solves s = c(work a second / utilisation · s).

    """
    config = part.config
    present = rate_per_s * stay_s
    chunks = max(law.mean_prompt / config.max_num_batched_tokens, 1.0)
    prompt = law.mean_prompt
    alone_s = float(part.cost(prompt, prompt * law.pairs_per_token, prompt, chunks, 0.0, 0.0, 1.0))
    alone_s += law.decode_steps * float(part.cost(0.0, 0.0, 0.0, 0.0, 1.0, law.context, 1.0))
    share = min(-math.expm1(-present / together), rate_per_s * alone_s)
    each = np.array(
        [
            law.mean_prompt,
            law.mean_prompt * law.pairs_per_token,
            law.mean_prompt * (1 + chunks) / 2,
            chunks,
            law.decode_steps,
            law.decode_steps * law.context,
            law.decode_steps + 1,
        ]
    )
    seconds = step_s * np.geomspace(0.05, 2.0, 48)
    loads = rate_per_s / share * each[:, None] * seconds
    late = np.asarray(part.cost(*loads), dtype=np.float64) - seconds  # > 0 below the mean step
    at = int((late <= 0).argmax()) if (late <= 0).any() else len(seconds) - 1
    low = max(at - 1, 0)
    mean_s = seconds[at]
    if late[low] > 0 >= late[at]:
        mean_s = seconds[low] + (seconds[at] - seconds[low]) * late[low] / (late[low] - late[at])
    held = law.held_tokens(chunks, config.block_size)
    kv_use = present * held / ((config.num_gpu_blocks - 1) * config.block_size)
    load = StepLoad(*(float(x) for x in rate_per_s / share * each * mean_s))
    return Busy(share, min(kv_use, 1.0), load)


def power_W(part: EnginePart, at: Busy) -> float | None:
    """Mean power of one engine's accelerators, as `foretell.sim.power` has it: idle between steps.

    None where the accelerator's power is unknown.
    """
    if part.hardware is None or part.hardware.accelerator.tdp_W is None:
        return None
    model = power_model(part.hardware.accelerator)
    work = None if part.work is None else part.work(*at.load)
    running = float(model.power_W(part.cost.breakdown(*at.load), work))
    return part.accelerators * (at.utilisation * running + (1 - at.utilisation) * model.idle_W)
