"""Simulated figures of a case with their standard errors: what closed forms are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from foretell.sim import simulate
from foretell.sim.deployment import Deployment
from foretell.sim.metrics import e2e_s, tpot_s, ttft_s
from foretell.sim.simulation import Run
from foretell.sim.workload import drawn_trace
from foretell.validate.theory_cases import Case

LOADS = (0.1, 0.3, 0.5, 0.7, 0.8, 0.88, 0.95, 0.98)
FIGURES = tuple(
    f"{metric}_{statistic}" for metric in ("ttft", "tpot", "e2e") for statistic in ("mean", "p99")
)
_AT_ONCE = 1e6
"""Requests a second at which everything waits from the start."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is simulated.

    Attributes:
        seeds: independent replications.
        requests: of one, by the load from which on.

    """

    seeds: int
    requests: Sequence[tuple[float, int]]

    def requests_at(self, load: float) -> int:
        """Requests of a replication."""
        return [count for least, count in self.requests if load >= least][-1]


FULL = Effort(8, ((0.0, 3000), (0.6, 6000), (0.85, 12_000)))
QUICK = Effort(4, ((0.0, 1500), (0.6, 3000)))


@dataclass(frozen=True, slots=True)
class Truth:
    """Figures by simulation, in SI units, by name.

    Attributes:
        rate_per_s: of requests.
        mean: of the replications.
        error: its standard error; of a capacity alike.
        seeds: replications.

    """

    rate_per_s: float
    mean: Mapping[str, float]
    error: Mapping[str, float]
    seeds: int


def capacity(case: Case, effort: Effort, deployment: Deployment | None = None, seed: int = 0) -> Truth:
    """Requests a second in the middle of runs in which everything waits from the start."""
    deployment = case.deployment() if deployment is None else deployment
    seats = sum(part.config.max_num_seqs for part in deployment.engines)  # a batch must turn over often
    requests = max(effort.requests[0][1], (40 if effort.seeds > 4 else 16) * min(seats, 1024))
    runs = (
        _run(case, deployment, _AT_ONCE, requests, (seed, 99, one))
        for one in range(max(2, effort.seeds // 2))
    )
    truth = _truth(0.0, [{"capacity": _written(run)} for run in runs])
    return Truth(truth.mean["capacity"], truth.mean, truth.error, truth.seeds)


def simulated(
    case: Case,
    load: float,
    rate_per_s: float,
    effort: Effort,
    deployment: Deployment | None = None,
    seed: int = 0,
) -> Truth:
    """Figures of the middle of runs (20 to 90 % of the requests, by arrival)."""
    deployment = case.deployment() if deployment is None else deployment
    requests = effort.requests_at(load) * (2 if len(deployment.engines) > 1 else 1)
    stream = round(1e4 * load)
    runs = (_run(case, deployment, rate_per_s, requests, (seed, stream, one)) for one in range(effort.seeds))
    return _truth(rate_per_s, [_figures(run) for run in runs])


def _written(run: Run) -> float:
    """Tokens written a second in a run's middle over the tokens of an answer: requests a second.

    Counted by tokens, as among the first to end the short ones are too many, above all with long tails.
    """
    from_s, to_s = np.nanquantile(run.finish_s, [0.5, 0.85])
    start, end = np.clip(run.first_token_s, from_s, to_s), np.clip(run.finish_s, from_s, to_s)
    each_s = np.maximum(run.finish_s - run.first_token_s, 1e-12)
    later = np.nansum((run.output_tokens - 1) * (end - start) / each_s)
    first = np.count_nonzero((run.first_token_s >= from_s) & (run.first_token_s < to_s))
    served = np.isfinite(run.finish_s)
    return float((later + first) / run.output_tokens[served].mean() / (to_s - from_s))


def _figures(run: Run) -> dict[str, float]:
    middle = slice(len(run) // 5, len(run) * 9 // 10)
    found = {}
    for metric, values in (("ttft", ttft_s(run)), ("tpot", tpot_s(run)), ("e2e", e2e_s(run))):
        found[f"{metric}_mean"] = float(np.nanmean(values[middle]))
        found[f"{metric}_p99"] = float(np.nanpercentile(values[middle], 99))
    return found


def _run(case: Case, deployment: Deployment, rate: float, requests: int, seed: tuple[int, ...]) -> Run:
    sequence = np.random.SeedSequence(seed)
    workload, routing = sequence.spawn(2)
    # All at once whatever the process: only the lengths matter to a capacity.
    used = case if rate < _AT_ONCE else Case(case.name, case.pool, case.lengths, {"process": "poisson"})
    trace = drawn_trace(used.scenario(rate, requests).workload, workload)
    engines = deployment.engines
    return simulate(
        trace,
        [part.cost for part in engines],
        [part.config for part in engines],
        replicas=len(engines),
        router=deployment.router,
        seed=routing,
    )


def _truth(rate_per_s: float, found: Sequence[Mapping[str, float]]) -> Truth:
    rows = {name: np.array([one[name] for one in found]) for name in found[0]}
    mean = {name: float(values.mean()) for name, values in rows.items()}
    error = {name: float(values.std(ddof=1)) / len(values) ** 0.5 for name, values in rows.items()}
    return Truth(rate_per_s, mean, error, len(found))
