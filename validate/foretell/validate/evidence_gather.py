"""Where the figures of the page of evidence come from: files of results, or commands that are run at once."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from foretell.validate.evidence import Made, NotRun, Section
from foretell.validate.evidence_kinds import KINDS, NOT_YET, Inputs, Kind, Takes

_WHY = {
    "seconds": "",
    "minutes": "takes longer than --quick allows",
    "long": "takes minutes; run it with --full, or put what the command prints into the folder --results",
}


@dataclass(frozen=True, slots=True)
class Result:
    """What a command printed, and when and with what."""

    key: str
    found: Any
    made: Made


Told = Callable[[str], None]


def gather(
    results: Path | None, inputs: Inputs, longest: Takes, tell: Told = lambda text: None
) -> tuple[list[tuple[Section, Made]], list[NotRun], list[Result]]:
    """Sections from files, and from commands that take no longer than `longest`; the rest with its reason.

    Args:
        results: folder of what commands printed, `key`.json each.
        inputs: for commands that are run.
        longest: what may be run.
        tell: is told what is run.

    Returns:
        The sections, what is not there, and the results that were made here.

    Raises:
        ValueError: a file is not what its command prints; one line.

    """
    sections, absent, fresh = [], [], []
    given = read_results(results) if results else {}
    for kind in KINDS:
        result = given.get(kind.key)
        if result is None and not _allowed(kind.takes, longest):
            absent.append(NotRun(kind.title, _WHY[kind.takes], kind.command))
            continue
        if result is None:
            tell(kind.title)
            try:
                result = Result(kind.key, kind.run(inputs), _here())
            except ValueError as error:
                absent.append(NotRun(kind.title, str(error), kind.command))
                continue
            fresh.append(result)
        sections.append((_built(kind, result), result.made))
    return sections, [*absent, *NOT_YET], fresh


def read_results(folder: Path) -> dict[str, Result]:
    """What commands printed, by key.

    Raises:
        ValueError: there is no such folder, none of its files is known, or one is no JSON.

    """
    if not folder.is_dir():
        raise ValueError(f"--results: {folder} is not a folder")
    found = {}
    for kind in KINDS:
        paths = sorted(folder.glob(f"{kind.key}*.json" if kind.several else f"{kind.key}.json"))
        read = [_result(kind.key, path) for path in paths]
        if read:
            found[kind.key] = _joined(read) if kind.several else read[0]
    if "runs" in found and "served" not in found and _get(found["runs"].found, "served"):
        runs = found["runs"]
        found["served"] = Result("served", runs.found["served"], runs.made)
    if not found:
        raise ValueError(f"--results: {folder} has none of {', '.join(f'{kind.key}.json' for kind in KINDS)}")
    return found


def saved(result: Result) -> str:
    """A result as the text of its file."""
    from foretell.validate.cli import plain

    made = {"date": result.made.date, "versions": result.made.versions, "machine": result.made.machine}
    return json.dumps({"made": made, "found": plain(result.found)}, indent=1, ensure_ascii=False) + "\n"


def _joined(read: list[Result]) -> Result:
    """Several files of one kind as one result, whose figures are a list."""

    def all_of(name: str) -> str:
        return "; ".join(dict.fromkeys(str(getattr(one.made, name)) for one in read))

    made = Made(*map(all_of, ("date", "versions", "machine", "origin")))
    return Result(read[0].key, [one.found for one in read], made)


def _result(key: str, path: Path) -> Result:
    """A file that `saved` made says when and with what; one that a command printed, as far as that tells."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not a JSON file ({error})") from None
    made, found = _get(value, "made"), value
    if isinstance(made, dict) and "found" in value:
        found = value["found"]
        date, versions, machine = (str(made.get(name, "")) for name in ("date", "versions", "machine"))
        return Result(key, found, Made(date, versions, machine, f"from {path.name}"))
    day = datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%d")
    return Result(
        key, found, Made(f"{day} (of the file)", _versions(value), _machine(value), f"from {path.name}")
    )


def _built(kind: Kind, result: Result) -> Section:
    try:
        return kind.build(result.found)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        name = f"{kind.key}.json" if result.made.origin.startswith("from") else kind.title
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        made_by = kind.command.partition(" > ")[0] or "foretell validate report"
        raise ValueError(f"{name}: not what `{made_by}` makes ({what})") from None


def _allowed(takes: Takes, longest: Takes) -> bool:
    order = ("seconds", "minutes", "long")
    return order.index(takes) <= order.index(longest)


def _here() -> Made:
    from importlib.metadata import PackageNotFoundError, version

    try:
        own = version("foretell")
    except PackageNotFoundError:
        own = "from a checkout"
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    machine = f"{os.cpu_count()} cores, {_cpu()}"
    return Made(now, f"foretell {own}, Python {platform.python_version()}", machine, "made with this page")


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.machine()


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _versions(value: Any) -> str:
    """Versions that a summary names itself."""
    named = (
        f"{name} {version}"
        for key, name in (("foretell_version", "foretell"), ("vllm_version", "vLLM"), ("vllm", "vLLM"))
        if isinstance(version := _get(value, key), str)
    )
    listed = _get(value, "versions")
    more: Iterable[str] = ()
    if isinstance(listed, Mapping):
        more = (f"{name} {v}" for name, v in listed.items() if isinstance(v, str))
    return ", ".join([*named, *more]) or "not said"


def _machine(value: Any) -> str:
    found = _get(value, "machine") or _get(_get(value, "client"), "machine")
    if isinstance(found, Mapping):
        return ", ".join(f"{name} {fact}" for name, fact in found.items())
    return str(found) if found else "not said"
