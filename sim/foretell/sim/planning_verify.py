"""Plans: the cheapest deployment that meets the objectives, found in closed form and verified by simulation.

The closed form proposes layouts with their replicas (`planning_search`); simulation decides. Of each
finalist the replicas are moved one at a time until one fewer does not hold, so that the chosen number is
the least by simulation, whatever the closed form's error.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from foretell.sim.forecasting import deployed
from foretell.sim.objectives import objectives_from_mapping
from foretell.sim.planning import Candidate, Expected, Shortlist, conditions, left_out
from foretell.sim.planning_headroom import Headroom, headroom_of
from foretell.sim.planning_nearest import nearest_of
from foretell.sim.planning_spec import PlanSpec, plan_spec
from foretell.sim.planning_trials import Trial, Trials
from foretell.sim.planning_walk import Checked, Cost, Settled, checked, cost_of, neighbours, settle
from foretell.sim.scenario import Scenario
from foretell.sim.vllm_command import ServeCommand, serve_commands

Progress = Callable[[str, int], None]
"""Called with what is done next, and how many simulations have been."""
_WANTED = 8
_NEAR_CAPACITY = 0.95
"""Load from which on figures depend on how long a run lasts."""


@dataclass(frozen=True, slots=True)
class Finalist:
    """A layout with the least replicas that hold in simulation.

    Attributes:
        expected: what the closed form proposed and said.
        settled: the walk from there.
        headroom: more traffic that it stands; None where it does not meet the objectives.
        loss: by condition ("with 1 of chat lost") what is left then: None where nothing is.
        commands: how to start its replicas.

    """

    expected: Expected
    settled: Settled
    headroom: Headroom | None = None
    loss: Mapping[str, Trial | None] | None = None
    commands: tuple[ServeCommand, ...] = ()

    @property
    def checked(self) -> Checked:
        """The candidate, simulated."""
        return self.settled.checked

    @property
    def candidate(self) -> Candidate:
        """With the replicas that were settled on."""
        return self.checked.candidate

    @property
    def met(self) -> bool:
        """Whether it meets every objective under all conditions."""
        return self.checked.met

    @property
    def usd_per_h(self) -> float:
        """Rent of all accelerators."""
        return self.checked.usd_per_h

    @property
    def trial(self) -> Trial:
        """As it is, or where that was not simulated, under the condition that failed."""
        found = self.checked.base
        return next(iter(self.checked.trials.values())) if found is None else found


@dataclass(frozen=True, slots=True)
class Plan:
    """What to deploy.

    Attributes:
        scenario: what was asked.
        spec: its plan section.
        finalists: simulated layouts: those that meet everything by rent, then those that miss least.
        others: the rest of the shortlist, by closed form: as dear as the best finalist or dearer even with
            one replica fewer, or that does not hold in simulation.
        shortlist: how the search went.
        simulated: scenarios simulated.
        notes: what is estimated, assumed or outside a model's validity.

    """

    scenario: Scenario
    spec: PlanSpec
    finalists: tuple[Finalist, ...]
    others: tuple[Expected, ...]
    shortlist: Shortlist
    simulated: int
    notes: tuple[str, ...]

    @property
    def met(self) -> bool:
        """Whether a deployment meets every objective under all conditions."""
        return self.best is not None

    @property
    def best(self) -> Finalist | None:
        """The cheapest that does."""
        return next((f for f in self.finalists if f.met), None)

    @property
    def nearest(self) -> Finalist | None:
        """Where none does, the one that misses least."""
        return None if self.met or not self.finalists else self.finalists[0]

    @property
    def runners_up(self) -> tuple[Finalist, ...]:
        """The other layouts that do, dearer or as dear."""
        return tuple(f for f in self.finalists if f.met)[1:]

    @property
    def cheaper(self) -> Checked | None:
        """The dearest simulated candidate that is cheaper than the best: what the last dollar buys."""
        best = self.best
        if best is None:
            return None
        failed = [t for f in self.finalists for t in (*f.settled.failed, f.checked) if not t.met]
        below = [t for t in failed if t.cost < best.checked.cost]
        return max(below, key=lambda t: (t.cost, t.room), default=None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; see `docs/plan.md`."""
        from foretell.sim.planning_records import plan_dict

        return plan_dict(self)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """The report as one HTML page that needs no network; written to `path` too, whole or not at all.

        Raises:
            ValueError: it cannot be written.

        """
        from foretell.sim.records import write_page
        from foretell.sim.report.plan_page import plan_page

        return write_page(plan_page(self), path)


