"""Claims of papers on verifiers: ceilings and best numbers of samples, judges, allocation by difficulty."""

from __future__ import annotations

from functools import partial

import numpy as np

from foretell.models.accuracy.allocation import greedy_samples
from foretell.models.accuracy.coverage import pass_at_k
from foretell.models.accuracy.judge import best_judged_k, judged_error
from foretell.models.accuracy.selection import best_of_n
from foretell.models.accuracy.verifier import acceptance, accepted_within, best_k
from foretell.models.outcomes import Difficulty, Lengths, Outcomes
from foretell.models.profiles import load_outcomes
from foretell.models.verifiers import Verifier
from foretell.validate.papers import Claim, Found

SPREAD = 0.6
"""a + b of a Beta law of difficulty where only a mean is known: that of AIME runs in Epoch AI's logs."""


def problems(mean: float) -> tuple[np.ndarray, np.ndarray]:
    """(weights, chances) of problems whose mean chance is `mean`."""
    weight, chance, _ = known_mean(mean).problem_grid(2000, 1)
    return weight, np.minimum(chance, 1 - 1e-12)


def known_mean(mean: float, median_tokens: float = 300.0) -> Outcomes:
    """A profile of which only the mean accuracy is known: the usual spreads, lengths of short answers."""
    return Outcomes(
        "unnamed",
        "unnamed",
        Difficulty(SPREAD * mean, SPREAD * (1 - mean)),
        Lengths(median_tokens, 0.5, 0.4, 0.3),
    )


def unit_tests(humaneval: float, first_reward: float) -> tuple[float, float]:
    """(chance of a right sample, soundness) of a model from two published figures.

    Of samples, `humaneval` pass HumanEval's own tests, p + f, and the reward of the first one where a false
    positive costs 8 is p − 8·f; f = (1 − s)·(1 − p).
    """
    false = (humaneval - first_reward) / 9
    right = humaneval - false
    return right, 1 - false / (1 - right)


def _best_samples(humaneval: float, first_reward: float, cost: float, _: float) -> Found:
    right, soundness = unit_tests(humaneval, first_reward)
    weight, chance = problems(right)
    found = best_k(chance, weight, 1.0, soundness, false_positive_cost=cost, most=200)
    return Found(
        float(found),
        why="one soundness for all problems makes further samples of a hard one as likely false positives "
        "as the first; the authors' come from the few problems whose tests are weak, so that sampling on "
        "pays for longer (as a verifier's `common` errors have it)",
        beside={"right samples": right, "soundness": soundness},
    )


def _ceiling(_: float) -> Found:
    right, soundness = unit_tests(0.805, 0.144)
    weak = {}
    for mean in (0.1, 0.2, 0.3):
        weight, chance = problems(mean)
        good, bad = acceptance(chance, 1.0, soundness)
        weak[f"ceiling of a model right in {mean:.0%}"] = float(
            weight @ accepted_within(good, bad, np.inf)[0]
        )
    return Found(100 * (right - max(weak.values())), beside=weak | {"strong": right})


def _judge_slope(_: float) -> Found:
    k = np.array([32, 1024])
    error = [judged_error(float(x), truth=0.5, target=0.5) for x in k]
    return Found(float(-np.log(error[1] / error[0]) / np.log(k[1] / k[0])))


def _judge_best(_: float) -> Found:
    found = {shift: best_judged_k(truth=0.5, target=0.5 + shift) for shift in (0.0, 0.25, 0.5, 1.0)}
    finite = found[1.0] < 2048 and found[0.0] > 4000  # of 4,096 tried
    return Found(1.0 if finite else -1.0, beside={f"target off by {s:g}": float(k) for s, k in found.items()})


def _compute_optimal(_: float) -> Found:
    weight, chance = problems(0.2)
    uniform = float(weight @ pass_at_k(chance, 64))
    n = len(chance)
    least = next(
        mean
        for mean in np.geomspace(1, 64, 60)
        if float(weight @ pass_at_k(chance, greedy_samples(chance, int(mean * n)))) >= uniform
    )
    return Found(
        64 / float(least),
        why="ours knows every problem's difficulty and has an oracle for a verifier; the paper's estimates "
        "the "
        "one and trains the other, and mixes revisions with search",
        beside={"accuracy of 64 samples each": uniform, "samples for the same": float(least)},
    )


