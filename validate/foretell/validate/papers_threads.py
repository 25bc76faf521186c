"""Claims of papers on reasoning by several hands: drafted steps, forked threads, models in a row."""

from __future__ import annotations

from functools import cache

from foretell.models.profiles import load_outcomes
from foretell.sim.programs.llm import PoolName, Program
from foretell.sim.programs.run import ProgramRun, run_programs
from foretell.sim.programs.sampling import self_consistency, single
from foretell.sim.programs.speculative import lookahead, spec_reason
from foretell.sim.programs.threads import adaptive_parallel, async_think, thread_weaver
from foretell.validate.papers import Claim, Found
from foretell.validate.papers_runs import engine, gain, ratio, served, unloaded

DRAFT, BASE = PoolName("draft"), PoolName("base")


@cache
def _two_models(name: str, effort: float, base_faster: float = 1.0) -> ProgramRun:
    """One query at a time on two engines whose prefix caches keep the trace."""
    programs: dict[str, Program] = {
        "plain": single(solver=BASE),
        "spec_reason": spec_reason(draft=DRAFT, base=BASE),
        "lookahead": lookahead(draft=DRAFT, base=BASE),
    }
    pools = {
        "base": engine(served("qwen2.5-32b", "a100-80gb-sxm", 2), base_faster),
        "draft": engine(served("qwen2.5-1.5b", "a100-80gb-sxm", 2)),
    }
    profiles = {
        "base": load_outcomes("aime24", "qwq-32b"),
        "draft": load_outcomes("aime24", "deepseek-r1-distill-qwen-1.5b"),
    }
    queries = max(round(60 * effort), 10)
    return run_programs(programs[name], pools, profiles, n_queries=queries, concurrency=1, seed=5)


def _spec_reason(effort: float) -> Found:
    plain = _two_models("plain", effort)
    drafted = _two_models("spec_reason", effort)
    value, interval = ratio(plain.latency_s, drafted.latency_s)
    beside = {"base alone [s]": plain.latency_s.mean(), "with drafts [s]": drafted.latency_s.mean()}
    return Found(value, interval, beside=beside)


def _spec_reason_accuracy(effort: float) -> Found:
    plain = _two_models("plain", effort)
    drafted = _two_models("spec_reason", effort)
    value, interval = gain(drafted, plain)
    return Found(
        value,
        interval,
        "accepted steps are as good as the base's by assumption, so that nothing can be gained; the "
        "paper's gain "
        "comes of a token budget in which the small model's shorter steps leave room for more thought",
    )


def _spec_reason_beside_decoding(effort: float) -> Found:
    plain = _two_models("plain", effort, 1.4)
    drafted = _two_models("spec_reason", effort, 1.4)
    value, interval = ratio(plain.latency_s, drafted.latency_s)
    return Found(value, interval)


def _lookahead(effort: float) -> Found:
    plain = _two_models("plain", effort)
    both = _two_models("lookahead", effort, 1.4)
    value, interval = ratio(plain.latency_s, both.latency_s)
    return Found(value, interval)


def _thread_weaver(effort: float) -> Found:
    profile, pool = load_outcomes("aime24", "qwen3-8b"), served("qwen3-8b", "h100-sxm")
    plain = unloaded(single(), profile, 1500 * effort, pool=pool)
    woven = unloaded(thread_weaver(), profile, 1500 * effort, pool=pool)
    value, interval = ratio(plain.latency_s, woven.latency_s)
    return Found(value, interval)


def _parallel_window(effort: float) -> Found:
    profile = load_outcomes("math-500", "qwen3-1.7b")
    plain = unloaded(single(max_tokens=4096), profile, 4000 * effort)
    threads = unloaded(adaptive_parallel(window_tokens=4096), profile, 4000 * effort)
    value, interval = gain(threads, plain)
    return Found(
        value,
        interval,
        "Countdown has no profile; MATH-500 of a small model stands for it",
        {"one thread": 100 * plain.accuracy, "threads": 100 * threads.accuracy},
    )


