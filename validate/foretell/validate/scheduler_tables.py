"""The differential test's summary as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def show(summary: Mapping[str, Any]) -> None:
    """Print the summary of `foretell.validate.scheduler`."""
    from rich.console import Console
    from rich.table import Table

    console = Console()

    def table(title: str, *columns: str) -> Table:
        made = Table(title=title, title_justify="left")
        for n, column in enumerate(columns):
            made.add_column(column, justify="right" if n else "left")
        return made

    steps, equal = summary["steps"], summary["steps_equal"]
    console.print(
        f"vLLM {summary['vllm_version']}: {summary['scenarios_equal']:,} of {summary['scenarios']:,} "
        f"scenarios and {equal:,} of {steps:,} steps equal (seed {summary['seed']})"
    )
    if summary["settings_unknown_to_it"]:
        console.print(f"not tested, unknown to this version: {', '.join(summary['settings_unknown_to_it'])}")
    engines = table("By engine", "engine", "scenarios", "steps", "equal")
    for name, row in summary["engines"].items():
        engines.add_row(name, f"{row['scenarios']:,}", f"{row['steps']:,}", f"{row['steps_equal']:,}")
    console.print(engines)
    features = table("What the scenarios reach", "feature", "scenarios")
    for name, count in summary["features"].items():
        features.add_row(name, f"{count:,}")
    console.print(features)
    if summary["controls"]:
        controls = table("Settings made wrong on our side", "setting", "tried", "binding", "caught")
        for name, row in summary["controls"].items():
            controls.add_row(name, *(f"{row[key]:,}" for key in ("tried", "binding", "caught")))
        console.print(controls)
    if summary["scale"]:
        scale = table(
            "Scale", "scenario", "requests", "steps", "identical", "vLLM req/CPU-s", "ours req/CPU-s", "times"
        )
        for row in [*summary["scale"], {"name": "all"} | summary["scale_together"]]:
            scale.add_row(
                row["name"],
                f"{row['requests']:,}",
                f"{row['steps']:,}",
                "yes" if row["identical"] else "NO",
                f"{row['vllm_requests_per_cpu_s']:,.0f}",
                f"{row['foretell_requests_per_cpu_s']:,.0f}",
                f"{row['times']:,.0f}",
            )
        console.print(scale)
    for error in summary["errors"]:
        console.print(f"vLLM failed: {error}", markup=False)
    for one in summary["mismatches"]:
        console.print(
            "", *one["told"], f"  see it: foretell replay {one['file']} --output DIR", sep="\n", markup=False
        )
