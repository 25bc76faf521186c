"""Figures of what commands found, by path, and the parts of it that are kept under docs/figures/recorded.

A path names a figure in a command's JSON: `theory/textbook/judged/exact` is ["textbook"]["judged"]["exact"]
of what the source `theory` printed. `*` stands for every key or item, a number for an item of a list (the
first is 0), `[model=Qwen3-8B,tp=2]` for those whose fields say so; `sum(...)`, `count(...)`, `min(...)`,
`max(...)`, `mean(...)` and `median(...)` take all that match, `size(...)` the largest without its sign. `~1`
is a slash within a key.
"""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "figures" / "recorded"
_OF_ALL: Mapping[str, Callable[[list[Any]], Any]] = {
    "sum": sum,
    "count": len,
    "min": min,
    "max": max,
    "mean": statistics.fmean,
    "median": statistics.median,
    "size": lambda values: max(map(abs, values)),
}
Keys = tuple[str | int, ...]


def found(summary: Any, path: str) -> list[tuple[Keys, Any]]:
    """Where a path leads in a summary, and what is there, in the summary's order."""
    places: list[tuple[Keys, Any]] = [((), summary)]
    for part in path.split("/") if path else []:
        places = [((*keys, key), value[key]) for keys, value in places for key in _keys(value, part)]
    return places


def _keys(value: Any, part: str) -> Iterator[Any]:
    name = part.replace("~1", "/")
    if isinstance(value, Mapping):
        yield from value if part == "*" else [name] if name in value else []
    elif isinstance(value, list):
        chosen = dict(pair.split("=", 1) for pair in name[1:-1].split(",")) if part.startswith("[") else {}
        if part.isdecimal():
            yield from (int(part),) if int(part) < len(value) else ()
        elif chosen or part == "*":
            yield from (
                i
                for i, item in enumerate(value)
                if all(v in ("*", str(item.get(k))) for k, v in chosen.items())
            )


def within(path: str) -> str:
    """What stands in `sum(...)` and its like; the path itself without."""
    return match[1] if (match := re.fullmatch(r"\w+\((.+)\)", path)) else path


def figure(summaries: Mapping[str, Any], path: str) -> Any:
    """What a path leads to; None for what is not finite.

    Raises:
        ValueError: nothing is there, or several things; of all, some that are not finite, or no such word.

    """
    bare = within(path)
    values = [value for _, value in found(summaries, bare)]
    of_all = path.removesuffix(f"({bare})") if bare != path else ""
    if of_all and of_all not in _OF_ALL:
        raise ValueError(f"{path}: no {of_all!r}; there are {', '.join(_OF_ALL)}")
    if of_all and values:
        if any(value is None or (isinstance(value, float) and not math.isfinite(value)) for value in values):
            raise ValueError(f"{path}: not all are finite")
        return _OF_ALL[of_all](values)
    if len(values) != 1 or isinstance(values[0], dict | list):
        raise ValueError(f"{path}: {len(values) or 'no'} such figure{'s' * (len(values) > 1)}")
    return None if isinstance(values[0], float) and not math.isfinite(values[0]) else values[0]


def kept(summary: Any, paths: Iterable[str]) -> Any:
    """The parts of a summary that paths lead to, with the fields by which items of lists are chosen."""
    wanted: set[Keys] = set()
    for bare in map(within, paths):
        wanted.update(keys for keys, _ in found(summary, bare))
        parts = bare.split("/")
        for at, part in enumerate(parts):
            if part.startswith("["):
                fields = [pair.split("=", 1)[0] for pair in part[1:-1].split(",")]
                items = found(summary, "/".join(parts[: at + 1]))
                wanted.update((*keys, field) for keys, _ in items for field in fields)
    return _pruned(summary, (), wanted, {keys[:n] for keys in wanted for n in range(len(keys))})


def _pruned(value: Any, at: Keys, wanted: set[Keys], above: set[Keys]) -> Any:
    if at in wanted and at not in above:
        return value if not isinstance(value, dict | list) else {}  # it is counted, or its key is quoted
    if isinstance(value, Mapping):
        inside = ((key, (*at, key)) for key in value)
        return {k: _pruned(value[k], keys, wanted, above) for k, keys in inside if keys in wanted | above}
    if not any(isinstance(item, dict | list) for item in value):
        return value  # bare figures have no names but their places
    inside = ((key, (*at, key)) for key in range(len(value)))
    return [_pruned(value[k], keys, wanted, above) for k, keys in inside if keys in wanted | above]


def record() -> dict[str, Any]:
    """What was kept of every source: `command`, `date` and `found`."""
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(FOLDER.glob("*.json"))}


def shown(value: Any, spec: str) -> str:
    """A figure as pages have it; "–" for one that is not there, yes or no for what is true or not.

    `spec` is Python's, or `%1` (per cent with one decimal), `ms1`, `us1` (milli-, microseconds), `word` (one
    to twelve in letters), `sig2` (two significant digits); a leading `+` writes the sign of what is not 0.
    Minus is "−".
    """
    if value is None:
        return "–"
    if isinstance(value, str | bool):
        return value if isinstance(value, str) else "yes" if value else "no"
    scaled = re.fullmatch(r"(\+?)(%|ms|us|k|M)(\d)", spec)
    if scaled:
        number = value * {"%": 100, "ms": 1e3, "us": 1e6, "k": 1e-3, "M": 1e-6}[scaled[2]]
        text = f"{number:{scaled[1]},.{scaled[3]}f}"
    elif spec == "word":
        return _WORDS[value] if value in range(len(_WORDS)) else f"{value:,}"
    elif spec.startswith("sig"):
        text = f"{float(f'{value:.{int(spec[3:])}g}'):,g}"
    else:
        text = f"{value:{spec or (',' if isinstance(value, int) else ',g')}}"
    text = text.lstrip("+-") if not re.search("[1-9]", text) else text
    return text.replace("-", "\N{MINUS SIGN}")


_WORDS = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