def _parallel_latency(effort: float) -> Found:
    profile = load_outcomes("math-500", "qwen3-1.7b")
    plain = unloaded(single(), profile, 3000 * effort)
    threads = unloaded(adaptive_parallel(), profile, 3000 * effort)
    limit = float(sorted(threads.latency_s)[len(threads) // 2])
    found = gain(
        unloaded(adaptive_parallel(), profile, 3000 * effort, deadline_s=limit),
        unloaded(single(), profile, 3000 * effort, deadline_s=limit),
    )
    return Found(found[0], found[1], beside={"deadline [s]": limit, "one thread [s]": plain.latency_s.mean()})


def _async_think(effort: float) -> Found:
    profile, pool = load_outcomes("aime24", "qwen3-4b"), served("qwen3-4b", "h100-sxm")
    votes = unloaded(self_consistency(n=3), profile, 1500 * effort, pool=pool)
    organised = unloaded(async_think(), profile, 1500 * effort, pool=pool)
    value, interval = ratio(votes.latency_s, organised.latency_s)
    return Found(
        value,
        interval,
        "our parallel thinking waits for the longest of three whole traces; the paper's is trained to "
        "think in "
        "shorter ones",
    )


_TWO = "QwQ-32B and R1-Distill-Qwen-1.5B on AIME24 from two A100 each, one query at a time"
ROWS = [
    Claim(
        "SpecReason",
        "faster than the large model alone",
        "1.5-2.5x",
        "ratio",
        1.5,
        2.5,
        "x",
        f"{_TWO}, acceptance as the program has it (0.6)",
        "arXiv 2504.07891, abstract (2025)",
        _spec_reason,
    ),
    Claim(
        "SpecReason",
        "more accurate than the large model alone",
        "+1.0-9.9%",
        "points",
        1.0,
        9.9,
        "points",
        "as above",
        "arXiv 2504.07891, abstract (2025)",
        _spec_reason_accuracy,
    ),
    Claim(
        "SpecReason",
        "less latency with speculative decoding than that alone",
        "19.4-44.2% less, thus 1.24-1.79x",
        "ratio",
        1 / (1 - 0.194),
        1 / (1 - 0.442),
        "x",
        "as above, the large model decoding 1.4 times faster by itself",
        "arXiv 2504.07891, abstract (2025)",
        _spec_reason_beside_decoding,
    ),
    Claim(
        "Lookahead Reasoning",
        "raises the speed-up of speculative decoding from 1.4x",
        "2.1x",
        "ratio",
        2.1,
        2.1,
        "x",
        f"{_TWO}, the large model decoding 1.4 times faster by itself; acceptance and depth as the program "
        "has "
        "them (0.6, 3)",
        "arXiv 2506.19830, abstract (2025)",
        _lookahead,
    ),
    Claim(
        "ThreadWeaver",
        "less latency in tokens",
        "up to 1.53x",
        "ratio",
        1.53,
        1.53,
        "x",
        "Qwen3-8B on AIME24, threads as the program has them (half of the trace, 3 threads, 2 forks)",
        "arXiv 2512.07843, abstract (2025)",
        _thread_weaver,
    ),
    Claim(
        "Adaptive Parallel Reasoning (APR)",
        "more accurate within a context window of 4k tokens",
        "83.4% against 60.0%",
        "points",
        23.4,
        23.4,
        "points",
        "Qwen3-1.7B on MATH-500, threads as the program has them, window 4096",
        "arXiv 2504.15466, abstract (2025); Countdown",
        _parallel_window,
    ),
    Claim(
        "Adaptive Parallel Reasoning (APR)",
        "more accurate at equal latency",
        "75.2% against 57.3%",
        "points",
        17.9,
        17.9,
        "points",
        "as above without a window, both cut at the median latency of the threads",
        "arXiv 2504.15466, abstract (2025); Countdown",
        _parallel_latency,
    ),
    Claim(
        "AsyncThink",
        "less latency than parallel thinking",
        "28% less, thus 1.39x",
        "ratio",
        1 / 0.72,
        1 / 0.72,
        "x",
        "Qwen3-4B on AIME24, as the program has it, against a vote of 3",
        "arXiv 2510.26658, abstract (2025)",
        _async_think,
    ),
]
