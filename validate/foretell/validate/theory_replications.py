"""Independent replications of textbook queues, and whether theory lies inside their intervals."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from foretell.validate.theory_batching import student
from foretell.validate.theory_players import Array
from foretell.validate.theory_textbook import Model, Play

TEXTBOOK_LOADS = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
FAMILY = 0.99
"""Chance that all intervals of a sweep hold their figure at once, if theory and simulation agree."""

CALM = 0.9
"""Load up to which the means of replications are about normal."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """How much is played.

    Attributes:
        loads: ρ.
        replications: of each model and load.
        least: requests of one at least, after the warm-up.
        units: requests of one, in units of the queue's own memory, (c_a² + c_s²)/(1 − ρ)².
        fast: by so many times more where a recursion plays it.

    """

    loads: Sequence[float]
    replications: int
    least: int
    units: float
    fast: int = 8


FULL_SWEEP = Sweep(TEXTBOOK_LOADS, 10, 10_000, 15.0)
QUICK_SWEEP = Sweep((0.3, 0.7), 8, 3000, 20.0, 4)
_WARM = 6.0
"""Units that are left away: an empty start is then forgotten to less than a per cent."""


@dataclass(frozen=True, slots=True)
class Row:
    """A model at a load, by theory and as played.

    Attributes:
        model, kind, by, figure: as in `Model`.
        load: ρ.
        theory: by the textbook [s, of a mean service of 1 s].
        mean, error: of the replications, and its standard error.
        replications: how many.
        known: known error of an approximation, as a share.

    """

    model: str
    kind: str
    by: str
    figure: str
    load: float
    theory: float
    mean: float
    error: float
    replications: int
    known: float

    @property
    def deviation(self) -> float:
        """How many standard errors theory lies below what was played."""
        return (self.mean - self.theory) / max(self.error, 1e-12 * abs(self.theory))

    @property
    def off(self) -> float:
        """Theory's error as a share of what was played."""
        return self.theory / self.mean - 1

    @property
    def spread(self) -> float:
        """Half the 95 % interval of what was played, as a share of it."""
        return student(0.95, self.replications - 1) * self.error / abs(self.mean)

    def inside(self, level: float) -> bool:
        """Whether theory lies in the interval of this level, or on the right side of it if a bound."""
        limit = student(level, self.replications - 1)
        if self.kind == "upper bound":
            return self.deviation <= limit
        if self.kind == "lower bound":
            return self.deviation >= -limit
        return abs(self.deviation) <= limit


@dataclass(frozen=True, slots=True)
class Judged:
    """What a sweep's exact models and bounds came to.

    Attributes:
        rows: how many, exact ones and bounds.
        level: of each interval, so that all hold at once with chance `FAMILY` (Bonferroni).
        outside: exact rows and bounds that are not in theirs.
        beyond_95: exact rows outside of their 95 % intervals; a twentieth of them should be.
        exact: how many these are.
        chance: of so many of them or more, if theory is right and the means of replications are normal.
        calm, calm_beyond: the same up to `CALM`; nearer to saturation the means are skewed to the right, and
            intervals by Student's t hold less than they say.
        spread: median half-width of the 95 % intervals of exact rows, as a share.

    """

    rows: int
    level: float
    outside: tuple[Row, ...]
    beyond_95: int
    exact: int
    chance: float
    calm: int
    calm_beyond: int
    spread: float


def judge(rows: Iterable[Row]) -> Judged:
    """Judge exact models and bounds by intervals that hold together."""
    from scipy.stats import binom

    held = [row for row in rows if row.kind != "approximation"]
    exact = [row for row in held if row.kind == "exact"]
    calm = [row for row in exact if row.load <= CALM]
    level = 1 - (1 - FAMILY) / max(len(held), 1)
    beyond = sum(not row.inside(0.95) for row in exact)
    return Judged(
        len(held),
        level,
        tuple(row for row in held if not row.inside(level)),
        beyond,
        len(exact),
        float(binom.sf(beyond - 1, len(exact), 0.05)),
        len(calm),
        sum(not row.inside(0.95) for row in calm),
        float(np.median([row.spread for row in exact])) if exact else float("nan"),
    )


def sweep(
    models: Sequence[Model], how: Sweep, seed: int = 0, progress: Callable[[int, int], None] | None = None
) -> Iterator[Row]:
    """Play every model at every load."""
    todo = [(model, load) for model in models for load in model.loads or how.loads if load in how.loads]
    played: dict[tuple[Play, float], list[Array]] = {}  # by several models at once
    for done, (model, load) in enumerate(todo):
        key = model.play, load
        if key not in played:
            name = zlib.crc32(
                f"{model.name} by {model.by}".encode()
            )  # so that a part has the whole's figures
            stream = np.random.SeedSequence((seed, name, round(1e4 * load)))
            played[key] = list(_played(model, load, how, stream))
        yield _row(model, load, played[key])
        if progress is not None:
            progress(done + 1, len(todo))


def _played(model: Model, load: float, how: Sweep, seed: np.random.SeedSequence) -> Iterator[Array]:
    """Replications, each after a warm-up that is left away."""
    unit = model.spread / (1 - load) ** 2
    warm = int(_WARM * unit) + 500
    count = max(how.least, int(how.units * unit)) * (how.fast if model.by == "recursion" else 1)
    for one in seed.spawn(how.replications):
        yield model.play(load, np.random.default_rng(one), warm + count)[warm:]


def _row(model: Model, load: float, replications: Sequence[Array]) -> Row:
    if model.figure == "p99 of the wait":
        found = [float(np.nanpercentile(values, 99)) for values in replications]
    else:
        found = [float(np.nanmean(values)) for values in replications]
    return Row(
        model.name,
        model.kind,
        model.by,
        model.figure,
        load,
        model.theory(load),
        float(np.mean(found)),
        float(np.std(found, ddof=1)) / len(found) ** 0.5,
        len(found),
        model.error,
    )
