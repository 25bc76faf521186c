"""Figures on pages, and what measured them: python docs/figures.py [--check] [RESULTS | --run SOURCE ...].

docs/figures/PAGE.toml says what a page quotes, docs/figures/sources.toml which command finds it, and
docs/figures/recorded/SOURCE.json keeps of that what pages quote. RESULTS is a folder of SOURCE.json files as
the commands print them (`foretell validate report --save` writes such); `--run` runs the commands itself.
Sentences and tables are then brought up to date; `--check` writes nothing and tells which are not.

    [[sentence]]          text of the page, with {source/path:spec} for its figures (see figure_paths.py)
    says = "{theory/outside} of the {theory/exact} are outside"

    [[table]]             what stands under the line <!-- figures NAME -->
    name = "by model"
    rows = "silicon/models/*"                  a row for all that match; a list takes several paths
    cells = {model = "{.}", "off, %" = "{./off:%1}"}   {.} is the key of a row, {./x} a figure of it,
                                               {sum(.)} the row itself; {s/[x=.y]/z}: .y is the row's
    labels = {"qwen3-8b" = "Qwen3-8B"}         keys as the page has them, which, and in what order; optional

    [[given]]             figures that no command of ours finds, and why
    why = "asked"         asked, set, published, worked out, or history (what was seen once, with its date)
    says = ["at most 10 %", "| asked |"]       phrases; with | a whole table, by its first cells
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from figure_paths import FOLDER, figure, found, kept, record, shown, within

ROOT = Path(__file__).resolve().parents[1]
ASKED = ROOT / "docs" / "figures"
WHY = ("asked", "set", "published", "worked out", "history")
_HOLE = re.compile(r"\{([^{}:]+)(?::([^{}]*))?\}")
_HERE = re.compile(r"(?<![^(])\.(?=/|\)|$)")
_NUMBER = r"(?:[+\N{MINUS SIGN}]?\d(?:[\d,.]*\d)?(?:e-?\d+)?|\N{EN DASH}|[a-z]+)"
_SEEN = re.compile(
    r"\d[\d,.]*(?:\s(?:to|and|or|of|/)\s[\N{MINUS SIGN}+]?\d[\d,.]*)*[\s-]?"
    r"(?:%|ms\b|µs\b|s\b|CPU-\w+|minutes?\b|hours?\b|times\b|points?\b|[kMG]i?B\b|W\b|J\b|kWh\b|USD\b)"
    r"|\b\d[\d,]* of (?:the )?\d[\d,]*"
)
"""Figures of prose that somebody measured or asked: numbers with a unit, and counts out of counts."""
_GENERATED = "(?:foretell|fields|processes|programs|figures|kinetics|systems)"

Page = Mapping[str, Any]


def asked() -> dict[Path, Page]:
    """What pages quote, by page."""
    files = sorted(file for file in ASKED.glob("*.toml") if file.stem != "sources")
    return {
        (ROOT if file.stem == "README" else ROOT / "docs") / f"{file.stem}.md": tomllib.loads(
            file.read_text(encoding="utf-8")
        )
        for file in files
    }


def sources() -> dict[str, str]:
    """The command that prints a source's JSON, by source."""
    text = (ASKED / "sources.toml").read_text(encoding="utf-8")
    return {name: str(command) for name, command in tomllib.loads(text).items()}


def paths(page: Page) -> Iterator[str]:
    """Every path that a page quotes."""
    for sentence in page.get("sentence", ()):
        yield from (path for path, _ in _HOLE.findall(sentence["says"]))
    for table in page.get("table", ()):
        for rows in _rows(table):
            for cell in table["cells"].values():
                for path, _ in _HOLE.findall(cell):
                    yield re.sub(r"=\.\w+", "=*", _HERE.sub(rows, path))


def filled(text: str, summaries: Mapping[str, Any]) -> str:
    """The text with its figures."""
    return _HOLE.sub(lambda hole: shown(figure(summaries, hole[1]), hole[2] or ""), text)


def table_of(table: Page, summaries: Mapping[str, Any]) -> str:
    """A table in Markdown."""
    labels = table.get("labels", {})
    rows = [row for path in _rows(table) for row in _by_key(summaries, path)]
    by_key = dict(rows)
    if len(by_key) < len(rows):
        raise ValueError(f"table {table['name']}: two rows have the same key")
    if missing := [key for key in labels if key not in by_key]:
        raise ValueError(f"table {table['name']}: no row {missing[0]}")
    if labels:
        by_key = {key: by_key[key] for key in labels}
    lines = [f"| {' | '.join(table['cells'])} |", "|---" * len(table["cells"]) + "|"]
    for key, value in by_key.items():
        known = {**summaries, ".": value, "": str(labels.get(key, key))}
        cells = [_cell(cell, known) for cell in table["cells"].values()]
        lines.append(f"| {' | '.join(cells)} |")
    return "".join(f"{line}\n" for line in lines)


