"""`foretell sensitivity`: which inputs of a deployment matter, and what it is worth to know them better."""

from __future__ import annotations

from pathlib import Path

import click

from foretell.sim.cli.options import WHOLE, json_option


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
def sensitivity_command(
    scenario: Path,
    change: str,
    inputs: tuple[str, ...],
    probability: str | None,
    headroom: str | None,
    spare: int | None,
    slo: tuple[str, ...],
    json_to: str | None,
) -> int:
    """Change every input of SCENARIO.yaml in turn: which bring its objectives nearer to their limits?

    By closed form, in seconds. Exits with 1 when an objective is missed as things are.
    """
    import json

    from foretell.sim.cli.compare import scenario_with
    from foretell.sim.cli.forecast import json_target
    from foretell.sim.intervals import LEVEL
    from foretell.sim.quantities import parse_quantity
    from foretell.sim.records import write_text
    from foretell.sim.schema import naming
    from foretell.sim.sensitivity import sensitivity

    def share(text: str | None, where: str, usual: float) -> float:
        return usual if text is None else parse_quantity(text, "share", where)

    target = json_target(json_to)
    asked = scenario_with(scenario, slo, None, None)
    plan = asked.plan
    if plan:
        from foretell.sim.planning_spec import plan_spec

        spec = plan_spec(asked)
        usual, more, lost = spec.probability, spec.headroom, spec.spare
    else:
        usual, more, lost = LEVEL, 0.0, 0
    given = {
        "change": share(change, "--change", 0.0),
        "probability": share(probability, "--probability", usual),
        "headroom": share(headroom, "--headroom", more),
    }
    with naming(scenario):
        result = sensitivity(asked, inputs=inputs or None, spare=lost if spare is None else spare, **given)
    text = json.dumps(result.to_dict(), indent=2, allow_nan=False) + "\n"
    if target is not None:
        write_text(target, text)
    if json_to == "-":
        click.echo(text, nl=False)
    else:
        from foretell.sim.cli.sensitivity_tables import show_sensitivity

        show_sensitivity(result)
    return 0 if result.met else 1
