"""`foretell validate theory`: queueing models against simulation, textbook's and ours."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command("theory")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write one page with maps.")
@click.option(
    "--quick",
    "how",
    flag_value="quick",
    default="quick",
    help="Few cases and loads, the default: 30 s.",
)
@click.option("--full", "how", flag_value="full", help="All of them: about 20 CPU-minutes.")
@click.option(
    "--recorded",
    "how",
    flag_value="recorded",
    help="The simulations of the last full run, against the closed form as it is now: seconds.",
)
@click.option("--only", metavar="PART", default="", help="Only queues and cases whose name contains this.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the simulations.")
@click.option(
    "--save", type=click.Path(dir_okay=False, path_type=Path), help="Write what was simulated to a file."
)
def theory_command(
    as_json: bool, html: Path | None, how: str, only: str, seed: int, save: Path | None
) -> None:
    """Sweep load, burstiness, lengths, models and GPUs: closed forms against simulation.

    Textbook queues are played on foretell's engines, by recursions, and by ciw where it is installed;
    continuous batching is simulated as in a forecast. Exit code 0 whatever is missed: that is the report.
    """
    from foretell.validate.cli import print_json, write_whole

    if how == "recorded" and seed:
        raise ValueError("--seed: what was recorded has its own; drop --seed, or --recorded")
    for name, path in (("--html", html), ("--save", save)):
        if path is not None and not path.absolute().parent.is_dir():
            raise ValueError(f"{name}: folder {path.parent} does not exist; make it first")
    from foretell.validate.theory import recorded, run, saved
    from foretell.validate.theory_tables import show_theory, theory_summary

    if how == "recorded":
        theory = recorded(only=only)
    else:
        theory = run(full=how == "full", seed=seed, only=only, tell=_tell)
    if not theory.rows and not theory.points:
        raise ValueError(f"--only: no queue or case has {only!r} in its name")
    if html is not None:
        from foretell.validate.theory_page import render

        write_whole(html, render(theory))
        click.echo(f"foretell: wrote {html}", err=True)
    if save is not None:
        write_whole(save, saved(theory))
        click.echo(f"foretell: wrote {save}", err=True)
    if as_json:
        print_json(theory_summary(theory))
    else:
        show_theory(theory)


def _tell(text: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[Kforetell: {text}", err=True, nl=False)
