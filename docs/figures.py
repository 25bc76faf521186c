"""Figures in prose, against what measured them: python docs/figures.py [RESULTS | --check].

docs/figures.toml says which sentences of which pages quote which figures; docs/figures.json keeps those
as `foretell validate ... --json` printed them. RESULTS is a folder of such files (energy.json, theory.json),
as `foretell validate report --save` writes them; what it has is recorded, the rest stays as it was.
Sentences that say something else are listed, and the exit code is 1.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CLAIMS = ROOT / "docs" / "figures.toml"
RECORD = ROOT / "docs" / "figures.json"

Claims = Sequence[Mapping[str, Any]]


def claims() -> Claims:
    """The sentences: `page`, `says` with {names}, `source` (a command of `foretell validate`), `figures`."""
    found: Claims = tomllib.loads(CLAIMS.read_text(encoding="utf-8"))["claim"]
    return found


def figure(summary: Any, path: str) -> float:
    """A figure of a summary: keys joined by slashes, `sum(a/*/b)` of all parts; `x * 100` for per cent.

    Raises:
        ValueError: there is no such figure.

    """
    path, _, factor = path.partition(" * ")
    total = re.fullmatch(r"sum\((.+)\)", path)
    values: list[Any] = [summary]
    for key in (total[1] if total else path).split("/"):
        parts = [list(value.values()) if key == "*" else [value.get(key)] for value in values]
        values = [value for part in parts for value in part]
    if not values or not all(isinstance(value, int | float) for value in values):
        raise ValueError(f"{path}: no such figure")
    return float(sum(values)) * float(factor or 1)


def recorded(results: Path, kept: Mapping[str, Any]) -> dict[str, Any]:
    """The record with what a folder of results has of the figures that sentences quote."""
    record = dict(kept)
    for source in dict.fromkeys(claim["source"] for claim in claims()):
        file = results / f"{source}.json"
        if file.is_file():
            summary = json.loads(file.read_text(encoding="utf-8"))
            paths = sorted(
                {p for claim in claims() if claim["source"] == source for p in claim["figures"].values()}
            )
            made = datetime.fromtimestamp(file.stat().st_mtime, UTC)
            record[source] = {
                "command": f"foretell validate {source} --json",
                "date": f"{made:%Y-%m-%d}",
                "figures": {path: figure(summary, path) for path in paths},
            }
    return record


def wrong(asked: Claims, record: Mapping[str, Any], pages: Mapping[str, str]) -> list[str]:
    """A line for each sentence that is not on its page with the recorded figures."""
    found = []
    for claim in asked:
        known = record.get(claim["source"], {}).get("figures", {})
        missing = [path for path in claim["figures"].values() if path not in known]
        if missing:
            found.append(f"{claim['page']}: {claim['source']} has no record of {missing[0]}")
            continue
        says = claim["says"].format(**{name: known[path] for name, path in claim["figures"].items()})
        if says not in pages[claim["page"]]:
            found.append(f"{claim['page']} does not say: {says}")
    return found


def main() -> int:
    """Record what a folder of results has, and tell which sentences say something else."""
    given = [argument for argument in sys.argv[1:] if argument != "--check"]
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {}
    if given:
        record = recorded(Path(given[0]), record)
        RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    pages = {claim["page"]: (ROOT / claim["page"]).read_text(encoding="utf-8") for claim in claims()}
    found = wrong(claims(), record, pages)
    for line in found:
        print(line)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
