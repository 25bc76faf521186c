"""Claims of papers on models in a row, branching at uncertain tokens, and thinking before questions come."""

from __future__ import annotations

from foretell.models.profiles import load_outcomes
from foretell.sim.programs.adaptive_steps import eager, mur
from foretell.sim.programs.cascades import hawkeye
from foretell.sim.programs.conversation import sleep_time
from foretell.sim.programs.llm import PoolName
from foretell.sim.programs.run import run_programs
from foretell.sim.programs.sampling import self_consistency, single
from foretell.validate.papers import Claim, Found
from foretell.validate.papers_runs import ratio, served, unloaded

LARGE, SMALL = PoolName("large"), PoolName("small")


def _hawkeye(effort: float) -> Found:
    pools = {"large": served("qwen2.5-32b", "h100-sxm"), "small": served("qwen2.5-7b", "h100-sxm")}
    profiles = {"large": load_outcomes("gsm8k", "qwq-32b"), "small": load_outcomes("gsm8k", "llama-3.1-8b")}
    whole, short = (
        run_programs(program, pools, profiles, n_queries=max(round(1500 * effort), 50), seed=5)
        for program in (single(solver=LARGE), hawkeye(large=LARGE, small=SMALL))
    )
    value, interval = ratio(whole.latency_s, short.latency_s)
    beside = {"accuracy of the large model": 100 * whole.accuracy, "of both": 100 * short.accuracy}
    why = "a chain of 35 % bounds the speed-up at 2.9x, however fast the small model is"
    return Found(value, interval, why, beside)


def _eager(effort: float) -> Found:
    profile = load_outcomes("aime25", "qwen3-4b")
    votes = unloaded(self_consistency(n=8), profile, 800 * effort)
    forked = unloaded(eager(n=8), profile, 800 * effort)
    value, interval = ratio(votes.tokens, forked.tokens)
    beside = {"accuracy of votes": 100 * votes.accuracy, "of forks": 100 * forked.accuracy}
    why = "how often entropy peaks is assumed; forks share what is before them, which votes write anew"
    return Found(value, interval, why, beside)


def _mur(effort: float) -> Found:
    profile = load_outcomes("math-500", "qwen3-4b")
    every_step = unloaded(mur(triggered=1.0, blame=1.0), profile, 500 * effort)
    some = unloaded(mur(), profile, 500 * effort)
    value, interval = ratio(every_step.tokens, some.tokens)
    beside = {"accuracy, every step": 100 * every_step.accuracy, "uncertain steps": 100 * some.accuracy}
    why = "the share of uncertain steps is assumed (0.3); their judge is an oracle"
    return Found(value, interval, why, beside)


def _sleep(effort: float) -> Found:
    profile = load_outcomes("gsm8k", "qwen3-8b")
    awake = unloaded(sleep_time(sleep_calls=0, questions=10), profile, 1000 * effort)
    asleep = unloaded(sleep_time(questions=10), profile, 1000 * effort)
    notes = 1000.0  # written while nobody waits
    value, interval = ratio(awake.tokens, asleep.tokens - notes)
    why = "how much thought the notes spare, and how often a question was foreseen, are assumed (0.8, 0.8)"
    return Found(value, interval, why, {"tokens a context, notes included": float(asleep.tokens.mean())})


ROWS = [
    Claim(
        "Hawkeye",
        "a short chain of the large model and a small one's answer are faster",
        "up to 3.4x",
        "ratio",
        3.4,
        3.4,
        "x",
        "QwQ-32B and Qwen2.5-7B on GSM8K, one H100 each, chains of 35 %",
        "arXiv 2504.00424, abstract (2025)",
        _hawkeye,
    ),
    Claim(
        "EAGer",
        "fewer tokens than as many whole samples",
        "up to 65% less, thus 2.9x",
        "ratio",
        1 / 0.35,
        1 / 0.35,
        "x",
        "Qwen3-4B on AIME25, up to 8 branches against 8 votes, as the program has it",
        "arXiv 2510.11170, abstract (2025)",
        _eager,
    ),
    Claim(
        "MUR",
        "less computation than scaling every step",
        ">50% less, thus 2x",
        "ratio",
        2.0,
        None,
        "x",
        "Qwen3-4B on MATH-500, 4 candidates for uncertain steps against all, as the program has it",
        "arXiv 2507.14958, abstract (2025)",
        _mur,
    ),
    Claim(
        "Sleep-time Compute",
        "less computation while somebody waits",
        "about 5x",
        "ratio",
        5.0,
        5.0,
        "x",
        "Qwen3-8B on GSM8K, ten questions on a context, as the program has it; tokens at test time",
        "arXiv 2504.13171, abstract (2025)",
        _sleep,
    ),
]
