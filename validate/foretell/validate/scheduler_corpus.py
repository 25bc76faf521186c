"""A small corpus of what vLLM's scheduler did, shipped so that the comparison needs no vLLM.

Make it anew, with the interpreter that has vllm:
`python -m foretell.validate.scheduler_corpus PATH [--seed S] [--scenarios N] [--date YYYY-MM-DD]`.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foretell.sim.case import Case, case_from_dict
from foretell.sim.watch import Record, watch
from foretell.validate.scheduler import compare, judged, summary
from foretell.validate.scheduler_cases import draw_cases, scope_of
from foretell.validate.vllm_client import VllmScheduler

FOLDER = Path(__file__).parent / "data" / "scheduler"
_MOST_STEPS, _MOST_ENTRIES = 1_500, 5_000
"""Steps, and entries of batches, that a scenario of the corpus may have, so that it stays small."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One scenario of the corpus: what vLLM did and what it reaches."""

    case: Case
    vllm: Record
    features: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus, with the vLLM version, the seed and the date that made it."""

    version: str
    seed: int
    date: str
    scenarios: tuple[Recorded, ...]


def read_corpora(folder: Path = FOLDER) -> Iterator[Corpus]:
    """All corpora in the folder, one a vLLM version."""
    for path in sorted(folder.glob("*.jsonl.gz")):
        lines = gzip.decompress(path.read_bytes()).decode("utf-8").splitlines()
        head = json.loads(lines[0])
        rows = (json.loads(line) for line in lines[1:])
        yield Corpus(
            version=head["vllm_version"],
            seed=head["seed"],
            date=head["date"],
            scenarios=tuple(
                Recorded(
                    case_from_dict(row["case"]),
                    Record(row["steps"], row["requests"], row["livelock"]),
                    tuple(row["features"]),
                )
                for row in rows
            ),
        )


def corpus_summary() -> list[dict[str, Any]]:
    """Our engines on the corpora: a summary of each, as `scheduler.summary` has it, and its date."""
    found = []
    for corpus in read_corpora():
        results = [judged(one.case, one.vllm, one.features) for one in corpus.scenarios]
        told = summary(results, version=corpus.version, unknown=(), seed=corpus.seed)
        found.append(told | {"date": corpus.date})
    return found


def record_corpus(vllm: VllmScheduler, seed: int, scenarios: int, date: str) -> bytes:
    """Record scenarios that reach many features between them, as a gzipped file of JSON lines.

    Scenarios are drawn as in the test; one is kept if it is small and reaches what few kept ones do.

    Raises:
        ValueError: ours does not equal vLLM in one of them; the test shall say so, not the corpus hide it.

    """
    head = {"vllm_version": vllm.version, "seed": seed, "date": date, "scenarios": scenarios}
    lines = [json.dumps(head)]
    reached: dict[str, int] = {}
    for _, case in draw_cases(50 * scenarios, seed, scope_of(vllm.version, vllm.unknown)):
        if not 20 < len(watch(case).steps) < _MOST_STEPS:
            continue
        answer = vllm.ask(case)
        result = compare(case, answer)
        if result.difference is not None:
            raise ValueError(f"foretell differs from vLLM {vllm.version}: {result.difference}")
        entries = sum(len(step[2]) for step in answer.record.steps)
        rare = any(reached.get(name, 0) < scenarios // 10 for name in result.features)
        if not rare or entries > _MOST_ENTRIES:
            continue
        for name in result.features:
            reached[name] = reached.get(name, 0) + 1
        row: dict[str, Any] = {
            "features": result.features,
            "case": case.as_dict(),
            "steps": answer.record.steps,
            "requests": answer.record.requests,
            "livelock": answer.record.livelock,
        }
        lines.append(json.dumps(row, separators=(",", ":"), allow_nan=False))
        if len(lines) > scenarios:
            break
    return gzip.compress("\n".join(lines).encode("utf-8"), 9, mtime=0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Record a corpus into the package's data."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python", help="interpreter that has vllm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenarios", type=int, default=60)
    parser.add_argument("--date", required=True, help="today")
    given = parser.parse_args(arguments)
    with VllmScheduler(given.python) as vllm:
        content = record_corpus(vllm, given.seed, given.scenarios, given.date)
        path = FOLDER / f"vllm-{vllm.version}.jsonl.gz"
    FOLDER.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


if __name__ == "__main__":
    main()
