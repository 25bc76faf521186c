"""A plan as one page: what to rent and how to start it, why nothing cheaper does, what it hangs on."""

from __future__ import annotations

import math
from collections.abc import Sequence

from foretell.sim.objectives import Objective, objectives_from_mapping
from foretell.sim.planning import Expected
from foretell.sim.planning_verify import Finalist, Plan
from foretell.sim.planning_walk import Checked
from foretell.sim.report.asked import asked_section
from foretell.sim.report.forest import span
from foretell.sim.report.page import document, figure, section, table
from foretell.sim.report.pieces import code, name_th, scrolling, small, tiles, words_td
from foretell.sim.report.plan_picture import candidates
from foretell.sim.report.plan_words import (
    DROPPED,
    binds_text,
    command_text,
    headline,
    headroom_text,
    how_found,
    layout,
    loss_text,
    meanings,
    rent_text,
    why,
)
from foretell.sim.report.tornado import light_section
from foretell.sim.report.words import between, chance, limit_text, percent, prose, show


def plan_page(plan: Plan) -> str:
    """The whole page of a plan."""
    title = "What to deploy"
    parts = [
        f"<h1>{title}</h1>",
        _answer(plan),
        _commands(plan.best),
        _why_section(plan),
        _finalists(plan),
        _hangs_on(plan),
        _walk(plan),
        _dropped(plan),
        asked_section(plan.scenario, [*how_found(plan), *meanings(plan)], plan.notes),
    ]
    return document(f"{title}: foretell", "".join(parts))


def _answer(plan: Plan) -> str:
    best = plan.best
    words = f'<p class="answer {"missed" if best is None else "met"}">{prose(headline(plan))}</p>'
    if best is None:
        return words
    sure = best.checked.probability
    facts = [
        ("Rent", rent_text(best.usd_per_h), "of all accelerators"),
        ("Chance", "–" if math.isnan(sure) else chance(sure), "that a run meets every objective"),
        ("More traffic", headroom_text(best), "that it stood in a simulation"),
        ("One replica lost", loss_text(best), "chance that a run still meets all"),
    ]
    return f"{words}{tiles(facts)}<p>What binds: {prose(binds_text(best))}.</p>"


def _commands(best: Finalist | None) -> str:
    if best is None or not best.commands:
        return ""
    parts = []
    for command in best.commands:
        parts.append(f"<p>{prose(command_text(best, command))}:</p>")
        parts.append(code(command.line, f"Command for {command.pool}"))
        parts += [f'<p class="dim">{prose(note)}</p>' for note in command.notes]
    return section("start", "How to start it", "".join(parts))


def _why_section(plan: Plan) -> str:
    words = "".join(f"<p>{prose(line)}.</p>" for line in why(plan))
    chart = candidates(plan)
    if not (words or chart):
        return ""
    about = (
        '<p class="dim">Each mark is a deployment. Filled: simulated, under the hardest of the conditions '
        "that were asked for; hollow: by closed form alone. Above the line every figure is within its limit; "
        "what misses one by more than 100 % is drawn at the edge. A mark above the line fails all the same "
        "where it meets the limits with less than the chance that was asked for.</p>"
    )
    picture = figure(scrolling(chart, "Candidates"), "Rent against room to the limits") if chart else ""
    return section("cheaper", "Why nothing cheaper", f"{words}{about if chart else ''}{picture}")


def _finalists(plan: Plan) -> str:
    if not (plan.finalists or plan.others):
        return ""
    objectives = [o for o in objectives_from_mapping(plan.scenario.objectives) if o.key != "usd_per_h"]
    heads = [
        "Deployment",
        "Rent",
        "Meets",
        *map(limit_text, objectives),
        "More traffic",
        "One lost",
        "What binds",
    ]
    reaches = {o: _reach(plan, o) for o in objectives}
    rows = "".join(_row(plan, one, objectives, reaches) for one in plan.finalists)
    rows += "".join(_hollow(one, objectives) for one in plan.others)
    return section(
        "finalists", "The finalists", table(heads, rows, "The red line is the limit.", "figures dense")
    )


