"""`foretell sensitivity`: which inputs of a deployment matter, and what it is worth to know them better."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Any

import click

from foretell.sim.cli.options import WHOLE, html_option, html_target, json_option, json_target


@click.command("sensitivity")
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option("--change", default="10%", metavar="SHARE", help="Change of every input. [default: 10%]")
@click.option("--input", "inputs", multiple=True, metavar="NAME", help="Only this one. Repeatable.")
@click.option(
    "--probability",
    metavar="SHARE",
    help="With which replicas rented today must meet the objectives. [default: the plan's, else 90%]",
)
@click.option(
    "--headroom", metavar="SHARE", help="At so much more traffic too. [default: the plan's, else 0%]"
)
@click.option("--spare", type=WHOLE, help="With so many replicas lost too. [default: the plan's, else 0]")
@click.option(
    "--slo", multiple=True, metavar="METRIC:STAT:LIMIT", help="Objective, as in ttft:p99:500ms. Repeatable."
)
@json_option
@html_option
def sensitivity_command(
    scenario: Path,
    change: str,
    inputs: tuple[str, ...],
    probability: str | None,
    headroom: str | None,
    spare: int | None,
    slo: tuple[str, ...],
    json_to: str | None,
    html_to: str | None,
) -> int:
    """Change every input of SCENARIO.yaml in turn: which bring its objectives nearer to their limits?

    By closed form, in seconds. Exits with 1 when an objective is missed as things are.
    """
    import json

    from foretell.sim.cli.compare import scenario_with
    from foretell.sim.planning_spec import headroom_share
    from foretell.sim.quantities import parse_quantity
    from foretell.sim.records import write_text
    from foretell.sim.schema import naming
    from foretell.sim.sensitivity import sensitivity
    from foretell.sim.sensitivity_value import surely

    target = json_target(json_to)
    page = html_target(html_to, {"--json": target, "the scenario": scenario})
    given: dict[str, Any] = {"change": parse_quantity(change, "share", "--change")}
    if probability is not None:
        sure = parse_quantity(probability, "share", "--probability")
        given["probability"] = surely(sure, "--probability")
    if headroom is not None:
        given["headroom"] = headroom_share(headroom, "--headroom")
    if spare is not None:
        given["spare"] = spare
    asked = scenario_with(scenario, slo, None, None)
    with naming(scenario):
        result = sensitivity(asked, inputs=inputs or None, **{**_terms(asked, given), **given})
    text = json.dumps(result.to_dict(), indent=2, allow_nan=False) + "\n"
    if target is not None:
        write_text(target, text)
    if page is not None:
        result.to_html(page)
    if json_to == "-":
        click.echo(text, nl=False)
    else:
        from foretell.sim.cli.sensitivity_tables import show_sensitivity

        show_sensitivity(result)
    return 0 if result.met else 1


def _terms(asked: Any, given: Container[str]) -> dict[str, Any]:
    """What the scenario's plan must hold out, if it has one; a probability that is given besides goes first.

    Raises:
        ValueError: as `plan_spec`, and a probability that no number of replicas has.

    """
    from foretell.sim.planning_spec import plan_spec
    from foretell.sim.sensitivity_value import surely

    if not asked.plan:
        return {}
    spec = plan_spec(asked)
    if "probability" not in given:
        surely(spec.probability, "plan.probability")
    return {"probability": spec.probability, "headroom": spec.headroom, "spare": spec.spare}
