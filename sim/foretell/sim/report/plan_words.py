"""A plan in words, for tables and pages alike: what to deploy, what binds, why nothing cheaper does."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from foretell.sim.planning import Candidate
from foretell.sim.planning_binds import binding
from foretell.sim.planning_rent import group_accelerators, pool_accelerators
from foretell.sim.planning_spec import is_replicas
from foretell.sim.planning_trials import Trial
from foretell.sim.planning_verify import Finalist, Plan
from foretell.sim.quantities import show_number
from foretell.sim.report.words import chance, of_runs, percent
from foretell.sim.scenario import Pool
from foretell.sim.vllm_command import ServeCommand

_SHORT = {"tensor_parallel_size": "TP", "pipeline_parallel_size": "PP", "data_parallel_size": "DP"}
_TIME = {
    "compute": "computing",
    "memory": "reading memory",
    "communication": "communicating",
    "launch": "launching kernels",
    "host": "the host",
}
DROPPED = {"margin": "with less room at the same rent", "dearer": "dearer than those shown"}


def layout(candidate: Candidate) -> str:
    """A candidate in words: what was chosen of its strategy and of each pool, with the replicas."""
    words = [_word(path, value) for path, value in candidate.changes.items() if not path.startswith("pools.")]
    many = len(candidate.scenario.pools) > 1
    for name, pool in candidate.scenario.pools.items():
        own = {
            path.removeprefix(f"pools.{name}."): value
            for path, value in candidate.changes.items()
            if path.startswith(f"pools.{name}.") and not is_replicas(path)
        }
        hardware = own.pop("hardware", pool.hardware) or "engine"
        told = ", ".join([*_amount(pool, hardware), *(_word(path, value) for path, value in own.items())])
        words.append(f"{name} {told}" if many else told)
    return ", ".join(words)


def _amount(pool: Pool, hardware: str) -> list[str]:
    """Accelerators in all, and replicas."""
    if not isinstance(pool.replicas, int):
        groups = (f"{group_accelerators(group)} × {group.hardware or hardware}" for group in pool.groups)
        return [" + ".join(groups)]
    return [f"{pool_accelerators(pool)} × {hardware}: {_replicas(pool.replicas)}"]


def _replicas(count: int) -> str:
    return f"{count} replica{'s' * (count != 1)}"


def _word(path: str, value: object) -> str:
    name = path.rpartition(".")[2]
    if isinstance(value, Mapping):
        inner = {key: each for key, each in value.items() if not isinstance(each, Mapping)}
        return " ".join(str(each) if key == "name" else f"{key}={each}" for key, each in inner.items())
    if name in ("quantization", "model", "strategy", "name"):
        return "as shipped" if value is None else str(value)
    if isinstance(value, bool):
        return f"{'' if value else 'no '}{name}"
    return f"{_SHORT.get(name, name)} {value}"


def headline(plan: Plan) -> str:
    """What to deploy, or what comes nearest."""
    best, nearest = plan.best, plan.nearest
    if best is not None:
        sure = best.checked.probability
        told = f" (least certain: {chance(sure)})" if not math.isnan(sure) else ""
        return (
            f"Deploy {layout(best.candidate)}: {rent_text(best.usd_per_h)}; meets every objective{told}"
            f"{_held(plan)}"
        )
    if nearest is None:
        return "Nothing in the plan can be deployed and meets every objective"
    text = f"Nothing meets every objective; nearest: {layout(nearest.candidate)}"
    return f"{text} at {rent_text(nearest.usd_per_h)}, which misses {'; '.join(nearest.checked.missed)}"


def _held(plan: Plan) -> str:
    spec = plan.spec
    parts = [f"at {percent(spec.headroom)} more traffic"] if spec.headroom else []
    parts += [f"with {_replicas(spec.spare)} lost"] if spec.spare else []
    return f", also {' and '.join(parts)}" if parts else ""


def rent_text(value: float) -> str:
    """A rent an hour."""
    return f"{show_number(value)} USD/h" if math.isfinite(value) else "price not known"


def command_text(best: Finalist, command: ServeCommand) -> str:
    """What a command starts: its pool, replicas and where they run."""
    each = "each " if command.replicas > 1 else ""
    where = f", {each}on {command.accelerators} × {command.hardware}" if command.hardware else ""
    router = best.candidate.scenario.pools[command.pool].router
    behind = f", behind {router}" if command.replicas > 1 else ""
    return f"{command.pool}: {_replicas(command.replicas)}{where}{behind}"


def headroom_text(one: Finalist) -> str:
    """More traffic that it stands."""
    return "–" if one.headroom is None else f"+{one.headroom.extra:.0%}".replace("%", " %")


def loss_text(one: Finalist) -> str:
    """The chance of the pool whose loss hurts most."""
    if not one.loss:
        return "–"
    if any(left is None for left in one.loss.values()):
        return "down"
    left = [trial for trial in one.loss.values() if trial is not None]
    worst = min(left, key=lambda t: (t.met, t.room))
    return _chance(worst)


def _chance(trial: Trial) -> str:
    """A chance, where there is one; one run that is far off is enough for none."""
    if math.isnan(trial.probability):
        return "< 1 %" if not trial.met else "yes"
    return chance(trial.probability)


def binds_text(one: Finalist) -> str:
    """What keeps it from being smaller."""
    found = binding(one.checked.trials)
    parts = []
    if found.objective:
        beyond = f"{show_number(abs(found.room) * 100)} %"
        what = f"{beyond} {'room' if found.room >= 0 else 'beyond'}"
        name = "capacity" if found.objective == "load" else found.objective
        parts.append(f"{name} ({what}{' ' + found.when if found.when else ''})")
    if found.limit:
        parts.append(f"{found.limit} {percent(found.used)} used")
    if found.time:
        parts.append(_TIME[found.time])
    return ", ".join(parts) or "; ".join(one.checked.missed)


def why(plan: Plan) -> Iterator[str]:
    """Why nothing cheaper does."""
    cheaper = plan.cheaper
    if cheaper is not None:
        yield (
            f"Next cheaper: {layout(cheaper.candidate)} at {rent_text(cheaper.usd_per_h)} fails: "
            f"{'; '.join(cheaper.missed)}"
        )
    best = plan.best
    if best is not None and best.settled.moved:
        fewer = best.settled.moved < 0
        number = f"{abs(best.settled.moved)} {'fewer' if fewer else 'more'}"
        yield f"Replicas of the best by simulation: {number} than by closed form"


def how_found(plan: Plan) -> Iterator[str]:
    """How the search went."""
    search = plan.shortlist
    yield (
        f"Of {search.space:,} candidates {search.bounded:,} were dropped by bounds, {search.analysed:,} "
        f"forecast in closed form; {plan.simulated} simulations verified the finalists"
    )
    if search.sampled:
        yield (
            f"Too many layouts to go through: {search.sampled:,} were drawn (Optuna); cheaper ones may exist"
        )
    dropped = ", ".join(
        f"{count:,} {DROPPED.get(reason, reason)}" for reason, count in search.short.items() if count
    )
    if dropped:
        yield f"Layouts dropped: {dropped}"


def meanings(plan: Plan) -> Iterator[str]:
    """What the columns of the finalists mean."""
    n = plan.scenario.replications
    if plan.finalists:
        yield (
            "Meets: chance that a run meets every objective, of the least certain one and under all "
            "conditions. More traffic: the most that it stood in a simulation, made where the closed form "
            "points. One lost: the chance with a replica fewer."
        )
    if plan.finalists and n > 1:
        yield f"Below a figure: {of_runs(n)}."
