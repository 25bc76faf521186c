"""Claims of papers on independent samples: coverage, votes, first to finish, forced budgets, deadlines."""

from __future__ import annotations

from dataclasses import replace

from foretell.models.accuracy.coverage import beta_pass_at_k, pass_at_k
from foretell.models.accuracy.voting import gaussian_vote, majority_vote
from foretell.models.architecture import load_architecture
from foretell.models.hardware import load_hardware
from foretell.models.outcomes import Difficulty, Outcomes
from foretell.models.pricing import step_cost
from foretell.models.profiles import load_outcomes
from foretell.sim.programs.sampling import (
    budget_forcing,
    first_finish,
    rejection_by_length,
    self_consistency,
    single,
)
from foretell.sim.programs.servers import UnloadedPool
from foretell.validate.papers import Claim, Found
from foretell.validate.papers_hardware import decode_load
from foretell.validate.papers_runs import gain, mean, ratio, unloaded

QWEN3 = ("qwen3-0.6b", "qwen3-1.7b", "qwen3-4b", "qwen3-8b", "qwen3-14b", "qwen3-32b")


def coverage(profile: Outcomes, k: int) -> float:
    """Mean pass@k of a profile."""
    weight, chance, _ = profile.problem_grid()
    return float(weight @ pass_at_k(chance, k))


def vote(profile: Outcomes, k: int) -> float:
    """Accuracy of a majority of k, exactly up to 64 samples, beyond by the Gaussian approximation."""
    weight, chance, _ = profile.problem_grid(verbosities=1)
    if k <= 64:
        return float(weight @ majority_vote(chance, k, profile.answers))
    return float(weight @ gaussian_vote(chance, (1 - chance) * profile.answers.top_wrong_share, k))


def _monkeys_high(_: float) -> Found:
    tasks = ("gsm8k", "math-500")
    found = {task: 100 * coverage(load_outcomes(task, "llama-3.1-8b"), 10_000) for task in tasks}
    return Found(min(found.values()), beside=found)


def _monkeys_code(_: float) -> Found:
    spread = load_outcomes("swe-bench-verified", "claude-3.5-sonnet-codemonkeys").difficulty
    both = spread.a + spread.b
    law = Difficulty(0.159 * both, 0.841 * both, spread.zero)
    covered = {k: 100 * float(beta_pass_at_k(k, law)) for k in (1, 5, 250)}
    return Found(
        covered[250],
        why="one figure of the paper (a single sample) and how CodeMonkeys' issues spread around theirs; our "
        "profile of this model is fitted to both figures, and would be no test",
        beside={f"coverage of {k}": value for k, value in covered.items()},
    )


def _monkeys_cheap(_: float) -> Found:
    five = 100 * coverage(load_outcomes("swe-bench-lite", "deepseek-coder-v2"), 5)
    return Found(
        five - max(24.0, 26.7),
        why="the strong models' single samples are the paper's",
        beside={"coverage of five": five, "GPT-4o": 24.0, "Claude 3.5 Sonnet": 26.7},
    )


def _monkeys_plateau(_: float) -> Found:
    profile = load_outcomes("math-500", "qwen3-0.6b")
    covered = coverage(profile, 10_000) - coverage(profile, 300)
    voted = vote(profile, 10_000) - vote(profile, 300)
    return Found(
        1 - voted / covered,
        beside={f"majority of {k}": vote(profile, k) for k in (1, 10, 100, 300, 1000, 10_000)}
        | {f"coverage of {k}": coverage(profile, k) for k in (1, 10, 100, 300, 1000, 10_000)},
    )


def _first_finish(effort: float) -> Found:
    profile = load_outcomes("aime24", "deepseek-r1")
    one = unloaded(single(), profile, 6000 * effort)
    four = unloaded(first_finish(n=4), profile, 6000 * effort)
    value, interval = gain(four, one)
    return Found(
        value,
        interval,
        "within a problem right and wrong traces are next to equally long in our profiles (measured ratio of "
        "lengths 0.94 to 1.06), so that the first to finish gains by dodging the cap and the hardest wrong "
        "traces; the accuracy reached is the paper's 82.2 %, but ours of a single trace is higher than "
        "theirs",
        {"accuracy of one": 100 * one.accuracy, "accuracy of the first of 4": 100 * four.accuracy},
    )


def _first_finish_latency(effort: float) -> Found:
    profile = load_outcomes("aime24", "deepseek-r1")
    one = unloaded(single(), profile, 3000 * effort)
    many = {n: unloaded(first_finish(n=n), profile, 3000 * effort) for n in (2, 4, 8)}
    value, interval = ratio(one.latency_s, many[8].latency_s)
    beside = {f"latency over the first of {n}": ratio(one.latency_s, r.latency_s)[0] for n, r in many.items()}
    falls = many[2].latency_s.mean() > many[4].latency_s.mean() > many[8].latency_s.mean()
    return Found((value - 1) if falls else -1.0, (interval[0] - 1, interval[1] - 1), beside=beside)


