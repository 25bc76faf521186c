"""The documentation's site: all of it is there, every internal link leads somewhere, nothing is loaded."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

from places import ROOT

pytestmark = pytest.mark.skipif(
    not (ROOT / "README.md").is_file(), reason="the tests are on their own, without the repository"
)
DOCS = ROOT / "docs"


@pytest.fixture(scope="module", autouse=True)
def on_the_path() -> Iterator[None]:
    sys.path.insert(0, str(DOCS / "site"))
    yield
    sys.path.remove(str(DOCS / "site"))


def module(name: str) -> ModuleType:
    return importlib.import_module(name)


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source of the site, before Sphinx: a second."""
    folder = tmp_path_factory.mktemp("source")
    module("site_pages").stage(ROOT, folder, notebooks=False)
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site without the notebooks: half a minute."""
    pytest.importorskip("furo", reason="the extra docs is not installed")
    out = tmp_path_factory.mktemp("site") / "html"
    command = [sys.executable, str(DOCS / "build.py"), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return out


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def test_every_page_of_the_docs_is_staged_and_in_the_navigation(staged: Path) -> None:
    index = text_of(staged / "index.md")
    for file in DOCS.glob("*.md"):
        assert (staged / file.name).is_file(), file.name
        assert re.search(rf"^{file.stem}$", index, re.MULTILINE), file.name
    for name in ("quickstart", "numbers", "evidence", "contributing", "changes", "commands/index"):
        assert re.search(rf"^{name}$", index, re.MULTILINE), name


def test_every_section_of_the_readme_is_staged_once(staged: Path) -> None:
    pages = module("site_pages")
    _, sections = pages.split(text_of(ROOT / "README.md"))
    texts = [text_of(staged / f"{name}.md") for name in ("index", "quickstart", "numbers", "evidence")]
    for title, body in sections.items():
        if title not in pages._LEFT_OUT:
            beginning = body[:20]
            assert sum(text.count(beginning) for text in texts) == 1, title


def test_a_page_without_a_place_is_refused() -> None:
    pages = module("site_pages")
    with pytest.raises(ValueError, match="newcomer"):
        pages._index(pages.Page("# foretell"), {"index", "quickstart", "newcomer"})


def test_every_command_and_option_is_described(staged: Path) -> None:
    import click

    from foretell.sim.cli import main

    found = list(module("site_commands").commands(main, ("foretell",)))
    assert len(found) > 20
    for path, command in found:
        page = text_of(staged / "commands" / f"{path[1]}.md")
        assert re.search(rf"^#+ {' '.join(path)}$", page, re.MULTILINE), path
        section = page.split(f"# {' '.join(path)}\n")[1]
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                for name in (*parameter.opts, *parameter.secondary_opts):
                    assert re.search(rf"{re.escape(name)}\b", section), (path, name)


def test_equations_have_their_sources(staged: Path) -> None:
    equations = module("site_equations")
    assert equations.sources("Wait of an M/G/1 queue.\n\nSource: Kleinrock 1975, eq. 5.63.") == [
        "Kleinrock 1975, eq. 5.63."
    ]
    assert equations.sources("α₀ + 2(n − 1)·α (Thakur 2005, §4).") == ["Thakur 2005, §4"]
    assert equations.sources("Attributes:\n    sources: where each figure comes from.") == []
    page = text_of(staged / "equations" / "communication.md")
    row = next(line for line in page.splitlines() if "[`ring_all_reduce_s`]" in line)
    assert "2(n − 1)" in row and row.endswith("| Thakur 2005, §4 |")
    for area, (_, _, names) in equations.AREAS.items():
        for part in equations.modules(names):
            assert f".. currentmodule:: {part.__name__}\n" in text_of(staged / "equations" / f"{area}.md")


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ('<a href="b.html#there">x</a><p id="here">', []),
        ('<a href="b.html#gone">x</a>', ["a.html: b.html#gone: no such anchor"]),
        ('<a href="#gone">x</a>', ["a.html: #gone: no such anchor"]),
        ('<img src="gone.png">', ["a.html: gone.png: no such file"]),
    ],
)
def test_the_checker_finds_broken_links(page: str, told: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(page, encoding="utf-8")
    (tmp_path / "b.html").write_text('<h1 id="there">B</h1>', encoding="utf-8")
    assert module("site_check").check(tmp_path).broken == told


@pytest.mark.parametrize(
    "page",
    [
        '<script src="https://cdn.example.org/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example.org/css">',
        '<link rel="preload" href="https://fonts.example.org/a.woff2" as="font">',
        "<style>@import url(https://fonts.example.org/css);</style>",
        '<p style="background:url(https://example.org/a.png)">',
        '<img srcset="a.png 1x, https://example.org/a.png 2x" src="a.png">',
        '<script>fetch("https://example.org/count")</script>',
        '<svg><image href="https://example.org/a.png"/></svg>',
        '<iframe src="https://example.org"></iframe>',
    ],
)
def test_the_checker_finds_what_is_loaded_from_elsewhere(page: str, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(page, encoding="utf-8")
    (tmp_path / "a.png").write_bytes(b"")
    found = module("site_check").check(tmp_path)
    assert len(found.loads) == 1 and not found.external


def test_links_that_leave_are_listed_and_their_form_is_checked(tmp_path: Path) -> None:
    text = '<a href="https://example.org/x">good</a> <a href="https://nohost/x">bad</a>'
    (tmp_path / "a.html").write_text(text, encoding="utf-8")
    checker = module("site_check")
    found = checker.check(tmp_path)
    assert sorted(found.external) == ["https://example.org/x", "https://nohost/x"]
    assert list(checker.badly_formed(found.external)) == ["a.html: https://nohost/x"]


@pytest.mark.slow
def test_the_built_site(site: Path) -> None:
    """The build itself fails on a warning, a broken link or a load; here what must be in it."""
    found = module("site_check").check(site)
    assert found.pages > 100 and found.internal > 5000
    assert not found.broken and not found.loads
    names = {file.stem for file in DOCS.glob("*.md")}
    assert not [name for name in names if not (site / f"{name}.html").is_file()]
    index = text_of(site / "searchindex.js")
    assert index.startswith("Search.setIndex(")
    assert '"quickstart"' in index and '"equations/queueing"' in index


@pytest.mark.slow
def test_code_and_pictures_came_through(site: Path) -> None:
    class Words(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.words: list[str] = []

        def handle_data(self, data: str) -> None:
            self.words.append(data)

    reader = Words()
    reader.feed(text_of(site / "quickstart.html"))
    shown = re.sub(r"\s+", " ", "".join(reader.words))
    assert "python3 -m venv .venv && .venv/bin/pip install -q ." in shown
    assert "$ foretell forecast" in shown
    pictures = re.findall(r'<img[^>]* src="([^"]+\.svg)"', text_of(site / "concepts.html"))
    assert len(pictures) >= 2
    assert all((site / unescape(picture)).is_file() for picture in pictures)
    assert "--replicas" in text_of(site / "commands" / "forecast.html")  # no dash made of two hyphens


@pytest.mark.slow
def test_pictures_are_what_the_forecasts_say() -> None:
    """If this fails: python docs/pictures.py, and look at what changed."""
    command = [sys.executable, str(DOCS / "pictures.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
