"""A plan as text for people: what to deploy, how to start it, what else there is, how it was found."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from foretell.sim.cli.comparison_tables import figure_cell
from foretell.sim.objectives import Objective, objectives_from_mapping
from foretell.sim.planning import Candidate, Expected
from foretell.sim.planning_binds import binding
from foretell.sim.planning_rent import group_accelerators, pool_accelerators
from foretell.sim.planning_spec import is_replicas
from foretell.sim.planning_trials import Trial
from foretell.sim.planning_verify import Finalist, Plan
from foretell.sim.quantities import show_number
from foretell.sim.report.words import chance, percent
from foretell.sim.scenario import Pool

_SHORT = {"tensor_parallel_size": "TP", "pipeline_parallel_size": "PP", "data_parallel_size": "DP"}
_TIME = {
    "compute": "computing",
    "memory": "reading memory",
    "communication": "communicating",
    "launch": "launching kernels",
    "host": "the host",
}
_DROPPED = {"margin": "with less room at the same rent", "dearer": "dearer than those shown"}
_LAYOUT_WIDTH = 22


def show_plan(plan: Plan, console: Console | None = None) -> None:
    """Print a plan: the answer, its commands, finalists, how they were found, notes."""
    out = console or Console(highlight=False)
    out.print(_headline(plan))
    for line in _commands(plan.best):
        out.print(Text(line), soft_wrap=True)
    if plan.finalists or plan.others:
        out.print(_table(plan))
    for line in (*_why(plan), *_search(plan), *_legend(plan)):
        out.print(Text(line, style="dim"))


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


def _headline(plan: Plan) -> Text:
    best, nearest = plan.best, plan.nearest
    if best is not None:
        sure = best.checked.probability
        told = f" (least certain: {chance(sure)})" if not math.isnan(sure) else ""
        held = _held(plan)
        text = f"Deploy {layout(best.candidate)}: {_usd(best.usd_per_h)}; meets every objective{told}{held}"
        return Text(text, style="bold green")
    if nearest is None:
        return Text("Nothing in the plan can be deployed and meets every objective", style="bold red")
    text = f"Nothing meets every objective; nearest: {layout(nearest.candidate)} at {_usd(nearest.usd_per_h)}"
    return Text(f"{text}, which misses {'; '.join(nearest.checked.missed)}", style="bold red")


def _held(plan: Plan) -> str:
    spec = plan.spec
    parts = [f"at {percent(spec.headroom)} more traffic"] if spec.headroom else []
    parts += [f"with {_replicas(spec.spare)} lost"] if spec.spare else []
    return f", also {' and '.join(parts)}" if parts else ""


def _usd(value: float) -> str:
    return f"{show_number(value)} USD/h" if math.isfinite(value) else "price not known"


def _commands(best: Finalist | None) -> Iterator[str]:
    for command in () if best is None else best.commands:
        each = "each " if command.replicas > 1 else ""
        where = f", {each}on {command.accelerators} × {command.hardware}" if command.hardware else ""
        router = best.candidate.scenario.pools[command.pool].router if best is not None else ""
        behind = f", behind {router}" if command.replicas > 1 else ""
        yield f"{command.pool}: {_replicas(command.replicas)}{where}{behind}"
        yield f"  {command.line}"
        for note in command.notes:
            yield f"  ({note})"


def _table(plan: Plan) -> Table:
    objectives = [o for o in objectives_from_mapping(plan.scenario.objectives) if o.key != "usd_per_h"]
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("")
    table.add_column("Deployment", overflow="fold", min_width=_LAYOUT_WIDTH)
    for title in ("USD/h", "Meets", *(o.name for o in objectives), "More\ntraffic", "One\nlost"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("What binds", overflow="fold")
    for one in plan.finalists:
        table.add_row(*_row(one, one is plan.best, objectives), style="bold" if one is plan.best else "")
    for expected in plan.others:
        table.add_row(*_unsimulated(expected, objectives), style="dim")
    return table


def _row(one: Finalist, best: bool, objectives: list[Objective]) -> list[str | Text]:
    sure = one.checked.probability
    meets = chance(sure) if not math.isnan(sure) else ("yes" if one.met else "no")
    return [
        "*" if best else "",
        layout(one.candidate),
        show_number(one.usd_per_h) if math.isfinite(one.usd_per_h) else "–",
        Text(meets, style="green" if one.met else "red"),
        *(figure_cell(o.key, one.trial.summary.get(o.key), True) for o in objectives),
        _headroom(one),
        _loss(one),
        _binds(one),
    ]


def _unsimulated(expected: Expected, objectives: list[Objective]) -> list[str | Text]:
    figures = expected.figures
    told = [
        o.show(figures[o.key]) if math.isfinite(figures.get(o.key, math.nan)) else "–" for o in objectives
    ]
    usd = show_number(expected.usd_per_h) if math.isfinite(expected.usd_per_h) else "–"
    return ["", layout(expected.candidate), usd, "–", *told, "", "", "closed form only"]


def _headroom(one: Finalist) -> str:
    return "–" if one.headroom is None else f"+{one.headroom.extra:.0%}".replace("%", " %")


def _loss(one: Finalist) -> str:
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


def _binds(one: Finalist) -> str:
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


def _why(plan: Plan) -> Iterator[str]:
    cheaper = plan.cheaper
    if cheaper is not None:
        yield (
            f"Next cheaper: {layout(cheaper.candidate)} at {_usd(cheaper.usd_per_h)} fails: "
            f"{'; '.join(cheaper.missed)}"
        )
    best = plan.best
    if best is not None and best.settled.moved:
        fewer = best.settled.moved < 0
        number = f"{abs(best.settled.moved)} {'fewer' if fewer else 'more'}"
        yield f"Replicas of the best by simulation: {number} than by closed form"


def _search(plan: Plan) -> Iterator[str]:
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
        f"{count:,} {_DROPPED.get(reason, reason)}" for reason, count in search.short.items() if count
    )
    if dropped:
        yield f"Layouts dropped: {dropped}"


def _legend(plan: Plan) -> Iterator[str]:
    n = plan.scenario.replications
    if plan.finalists:
        yield (
            "Meets: chance that a run meets every objective, of the least certain one and under all "
            "conditions. More traffic: the most that it stood in a simulation, made where the closed form "
            "points. One lost: the chance with a replica fewer."
        )
    if plan.finalists and n > 1:
        yield f"Below a figure: where one run lands in 9 of 10 cases, from {n} replications."
    yield from (f"- {note}" for note in plan.notes)
