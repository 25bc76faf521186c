"""`foretell validate client`: the way between client and engine, as measured and as predicted."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click


@click.command("client")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option(
    "--data", type=click.Path(path_type=Path), metavar="DIR", help="Recordings. [default: those shipped]"
)
@click.option(
    "--write",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write what was fitted on all loads as a TOML file, for a scenario's field `client`.",
)
def client_command(as_json: bool, data: Path | None, write: Path | None) -> None:
    """Fit the client's side of a server on some loads and predict the others.

    Both sides of every request were measured: at `vllm bench serve`, and in the engine that it asked.
    """
    from foretell.sim.client import bundled_clients, client_from_mapping, client_toml, load_client
    from foretell.validate.client_sides import client_errors, read_sides

    if data is not None and not data.is_dir():
        raise ValueError(f"--data: {data} is not a folder")
    found = client_errors(read_sides(data or Path(__file__).with_name("data") / "client"))
    if write is not None:
        from foretell.validate.cli import write_whole

        write_whole(write, client_toml(client_from_mapping(found["client"])))
        click.echo(f"foretell: wrote {write}", err=True)
    if as_json:
        from foretell.validate.cli import print_json

        print_json(found | {"bundled": {name: asdict(load_client(name)) for name in bundled_clients()}})
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from foretell.sim.client import FIGURES
    from foretell.validate.client_sides import METRICS

    out = Console(highlight=False)
    for metric in METRICS:
        table = Table(
            f"{metric.upper()}, mean",
            "client",
            "engine's alone",
            "predicted",
            "repeat",
            box=None,
            pad_edge=False,
        )
        for row in found["rows"]:
            noise = row[f"{metric}_noise"]
            table.add_row(
                f"{row['load']} ({row['recording']})",
                f"{row[f'{metric}_mean_client_s'] * 1e3:.2f} ms",
                f"{row[f'{metric}_mean_engine_error']:+.1%}",
                f"{row[f'{metric}_mean_predicted_error']:+.1%}",
                "" if math.isnan(noise) else f"{noise:.1%}",
            )
        out.print(table)
    client, summary = found["client"], found["summary"]
    request, token, latency, response, stream = (client[name] for name in FIGURES)
    out.print(
        f"To the engine {request * 1e3:.2f} ms a request and {token * 1e6:.2f} µs a prompt token, in line, "
        f"and {latency * 1e3:.2f} ms; "
        f"back {response * 1e3:.2f} ms a token and {stream * 1e6:.0f} µs for each answer being streamed."
    )
    parts = [
        f"{name.upper()} {summary[f'{name}_mean_ape_predicted']:.1%} "
        f"(engine's alone {summary[f'{name}_mean_ape_engine']:.1%})"
        for name in METRICS
    ]
    out.print("Mean error of means, each load left out of the fit: " + ", ".join(parts))
    out.print(found["boundary"], style="dim")
