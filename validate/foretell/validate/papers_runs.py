"""Running a program for the rows of papers: with no load or on engines, intervals from paired queries."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foretell.models.outcomes import Outcomes
from foretell.models.stepcost import AffineCost
from foretell.sim.config import EngineConfig
from foretell.sim.disaggregated import EnginePool
from foretell.sim.programs.llm import Program
from foretell.sim.programs.run import ProgramRun, run_programs
from foretell.sim.programs.servers import UnloadedPool

Floats = npt.NDArray[np.float64]
Z90 = 1.6449
UNLOADED = UnloadedPool(ttft_s=0.05, tpot_s=0.01, prefill_token_s=1e-5)
"""A service of 100 tokens a second: latencies without load are asked for as ratios only."""


def unloaded(
    program: Program,
    profile: Outcomes,
    queries: float,
    *,
    pool: UnloadedPool = UNLOADED,
    deadline_s: float = np.inf,
    seed: int = 5,
) -> ProgramRun:
    """Run a program with as many servers as calls; the same seed asks the same questions."""
    return run_programs(
        program,
        {"": pool},
        {"": profile},
        n_queries=max(round(queries), 50),
        deadline_s=deadline_s,
        seed=seed,
    )


def mean(values: npt.ArrayLike, scale: float = 1.0) -> tuple[float, tuple[float, float]]:
    """Mean and its 90 % interval, times a scale."""
    x = np.asarray(values, dtype=np.float64)
    middle, half = float(x.mean()), Z90 * float(x.std(ddof=1)) / len(x) ** 0.5
    return scale * middle, (scale * (middle - half), scale * (middle + half))


def gain(later: ProgramRun, earlier: ProgramRun) -> tuple[float, tuple[float, float]]:
    """Points of accuracy of one run over another on the same queries."""
    return mean(later.right.astype(float) - earlier.right.astype(float), 100.0)


def ratio(above: npt.ArrayLike, below: npt.ArrayLike) -> tuple[float, tuple[float, float]]:
    """Ratio of the means of paired values, and its 90 % interval by the delta method."""
    a, b = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    value = float(a.mean() / b.mean())
    half = Z90 * float((a - value * b).std(ddof=1)) / float(b.mean()) / len(a) ** 0.5
    return value, (value - half, value + half)


def served(model: str, hardware: str, ranks: int = 1, batch: int = 1, context: int = 4000) -> UnloadedPool:
    """A service as fast as so many sequences of a model decode beside each other."""
    from foretell.models.architecture import load_architecture
    from foretell.models.hardware import load_hardware
    from foretell.models.parallelism import Parallelism
    from foretell.models.pricing import step_cost
    from foretell.validate.papers_hardware import decode_load, prefill_load

    cost = step_cost(load_architecture(model), load_hardware(hardware), Parallelism(ranks))
    first_s = float(cost(*prefill_load(1, 256)))
    thousand_s = float(cost(*prefill_load(1, 1256)))
    return UnloadedPool(
        ttft_s=first_s,
        tpot_s=float(cost(*decode_load(batch, context))),
        prefill_token_s=max(thousand_s - first_s, 0.0) / 1000,
    )


def engine(pool: UnloadedPool, faster: float = 1.0) -> EnginePool:
    """One engine with a prefix cache and no lack of memory, whose steps take what the service takes.

    Args:
        pool: of `served`; a step takes its time of a token, and its time of a prompt token for each new one.
        faster: decoding is so many times as fast.

    """
    cost = AffineCost(pool.tpot_s / faster, max(pool.prefill_token_s, 1e-9))
    config = EngineConfig(num_gpu_blocks=200_000, max_model_len=131_072, enable_prefix_caching=True)
    return EnginePool(cost, config)