def _gsm8k(_: float) -> Found:
    weight, chance, _log = load_outcomes("gsm8k", "llama-3.1-8b").problem_grid(2000, 1)
    one = float(weight @ chance)
    gains = {
        f"AUC {auc:g}": 100 * (float(weight @ best_of_n(chance, 16, Verifier(auc=auc).separation)) - one)
        for auc in (0.7, 0.8, 0.9)
    }
    return Found(gains["AUC 0.8"], beside=gains)


_HUMANEVAL = (
    "right samples and soundness from two figures: HumanEval pass@1 of the model card and the reward of one "
    "sample at cost 8; Beta difficulty with a + b = 0.6, up to 200 samples"
)
_FLAWS = "Inference Scaling fLaws"


def _flaw(model: str, humaneval: float, first_reward: float, cost: float, best: int) -> Claim:
    return Claim(
        _FLAWS,
        f"best number of samples of {model} where a wrong answer costs {cost:g}",
        str(best),
        "count",
        float(best),
        float(best),
        "samples",
        _HUMANEVAL,
        "arXiv 2411.17501, authors' notebook evalplus/scaling_curves (2024)",
        partial(_best_samples, humaneval, first_reward, cost),
        200.0,
    )


ROWS = [
    Claim(
        _FLAWS,
        "best number of samples where false positives cost",
        "<10",
        "count",
        None,
        10.0,
        "samples",
        "Llama-3.1-70B on HumanEval+, a wrong answer costing 4; as below",
        "arXiv 2411.17501, abstract (2024)",
        partial(_best_samples, 0.805, 0.144, 4.0),
        200.0,
    ),
    _flaw("Llama-3.1-70B", 0.805, 0.144, 1.0, 25),
    _flaw("Llama-3.1-70B", 0.805, 0.144, 2.0, 9),
    _flaw("Llama-3.1-70B", 0.805, 0.144, 4.0, 2),
    _flaw("Llama-3.1-8B", 0.726, -0.142, 2.0, 22),
    _flaw("Llama-3.1-8B", 0.726, -0.142, 4.0, 4),
    Claim(
        _FLAWS,
        "a weak model does not reach a strong one's single sample with any number of samples",
        "ceiling",
        "direction",
        None,
        None,
        "points of the strong model's single sample over the weak one's ceiling",
        "unit tests as sound as with Llama-3.1-70B; weak models right in 10, 20 and 30 % of samples, the "
        "best "
        "ceiling of them",
        "arXiv 2411.17501, abstract (2024)",
        _ceiling,
    ),
    Claim(
        "Demystifying LLM-as-a-Judge",
        "error of the best of k falls as a power of k, the judge being faithful",
        "Theta(1/k^2)",
        "ratio",
        2.0,
        2.0,
        "exponent",
        "normal samples, truth and target half a standard deviation from the mean, k from 32 to 1,024",
        "arXiv 2512.19905, abstract (2025)",
        _judge_slope,
    ),
    Claim(
        "Demystifying LLM-as-a-Judge",
        "a finite best k where the judge is off the mark enough, none where it is faithful",
        "finite",
        "direction",
        None,
        None,
        "1 if so",
        "as above, the judge's target off by 0 to 1 standard deviations",
        "arXiv 2512.19905, abstract (2025)",
        _judge_best,
    ),
    Claim(
        "Scaling LLM Test-Time Compute Optimally (Snell)",
        "compute-optimal allocation against best of N, at equal accuracy",
        ">4x",
        "ratio",
        4.0,
        None,
        "x",
        "problems solved in 20 % of samples in the mean, Beta with a + b = 0.6; 64 samples for each against "
        "samples by difficulty",
        "arXiv 2408.03314, abstract (2024); MATH, PaLM 2-S*",
        _compute_optimal,
    ),
    Claim(
        "Adaptive Inference-Time Compute",
        "gain of 16 samples on GSM8K, chosen by the model's own judgement",
        "84% to 91%",
        "points",
        7.0,
        7.0,
        "points",
        "Llama-3.1-8B on GSM8K; scores with an AUC of 0.8",
        "arXiv 2410.02725, abstract (2024); Llama 3.1 8B",
        _gsm8k,
    ),
]
