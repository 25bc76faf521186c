"""Outcome profiles: how long, how often right and how sure the answers of one model to one task are.

A *problem* is met with a standard normal `ease` (how easy it is for this model among the task's problems)
and an independent standard normal `verbosity` (how long everybody's answers to it are). From these follow
its chance of being solved and the law of its answers' lengths; everything else of a sample is drawn within
the problem. So length and correctness are tied between problems, and next to nothing within one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Difficulty:
    """A problem's chance of being solved by one sample: zero with probability `zero`, else Beta(a, b).

    Attributes:
        a, b: of the Beta law, > 0.
        zero: share of problems that no sample solves, in [0, 1).
        shared: share of the variance of `ease` that all models have in common, in [0, 1].

    Raises:
        ValueError: a figure out of range.

    """

    a: float
    b: float
    zero: float = 0.0
    shared: float = 0.5

    def __post_init__(self) -> None:
        _check(self, a=(0, np.inf), b=(0, np.inf), zero=(0, 1), shared=(0, 1))
        if not (self.a > 0 and self.b > 0 and self.zero < 1):
            raise ValueError(f"difficulty: a {self.a}, b {self.b}, zero {self.zero} are not > 0, > 0, < 1")

    @property
    def mean(self) -> float:
        """Mean chance, which is the accuracy of one sample."""
        return (1 - self.zero) * self.a / (self.a + self.b)


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of a sample, log-normal within a problem, whose median is log-normal between problems.

    Attributes:
        median_tokens: of a problem of median length.
        sd_between, sd_within: of the log length, between problems' medians and within a problem.
        hardness: correlation between problems of log length and difficulty (> 0: harder is longer).
        wrong_ratio: median length of wrong over right samples of one problem.
        cap_tokens: max_tokens of the measurements; a sample that reaches it is wrong.

    Raises:
        ValueError: a figure out of range.

    """

    median_tokens: float
    sd_between: float
    sd_within: float
    hardness: float = 0.0
    wrong_ratio: float = 1.0
    cap_tokens: int = 32_768

    def __post_init__(self) -> None:
        _check(
            self,
            median_tokens=(1, np.inf),
            sd_between=(0, 10),
            sd_within=(0, 10),
            hardness=(-1, 1),
            wrong_ratio=(0.01, 100),
            cap_tokens=(1, np.inf),
        )


@dataclass(frozen=True, slots=True)
class Answers:
    """What wrong samples say: of a problem's wrong answers the k-th most frequent holds s·(1−s)^(k−1).

    Attributes:
        top_wrong_share: mean over problems of s, the share of the most frequent wrong answer, in [0, 1];
            0 means that no two wrong answers agree (as with code or free text).
        spread: precision of s, Beta(s·spread, (1−s)·spread) over problems; infinite: alike everywhere.

    Raises:
        ValueError: a figure out of range.

    """

    top_wrong_share: float = 0.6
    spread: float = np.inf

    def __post_init__(self) -> None:
        _check(self, top_wrong_share=(0, 1), spread=(0.01, np.inf))


