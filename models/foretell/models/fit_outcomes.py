"""A profile from the per-sample records of an evaluation, by maximum likelihood, with standard errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foretell.models.accuracy.coverage import fit_difficulty
from foretell.models.eval_log import Samples
from foretell.models.fit_lengths import fit_lengths
from foretell.models.outcomes import Answers, Difficulty, FloatArray, Outcomes

_UNFITTED = ("difficulty.shared", "revision", "settling", "guess_ratio", "step_tokens")


@dataclass(frozen=True, slots=True)
class OutcomeFit:
    """A fitted profile.

    Attributes:
        profile: what `load_outcomes` would read; its gaps name what the records do not tell.
        errors: standard error by "section.figure"; nothing for a figure at the edge of its range.
        samples, problems, capped: how many there were, and how many samples were cut at the cap.
        notes: what a reader should know, a line each.

    """

    profile: Outcomes
    errors: Mapping[str, float]
    samples: int
    problems: int
    capped: int
    notes: tuple[str, ...]


def fit_outcomes(
    samples: Samples,
    *,
    task: str,
    model: str,
    max_tokens: int | None = None,
    source: str = "",
    prompt_tokens: int | None = None,
) -> OutcomeFit:
    """Fit difficulty, lengths, the concentration of wrong answers and the worth of confidence.

    Difficulty is the zero-inflated Beta law of the counts (`fit_difficulty`), lengths as `fit_lengths` says,
    wrong answers by how often two and three of a problem's agree, confidence by the pairs of a right and a
    wrong sample of one problem. Standard errors take problems as independent.

    Args:
        samples: the records.
        task, model: the profile's names.
        max_tokens: the cap of the samples; None: where the log says which were cut, or where several end.
        source: where the records come from, with their date.
        prompt_tokens: of a query; None: the records' mean, else a gap.

    Raises:
        ValueError: fewer than three problems, or none with two samples; a sample above max_tokens.

    """
    n = np.bincount(samples.problem)
    c = np.bincount(samples.problem, samples.correct).astype(np.float64)
    if len(n) < 3 or n.max() < 2:
        raise ValueError(
            f"{len(n)} problems with at most {n.max()} samples each: a profile needs three problems or more, "
            "with two samples or more each"
        )
    notes: list[str] = []
    gaps = list(_UNFITTED)
    cap, capped = _cap(samples, max_tokens, notes, gaps)
    difficulty = fit_difficulty(n, c, inflated=bool(n.max() > 2))
    if n.max() == 2:
        notes.append("two samples a problem do not tell `zero`: it stands at 0")
        gaps.append("difficulty.zero")
    errors = {f"difficulty.{name}": value for name, value in _difficulty_errors(n, c, difficulty).items()}
    fitted = fit_lengths(samples.problem, samples.tokens, samples.correct, capped, cap, difficulty)
    errors |= {f"lengths.{name}": value for name, value in fitted.errors.items()}
    answers, spread = _answers(samples, capped)
    if spread is None:
        gaps.append("answers")
    else:
        errors["answers.top_wrong_share"] = spread
    auc, auc_error = _confidence(samples)
    if auc_error is None:
        gaps.append("confidence_auc")
    else:
        errors["confidence_auc"] = auc_error
    prompt = prompt_tokens or (round(samples.prompt_tokens) if samples.prompt_tokens else None)
    if prompt is None:
        gaps.append("prompt_tokens")
    fitted_names = ["difficulty", "lengths", "answers", "confidence_auc", "prompt_tokens"]
    about = source or "fitted to per-sample records"
    profile = Outcomes(
        task=task,
        model=model,
        difficulty=difficulty,
        lengths=fitted.lengths,
        answers=answers,
        confidence_auc=auc,
        prompt_tokens=prompt or 256,
        problems=len(n),
        sources={name: about for name in fitted_names if name not in gaps},
        gaps=tuple(sorted(gaps)),
    )
    return OutcomeFit(profile, errors, len(samples.tokens), len(n), int(capped.sum()), tuple(notes))


def _cap(
    samples: Samples, max_tokens: int | None, notes: list[str], gaps: list[str]
) -> tuple[int, npt.NDArray[np.bool_]]:
    """The cap and which samples were cut there. A right sample counts as ended even at the cap."""
    longest = float(samples.tokens.max())
    cut = samples.stopped if samples.stopped is not None else np.zeros(len(samples.tokens), dtype=np.bool_)
    if max_tokens is not None:
        if longest > max_tokens:
            raise ValueError(f"max_tokens: {max_tokens} is below a sample of {longest:.0f} tokens")
        cap = max_tokens
    elif cut.any():
        cap = int(samples.tokens[cut].max())
    else:
        cap = int(np.ceil(longest))
        if np.sum(samples.tokens >= cap) > 1:
            notes.append(
                f"several samples end at {cap} tokens: taken as the cap (--max-tokens says otherwise)"
            )
        else:
            notes.append(f"no cap in the records: it stands at the longest sample, {cap} tokens")
            gaps.append("lengths.cap_tokens")
            return cap, np.zeros(len(samples.tokens), dtype=np.bool_)
    cut = cut | (samples.tokens >= cap)
    right = int(np.sum(cut & samples.correct))
    if right:
        notes.append(f"{right} right samples reach the cap: they count as ended there")
    return cap, cut & ~samples.correct


def _difficulty_errors(n: npt.NDArray[np.int64], c: FloatArray, law: Difficulty) -> dict[str, float]:
    """Standard errors of a, b, zero and the mean by the outer product of the problems' scores."""
    from scipy.special import betaln, gammaln

    ways = gammaln(n + 1) - gammaln(c + 1) - gammaln(n - c + 1)

    def log_likelihood(x: FloatArray) -> FloatArray:
        a, b, zero = np.exp(x[0]), np.exp(x[1]), x[2]
        beta = np.exp(ways + betaln(a + c, b + n - c) - betaln(a, b))
        return np.asarray(np.log(np.where(c == 0, zero, 0.0) + (1 - zero) * beta))

    x = np.array([np.log(law.a), np.log(law.b), law.zero])
    free = np.eye(3)[: 3 if law.zero > 1e-4 else 2]  # at zero = 0 the law has no third direction
    step = min(1e-4, law.zero / 2) if len(free) == 3 else 1e-4
    scores = np.stack(
        [(log_likelihood(x + step * u) - log_likelihood(x - step * u)) / (2 * step) for u in free]
    )
    root = np.sqrt(np.diag(np.linalg.pinv(scores @ scores.T)))
    found = {"a": law.a * root[0], "b": law.b * root[1]}
    if len(free) == 3:
        found["zero"] = root[2]
    found["mean"] = np.std(c / n, ddof=1) / np.sqrt(len(n))
    return {name: float(value) for name, value in found.items()}


