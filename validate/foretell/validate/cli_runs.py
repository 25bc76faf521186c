"""`foretell validate runs`: recorded runs of real vLLM, replayed step by step and forecast end to end."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import click


@click.command("runs")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of recorded runs; without it those shipped, and vllm-cpu/runs in $FORETELL_SHARED/data, or "
    "in shared/data beside the working folder, if it is there.",
)
def runs_command(as_json: bool, data: Path | None) -> None:
    """Replay recorded runs of real vLLM step by step, and forecast them from other runs.

    Without --data, servers on GPUs whose every request was timed are forecast too, from their description
    alone, if llmservingsim is among the data and the extra silicon is installed. Exit code 0 even when a
    target is missed: which ones are is part of the report.
    """
    from foretell.validate.cli import print_json

    found = runs_summary(data)
    if as_json:
        print_json(found)
    else:
        from foretell.validate.runs_tables import show_runs

        show_runs(found)


def runs_summary(
    data: Path | None = None, recordings: Path | None = None, *, with_served: bool = True
) -> dict[str, Any]:
    """Everything that is said of the recorded runs in a folder, or of all that are found; see runs_report.

    Args:
        data: the folder; without it all that are found.
        recordings: where to find them beside those shipped, instead of the usual places.
        with_served: forecast served runs too, if no folder is given.

    Raises:
        ValueError: the folder has no runs, or a run cannot be read.

    """
    from foretell.validate.predicted_runs import evidence
    from foretell.validate.recorded_runs import load_run
    from foretell.validate.replayed_runs import replay
    from foretell.validate.runs_report import summary

    places = places_of(data, recordings)
    runs = [load_run(folder) for folders in places.values() for folder in folders]
    origin = [name for name, folders in places.items() for _ in folders]
    served = _served(recordings) if with_served and data is None else None
    return summary(runs, origin, [replay(run) for run in runs], evidence(runs, origin), served)


def _served(recordings: Path | None) -> dict[str, Any] | None:
    """Forecasts of served runs, where both they and measured operators are at hand."""
    from foretell.models.silicon_source import has_silicon
    from foretell.validate.cli import data_folder
    from foretell.validate.served_runs import served_runs

    folder = recordings or data_folder(None)
    recorded = folder / "llmservingsim" if folder is not None else None
    return served_runs(recorded) if recorded is not None and recorded.is_dir() and has_silicon() else None


def places_of(data: Path | None, recordings: Path | None = None) -> dict[str, list[Path]]:
    """Folders of runs by where they come from: one place if it is given, else all that are found.

    Raises:
        ValueError: there are none.

    """
    from foretell.validate.cli import data_folder
    from foretell.validate.recorded_runs import run_folders

    folder = recordings or data_folder(data)
    if data is not None:
        assert folder is not None
        return {data.resolve().name: run_folders(folder)}
    places = {}
    shipped = Path(str(files("foretell.validate") / "data" / "runs"))
    for name, place in (("shipped", shipped), ("vllm-cpu", folder and folder / "vllm-cpu" / "runs")):
        if place and any(place.glob("*/config.json")):
            places[name] = run_folders(place)
    if not places:
        raise ValueError("no recorded runs were found; --data names a folder of them")
    return places