@dataclass(frozen=True, slots=True)
class Revision:
    """What a round of self-revision does to an answer: rates by round, the last one for all later rounds.

    Attributes:
        repair: chance that a wrong answer becomes right, by round.
        corruption: chance that a right answer becomes wrong, by round.
        tokens_ratio: tokens of a revision over those of a first answer.

    Raises:
        ValueError: a figure out of range.

    """

    repair: tuple[float, ...] = (0.1,)
    corruption: tuple[float, ...] = (0.05,)
    tokens_ratio: float = 0.5

    def __post_init__(self) -> None:
        for name in ("repair", "corruption"):
            rates = getattr(self, name)
            if not rates or not all(0 <= rate <= 1 for rate in rates):
                raise ValueError(f"revision.{name}: {rates!r} is not a list of chances in [0, 1]")
        _check(self, tokens_ratio=(0, np.inf))


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The outcome profile of one model on one task.

    Attributes:
        task, model: names.
        difficulty, lengths, answers, revision: see there.
        confidence_auc: chance that a right sample is surer of itself than a wrong one of the same problem.
        settling: a trace settles on its final answer at a share u^(1/settling) of its length, u uniform:
            a probe from then on gives it; before, it gives a fresh guess. Large: late.
        guess_ratio: chance that such a guess is right, over that of a whole sample.
        step_tokens: tokens of one reasoning step, for search over steps.
        prompt_tokens: of a query, the task's own prompt included.
        shared_prompt_tokens: of these, what all queries of the task share (system prompt, examples).
        problems: how many problems the difficulty was fitted on; None where unknown.
        sources: where each figure comes from, by section or by "section.figure"; with date.
        gaps: what was not to be had and stands at an assumed value, by the same names.

    Raises:
        ValueError: a figure out of range.

    """

    task: str
    model: str
    difficulty: Difficulty
    lengths: Lengths
    answers: Answers = field(default_factory=Answers)
    revision: Revision = field(default_factory=Revision)
    confidence_auc: float = 0.7
    settling: float = 2.0
    guess_ratio: float = 0.3
    step_tokens: float = 100.0
    prompt_tokens: int = 256
    shared_prompt_tokens: int = 0
    problems: int | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    gaps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check(self, confidence_auc=(0, 1), guess_ratio=(0, 1))
        _check(self, settling=(0.01, np.inf), step_tokens=(1, np.inf))
        if not 0 <= self.shared_prompt_tokens < self.prompt_tokens:
            raise ValueError(
                f"shared_prompt_tokens: {self.shared_prompt_tokens} is not in [0, {self.prompt_tokens}), "
                "prompt_tokens"
            )

    def chance(self, ease: npt.ArrayLike) -> FloatArray:
        """Chance that one sample solves a problem of this ease (a standard normal deviate).

        It is the quantile of the zero-inflated Beta law at Φ(ease).
        """
        from scipy.special import betaincinv, ndtr

        law = self.difficulty
        rank = (ndtr(np.asarray(ease, dtype=np.float64)) - law.zero) / (1 - law.zero)
        solved = betaincinv(law.a, law.b, np.clip(rank, 0.0, 1.0))
        return np.asarray(np.where(rank > 0, solved, 0.0), dtype=np.float64)

    def log_median(self, ease: npt.ArrayLike, verbosity: npt.ArrayLike) -> FloatArray:
        """Log of the median length of right samples of such a problem, before the cap."""
        law = self.lengths
        lean = -law.hardness * np.asarray(ease, dtype=np.float64)
        free = np.sqrt(1 - law.hardness**2) * np.asarray(verbosity, dtype=np.float64)
        return np.asarray(np.log(law.median_tokens) + law.sd_between * (lean + free), dtype=np.float64)

    def perturbed(self, rng: np.random.Generator) -> Outcomes:
        """The profile with its mean chance drawn from what so few problems leave open.

        The mean of `problems` draws of the Beta law has variance m(1−m)/((a+b+1)·problems), m its mean; the
        shape a + b is kept. Unchanged where `problems` is unknown.
        """
        law = self.difficulty
        if not self.problems:
            return self
        whole = law.a + law.b
        mean = law.a / whole
        sd = np.sqrt(mean * (1 - mean) / ((whole + 1) * self.problems))
        drawn = float(np.clip(mean + sd * rng.standard_normal(), 0.02 * mean, 1 - 0.02 * (1 - mean)))
        return replace(self, difficulty=replace(law, a=drawn * whole, b=(1 - drawn) * whole))

    def problem_grid(self, eases: int = 400, verbosities: int = 15) -> tuple[FloatArray, ...]:
        """(weight, chance, log median) of a grid of problems: midpoints of ease, Gauss–Hermite in verbosity.

        Weights add up to 1. Sums over it stand for means over the task's problems.
        """
        from scipy.special import ndtri

        ease = ndtri((np.arange(eases) + 0.5) / eases)
        node, weight = np.polynomial.hermite_e.hermegauss(verbosities)
        weight = weight / weight.sum() / eases
        ease, verbosity = (x.ravel() for x in np.meshgrid(ease, node, indexing="ij"))
        chance = self.chance(ease)
        return np.tile(weight, eases), chance, self.log_median(ease, verbosity)


def _check(spec: object, **ranges: tuple[float, float]) -> None:
    known = {f.name for f in fields(spec)}  # type: ignore[arg-type]
    for name, (low, high) in ranges.items():
        assert name in known, name
        value = getattr(spec, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(f"{name}: {value!r} is not a number in [{low:g}, {high:g}]")
