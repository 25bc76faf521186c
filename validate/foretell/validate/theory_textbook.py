"""Textbook queues beside what plays them: foretell's engines, recursions, and ciw (`theory_ciw`).

A mean service is one second and the load ρ sets the rate. A model says what the textbook has, and how one
replication is played; `theory_replications` judges.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from foretell.models import AffineCost
from foretell.models.queueing import (
    BatchTime,
    Station,
    bulk_queue,
    clipped_mg1,
    fork_join,
    fork_join_bounds,
    ggc,
    kingman_bound_s,
    mg1,
    mgc,
    mmc_wait_percentile,
    mmpp_m1,
    mxg1,
    tandem,
)
from foretell.traces import arrivals as processes
from foretell.validate.theory_laws import Geometrics, Law, Listed, hyperexponential, lognormal
from foretell.validate.theory_players import (
    PROMPT,
    Array,
    arrivals,
    by_answers,
    by_prompts,
    engine,
    kiefer_wolfowitz,
    lindley,
    services,
    static_batches,
)
from foretell.validate.theory_slotted import slotted_mmc

Rng = np.random.Generator
Kind = Literal["exact", "approximation", "upper bound", "lower bound"]
Play = Callable[[float, Rng, int], Array]
"""Figures of so many requests in order of arrival, at a load."""


@dataclass(frozen=True, slots=True)
class Model:
    """A textbook queue and what plays it.

    Attributes:
        name, figure: for people; the figure is the mean of what is played, or its 99th percentile.
        kind: what the textbook's figure is.
        by: what plays it: "engine", "recursion" or "ciw".
        theory: the figure at a load.
        play: one replication.
        spread: c_a² + c_s², by which the time to forget an empty start grows.
        loads: where it is compared; None for all.
        error: known error of an approximation, as a share; NaN where the source gives none.

    """

    name: str
    kind: Kind
    by: str
    theory: Callable[[float], float]
    play: Play
    spread: float = 2.0
    figure: Literal["mean wait", "p99 of the wait", "mean time"] = "mean wait"
    loads: tuple[float, ...] | None = None
    error: float = float("nan")


LONG = Geometrics((1e5,))  # prompts: exponential to a part in 100,000
SHORT = Geometrics((20.0,))  # answers
VARIED = lognormal(40, 1.0)
LARGE = lognormal(1e5, 1.0)
UNEVEN = hyperexponential(1e5, 4.0)
BATCHES = Listed((1, 2, 3, 4, 5))
PHASES = (1.6, 0.4)
STAYS_S = (10.0, 10.0)
SERVERS = 8
WAITED = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
"""Loads at which somebody waits for eight servers often enough to be seen."""
UPTO_95 = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
"""Loads of what takes long to play."""


def _one(law: Law, arrival_scv: float = 1.0) -> Play:
    """One server, by answers where they are short and by prompts where they are long."""

    def play(rho: float, rng: Rng, count: int) -> Array:
        times, tokens = arrivals(rng, rho, count, arrival_scv), law.draw(rng, count)
        by = by_answers if law.mean < 1000 else by_prompts
        return by(times, tokens, 1 / law.mean)[0]

    return play


def _recursion(law: Law, servers: int = 1, arrival_scv: float = 1.0) -> Play:
    def play(rho: float, rng: Rng, count: int) -> Array:
        times, takes = arrivals(rng, rho * servers, count, arrival_scv), services(law)(rng, count)
        return lindley(times, takes) if servers == 1 else kiefer_wolfowitz(times, takes, servers)

    return play


def _slots(rho: float, rng: Rng, count: int) -> Array:
    times = arrivals(rng, rho * SERVERS, count)
    return by_answers(times, SHORT.draw(rng, count), 1 / SHORT.mean, SERVERS)[0]


LIMIT = 120
KEPT = float(np.minimum(VARIED.values, LIMIT).mean())


def _clipped(rho: float, rng: Rng, count: int) -> Array:
    """The engine cuts answers where prompt and answer reach max_model_len."""
    times, answer = arrivals(rng, rho, count), VARIED.draw(rng, count)
    step_s = 1 / KEPT
    run = engine(times, np.full(count, PROMPT), answer, AffineCost(step_s), max_model_len=PROMPT + LIMIT)
    return np.asarray(run.first_token_s - times - step_s, dtype=np.float64)


def _together(rho: float, rng: Rng, count: int) -> Array:
    sizes = BATCHES.draw(rng, count)
    sizes = sizes[: int(np.searchsorted(np.cumsum(sizes), count)) + 1]
    times = np.repeat(arrivals(rng, rho / BATCHES.mean, len(sizes)), sizes)
    return by_prompts(times, LONG.draw(rng, len(times)), 1 / LONG.mean)[0]


BULK = BatchTime(per_request_s=0.05, fixed_s=0.6)
"""Seconds of a batch of 8: one."""
STATIC = BatchTime(per_request_s=0.01, fixed_s=0.2, per_request_token_s=0.0004, per_token_s=0.004)


@cache
def _full_rate(policy: str) -> float:
    """Requests a second that full static batches carry."""
    return bulk_queue(1e-3, VARIED.values, STATIC, SERVERS, policy).capacity_per_s  # type: ignore[arg-type]


def _bulk(rho: float, rng: Rng, count: int) -> Array:
    """All who wait start together: answers of one token, whose step takes so long for each request."""
    times = arrivals(rng, rho * SERVERS, count)
    cost = AffineCost(BULK.fixed_s, 0.0, BULK.per_request_s)
    one = np.ones(count, dtype=np.int64)
    run = engine(times, PROMPT * one, one, cost, max_num_seqs=SERVERS)
    return np.asarray(run.finish_s - times, dtype=np.float64)


def _bulk_theory(rho: float) -> float:
    at = bulk_queue(rho * SERVERS, [1], BULK, SERVERS)
    return at.wait_s + BULK.fixed_s + BULK.per_request_s * at.batch


def _static(policy: str) -> tuple[Callable[[float], float], Play]:
    def theory(rho: float) -> float:
        rate = rho * _full_rate(policy)
        return bulk_queue(rate, VARIED.values, STATIC, SERVERS, policy).wait_s  # type: ignore[arg-type]

    def play(rho: float, rng: Rng, count: int) -> Array:
        times = arrivals(rng, rho * _full_rate(policy), count)
        return static_batches(times, VARIED.draw(rng, count), STATIC, SERVERS, policy)

    return theory, play


def _modulated(rho: float, rng: Rng, count: int) -> Array:
    process = processes.Mmpp(tuple(rho * r for r in PHASES), STAYS_S)
    times = process.times(rng, num_requests=count)
    return by_prompts(times, LONG.draw(rng, len(times)), 1 / LONG.mean)[0]


def _row(rho: float, rng: Rng, count: int) -> Array:
    """Two engines after one another: the second gets what the first lets go of."""
    times, first = arrivals(rng, rho, count), LONG.draw(rng, count)
    between = by_prompts(times, first, 1 / LONG.mean)[1]
    return by_prompts(between, LONG.draw(rng, count), 1 / LONG.mean)[0]


def _forked(branches: int) -> Play:
    """A call on each engine, asked in turn; the query ends with its last call."""

    def play(rho: float, rng: Rng, count: int) -> Array:
        times = np.repeat(arrivals(rng, rho, count), branches)
        ends = by_prompts(times, LONG.draw(rng, len(times)), 1 / LONG.mean, branches)[1]
        return np.asarray((ends - times).reshape(-1, branches).max(1), dtype=np.float64)

    return play


def _pk(law: Law) -> Callable[[float], float]:
    return lambda rho: mg1(rho, 1.0, law.scv).wait_s


def _allen_cunneen(arrival_scv: float, law: Law, servers: int) -> Callable[[float], float]:
    return lambda rho: ggc(rho * servers, arrival_scv, 1.0, law.scv, servers).wait_s


def _kimura(law: Law) -> Callable[[float], float]:
    return lambda rho: mgc(rho * SERVERS, 1.0, law.scv, SERVERS).wait_s


def _models() -> tuple[Model, ...]:
    fixed = Listed((20,))
    exponential = _one(LONG)
    rows = [
        Model("M/M/1", "exact", "engine", _pk(LONG), exponential),
        Model(
            "M/M/1",
            "exact",
            "engine",
            lambda rho: mmc_wait_percentile(rho, 1.0, 1, 99),
            exponential,
            figure="p99 of the wait",
        ),
        Model(
            "M/M/8, slots of an engine",
            "exact",
            "engine",
            lambda rho: slotted_mmc(rho * SERVERS, SHORT.mean, 1 / SHORT.mean, SERVERS),
            _slots,
            loads=WAITED,
        ),
        Model("M/D/1", "exact", "engine", _pk(fixed), _one(fixed), spread=1.0),
        Model("M/G/1, log-normal", "exact", "engine", _pk(LARGE), _one(LARGE), 1 + LARGE.scv),
        Model("M/G/1, hyperexponential", "exact", "engine", _pk(UNEVEN), _one(UNEVEN), 1 + UNEVEN.scv),
        Model("M/M/1", "exact", "recursion", _pk(LONG), _recursion(LONG)),
        Model("M/G/1, log-normal", "exact", "recursion", _pk(VARIED), _recursion(VARIED), 1 + VARIED.scv),
        Model(
            "M/G/1, answers cut at a limit",
            "exact",
            "engine",
            lambda rho: clipped_mg1(rho, VARIED.values, 0.0, 1 / KEPT, LIMIT).queue.wait_s,
            _clipped,
            loads=UPTO_95,
        ),
        Model(
            "M^[X]/M/1",
            "exact",
            "engine",
            lambda rho: mxg1(rho / BATCHES.mean, BATCHES.mean, 11.0, 1.0, LONG.scv).wait_s,
            _together,
            spread=5.0,
        ),
        Model("bulk service, dynamic", "exact", "engine", _bulk_theory, _bulk, figure="mean time"),
        *(
            Model(
                f"static batches, {p}",
                "approximation" if p == "elastic" else "exact",
                "recursion",
                *_static(p),
            )
            for p in ("dynamic", "fixed", "elastic")
        ),
        Model(
            "MMPP/M/1",
            "exact",
            "engine",
            lambda rho: mmpp_m1([rho * r for r in PHASES], STAYS_S, 1.0).wait_s,
            _modulated,
            spread=6.0,
        ),
        Model(
            "M/M/1 after M/M/1",
            "exact",
            "engine",
            lambda rho: tandem(rho, (Station(1, 1.0, 1.0),) * 2)[1].wait_s,
            _row,
        ),
        Model(
            "fork and join, 2 branches",
            "exact",
            "engine",
            lambda rho: fork_join(rho, 1.0, 2),
            _forked(2),
            figure="mean time",
        ),
        *(
            Model(
                "fork and join, 8 branches",
                kind,
                "engine",
                of,
                _EIGHT,
                figure="mean time",
                loads=UPTO_95,
                error=error,
            )
            for kind, of, error in _FORKED
        ),
        *_APPROXIMATE,
    ]
    return tuple(rows)


_EIGHT = _forked(8)
_BURSTY = _one(LONG, 4.0)
_FORKED: tuple[tuple[Kind, Callable[[float], float], float], ...] = (
    ("approximation", lambda rho: fork_join(rho, 1.0, 8), 0.05),
    ("lower bound", lambda rho: fork_join_bounds(rho, 1.0, 8)[0], float("nan")),
    ("upper bound", lambda rho: fork_join_bounds(rho, 1.0, 8)[1], float("nan")),
)
_APPROXIMATE = (
    Model(
        "M/D/8, Kimura",
        "approximation",
        "recursion",
        _kimura(Listed((20,))),
        _recursion(Listed((20,)), SERVERS),
        spread=1.0,
        loads=WAITED,
    ),
    Model(
        "M/G/8, log-normal, Kimura",
        "approximation",
        "recursion",
        _kimura(VARIED),
        _recursion(VARIED, SERVERS),
        spread=1 + VARIED.scv,
        loads=WAITED,
    ),
    *(
        Model(
            f"GI/M/{c}, gaps of CV {cv:g}, Allen–Cunneen",
            "approximation",
            "engine" if c == 1 else "recursion",
            _allen_cunneen(cv**2, LONG, c),
            (_BURSTY if cv == 2 else _one(LONG, cv**2)) if c == 1 else _recursion(LONG, c, cv**2),
            spread=1 + cv**2,
            loads=None if c == 1 else WAITED,
        )
        for c in (1, SERVERS)
        for cv in (0.5, 2.0)
    ),
    Model(
        "GI/M/1, gaps of CV 2, Kingman",
        "upper bound",
        "engine",
        lambda rho: kingman_bound_s(rho, 4.0, 1.0, 1.0),
        _BURSTY,
        5.0,
    ),
)
MODELS = _models()
