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

    Times are of the CPU clock of vLLM's process. A scenario with `loads` instead of a workload is served
    through vLLM's OpenAI server, and recorded at the client and in the engine, on the wall clock. Files of
    the same names in DIR are replaced.
    """
    from foretell.sim.schema import read_mapping
    from foretell.validate import record

    python = record.vllm_python(vllm_python)
    if "loads" in read_mapping(scenario):
        from foretell.validate.record_server import load_server_recording, record_server

        served = record_server(load_server_recording(scenario), output, python)
        click.echo(f"{sum(served.values())} requests in {len(served)} loads; wrote {output}")
        return
    config = record.record(record.load_recording(scenario), output, python)
    found = config["summary"]
    click.echo(
        f"{found['n_done']} requests in {found['steps']:,} steps and {found['wall_s']:.1f} s "
        f"({found['real_wall_s']:.1f} s by the wall, {found['preemptions']} preemptions); wrote {output}"
    )