def _shorter_is_right(effort: float) -> Found:
    found = {}
    for task in ("aime24", "math-500"):
        run = unloaded(single(), load_outcomes(task, "qwen3-32b"), 6000 * effort)
        found[task] = float(run.tokens[~run.right].mean() / run.tokens[run.right].mean())
    return Found(
        min(found.values()) - 1,
        beside=found,
        why="as in the papers all problems are pooled: harder ones take longer; within a problem there is "
        "next to "
        "no difference",
    )


def _budget_forcing(effort: float) -> Found:
    profile = load_outcomes("aime24", "qwen3-14b")
    low, high = (
        unloaded(budget_forcing(max_tokens=tokens), profile, 6000 * effort) for tokens in (2860, 7000)
    )
    value, interval = gain(high, low)
    return Found(
        value,
        interval,
        "s1-32B has no profile; Qwen3-14B stands for it",
        {"at 2860 tokens": 100 * low.accuracy, "at 7000 tokens": 100 * high.accuracy},
    )


def _rejection(effort: float) -> Found:
    profile = load_outcomes("aime24", "qwen3-14b")
    short, long = (
        unloaded(rejection_by_length(max_tokens=tokens, tries=64), profile, 4000 * effort)
        for tokens in (2974, 5294)
    )
    right = [run.right[run.answers >= 0].mean() for run in (short, long)]
    return Found(
        100 * float(right[1] - right[0]),
        why="only samples that end within the budget are kept, of 64 a problem: with a short one those of "
        "easy "
        "problems, as in the paper; nearly all of them are right in our profile, in which length follows "
        "difficulty closely, whereas 6 in 10 of s1-32B's shortest are wrong",
        beside={
            "accuracy of what is kept at 2974": 100 * float(right[0]),
            "at 5294": 100 * float(right[1]),
            "kept at 2974": 100 * float((short.answers >= 0).mean()),
            "kept at 5294": 100 * float((long.answers >= 0).mean()),
        },
    )


def _o1_vote(_: float) -> Found:
    name = min(QWEN3, key=lambda n: abs(load_outcomes("aime24", n).difficulty.mean - 0.6))
    profile = load_outcomes("aime24", name)
    votes = {k: 100 * vote(profile, k) for k in (1, 5, 10, 32, 1000)}
    return Found(votes[10] - votes[1], beside={f"{name}, majority of {k}": v for k, v in votes.items()})


def _o1_flat(_: float) -> Found:
    profile = load_outcomes("aime24", "qwen3-4b")
    return Found(
        (vote(profile, 10) - vote(profile, 1)) - (vote(profile, 1000) - vote(profile, 10)),
        beside={f"majority of {k}": vote(profile, k) for k in (1, 10, 100, 1000)},
    )


def within(model: str, profile: Outcomes, seconds: float, effort: float) -> Found:
    """Best accuracy by a deadline on one H100: a majority of 1 to 16 samples, or a budget that is forced."""
    cost = step_cost(load_architecture(model), load_hardware("h100-sxm"))
    found = {}
    runs = {}
    for n in (1, 4, 16):
        tpot_s = float(cost(*decode_load(n, 3000)))
        pool = UnloadedPool(ttft_s=0.05, tpot_s=tpot_s, prefill_token_s=2e-5)
        tokens = int((seconds - 1.0) / tpot_s)
        runs[f"majority of {n}"] = unloaded(
            self_consistency(n=n), profile, 2000 * effort, pool=pool, deadline_s=seconds
        )
        if n == 1:
            runs[f"forced at {tokens} tokens"] = unloaded(
                budget_forcing(max_tokens=tokens), profile, 2000 * effort, pool=pool, deadline_s=seconds
            )
    for name, run in runs.items():
        found[name] = 100 * run.accuracy
    best = max(found, key=lambda name: found[name])
    value, interval = mean(runs[best].right, 100.0)
    return Found(value, interval, beside=found)


def _minute(effort: float) -> Found:
    found = within("qwen2.5-32b", load_outcomes("math-500", "qwen2.5-32b"), 60.0, effort)
    why = "the abstract names no model or hardware; one Qwen2.5-32B is right more often, and 16 votes fit"
    return Found(found.value, found.interval, why, found.beside)


def _ten_seconds(effort: float) -> Found:
    law = load_outcomes("math-500", "qwen2.5-7b")
    both = law.difficulty.a + law.difficulty.b
    profile = replace(law, difficulty=replace(law.difficulty, a=0.659 * both, b=0.341 * both, zero=0.0))
    return within("llama-3.2-3b", profile, 10.0, effort)


