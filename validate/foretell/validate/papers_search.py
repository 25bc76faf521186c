"""Claims of papers on search over reasoning steps: fewer operations, tokens or KV at equal accuracy."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from foretell.models.accuracy import search
from foretell.models.architecture import load_architecture
from foretell.models.hardware import load_hardware
from foretell.models.outcomes import Outcomes
from foretell.models.pricing import step_cost
from foretell.models.verifiers import Verifier
from foretell.sim.config import EngineConfig
from foretell.sim.disaggregated import EnginePool
from foretell.sim.programs.best_first import a_star
from foretell.sim.programs.llm import Judge, Program
from foretell.sim.programs.run import ProgramRun, run_programs
from foretell.sim.programs.sampling import best_of_n
from foretell.sim.programs.search_rebase import ets, rebase
from foretell.validate.papers import Claim, Found
from foretell.validate.papers_runs import unloaded
from foretell.validate.papers_verifiers import known_mean

PRM = Verifier(auc=0.8)
CRITIC = Judge(None, PRM)
STEPWISE = (
    "our process reward model errs at each step anew, so that a search profits more than with a real one, "
    "which "
    "is fooled by like steps alike"
)

ALIKE = (
    "how much can be pruned follows from how alike steps are, which is assumed, and from the length of "
    "solutions: "
    "in trees of five steps most KV is in leaves that all go on"
)
ROOM = (
    "less KV buys speed only where memory is short or a shared prefix is read once: here there is room for "
    "eight "
    "queries, and every branch reads its whole context, as in vLLM without cascade attention"
)


def stepwise(mean: float) -> Outcomes:
    """A profile of short solutions of five steps, of which only the mean accuracy is known."""
    return replace(known_mean(mean), step_tokens=60.0)


def _rebase(_: float) -> Found:
    small, large = stepwise(0.18), stepwise(0.25)
    wanted = search.best_of_n(large, PRM, 16)
    found = [search.rebase(small, PRM, width) for width in (2, 4, 8, 16, 32, 64)]
    accuracy = [one.accuracy for one in found]
    if wanted.accuracy > max(accuracy):
        return Found(0.0, why="not reached by 64 branches")
    tokens = np.exp(np.interp(wanted.accuracy, accuracy, np.log([one.tokens for one in found])))
    return Found(
        float(34 * wanted.tokens / (7 * tokens)),
        why=STEPWISE,
        beside={
            "accuracy of 34B": wanted.accuracy,
            "tokens of 34B": wanted.tokens,
            "tokens of 7B": float(tokens),
        },
    )


def _a_star(effort: float) -> Found:
    profile = stepwise(0.27)
    whole = unloaded(best_of_n(n=16, verifier=CRITIC), profile, 800 * effort)
    runs = [
        unloaded(a_star(branching=4, expansions=e, verifier=CRITIC), profile, 800 * effort)
        for e in (4, 6, 8, 12, 16, 32)
    ]
    accuracy = np.maximum.accumulate([run.accuracy for run in runs])
    if whole.accuracy > accuracy[-1]:
        return Found(0.0, why="not reached by 32 expansions")
    spent = np.array([run.tokens.mean() for run in runs])
    tokens = float(np.interp(whole.accuracy, accuracy, spent))
    return Found(
        float(whole.tokens.mean()) / tokens,
        why=STEPWISE,
        beside={"accuracy of best of 16": whole.accuracy}
        | {f"at {t:.0f} tokens": a for t, a in zip(spent, accuracy, strict=True)},
    )


def _particles(_: float) -> Found:
    profile = stepwise(0.3)
    wanted = max(search.beam_search(profile, PRM, 64, 4).accuracy, search.dvts(profile, PRM, 64, 4).accuracy)
    widths = (2, 4, 8, 16, 32, 64)
    accuracy = [search.particle_filtering(profile, PRM, n).accuracy for n in widths]
    beside = {"the better of beam and DVTS, 64 wide": wanted}
    beside |= {f"{n} particles": a for n, a in zip(widths, accuracy, strict=True)}
    if wanted > max(accuracy):
        return Found(
            64 / 64 * max(accuracy) / wanted,
            why="64 particles do not reach it: with errors made anew at each step, keeping the best is the "
            "right "
            "thing to do, and what particles guard against, a reward model that is sure and wrong, is not "
            "there",
            beside=beside,
        )
    n = float(np.exp(np.interp(wanted, accuracy, np.log(widths))))
    return Found(64 / n, why=STEPWISE, beside=beside)


def _searched(program: Program, queries: int, concurrency: int) -> ProgramRun:
    cost = step_cost(load_architecture("llama-3.1-8b"), load_hardware("h100-sxm"))
    config = EngineConfig(
        num_gpu_blocks=25_000, max_num_seqs=1024, max_num_batched_tokens=8192, enable_prefix_caching=True
    )
    pools = {"": EnginePool(cost, config)}
    return run_programs(
        program, pools, {"": stepwise(0.3)}, n_queries=queries, concurrency=concurrency, seed=5
    )


@cache
def _pair(queries: int, concurrency: int) -> tuple[ProgramRun, ProgramRun]:
    both = (rebase(width=64, verifier=CRITIC), ets(width=64, verifier=CRITIC))
    balanced, efficient = (_searched(program, queries, concurrency) for program in both)
    return balanced, efficient


def _kv(run: ProgramRun) -> float:
    stats = run.run.engines[0]
    return stats.kv_block_seconds / stats.busy_s


def _ets_kv(effort: float) -> Found:
    balanced, efficient = _pair(max(round(80 * effort), 12), 1)
    lost = 100 * (balanced.accuracy - efficient.accuracy)
    return Found(_kv(balanced) / _kv(efficient), why=ALIKE, beside={"points lost": lost})


def _ets_throughput(effort: float) -> Found:
    balanced, efficient = _pair(max(round(80 * effort), 12), 8)
    return Found(
        float(balanced.finish_s.max() / efficient.finish_s.max()),
        why=ROOM,
        beside={"KV": _kv(balanced) / _kv(efficient)},
    )


_ETS = (
    "solved in 30 % of samples, solutions of about 300 tokens in steps of 60, Llama-3.1-8B on one H100, "
    "width 64, "
    "the authors' weights; a judge that costs nothing"
)
ROWS = [
    Claim(
        "Compute-Optimal Inference (REBASE)",
        "Llemma-7B with REBASE matches Llemma-34B with less arithmetic",
        "2x less FLOPs",
        "ratio",
        2.0,
        2.0,
        "x",
        "right in 18 % (7B) and 25 % (34B) of samples, the accuracies of Llemma on MATH; best of 16 of the "
        "large "
        "one; solutions of about 300 tokens in steps of 60; judges with an AUC of 0.8",
        "arXiv 2408.00724, abstract (2024)",
        _rebase,
    ),
    Claim(
        "A*-Decoding",
        "fewer tokens than best of N at equal accuracy",
        "3x",
        "ratio",
        3.0,
        3.0,
        "x",
        "right in 27 % of samples (Llama-3.2-1B on MATH-500), best of 16, branching 4; a judge with an AUC "
        "of 0.8",
        "arXiv 2505.13672, abstract (2025)",
        _a_star,
    ),
    Claim(
        "Particle-based Monte Carlo",
        "scales better than deterministic search",
        "4-16x",
        "ratio",
        4.0,
        16.0,
        "x",
        "right in 30 % of samples, particles that reach the better of beam search and DVTS with 64; closed "
        "forms, "
        "a judge with an AUC of 0.8",
        "arXiv 2502.01618, abstract (2025)",
        _particles,
    ),
    Claim(
        "ETS",
        "less KV cache than REBASE on average",
        "1.8x",
        "ratio",
        1.8,
        1.8,
        "x",
        f"{_ETS}; one query at a time",
        "arXiv 2502.13575, abstract (2025)",
        _ets_kv,
    ),
    Claim(
        "ETS",
        "higher throughput than REBASE",
        "1.4x",
        "ratio",
        1.4,
        1.4,
        "x",
        f"{_ETS}; eight queries at a time",
        "arXiv 2502.13575, abstract (2025)",
        _ets_throughput,
    ),
]