def _answers(samples: Samples, capped: npt.NDArray[np.bool_]) -> tuple[Answers, float | None]:
    """The law of wrong answers and the standard error of its top share, None where they do not tell."""
    if samples.answer is None:
        return Answers(), None
    tallies: dict[int, dict[str, int]] = {}
    for i, answer in enumerate(samples.answer):
        if answer is not None and not samples.correct[i] and not capped[i]:
            tally = tallies.setdefault(int(samples.problem[i]), {})
            tally[answer] = tally.get(answer, 0) + 1
    held = [np.array(list(tally.values()), dtype=np.float64) for tally in tallies.values()]
    pairs = np.array([(np.sum(k * (k - 1)), k.sum() * (k.sum() - 1)) for k in held]).reshape(-1, 2)
    threes = np.array(
        [(np.sum(k * (k - 1) * (k - 2)), k.sum() * (k.sum() - 1) * (k.sum() - 2)) for k in held]
    ).reshape(-1, 2)
    told = pairs[:, 1] > 0
    if told.sum() < 3:
        return Answers(), None
    agree, total = pairs.sum(axis=0)
    left = (agree - pairs[told, 0]) / (total - pairs[told, 1])  # one problem left out
    error = float(np.std(_share(left)) * np.sqrt(told.sum() - 1))
    of_three = threes[:, 0].sum() / threes[:, 1].sum() if threes[:, 1].sum() > 0 else None
    return concentration(agree / total, of_three), error


def _share(agreement: npt.ArrayLike) -> FloatArray:
    """Σ s²(1−s)^(2k−2) = s/(2−s) is the chance that two wrong answers agree; solved for s."""
    x = np.asarray(agreement, dtype=np.float64)
    return np.asarray(2 * x / (1 + x))


def concentration(of_two: float, of_three: float | None) -> Answers:
    """The law of wrong answers under which two agree with chance `of_two` and three with `of_three`.

    Three agree with E[s³/(1−(1−s)³)]; more often than one s for all problems allows means that s varies.
    """
    from foretell.models.accuracy.voting import top_shares

    alike = float(_share(of_two))
    if of_three is None or not 0.02 < alike < 0.98 or of_three <= alike**3 / (1 - (1 - alike) ** 3):
        return Answers(top_wrong_share=alike)

    def moments(law: Answers) -> tuple[float, float]:
        s, weight = top_shares(law)
        s = np.maximum(s, 1e-12)
        return float(weight @ (s / (2 - s))), float(weight @ (s**3 / (1 - (1 - s) ** 3)))

    best, gap = Answers(top_wrong_share=alike), np.inf
    for spread in np.geomspace(0.3, 300, 40):
        low, high = 0.001, 0.999
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (
                (middle, high) if moments(Answers(middle, float(spread)))[0] < of_two else (low, middle)
            )
        law = Answers(low, float(spread))
        off = abs(moments(law)[1] - of_three)
        if off < gap:
            best, gap = law, off
    return best


def _confidence(samples: Samples) -> tuple[float, float | None]:
    """AUC over pairs of a right and a wrong sample of one problem, and its standard error."""
    if samples.confidence is None:
        return 0.7, None
    won, pairs = [], []
    order = np.argsort(samples.problem, kind="stable")
    for mine in np.split(order, np.cumsum(np.bincount(samples.problem))[:-1]):
        sure, good = samples.confidence[mine], samples.correct[mine]
        right, wrong = sure[good], sure[~good]
        if len(right) and len(wrong):
            ahead = right[:, None] - wrong
            won.append(float(np.sum(ahead > 0) + 0.5 * np.sum(ahead == 0)))
            pairs.append(len(right) * len(wrong))
    if len(won) < 3:
        return 0.7, None
    total, number = sum(won), sum(pairs)
    left = [(total - w) / (number - m) for w, m in zip(won, pairs, strict=True)]
    return total / number, float(np.std(left) * np.sqrt(len(left) - 1))
