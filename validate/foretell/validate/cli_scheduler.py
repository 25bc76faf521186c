"""`foretell validate scheduler`: the differential test against vLLM's own scheduler."""

from __future__ import annotations

import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from foretell.sim.case import Case
    from foretell.validate.vllm_client import Answer


@click.command("scheduler")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option("--scenarios", type=click.IntRange(min=0), default=200, show_default=True, help="How many.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the scenarios.")
@click.option(
    "--controls",
    type=click.IntRange(min=0),
    help="In how many of them every setting is made wrong in turn.  [default: a tenth, at most 100]",
)
@click.option("--scale", is_flag=True, help="Time both on thousands of requests too (a CPU-minute or so).")
@click.option(
    "--vllm-python",
    metavar="PATH",
    help="Interpreter that has vllm; without it $FORETELL_VLLM_PYTHON, or this one.",
)
@click.option("--corpus", is_flag=True, help="Replay the decisions of vLLM that are shipped; needs no vllm.")
@click.option(
    "--replay-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    default=Path("mismatch.json"),
    show_default=True,
    help="Where the smallest scenario of a mismatch goes; a second one gets -2 in its name, and so on.",
)
def scheduler_command(
    as_json: bool,
    scenarios: int,
    seed: int,
    controls: int | None,
    scale: bool,
    vllm_python: str | None,
    corpus: bool,
    replay_file: Path,
) -> None:
    r"""Take every step as vLLM's scheduler does, or show the first that is not.

    Drives the real Scheduler and KVCacheManager of an installed vllm and foretell's engines with the same
    requests, settings and virtual step times, and compares requests, order, tokens, KV blocks, preemptions,
    cache hits and times of every step. A mismatch is shrunk to the smallest scenario and written as a file
    for `foretell replay`. Exit code 1 if anything differs.

    \b
    Examples:
      foretell validate scheduler --vllm-python .venv-vllm/bin/python
      foretell validate scheduler --scenarios 2000 --seed 7 --json
      foretell validate scheduler --corpus
    """
    from foretell.validate.vllm_client import find_python

    if corpus:
        from foretell.validate.scheduler_corpus import corpus_summary

        if scale or controls is not None or vllm_python is not None:
            raise ValueError("--corpus: takes no --scale, --controls or --vllm-python; it asks no vLLM")
        corpora = corpus_summary()
        _tell(corpora, {"corpora": corpora} if as_json else None)
        return
    if not replay_file.absolute().parent.is_dir():
        raise ValueError(f"--replay-file: folder {replay_file.parent} does not exist; make it first")
    if find_spec("hypothesis") is None:
        raise ValueError(
            "hypothesis is not installed here, which draws the scenarios: pip install hypothesis"
        )
    python = find_python(vllm_python)
    found = scheduler_summary(
        python,
        scenarios,
        seed,
        min(100, scenarios // 10) if controls is None else controls,
        scale,
        replay_file,
    )
    _tell([found], found if as_json else None)


def _tell(found: list[dict[str, Any]], as_json: Any) -> None:
    """Print summaries as tables, or what stands for them as JSON; exit with 1 if anything differs."""
    from foretell.validate.cli import print_json
    from foretell.validate.scheduler_tables import show

    if as_json is not None:
        print_json(as_json)
    else:
        for summary in found:
            show(summary)
    if not all(one["all_equal"] for one in found):
        raise SystemExit(1)


def scheduler_summary(
    python: str, scenarios: int, seed: int, controls: int, scale: bool, replay_file: Path
) -> dict[str, Any]:
    """Everything that the command prints as JSON; a ValueError where the interpreter does not serve."""
    from hypothesis.configuration import set_hypothesis_home_dir

    from foretell.sim.records import write_text
    from foretell.sim.replayfile import ReplayFile, tell
    from foretell.validate.scheduler import compare, run_scenarios, summary
    from foretell.validate.scheduler_cases import scope_of
    from foretell.validate.scheduler_scale import compare_scale
    from foretell.validate.vllm_client import OracleError, VllmScheduler

    mismatches: list[dict[str, Any]] = []
    set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "foretell-hypothesis")  # not in the user's folder
    try:
        with VllmScheduler(python) as vllm:

            def on_mismatch(case: Case, answer: Answer | None, error: str) -> None:
                n = len(mismatches) + 1
                file = replay_file if n == 1 else replay_file.with_stem(f"{replay_file.stem}-{n}")
                difference = compare(case, answer).difference if answer else None
                note = f"from foretell validate scheduler --scenarios {scenarios} --seed {seed}"
                note += f"; vLLM failed: {error}" if error else ""
                record = answer.record if answer else None
                write_text(file, ReplayFile(case, vllm.version, record, note).text())
                told = tell(difference, vllm.version) if difference else [f"vLLM failed: {error}"]
                mismatches.append({"file": str(file), "requests": len(case.calls), "told": told})

            def progress(done: int) -> None:
                if sys.stderr.isatty():
                    click.echo(f"\rforetell: {done} of {scenarios} scenarios", err=True, nl=done == scenarios)

            scope = scope_of(vllm.version, vllm.unknown)
            results = run_scenarios(vllm, scenarios, seed, controls, scope, on_mismatch, progress)
            rows = list(compare_scale(vllm, seed)) if scale else []
            return summary(
                results,
                version=vllm.version,
                unknown=scope.unknown,
                seed=seed,
                mismatches=mismatches,
                scale=rows,
            )
    except OracleError as error:
        raise ValueError(f"--vllm-python: {python} does not serve: {error}") from None
