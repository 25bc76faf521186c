"""Programs run for their tests: on services that are never busy, or on engines."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from foretell.models import AffineCost
from foretell.models.outcomes import Answers, Difficulty, Lengths, Outcomes, Revision
from foretell.sim import EngineConfig
from foretell.sim.disaggregated import EnginePool
from foretell.sim.programs.catalogue import choose, load_program
from foretell.sim.programs.llm import Judge, PoolName
from foretell.sim.programs.run import ProgramRun, run_programs
from foretell.sim.programs.servers import UnloadedPool

CALM = UnloadedPool(ttft_s=0.1, tpot_s=0.01)
INSTANT = UnloadedPool()
Pool = EnginePool | UnloadedPool


def model(
    name: str = "model",
    a: float = 0.6,
    b: float = 0.6,
    *,
    tokens: float = 200.0,
    sd: float = 0.3,
    shared: float = 0.5,
    prompt_tokens: int = 64,
    shared_prompt_tokens: int = 0,
    cap_tokens: int = 100_000,
    answers: Answers | None = None,
    revision: Revision | None = None,
    confidence_auc: float = 0.75,
    settling: float = 2.0,
    zero: float = 0.0,
) -> Outcomes:
    """A small profile; with sd = 0 all its answers are `tokens` long."""
    return Outcomes(
        "task",
        name,
        Difficulty(a, b, zero, shared),
        Lengths(tokens if sd else tokens - 0.5, sd, sd, cap_tokens=cap_tokens),
        answers or Answers(),
        revision or Revision(),
        confidence_auc=confidence_auc,
        settling=settling,
        prompt_tokens=prompt_tokens,
        shared_prompt_tokens=shared_prompt_tokens,
    )


def engines(replicas: int = 1, *, caching: bool = True, blocks: int = 4000) -> EnginePool:
    """Engines whose step costs 10 ms and a little for each token."""
    config = EngineConfig(num_gpu_blocks=blocks, enable_prefix_caching=caching, max_model_len=100_000)
    return EnginePool(AffineCost(0.01, 1e-5, 1e-4), config, replicas)


def run(
    strategy: Mapping[str, Any],
    profiles: Outcomes | Mapping[str, Outcomes] | None = None,
    pools: Pool | Mapping[str, Pool] = CALM,
    n: int = 1,
    seed: int = 1,
    **how: Any,
) -> ProgramRun:
    """Run a strategy as a scenario would name it; one profile or pool serves under the name `main`."""
    if profiles is None:
        profiles = model()
    if isinstance(profiles, Outcomes):
        profiles = {"main": profiles}
    if not isinstance(pools, Mapping):
        pools = dict.fromkeys(profiles, pools)
    chosen = choose(strategy, list(pools))
    return run_programs(chosen.program, pools, profiles, n_queries=n, seed=seed, **how)


def latency_s(calls: Sequence[float], waits: float = 0.0) -> float:
    """Critical path on `CALM`: calls of so many tokens one after the other, and waits."""
    return sum(CALM.ttft_s + (tokens - 1) * CALM.tpot_s for tokens in calls) + waits


def agrees(done: ProgramRun, theory: float, slack: float = 1e-3) -> bool:
    """Whether a run's accuracy is within four standard errors of what theory says."""
    error = np.sqrt(max(theory * (1 - theory), 1e-6) / len(done))
    return bool(abs(done.accuracy - theory) < 4 * error + slack)


def needed(name: str) -> dict[str, Any]:
    """Values for what a program cannot do without: pools main, second, main, ... and a judge."""
    factory = load_program(name)
    hints = typing.get_type_hints(factory)
    names = [
        key
        for key, parameter in inspect.signature(factory).parameters.items()
        if parameter.default is inspect.Parameter.empty
    ]
    pools = {key: ("main", "second")[i % 2] for i, key in enumerate(names) if hints[key] is PoolName}
    return pools | {key: {"pool": "second", "auc": 0.8} for key in names if hints[key] is Judge}
