"""Make docs/systems.md: the catalogue of systems, what expresses each, and which tests run it.

A row is ticked only where a test carries `@pytest.mark.systems(id)`; where it is expressed is said in
systems.toml. `python docs/systems.py` rewrites the page, `--check` only tells whether it is out of date.
"""

from __future__ import annotations

import ast
import csv
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "systems.md"


@dataclass(frozen=True, slots=True)
class Place:
    """What expresses a row: a file of the repository, and how it is asked for."""

    where: str
    how: str


def catalogue() -> list[dict[str, str]]:
    """The rows of systems.csv."""
    with (ROOT / "docs" / "systems.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def mapping() -> tuple[dict[int, Place], dict[int, str], dict[str, str]]:
    """(places by id, what is missing by id, what is missing by family) from systems.toml."""
    with (ROOT / "docs" / "systems.toml").open("rb") as file:
        told = tomllib.load(file)
    places: dict[int, Place] = {}
    for entry in told["expressed"]:
        for number in entry["ids"]:
            if number in places:
                raise ValueError(f"systems.toml: {number} is expressed twice")
            places[number] = Place(entry["where"], entry["how"])
    missing = {number: entry["needs"] for entry in told.get("missing", ()) for number in entry["ids"]}
    return places, missing, told["families"]


def marked_tests() -> dict[int, list[tuple[Path, str]]]:
    """(file, test) by id, from the marks in the sources of the tests."""
    found: dict[int, list[tuple[Path, str]]] = defaultdict(list)
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        text = file.read_text(encoding="utf-8")
        if "mark.systems" not in text:
            continue
        for name, number in marks(ast.parse(text)):
            if (file, name) not in found[number]:
                found[number].append((file, name))
    return dict(found)


def marks(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """(test, id) of every mark; "" where the whole module carries it."""
    for part in tree.body:
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            if part.name.startswith("test_"):  # a mark on anything else would run nothing
                yield from ((part.name, number) for number in _ids(part.decorator_list))
        elif isinstance(part, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "pytestmark" for target in part.targets
        ):
            yield from (("", number) for number in _ids([part.value]))


def _ids(nodes: list[ast.expr]) -> Iterator[int]:
    for node in nodes:
        for call in ast.walk(node):
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr == "systems"
                and ast.unparse(call.func.value).endswith("mark")
            ):
                for argument in call.args:
                    if not isinstance(argument, ast.Constant) or not isinstance(argument.value, int):
                        raise ValueError(f"{ast.unparse(call)}: write the ids as plain numbers")
                    yield argument.value


def rendered() -> str:
    """The page."""
    rows, tests = catalogue(), marked_tests()
    places, missing, families = mapping()
    known = {int(row["id"]) for row in rows}
    for what, numbers in (("a mark", tests), ("systems.toml", places), ("systems.toml", missing)):
        if unknown := sorted(set(numbers) - known):
            raise ValueError(f"{what} names {unknown}, which systems.csv does not have")
    for place in places.values():
        if not (ROOT / place.where).exists():
            raise ValueError(f"systems.toml: there is no {place.where}")
    lines = [
        "# Systems of the literature",
        "",
        "Made by `python docs/systems.py` from [systems.csv](systems.csv), [systems.toml](systems.toml) "
        "and the",
        "marks of the tests. A ✓ stands only where a test runs what the row describes; it says that "
        "foretell can",
        "express the mechanism and what it costs, not that it reproduces the authors' figures: for those see",
        "[papers](papers.md). Rows without one say what expresses them so far, or what they need.",
        "",
        "<!-- systems families -->",
        "| family | rows | run |",
        "|---|---:|---:|",
    ]
    groups: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        groups[row["family"]].append(row)
    for family, members in sorted(groups.items()):
        run = sum(int(row["id"]) in tests for row in members)
        lines.append(f"| {family} | {len(members)} | {run} |")
    lines.append(f"| **all** | **{len(rows)}** | **{len(tests)}** |")
    for family, members in sorted(groups.items()):
        lines += [
            "",
            f"## {family}",
            "",
            f"<!-- systems {family} -->",
            "| | id | system | expressed by | run by |",
            "|---|---:|---|---|---|",
        ]
        for row in members:
            number = int(row["id"])
            by = _place(places[number]) if number in places else "see the test" if number in tests else ""
            if number not in tests:
                needs = missing.get(number, "" if by else families[family])
                by = "; ".join(part for part in (by, f"needs {needs}" if needs else "") if part)
            run_by = ", ".join(_test(file, name) for file, name in tests.get(number, ())[:3])
            more = len(tests.get(number, ())) - 3
            run_by += f" and {more} more" if more > 0 else ""
            tick = "✓" if number in tests else ""
            lines.append(f"| {tick} | {number} | {_cell(row['name'])} | {_cell(by)} | {run_by} |")
    return "\n".join(lines) + "\n"


def _place(place: Place) -> str:
    return f"[{Path(place.where).name}](../{place.where}): {place.how}"


def _test(file: Path, name: str) -> str:
    path = file.relative_to(ROOT)
    return f"[{name.removeprefix('test_') or path.stem}](../{path})"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> int:
    """Rewrite the page, or with --check only tell whether it is out of date."""
    text = rendered()
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    if "--check" in sys.argv:
        print("docs/systems.md: out of date; run python docs/systems.py")
        return 1
    PAGE.write_text(text, encoding="utf-8")
    print("docs/systems.md: rewritten")
    return 0


if __name__ == "__main__":
    sys.exit(main())
