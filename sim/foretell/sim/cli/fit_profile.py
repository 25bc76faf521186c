"""`foretell fit-profile`: from the per-sample records of an evaluation to an outcome profile."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from foretell.models.fit_outcomes import OutcomeFit

_FILE = click.Path(path_type=Path)


@click.command("fit-profile")
@click.argument("log", type=_FILE)
@click.option("-o", "--output", type=_FILE, metavar="FILE", help="The profile to write: a .toml.")
@click.option("--task", help="Name of the task. [default: the log's name]")
@click.option("--model", help="Name of the model. [default: model]")
@click.option("--max-tokens", type=click.IntRange(min=1), metavar="N", help="Cap of the samples' output.")
@click.option("--prompt-tokens", type=click.IntRange(min=1), metavar="N", help="Of a query, on average.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def fit_profile_command(
    log: Path,
    output: Path | None,
    task: str | None,
    model: str | None,
    max_tokens: int | None,
    prompt_tokens: int | None,
    as_json: bool,
) -> None:
    """Fit an outcome profile to an evaluation: how hard the problems, how long and how alike the answers.

    LOG is CSV, or JSON lines (.jsonl): a record a sample, several samples a problem, with the columns
    problem_id, output_tokens, correct and, if at hand, answer, confidence, finish_reason, prompt_tokens.

    \b
    Examples:
      foretell fit-profile evals/aime.jsonl --task my-aime --model qwen3-8b --output my-aime.toml
      foretell fit-profile samples.csv --max-tokens 32768
    """  # noqa: D301 (click's sign for lines that stay as they are)
    from foretell.models.eval_log import read_samples
    from foretell.models.fit_outcomes import fit_outcomes
    from foretell.models.profiles import write_outcomes

    if output is not None and output.suffix != ".toml":
        raise ValueError(f"output {output}: a profile is a .toml file")
    if output is not None and (output.is_dir() or not output.absolute().parent.is_dir()):
        raise ValueError(f"output {output}: cannot be written (no such folder, or a folder of this name)")
    fitted = fit_outcomes(
        read_samples(log),
        task=task or log.stem,
        model=model or "model",
        max_tokens=max_tokens,
        source=f"{log.name}, fitted {datetime.date.today().isoformat()}",
        prompt_tokens=prompt_tokens,
    )
    if output is not None:
        write_outcomes(output, fitted.profile)
    if as_json:
        import json

        click.echo(json.dumps(summary(fitted), indent=2, allow_nan=False))
    else:
        _show(fitted, output)


def summary(fitted: OutcomeFit) -> dict[str, Any]:
    """Plain values of a fit."""
    return {
        "task": fitted.profile.task,
        "model": fitted.profile.model,
        "samples": fitted.samples,
        "problems": fitted.problems,
        "capped": fitted.capped,
        "figures": {
            name: {"value": value, "standard_error": fitted.errors.get(name)}
            for name, value in _figures(fitted)
        },
        "gaps": list(fitted.profile.gaps),
        "notes": list(fitted.notes),
    }


def _figures(fitted: OutcomeFit) -> list[tuple[str, float | None]]:
    profile = fitted.profile
    found: list[tuple[str, float | None]] = [("difficulty.mean", profile.difficulty.mean)]
    for section, names in {
        "difficulty": ("a", "b", "zero"),
        "lengths": ("median_tokens", "sd_between", "sd_within", "hardness", "wrong_ratio", "cap_tokens"),
        "answers": ("top_wrong_share", "spread"),
    }.items():
        for name in names:
            value = float(getattr(getattr(profile, section), name))
            found.append((f"{section}.{name}", value if value != float("inf") else None))
    found.append(("confidence_auc", profile.confidence_auc))
    return [(name, value) for name, value in found if not _is_gap(name, profile.gaps)]


def _is_gap(name: str, gaps: tuple[str, ...]) -> bool:
    return name in gaps or name.partition(".")[0] in gaps


def _show(fitted: OutcomeFit, output: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    out = Console(highlight=False)
    profile = fitted.profile
    out.print(
        Text(
            f"{fitted.samples:,} samples of {fitted.problems:,} problems, {fitted.capped:,} cut at the cap",
            style="bold",
        )
    )
    out.print(Text(f"{profile.model} on {profile.task}", style="dim"))
    table = Table("Figure", "Fit", "Standard error", box=None, pad_edge=False)
    for name, value in _figures(fitted):
        error = fitted.errors.get(name)
        table.add_row(
            name,
            "alike everywhere" if value is None else f"{value:.4g}",
            "" if error is None else f"{error:.2g}",
        )
    out.print(table)
    for note in fitted.notes:
        out.print(Text(f"- {note}", style="yellow"))
    out.print(Text(f"assumed, not fitted: {', '.join(profile.gaps)}", style="dim"))
    if output is not None:
        out.print(Text(f"written to {output}"))
