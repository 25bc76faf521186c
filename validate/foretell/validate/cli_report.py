"""`foretell validate report`: all evidence on one page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from foretell.validate.evidence import Made, NotRun, Section
    from foretell.validate.evidence_kinds import Takes


@click.command("report")
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write the page here."
)
@click.option("--json", "as_json", is_flag=True, help="Print targets, misses and provenance as JSON.")
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="What other commands printed: runs.json, silicon.json, ...; these are not run.",
)
@click.option(
    "--save", type=click.Path(path_type=Path), metavar="DIR", help="Keep what is run, for --results."
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of recordings; without it $FORETELL_SHARED/data, or shared/data beside the working folder.",
)
@click.option("--quick", is_flag=True, help="Run nothing that takes more than 20 seconds.")
@click.option("--full", is_flag=True, help="Run everything, for many minutes.")
@click.option("--vllm-python", metavar="PATH", help="An interpreter that has vLLM, for --full.")
def report_command(
    html: Path | None,
    as_json: bool,
    results: Path | None,
    save: Path | None,
    data: Path | None,
    quick: bool,
    full: bool,
    vllm_python: str | None,
) -> None:
    """Gather all evidence, misses included: what was checked, against what, and what was not.

    Figures come from --results; what is missing there is run if that is quick. Exit code 0 even when
    targets are missed: which ones are is what the page is for.
    """
    from foretell.validate.cli import data_folder, plain, write_whole
    from foretell.validate.evidence_gather import gather, saved
    from foretell.validate.evidence_kinds import Inputs

    if html is None and not as_json:
        raise ValueError("--html FILE says where the page goes; --json prints its figures")
    if quick and full:
        raise ValueError("--quick and --full: only one of them")
    if vllm_python is not None and not full:
        raise ValueError("--vllm-python: is for --full, which runs the test against vLLM's scheduler")
    if html is not None and not html.absolute().parent.is_dir():
        raise ValueError(f"--html: folder {html.parent} does not exist; make it first")
    if save is not None and not save.is_dir():
        raise ValueError(f"--save: {save} is not a folder; make it first")
    inputs = Inputs(data_folder(data), vllm_python)
    longest: Takes = "seconds" if quick else "long" if full else "minutes"
    sections, absent, fresh = gather(
        results, inputs, longest, lambda title: click.echo(f"foretell: {title} ...", err=True)
    )
    if save is not None:
        for result in fresh:
            write_whole(save / f"{result.key}.json", saved(result))
    if html is not None:
        from foretell.validate.evidence_page import page

        write_whole(html, page(sections, absent))
        click.echo(f"foretell: wrote {html}", err=True)
    if as_json:
        found = plain(_figures(sections, absent))
        click.echo(json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False))


def _figures(sections: list[tuple[Section, Made]], absent: list[NotRun]) -> dict[str, Any]:
    from dataclasses import asdict

    from foretell.validate.evidence import missed

    return {
        "sections": {
            section.key: {
                "answer": section.answer,
                "targets": [asdict(check) for check in section.checks],
                "misses": list(missed(section)),
                "intervals": [asdict(one) for one in section.coverage],
                "source": section.source,
                "made": asdict(made),
            }
            for section, made in sections
        },
        "not_run": [asdict(one) for one in absent],
    }
