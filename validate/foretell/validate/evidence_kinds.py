"""The sections that could be on the page of evidence: what prints their figures, and how long that takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from foretell.validate import (
    evidence_frontier,
    evidence_papers,
    evidence_parts,
    evidence_runs,
    evidence_scheduler,
    evidence_servers,
    evidence_theory,
)
from foretell.validate.evidence import NotRun, Section

Takes = Literal["seconds", "minutes", "long"]


@dataclass(frozen=True, slots=True)
class Inputs:
    """What commands may need: the folder of recordings, and an interpreter that has vLLM."""

    data: Path | None = None
    vllm_python: str | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """A section that could be on the page.

    Attributes:
        key: of its file, `key`.json.
        title: for people.
        command: what prints the file; "" where that is the page's own.
        takes: seconds (at most 20), minutes, or longer.
        build: makes the section from what the command prints.
        run: what the command prints; a ValueError says which of its inputs is missing.
        several: files `key`*.json are given to `build` together, as a list.

    """

    key: str
    title: str
    command: str
    takes: Takes
    build: Callable[[Any], Section]
    run: Callable[[Inputs], Any]
    several: bool = False


def _scheduler(inputs: Inputs) -> Any:
    from foretell.validate.cli_scheduler import scheduler_summary
    from foretell.validate.vllm_client import find_python

    return scheduler_summary(find_python(inputs.vllm_python), 2000, 0, 100, True, Path("mismatch.json"))


def _corpus(inputs: Inputs) -> Any:
    from foretell.validate.scheduler_corpus import corpus_summary

    return corpus_summary()


def _silicon(inputs: Inputs) -> Any:
    from foretell.models.silicon_source import data_folder as tables
    from foretell.validate.report import summarise
    from foretell.validate.silicon import validate_silicon
    from foretell.validate.silicon_rows import measured_rows, reasons

    tables()  # says what is missing
    found = measured_rows(inputs.data)
    return summarise(validate_silicon(found.rows), found.source, reasons(found.left_out))


def _frontier(inputs: Inputs) -> Any:
    from foretell.models.silicon_source import data_folder as tables
    from foretell.validate.frontier_summary import validate_frontier
    from foretell.validate.silicon_rows import measured_rows, reasons

    tables()
    found = measured_rows(inputs.data)
    return validate_frontier(found.rows, found.source, reasons(found.left_out))[0]


def _served(inputs: Inputs) -> Any:
    from foretell.validate.served_runs import served_runs

    return served_runs(_folder(inputs, "llmservingsim", "served runs"))


def _runs(inputs: Inputs) -> Any:
    from foretell.validate.cli_runs import runs_summary

    return runs_summary(recordings=inputs.data, with_served=False)  # which have a section of their own


def _client(inputs: Inputs) -> Any:
    from foretell.validate.client_sides import client_errors, read_sides

    return client_errors(read_sides(Path(__file__).with_name("data") / "client"))


def _operators(inputs: Inputs) -> Any:
    from foretell.models.silicon_source import data_folder as tables
    from foretell.validate.operators import operator_errors

    tables()
    return operator_errors().to_dict("records")


def _energy(inputs: Inputs) -> Any:
    from foretell.validate.energy_ways import validate_energy

    table, summary = validate_energy(_folder(inputs, "ml-energy/llm_runs.csv", "measured runs"))
    return {"summary": summary, "rows": table.to_dict("records")}


def _kv(inputs: Inputs) -> Any:
    from foretell.validate.kv import validate_kv

    table, summary = validate_kv()
    return {"summary": summary, "rows": table.to_dict("records")}


def _papers(inputs: Inputs) -> Any:
    from foretell.validate.papers import papers_summary

    return papers_summary()


def _theory(inputs: Inputs) -> Any:
    """The closed form as it is now against the simulations of the last full run, in some seconds."""
    from foretell.validate.cli import plain
    from foretell.validate.theory import recorded
    from foretell.validate.theory_tables import theory_summary

    return plain(theory_summary(recorded()))


def _folder(inputs: Inputs, name: str, what: str) -> Path:
    path = inputs.data / name if inputs.data else None
    if path is None or not path.exists():
        raise ValueError(f"the {what} are not there: --data names a folder with {name}")
    return path


KINDS = (
    Kind(
        "scheduler",
        "Step by step against vLLM's own scheduler",
        "foretell validate scheduler --json --scale --scenarios 2000 --vllm-python PATH > scheduler.json",
        "long",
        evidence_scheduler.scheduler,
        _scheduler,
        several=True,
    ),
    Kind(
        "corpus",
        "Step by step against recorded decisions of vLLM's scheduler",
        "",
        "seconds",
        evidence_scheduler.corpus,
        _corpus,
    ),
    Kind(
        "runs",
        "Recorded runs of real vLLM",
        "foretell validate runs --json > runs.json",
        "minutes",
        evidence_runs.runs,
        _runs,
    ),
    Kind("served", "Served runs on GPUs", "", "seconds", evidence_runs.served, _served),
    Kind(
        "client",
        "From the engine to the client",
        "foretell validate client --json > client.json",
        "seconds",
        evidence_servers.client,
        _client,
    ),
    Kind(
        "silicon",
        "Whole servers on GPUs",
        "foretell validate silicon --json > silicon.json",
        "long",
        evidence_servers.silicon,
        _silicon,
    ),
    Kind(
        "frontier",
        "Capacity frontiers of servers",
        "foretell validate frontier --json > frontier.json",
        "minutes",
        evidence_frontier.frontier,
        _frontier,
    ),
    Kind(
        "operators",
        "Single operators",
        "foretell validate operators --json > operators.json",
        "seconds",
        evidence_parts.operators,
        _operators,
    ),
    Kind(
        "energy",
        "Power and joules a token",
        "foretell validate energy --json > energy.json",
        "seconds",
        evidence_parts.energy,
        _energy,
    ),
    Kind(
        "kv",
        "Capacity of the KV cache",
        "foretell validate kv --json > kv.json",
        "seconds",
        evidence_parts.kv,
        _kv,
    ),
    Kind(
        "papers",
        "Papers",
        "foretell validate papers --json > papers.json",
        "minutes",
        evidence_papers.papers,
        _papers,
    ),
    Kind(
        "theory",
        "Queueing theory",
        "foretell validate theory --recorded --json > theory.json",
        "seconds",
        evidence_theory.theory,
        _theory,
    ),
)
NOT_YET: tuple[NotRun, ...] = ()
"""Sections that nothing can make yet."""
