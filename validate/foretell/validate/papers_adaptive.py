"""Claims of papers on adaptive compute: stops by probes and by agreement, early pruning, self-evaluation."""

from __future__ import annotations

from functools import cache

import numpy as np

from foretell.models.architecture import load_architecture
from foretell.models.hardware import load_hardware
from foretell.models.pricing import step_cost
from foretell.models.profiles import load_outcomes
from foretell.models.verifiers import Verifier
from foretell.sim.config import EngineConfig
from foretell.sim.disaggregated import EnginePool
from foretell.sim.programs.adaptive import dynasor, pruned_best_of_n, trimr
from foretell.sim.programs.adaptive_votes import certain_consistency, self_evaluated
from foretell.sim.programs.llm import Judge, Program
from foretell.sim.programs.run import run_programs
from foretell.sim.programs.sampling import best_of_n, self_consistency, single
from foretell.validate.papers import Claim, Found
from foretell.validate.papers_runs import mean, ratio, unloaded
from foretell.validate.papers_verifiers import known_mean

PRESETS = ((8, 64), (5, 64), (3, 64), (2, 64), (2, 32))
"""Dynasor's own (agree, chunk_tokens), mild to aggressive."""
SELF = Judge(None, Verifier(auc=0.8))


def _dynasor(effort: float) -> Found:
    savings, losses = {}, {}
    for task in ("math-500", "aime24"):
        profile = load_outcomes(task, "qwen3-14b")
        plain = unloaded(single(), profile, 150 * effort)
        for agree, chunk in PRESETS:
            run = unloaded(dynasor(agree=agree, chunk_tokens=chunk), profile, 150 * effort)
            name = f"{task}, {agree} probes of {chunk} tokens"
            savings[name] = ratio(plain.tokens, run.tokens)
            losses[name] = 100 * (plain.accuracy - run.accuracy)
        votes = unloaded(self_consistency(n=16), profile, 600 * effort)
        run = unloaded(certain_consistency(n=16), profile, 600 * effort)
        savings[f"{task}, votes"] = ratio(votes.tokens, run.tokens)
        losses[f"{task}, votes"] = 100 * (votes.accuracy - run.accuracy)
    kept = [name for name in savings if losses[name] <= 1.0]
    best = max(kept, key=lambda name: savings[name][0])
    beside = {f"{name}: saving": value[0] for name, value in savings.items()}
    beside |= {f"{name}: points lost": value for name, value in losses.items()}
    return Found(
        savings[best][0],
        savings[best][1],
        f"the most is saved by: {best}; this model solves MATH-500 so often that most votes are to spare",
        beside,
    )


@cache
def _engine() -> EnginePool:
    cost = step_cost(load_architecture("qwen3-14b"), load_hardware("h100-sxm"))
    config = EngineConfig(
        num_gpu_blocks=20_000, max_num_batched_tokens=8192, enable_prefix_caching=True, max_num_seqs=256
    )
    return EnginePool(cost, config)