def _row(
    plan: Plan, one: Finalist, objectives: Sequence[Objective], reaches: dict[Objective, tuple[float, float]]
) -> str:
    sure = one.checked.probability
    meets = chance(sure) if not math.isnan(sure) else ("yes" if one.met else "no")
    mark = "★ " if one is plan.best else ""
    cells = "".join(_figure(one, objective, reaches[objective]) for objective in objectives)
    return (
        f"<tr>{name_th(mark + layout(one.candidate))}<td>{prose(rent_text(one.usd_per_h))}</td>"
        f'<td class="{"met" if one.met else "missed"}">{prose(meets)}</td>{cells}'
        f"<td>{prose(headroom_text(one))}</td><td>{prose(loss_text(one))}</td>{words_td(binds_text(one))}</tr>"
    )


def _reach(plan: Plan, objective: Objective) -> tuple[float, float]:
    """Least and most of an objective's figure over the finalists, so that they stand on one scale."""
    ends = [
        end
        for one in plan.finalists
        if (found := one.trial.summary.get(objective.key)) is not None
        for end in (found.value, found.low, found.high)
        if math.isfinite(end)
    ]
    return min(ends, default=objective.limit), max(ends, default=objective.limit)


def _figure(one: Finalist, objective: Objective, reach: tuple[float, float]) -> str:
    found = one.trial.summary.get(objective.key)
    if found is None or not math.isfinite(found.value):
        return "<td>–</td>"
    text, low_high = objective.show(found.value), between(objective.key, found)
    picture = span(
        found.value,
        found.low,
        found.high,
        reach,
        f"{text}, limit {objective.show(objective.limit)}",
        line=objective.limit,
        style="limit",
    )
    style = "" if objective.met(found.value) else ' class="missed"'
    return f"<td{style}>{prose(text)}<br>{picture}{small(low_high)}</td>"


def _hollow(one: Expected, objectives: Sequence[Objective]) -> str:
    told = "".join(f"<td>{prose(show(o.key, one.figures.get(o.key, math.nan)))}</td>" for o in objectives)
    return (
        f'<tr class="dim">{name_th(layout(one.candidate))}'
        f"<td>{prose(rent_text(one.usd_per_h))}</td><td>–</td>{told}<td></td><td></td>"
        f"{words_td('closed form only')}</tr>"
    )


def _hangs_on(plan: Plan) -> str:
    best = plan.best
    if best is None:
        return ""
    return section("hangs-on", "What the answer hangs on", light_section(best.candidate.scenario))


def _walk(plan: Plan) -> str:
    """Every candidate that was simulated, layout by layout."""
    rows = "".join(_step(checked) for one in plan.finalists for checked in (*one.settled.failed, one.checked))
    if not rows:
        return ""
    about = (
        "Layout by layout: the replicas that were tried and do not hold, then those that were settled on. "
        "Each is simulated under the hardest condition first, and no further once one fails."
    )
    heads = ["Deployment", "Rent", "Meets", "Under", "Room", "What fails"]
    return section("walk", "What was simulated", table(heads, rows, about, "figures dense"))


def _step(checked: Checked) -> str:
    met = "yes" if checked.met else "no"
    under = "; ".join(when or "as it is" for when in checked.trials)
    return (
        f"<tr>{name_th(layout(checked.candidate))}<td>{prose(rent_text(checked.usd_per_h))}</td>"
        f'<td class="{"met" if checked.met else "missed"}">{met}</td>{words_td(under)}'
        f"<td>{prose(percent(checked.room))}</td>{words_td('; '.join(checked.missed))}</tr>"
    )


def _dropped(plan: Plan) -> str:
    search = plan.shortlist
    reasons = sorted(((n, reason) for reason, n in search.short.items() if n), reverse=True)
    if not reasons:
        return ""
    rows = "".join(_reason(count, reason) for count, reason in reasons)
    about = f"Of {search.space:,} candidates; a layout is all fields but the replicas."
    return section("dropped", "What was dropped, and why", table(["Reason", "Layouts"], rows, about))


def _reason(count: int, reason: str) -> str:
    return f"<tr><th scope=row>{prose(DROPPED.get(reason, reason))}</th><td>{count:,}</td></tr>"
