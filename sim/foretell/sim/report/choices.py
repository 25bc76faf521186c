"""Cells and points by the values that they differ in: their names, groups, and why some have no forecast."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

_GROUPS = 8
"""Colours of a picture."""


def field_titles(paths: Sequence[str]) -> list[str]:
    """Give the last part of each path, or as much as tells them apart."""
    titles = []
    for path in paths:
        parts = path.split(".")
        short = parts[-1]
        alike = [other for other in paths if other != path and other.split(".")[-1] == short]
        titles.append(path.removeprefix("pools.") if alike else short)
    return titles


def varied(labels: Sequence[Mapping[str, str]]) -> list[str]:
    """The paths in which some differ; all paths where none do."""
    paths = list(dict.fromkeys(path for each in labels for path in each))
    return [path for path in paths if len({each.get(path) for each in labels}) > 1] or paths


def name_of(labels: Mapping[str, str], paths: Iterable[str]) -> str:
    """The values at these paths."""
    return ", ".join(labels[path] for path in paths if path in labels)


def titled(labels: Mapping[str, str], paths: Sequence[str]) -> str:
    """The values at these paths; numbers, yes and no with their field's name."""
    titles = dict(zip(paths, field_titles(paths), strict=True))
    return ", ".join(
        labels[path] if _speaks(labels[path]) else f"{titles[path].replace('_', ' ')} {labels[path]}"
        for path in paths
        if path in labels
    )


def _speaks(text: str) -> bool:
    return text[:1].isalpha() and text not in ("True", "False", "None")


def grouping(labels: Sequence[Mapping[str, str]]) -> str:
    """The path by whose values a picture is coloured; empty where none has few values enough.

    That with the most values that still have a colour each, the first of such.
    """
    counts = {path: len({each.get(path, "") for each in labels}) for path in varied(labels)}
    few = {path: count for path, count in counts.items() if 1 < count <= _GROUPS and count < len(labels)}
    return max(few, key=lambda path: few[path], default="")


def by_reason(failed: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Names of what failed, by the reason."""
    found: dict[str, list[str]] = {}
    for reason, name in failed:
        found.setdefault(reason, []).append(name)
    return found


def common(notes: Sequence[Sequence[str]]) -> list[str]:
    """The notes that all have."""
    first = notes[0] if notes else ()
    return [note for note in first if all(note in others for others in notes)]