def plan(
    scenario: Scenario,
    *,
    finalists: int = 3,
    processes: int | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Find the cheapest deployment of a scenario's `plan` section. The number of processes changes nothing.

    Args:
        scenario: with a `plan` section and objectives.
        finalists: layouts that are verified at most, once one of them has met everything; of others it is
            only made sure that they are not cheaper.
        processes: as of `forecast`.
        progress: called before each simulation.

    Raises:
        ValueError: a wrong section, no objective, or nothing in the space that could be forecast; one line.

    """
    from foretell.sim.planning_search import search

    spec = plan_spec(scenario)
    if spec.probability >= 1:  # here, as a sensitivity may lay another over the section's
        raise ValueError(
            f"plan.probability: {100 * spec.probability:g} % is never reached, as some doubt stays after any "
            "number of replications; give less, as in 95 %"
        )
    if progress is not None:
        progress("searching", 0)
    shortlist = search(scenario, wanted=max(_WANTED, 2 * finalists))
    proposed = shortlist.best
    if not proposed:
        proposed, made = nearest_of(scenario, spec, finalists)
        shortlist = replace(shortlist, analysed=shortlist.analysed + made)

    def told(what: str) -> None:
        if progress is not None:
            progress(what, trials.count)

    trials = Trials(spec.probability, processes, told)
    done: list[Finalist] = []
    others: list[Expected] = []
    least: Cost | None = None
    for expected in proposed:
        simulated = [one.expected for one in done]
        dearer = least is not None and not _may_be_cheaper(
            expected, spec, least, len(done) < finalists, trials
        )
        if dearer or any(_alike(expected, other) for other in simulated):
            others.append(expected)
            continue
        settled = settle(expected.candidate, spec, trials, least)
        done.append(Finalist(expected, settled))
        if settled.checked.met:
            least = min(least or settled.checked.cost, settled.checked.cost)
    ranked = sorted(done, key=_rank)
    told_of = tuple(
        _described(one, trials, best=place == 0) if one.met else one for place, one in enumerate(ranked)
    )
    return Plan(
        scenario,
        spec,
        told_of,
        tuple(others),
        shortlist,
        trials.count,
        tuple(_notes(scenario, spec, told_of, shortlist)),
    )


def _may_be_cheaper(expected: Expected, spec: PlanSpec, least: Cost, finalist: bool, trials: Trials) -> bool:
    """Whether a layout may be cheaper than the best, taking the closed form to be one replica off at most.

    Of one that is not to be a finalist anyway, one replica fewer must hold.
    """
    fewer = [each for each in neighbours(expected.candidate, spec, -1) if cost_of(each) < least]
    if finalist or cost_of(expected.candidate) < least:
        return bool(fewer) or cost_of(expected.candidate) < least
    return any(checked(each, trials).met for each in fewer)


def _alike(one: Expected, other: Expected) -> bool:
    """Whether two layouts differ in nothing that counts, as by a limit that does not bind."""
    keys = ("ttft_p99_s", "tpot_p99_s", "e2e_p99_s", "capacity_rps")
    same = all(_close(one.figures.get(key, 0.0), other.figures.get(key, 0.0)) for key in keys)
    hardware = [[pool.hardware for pool in e.candidate.scenario.pools.values()] for e in (one, other)]
    return one.usd_per_h == other.usd_per_h and same and hardware[0] == hardware[1]


def _close(one: float, other: float) -> bool:
    return one == other or math.isclose(one, other, rel_tol=1e-6)


def _rank(finalist: Finalist) -> tuple[Any, ...]:
    checked = finalist.checked
    if not checked.met:
        return True, -checked.room, checked.cost
    sure = 0.0 if math.isnan(checked.probability) else checked.probability
    return False, checked.cost, -sure


def _described(finalist: Finalist, trials: Trials, best: bool) -> Finalist:
    """The finalist with its headroom, what the loss of a replica does, and its commands."""
    candidate, scenario = finalist.candidate, finalist.candidate.scenario
    known = candidate.headroom
    held = finalist.checked.trials
    at = next((trial for when, trial in held.items() if when.startswith("at +")), finalist.trial)
    alone = replace(candidate, headroom=0.0, spare=max(candidate.spare, 1))
    loss = {when: None if left is None else trials(left, when) for when, left in conditions(alone) if when}
    return replace(
        finalist,
        headroom=headroom_of(scenario, at, trials, known, 2 if best else 1),
        loss=loss,
        commands=serve_commands(scenario, deployed(scenario, _mean_context(scenario))),
    )


def _mean_context(scenario: Scenario) -> float:
    """Mean tokens of a request while it is answered, which the estimate of the KV cache asks for."""
    from foretell.sim.analytic_load import load_of

    try:
        return load_of(scenario.workload).mean_context
    except ValueError:
        return 0.0


def _notes(
    scenario: Scenario, spec: PlanSpec, finalists: tuple[Finalist, ...], shortlist: Shortlist
) -> Iterator[str]:
    if finalists and scenario.replications == 1 and spec.probability > 0:
        asked = f"{100 * spec.probability:.6g} %"
        yield f"one replication: no chance is known, so {asked} was not asked for; give more"
    for objective in objectives_from_mapping(scenario.objectives):
        if any(left_out(objective, each.expected.figures) for each in finalists):
            yield f"{objective.name}: has no closed form; only the finalists' simulations judge it"
    if not shortlist.best and any(f.met for f in finalists):
        yield "by the closed form nothing meets every objective; the simulation found that this does"
    first = next((f for f in finalists if f.met), finalists[0] if finalists else None)
    if first is None:
        return
    for when, trial in first.checked.trials.items():
        load = trial.use.get("load", math.nan)
        if load > _NEAR_CAPACITY:
            share = f"{load:.0%}".replace("%", " %")
            where = f" {when}" if when else ""
            yield (
                f"{share} of the capacity by closed form{where}: the line grows for longer than a run lasts; "
                "simulate more requests, or ask for headroom"
            )
    yield from first.trial.notes