def _p90(program: Program, rate: float, lasting_s: float) -> float:
    """p90 of the latency of those that come after the first quarter of a stretch of Poisson arrivals."""
    gaps = np.random.default_rng(7).exponential(1 / rate, max(round(rate * lasting_s), 20))
    profile = load_outcomes("math-500", "qwen3-14b")
    run = run_programs(program, {"": _engine()}, {"": profile}, arrival_s=np.cumsum(gaps), seed=5)
    return float(np.quantile(run.latency_s[len(run) // 4 :], 0.9))


def _highest_rate(program: Program, limit_s: float, lasting_s: float, low: float) -> float:
    """Highest rate at which nine of ten queries are answered in time, from `low` up, by bisection to 5 %."""
    high = 1.5 * low
    while _p90(program, high, lasting_s) <= limit_s:
        low, high = high, 1.5 * high
    while high / low > 1.05:
        middle = (low * high) ** 0.5
        met = _p90(program, middle, lasting_s) <= limit_s
        low, high = (middle, high) if met else (low, middle)
    return low


@cache
def _loaded(stretch: float) -> tuple[float, float, float, float]:
    """Rates of votes and of certain votes, limit [s] (twice what votes take), time of arrivals [s]."""
    votes, certain = self_consistency(n=16), certain_consistency(n=16)
    limit_s = 2 * _p90(votes, 0.002, 30_000)
    lasting_s = stretch * limit_s
    plain = _highest_rate(votes, limit_s, lasting_s, 0.01)
    return plain, _highest_rate(certain, limit_s, lasting_s, plain), limit_s, lasting_s


_LOAD = (
    "ours adds no scheduling of programs (gangs, shortest remaining first), from which part of the paper's "
    "gain "
    "comes"
)


def _dynasor_rate(effort: float) -> Found:
    plain, certain, limit_s, _ = _loaded(max(30 * effort, 3.0))
    beside = {"votes [1/s]": plain, "certain [1/s]": certain, "limit [s]": limit_s}
    return Found(certain / plain, why=_LOAD, beside=beside)


def _dynasor_slo(effort: float) -> Found:
    plain, _, _, lasting_s = _loaded(max(30 * effort, 3.0))
    rate = 1.2 * plain
    votes, certain = (
        _p90(program, rate, lasting_s) for program in (self_consistency(n=16), certain_consistency(n=16))
    )
    return Found(
        votes / certain, why=_LOAD, beside={"votes [s]": votes, "certain [s]": certain, "rate [1/s]": rate}
    )


def _trimr(effort: float) -> Found:
    found = {}
    lost = {}
    for task in ("aime24", "aime25"):
        profile = load_outcomes(task, "qwq-32b")
        plain = unloaded(single(), profile, 400 * effort)
        cut = unloaded(trimr(), profile, 400 * effort)
        found[task] = ratio(plain.latency_s, cut.latency_s)
        lost[f"{task}: points lost"] = 100 * (plain.accuracy - cut.accuracy)
    best = max(found, key=lambda task: found[task][0])
    why = "how much can be cut follows from where a trace settles on its answer, which is assumed"
    return Found(*found[best], why, {task: value[0] for task, value in found.items()} | lost)


def _self_evaluated(effort: float) -> Found:
    profile = known_mean(0.21)
    one = unloaded(single(), profile, 4000 * effort)
    sixteen = unloaded(best_of_n(n=16, verifier=SELF), profile, 4000 * effort)
    runs = [
        unloaded(self_evaluated(n=16, threshold=t, verifier=SELF), profile, 4000 * effort)
        for t in (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0)
    ]
    whole = sixteen.accuracy - one.accuracy
    asked = [float(run.calls.mean()) for run in runs]
    kept = [100 * (run.accuracy - one.accuracy) / whole for run in runs]
    return Found(
        float(np.interp(1.2, asked, kept)),
        why="a win rate against another model is taken for an accuracy; self-evaluation is assumed to know "
        "nothing "
        "of how hard a query is, whereas the paper's is trained to foresee whether more samples help",
        beside={f"share kept at {a:.2f} samples": k for a, k in zip(asked, kept, strict=True)},
    )


def _pruned(effort: float) -> Found:
    profile = known_mean(0.84)
    whole = unloaded(best_of_n(n=16, verifier=SELF), profile, 4000 * effort)
    kept = {
        f"{keep} of 16 go on": mean(
            whole.right.astype(float)
            - unloaded(pruned_best_of_n(n=16, keep=keep, verifier=SELF), profile, 4000 * effort).right,
            100.0,
        )
        for keep in (8, 4)
    }
    worst = max(kept.values())
    return Found(
        2.0 - worst[0], (2.0 - worst[1][1], 2.0 - worst[1][0]), beside={k: v[0] for k, v in kept.items()}
    )


_CERTAIN = "Qwen3-14B on MATH-500, one H100, Poisson arrivals, 16 votes against rounds of 4 until certain"
ROWS = [
    Claim(
        "Certaindex / Dynasor",
        "less compute in batches without loss of accuracy",
        "up to 50%, thus 2x",
        "ratio",
        2.0,
        2.0,
        "x",
        "Qwen3-14B on MATH-500 and AIME24: the five presets of probes in a trace, and 16 votes in rounds "
        "of 4; "
        "the largest saving of tokens among those that lose a point at most",
        "arXiv 2412.20993, abstract (2024)",
        _dynasor,
    ),
    Claim(
        "Certaindex / Dynasor",
        "higher rate of queries under the same limit on latency",
        "3.3x",
        "ratio",
        3.3,
        3.3,
        "x",
        f"{_CERTAIN}; p90 within twice what the votes take without load",
        "arXiv 2412.20993, abstract (2024)",
        _dynasor_rate,
    ),
    Claim(
        "Certaindex / Dynasor",
        "tighter limit on latency at the same rate",
        "4.7x",
        "ratio",
        4.7,
        4.7,
        "x",
        f"{_CERTAIN}; p90 at 1.2 times the rate that the votes can keep",
        "arXiv 2412.20993, abstract (2024)",
        _dynasor_slo,
    ),
    Claim(
        "TrimR",
        "less runtime of reasoning",
        "up to 70%, thus 1.7x (as speed) to 3.3x (as time)",
        "ratio",
        1.7,
        1 / 0.3,
        "x",
        "QwQ-32B on AIME24 and AIME25 without load, as the program has it; the largest",
        "arXiv 2505.17155, abstract (2025)",
        _trimr,
    ),
    Claim(
        "Adaptive Inference-Time Compute",
        "share of the gain of 16 samples that 1.2 samples keep",
        "74%",
        "level",
        74.0,
        74.0,
        "%",
        "right in 21 % of samples in the mean, Beta with a + b = 0.6; self-evaluation with an AUC of 0.8",
        "arXiv 2410.02725, abstract (2024); Llama 3.1 8B, AlpacaEval",
        _self_evaluated,
    ),
    Claim(
        "Adaptive Inference-Time Compute",
        "50 to 75 % of samples can be given up early with little loss",
        "qualitative",
        "direction",
        None,
        None,
        "2 points less what is lost",
        "right in 84 % of samples, 8 or 4 of 16 go on after 128 tokens, judged with an AUC of 0.65 there",
        "arXiv 2410.02725, abstract (2024)",
        _pruned,
    ),
]