ROWS = [
    Claim(
        "Large Language Monkeys",
        "coverage of SWE-bench Lite with 250 samples, from 15.9 % with one",
        "56%",
        "level",
        56.0,
        56.0,
        "%",
        "right in 15.9 % of samples, Beta with the a + b of our profile of CodeMonkeys on SWE-bench Verified",
        "arXiv 2407.21787, abstract (2024); DeepSeek-Coder-V2",
        _monkeys_code,
    ),
    Claim(
        "Large Language Monkeys",
        "five samples of a cheap model solve more issues than one of a strong model",
        "more",
        "direction",
        None,
        None,
        "points over the better strong model",
        "coverage of five by our profile of DeepSeek-Coder-V2, against 24.0 % (GPT-4o) and 26.7 % (Claude "
        "3.5 "
        "Sonnet)",
        "arXiv 2407.21787, abstract and section 2 (2024)",
        _monkeys_cheap,
    ),
    Claim(
        "Large Language Monkeys",
        "coverage of 10,000 samples on GSM8K and MATH",
        ">95%",
        "level",
        95.0,
        None,
        "%",
        "pass@10000 of Llama-3.1-8B on GSM8K and MATH-500; the less of the two",
        "arXiv 2407.21787, abstract (2024)",
        _monkeys_high,
    ),
    Claim(
        "Large Language Monkeys",
        "majority votes stop gaining beyond several hundred samples while coverage goes on",
        "qualitative",
        "direction",
        None,
        None,
        "share of coverage's gain from 300 to 10,000 that a vote does not have",
        "Qwen3-0.6B on MATH-500, closed forms",
        "arXiv 2407.21787, abstract (2024)",
        _monkeys_plateau,
    ),
    Claim(
        "First Finish Search",
        "gain of the first of several traces over one on AIME",
        "+15%",
        "points",
        15.0,
        15.0,
        "points",
        "DeepSeek-R1 on AIME24, the first of 4",
        "arXiv 2505.18149, abstract (2025); DeepSeek-R1",
        _first_finish,
    ),
    Claim(
        "First Finish Search",
        "latency falls with the number of traces",
        "qualitative",
        "direction",
        None,
        None,
        "latency of one over the first of 8, less 1",
        "DeepSeek-R1 on AIME24, the first of 2, 4 and 8, no load",
        "arXiv 2505.18149, abstract (2025)",
        _first_finish_latency,
    ),
    Claim(
        "Think Deep, Think Fast",
        "right answers of reasoning models are shorter than wrong ones",
        "qualitative",
        "direction",
        None,
        None,
        "mean length of wrong over right answers, less 1",
        "Qwen3-32B on AIME24 and MATH-500, all samples pooled; the lesser ratio",
        "arXiv 2504.14047, abstract (2025)",
        _shorter_is_right,
    ),
    Claim(
        "s1",
        "accuracy on AIME24 rises with the thinking budget that is forced, 2.9k to 7k tokens",
        "30.0% to 50.0%",
        "points",
        20.0,
        20.0,
        "points",
        "Qwen3-14B on AIME24, made to answer at 2,860 and at 7,000 tokens",
        "arXiv 2501.19393, figure 4 (2025); s1-32B",
        _budget_forcing,
    ),
    Claim(
        "s1",
        "rejection sampling gets worse as the allowed length grows, 3.0k to 5.3k tokens",
        "40.0% to 23.3%",
        "points",
        -16.7,
        -16.7,
        "points",
        "Qwen3-14B on AIME24, the first of up to 64 samples that ends within 2,974 and within 5,294 tokens",
        "arXiv 2501.19393, figure 6 (2025); s1-32B",
        _rejection,
    ),
    Claim(
        "o1 reconstruction",
        "gain of majority votes over ten times the tokens, on AIME24",
        "0.60 at 8.7k tokens to 0.70 at 88k",
        "points",
        10.0,
        10.0,
        "points",
        "majority of 10 over one sample, of the Qwen3 whose accuracy on AIME24 is next to 0.6; closed form",
        "repository hughbzhang/o1_inference_scaling_laws (2024)",
        _o1_vote,
    ),
    Claim(
        "o1 reconstruction",
        "votes saturate: ten times more tokens gain much, a hundred times more after that little",
        "flat beyond 2^17 tokens",
        "direction",
        None,
        None,
        "gain from 1 to 10 samples less that from 10 to 1000",
        "Qwen3-4B on AIME24, closed form",
        "repository hughbzhang/o1_inference_scaling_laws (2024)",
        _o1_flat,
    ),
    Claim(
        "Latency-aware test-time scaling",
        "accuracy of a 32B model on MATH-500 within a minute",
        "82.3% within 60 s",
        "level",
        82.3,
        82.3,
        "%",
        "Qwen2.5-32B on one H100, the best of: a majority of 1, 4 or 16 by the deadline, or an answer forced "
        "in "
        "time",
        "arXiv 2505.19634, abstract (2025)",
        _minute,
    ),
    Claim(
        "Latency-aware test-time scaling",
        "accuracy of a 3B model on MATH-500 within ten seconds",
        "72.4% within 10 s",
        "level",
        72.4,
        72.4,
        "%",
        "spread and lengths of Qwen2.5-7B with the accuracy of Qwen2.5-3B (65.9 %), at the speed of "
        "Llama-3.2-3B on "
        "one H100, as above",
        "arXiv 2505.19634, abstract (2025)",
        _ten_seconds,
    ),
]