def _by_key(summaries: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    """The rows that a path leads to, by the keys that its stars stand for, or by its last key."""
    parts = path.split("/")
    stars = [at for at, part in enumerate(parts) if part == "*"] or [len(parts) - 1]
    for keys, value in found(summaries, path):
        yield " ".join(str(keys[at]) for at in stars), value


def _cell(cell: str, known: Mapping[str, Any]) -> str:
    """A cell of a row; "–" stands for figures that the row lacks, and for all of them together.

    Figures in brackets are left out where the row has none of them.
    """

    def one(hole: re.Match[str]) -> str:
        path = re.sub(r"=\.(\w+)", lambda of: f"={known['.'][of[1]]}", "" if hole[1] == "." else hole[1])
        there = not path or found(known, within(path))
        return shown(known[""] if not path else figure(known, path) if there else None, hole[2] or "")

    told = re.sub(r" \(–+\)", "", _HOLE.sub(one, cell))
    return re.sub("^–( / –)*( %| m?s)?$", "–", told)


def _rows(table: Page) -> list[str]:
    rows = table["rows"]
    return [rows] if isinstance(rows, str) else list(rows)


def updated(text: str, page: Page, summaries: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The page with the record's figures, and what could not be brought up to date."""
    wrong = []
    for sentence in page.get("sentence", ()):
        try:
            says = filled(sentence["says"], summaries)
        except ValueError as error:
            wrong.append(str(error))
            continue
        if says not in text:
            old = _with_any_figures(sentence["says"]).findall(text)
            if len(old) == 1:
                text = text.replace(old[0], says)
            else:
                wrong.append(f"{len(old) or 'no'} places say: {says}")
    for table in page.get("table", ()):
        block = re.compile(rf"(?m)^<!-- figures {re.escape(table['name'])} -->\n(?:\|.*\n)*")
        if not block.search(text):
            wrong.append(f"there is no <!-- figures {table['name']} -->")
        try:
            made = f"<!-- figures {table['name']} -->\n{table_of(table, summaries)}"
        except ValueError as error:
            wrong.append(str(error))
            continue
        text = made.join(block.split(text))
    for given in page.get("given", ()):
        if given["why"] not in WHY:
            wrong.append(f"why {given['why']!r}: there are {', '.join(WHY)}")
        wrong += [f"given, but not there: {says}" for says in given["says"] if says not in text]
    return text, wrong


def _with_any_figures(says: str) -> re.Pattern[str]:
    return re.compile(_NUMBER.join(map(re.escape, _HOLE.split(says)[::3])))


def prose(text: str) -> str:
    """A page without code, generated blocks, addresses and names."""
    text = re.sub(r"(?ms)^(```|~~~).*?^\1", "", text)
    text = re.sub(rf"(?m)^<!-- {_GENERATED}\b.* -->\n(?:\|.*\n)*", "", text)
    text = re.sub(r"(?m)^(?:    |\t).*", "", text)
    return re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]*`", "`", text))


def unaccounted(text: str, page: Page) -> list[str]:
    """Figures of a page's prose, and tables with figures, of which nobody says where they come from."""
    rest = prose(text)
    for sentence in page.get("sentence", ()):
        rest = _with_any_figures(prose(sentence["says"])).sub("\N{HORIZONTAL ELLIPSIS}", rest)
    given = [says for given in page.get("given", ()) for says in given["says"]]
    for says in sorted(map(prose, given), key=len, reverse=True):
        whole = rf"(?m)^{re.escape(says)}.*\n(?:\|.*\n)*" if says.startswith("|") else re.escape(says)
        rest = re.sub(whole, "\N{HORIZONTAL ELLIPSIS}", rest)
    lines = rest.splitlines()
    tables = [line for line in lines if line.startswith("|") and re.search(r"(?<![\w.-])\d", line)]
    return tables + [
        f"{match[0]}: {line[max(0, match.start() - 40) : match.end() + 30]}"
        for line in lines
        if not line.startswith("|")
        for match in _SEEN.finditer(line)
    ]


def quoted_of(results: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of some sources' results: what pages quote, with the command and today's date."""
    parts = kept(results, [path for page in asked().values() for path in paths(page)])
    commands, today = sources(), f"{datetime.now(UTC):%Y-%m-%d}"
    return {
        source: {"command": commands[source], "date": today, "found": parts.get(source, {})}
        for source in results
    }


def results(arguments: list[str]) -> dict[str, Any]:
    """What a folder has of the sources, or what their commands print now."""
    known = sources()
    if arguments[:1] == ["--run"]:
        return {name: printed(known[name]) for name in arguments[1:]}
    files = [file for folder in arguments for file in Path(folder).glob("*.json") if file.stem in known]
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}


def printed(command: str) -> Any:
    """What a command prints as JSON, with foretell and python as they are for this process."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(
        shlex.split(command), stdout=subprocess.PIPE, check=True, cwd=ROOT, env={**os.environ, "PATH": path}
    )
    return json.loads(done.stdout)


def main() -> int:
    """Record, rewrite, and tell what is wrong."""
    check, arguments = "--check" in sys.argv, [a for a in sys.argv[1:] if a != "--check"]
    unknown = sorted(set(arguments[1:]) - set(sources())) if arguments[:1] == ["--run"] else []
    if unknown:
        print(f"no source {unknown[0]!r}; there are {', '.join(sorted(sources()))}", file=sys.stderr)
        return 2
    if arguments[:1] != ["--run"] and (absent := [name for name in arguments if not Path(name).is_dir()]):
        print(f"no folder {absent[0]!r}; give one with SOURCE.json files", file=sys.stderr)
        return 2
    new = quoted_of(results(arguments))
    for source, entry in new.items():
        if not check:
            text = json.dumps(entry, indent=1, ensure_ascii=False) + "\n"
            (FOLDER / f"{source}.json").write_text(text, encoding="utf-8")
    summaries = {source: entry["found"] for source, entry in (record() | new).items()}
    count = 0
    for page, quotes in asked().items():
        old = page.read_text(encoding="utf-8")
        text, wrong = updated(old, quotes, summaries)
        wrong += [f"no source for {where}" for where in unaccounted(text, quotes)]
        if text != old and check:
            wrong.append("out of date")
        elif text != old:
            page.write_text(text, encoding="utf-8")
        count += len(wrong)
        for line in wrong:
            print(f"{page.relative_to(ROOT)}: {line}")
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main())
