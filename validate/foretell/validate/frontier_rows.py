"""Measured rows as frontiers: what makes one group, what was measured, and the closed form of the same.

A group is a model on an accelerator with a back end, its mode, number formats and lengths. Its configurations
differ in parallelism, pools, the engine's version and the requests in flight; repeats of one count once, by
the geometric means of their times. No row with speculation is among them (`silicon_rows` leaves them out).
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from foretell.models.architecture import load_architecture
from foretell.models.hardware import load_hardware
from foretell.models.parallelism import Parallelism
from foretell.models.queueing import Lengths
from foretell.models.residual import CLIENT
from foretell.sim.analytic import limits_of_engine
from foretell.validate.closed_loop import uniform_lengths
from foretell.validate.frontier import Array, on_frontier, operating_point
from foretell.validate.frontier_loops import loop_times
from foretell.validate.frontier_pools import pool_times
from foretell.validate.loops import client_of, config_of, own_cost, pool_cost
from foretell.validate.pools import pools_of
from foretell.validate.silicon_rows import MeasuredRow

Times = tuple[float, float]
_SAMPLE = 2048
"""Requests that a law of the lengths is taken from."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """One server at one load.

    Attributes:
        name: parallelism and requests in flight.
        concurrency: these.
        measured, predicted: (tokens/s/user, tokens/s/accelerator).
        repeats: rows.

    """

    name: str
    concurrency: int
    measured: tuple[float, float]
    predicted: tuple[float, float]
    repeats: int


@dataclass(frozen=True, slots=True)
class Group:
    """Configurations of one frontier; `judged` ones are the closed-loop runs that targets speak of."""

    model: str
    accelerator: str
    backend: str
    mode: str
    weights: str
    kv_cache: str
    prompt_tokens: int
    output_tokens: int
    judged: bool
    configurations: tuple[Configuration, ...] = ()

    @property
    def name(self) -> str:
        """For people."""
        formats = f"{self.weights} weights, {self.kv_cache} cache"
        lengths = f"{self.prompt_tokens} in, {self.output_tokens} out"
        return f"{self.model}, {self.accelerator}, {self.backend} {self.mode}, {formats}, {lengths}"

    @property
    def measured(self) -> Array:
        """The measured frontier, shape (n, 2)."""
        return frontier_points([one.measured for one in self.configurations])

    @property
    def predicted(self) -> Array:
        """The frontier in closed form, shape (n, 2)."""
        return frontier_points([one.predicted for one in self.configurations])


def frontier_points(points: Sequence[tuple[float, float]]) -> Array:
    """Those on the frontier, the slowest for a user first, shape (n, 2)."""
    return np.asarray(points, dtype=np.float64).reshape(-1, 2)[on_frontier(points)]


def row_times(row: MeasuredRow, scales: Mapping[str, float]) -> Times | str:
    """TTFT and TPOT of a row in closed form [s], as its client has them; a reason where that is impossible.

    Args:
        row: its measured times are not looked at.
        scales: of terms and client.

    """
    run = row.run
    client = client_of(scales)
    terms = {name: value for name, value in scales.items() if name not in CLIENT}
    prompts, outputs = uniform_lengths(run.prompt_tokens, run.output_tokens, min(run.num_requests, _SAMPLE))
    law = Lengths(prompts.astype(np.float64), outputs.astype(np.float64))
    rounds = run.num_requests / run.concurrency
    try:
        if row.prefill and row.decode:
            hardware, architecture = load_hardware(run.accelerator), load_architecture(run.model)
            first, second, transfer = pools_of(row, hardware, architecture)
            prefill, decode = (
                pool_cost(run, pool.parallelism, "silicon").scaled(terms)
                for pool in (row.prefill, row.decode)
            )
            engines = [
                pool.workers * pool.parallelism.data_parallel_size for pool in (row.prefill, row.decode)
            ]
            return pool_times(
                (prefill, decode),
                (limits_of_engine(first), limits_of_engine(second)),
                (engines[0], engines[1]),
                transfer,
                law,
                run.concurrency,
                client,
                rounds,
            )
        cost = own_cost(run, run.parallelism, "silicon").scaled(terms)
        limits = limits_of_engine(config_of(run))
        engines_of_run = run.parallelism.data_parallel_size
        return loop_times(cost, limits, law, run.concurrency, engines_of_run, client, rounds)
    except ValueError as error:
        return str(error)


def predict(
    rows: Sequence[MeasuredRow],
    scales: Callable[[MeasuredRow], Mapping[str, float]],
    progress: Callable[[int, int], None] | None = None,
) -> list[Times | str]:
    """`row_times` of many rows, what ran twice once; in the order given."""
    found: dict[str, Times | str] = {}
    keys = [f"{row.run.unmeasured()!r} {row.prefill!r} {row.decode!r}" for row in rows]
    for index, (key, row) in enumerate(zip(keys, rows, strict=True)):
        if key not in found:
            found[key] = row_times(row, scales(row))
        if progress:
            progress(index + 1, len(rows))
    return [found[key] for key in keys]


def accelerators(row: MeasuredRow) -> int:
    """How many serve: of both pools where there are two."""
    if row.prefill and row.decode:
        return sum(pool.workers * pool.parallelism.world_size for pool in (row.prefill, row.decode))
    return row.run.parallelism.world_size


def groups_of(rows: Sequence[MeasuredRow], times: Sequence[Times | str]) -> list[Group]:
    """The frontiers of rows and of their predictions; rows without one are left out of both."""
    parts: dict[Group, dict[str, list[tuple[MeasuredRow, Times]]]] = defaultdict(lambda: defaultdict(list))
    for row, predicted in zip(rows, times, strict=True):
        if not isinstance(predicted, str):
            parts[_group(row)][_configuration(row)].append((row, predicted))
    return [
        dataclasses.replace(
            group, configurations=tuple(_joined(name, each) for name, each in sorted(found.items()))
        )
        for group, found in sorted(parts.items(), key=lambda item: repr(item[0]))
    ]


def _group(row: MeasuredRow) -> Group:
    """The group of a row, without its configurations."""
    run = row.run
    return Group(
        model=run.model,
        accelerator=run.accelerator,
        backend=run.backend,
        mode=row.mode,
        weights=run.precision.weights,
        kv_cache=run.precision.kv_cache,
        prompt_tokens=run.prompt_tokens[1],
        output_tokens=run.output_tokens[1],
        judged=row.judged,
    )


def _configuration(row: MeasuredRow) -> str:
    run = row.run
    if row.prefill and row.decode:
        parts = [
            f"{pool.workers} × {_degrees(pool.parallelism)} {phase}"
            for phase, pool in (("prefill", row.prefill), ("decode", row.decode))
        ]
    else:
        parts = [_degrees(run.parallelism)]
    lengths = "" if run.prompt_tokens[0] < run.prompt_tokens[1] else ", fixed lengths"
    return f"{', '.join(parts)}, {run.version or 'unknown version'}{lengths}, {run.concurrency} in flight"


def _degrees(plan: Parallelism) -> str:
    sizes = ("TP", plan.tensor_parallel_size), ("DP", plan.data_parallel_size)
    told = " ".join(f"{name} {size}" for name, size in sizes if size > 1) or "TP 1"
    return f"{told} EP" if plan.enable_expert_parallel else told


def _joined(name: str, each: Sequence[tuple[MeasuredRow, Times]]) -> Configuration:
    row = each[0][0]
    run = row.run
    tokens = sum(run.output_tokens) / 2

    def point(times: Sequence[Times]) -> tuple[float, float]:
        ttft_s, tpot_s = (math.exp(np.mean(np.log(values))) for values in zip(*times, strict=True))
        return operating_point(run.concurrency, accelerators(row), tokens, ttft_s, tpot_s)

    measured = point([(one.run.ttft_s, one.run.tpot_s) for one, _ in each])
    return Configuration(name, run.concurrency, measured, point([told for _, told in each]), len(each))
