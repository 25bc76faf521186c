"""`foretell validate record`: one real vLLM run from a scenario, every step of it logged."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("record")
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder for the run."
)
@click.option(
    "--vllm-python",
    metavar="PATH",
    help="An interpreter that has vLLM. [default: $FORETELL_VLLM_PYTHON, or this one]",
)
def record_command(scenario: Path, output: Path, vllm_python: str | None) -> None:
    """Run SCENARIO on real vLLM, on the CPU of this machine, and log every step.

    Times are of the CPU clock of vLLM's process. Files of these names in DIR are replaced.
    """
    from foretell.validate import record

    recording = record.load_recording(scenario)
    python = record.vllm_python(vllm_python)
    config = record.record(recording, output, python)
    found = config["summary"]
    click.echo(
        f"{found['n_done']} requests in {found['steps']:,} steps and {found['wall_s']:.1f} s "
        f"({found['real_wall_s']:.1f} s by the wall, {found['preemptions']} preemptions); wrote {output}"
    )
