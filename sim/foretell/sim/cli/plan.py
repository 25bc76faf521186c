"""`foretell plan`: the cheapest deployment that meets the objectives, verified by simulation."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from foretell.sim.cli.options import COUNT, WHOLE, html_option, html_target, json_option, json_target


@click.command("plan")
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option(
    "--slo", multiple=True, metavar="METRIC:STAT:LIMIT", help="Objective, as in ttft:p99:500ms. Repeatable."
)
@click.option("--budget", metavar="USD/H", help="Most rent, as in 40usd/h.")
@click.option("--power", metavar="W", help="Most power, as in 12kW.")
@click.option("--headroom", metavar="SHARE", help="More traffic that it must hold at too, as in 20%.")
@click.option("--spare", type=WHOLE, help="Replicas of a pool that may be lost.")
@click.option("--probability", metavar="SHARE", help="Least chance that a run meets all. [default: 50 %]")
@click.option("--finalists", type=COUNT, default=3, help="Layouts that are simulated. [default: 3]")
@click.option("--seed", type=WHOLE)
@click.option("--replications", type=COUNT, help="Runs of each simulation. [default: the scenario's]")
@click.option("--processes", type=COUNT, help="Processes to spread the runs over.")
@json_option
@html_option
@click.option("--output", type=click.Path(path_type=Path), metavar="DIR", help="Folder for plan.json.")
@click.option("--no-progress", is_flag=True, help="Nothing on stderr.")
def plan_command(
    scenario: Path,
    finalists: int,
    processes: int | None,
    json_to: str | None,
    html_to: str | None,
    output: Path | None,
    no_progress: bool,
    **flags: Any,
) -> int:
    """Choose hardware, layout and replicas among SCENARIO.yaml's `plan` section.

    Exits with 1 when nothing meets every objective, so that scripts can gate on it.
    """
    from foretell.sim.planning_verify import plan
    from foretell.sim.records import output_folder, write_text
    from foretell.sim.schema import naming

    target = json_target(json_to)
    others = {} if output is None else {f"--output's {name}": output / name for name in _FILES}
    page = html_target(html_to, {"--json": target, "the scenario": scenario, **others})
    asked = planned(scenario, **flags)
    with contextlib.ExitStack() as stack:
        folder = None if output is None else stack.enter_context(output_folder(output, _FILES))
        with _progress(not no_progress) as tick, naming(scenario):
            result = plan(asked, finalists=finalists, processes=processes, progress=tick)
        text = _json(result) if json_to is not None or folder is not None else ""
        if folder is not None:
            (folder / _FILES[0]).write_text(text, encoding="utf-8")
        if target is not None:
            write_text(target, text)
        if page is not None:
            result.to_html(page)
    if json_to == "-":
        click.echo(text, nl=False)
    else:
        from foretell.sim.cli.plan_tables import show_plan

        show_plan(result)
    return 0 if result.met else 1


_FILES = ("plan.json",)
_LIMITS = ("budget", "power")
_HELD = ("headroom", "spare", "probability")


def planned(file: Path, *, slo: tuple[str, ...] = (), **flags: Any) -> Any:
    """Read a scenario file with flags laid over it.

    Args:
        file: the scenario.
        slo: objectives as flags.
        flags: budget, power, headroom, spare, probability, seed and replications; None leaves the file's.

    Raises:
        ValueError: bad input, in one line.

    """
    from foretell.sim.objectives import objective_from_flag
    from foretell.sim.scenario import Scenario
    from foretell.sim.schema import load_values, naming

    values = load_values(file)
    limits = {objective_from_flag(text).name: text.rpartition(":")[2] for text in slo}
    limits |= {name: flags[name] for name in _LIMITS if flags.get(name) is not None}
    if limits:
        values["objectives"] = dict(values.get("objectives") or {}) | limits
    held = {name: flags[name] for name in _HELD if flags.get(name) is not None}
    if held:
        values["plan"] = dict(values.get("plan") or {}) | held
    values |= {name: flags[name] for name in ("seed", "replications") if flags.get(name) is not None}
    with naming(file):
        return Scenario.from_dict(values)


def _json(result: Any) -> str:
    import json

    return json.dumps(result.to_dict(), indent=2, allow_nan=False) + "\n"


@contextlib.contextmanager
def _progress(wanted: bool) -> Iterator[Callable[[str, int], None] | None]:
    """Say on stderr what is simulated, where that is a terminal."""
    if not (wanted and sys.stderr.isatty()):
        yield None
        return
    width = 70
    try:
        yield lambda what, count: click.echo(
            f"\r{f'{count} simulated; {what}'[:width]:{width}}", err=True, nl=False
        )
    finally:
        click.echo("\r" + " " * width + "\r", err=True, nl=False)
