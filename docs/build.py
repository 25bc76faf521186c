"""Build the documentation's site: python docs/build.py OUT [--notebooks]. Warnings are errors.

Sphinx, MyST and furo come with the extra `docs`. Nothing is fetched, neither here nor by the pages; every
internal link of what came out is followed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "site"))

import site_check
import site_pages

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: list[str] | None = None) -> int:
    """Stage the pages, let Sphinx make them, check what came out; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("out", type=Path, help="the folder of the site; what is in it is replaced")
    parser.add_argument("--notebooks", action="store_true", help="run the notebooks too, and show them")
    given = parser.parse_args(arguments)
    if given.out.exists():
        if any(given.out.iterdir()) and not (given.out / "searchindex.js").is_file():
            parser.error(f"{given.out} is not empty, and no site that was built by this")
        shutil.rmtree(given.out)
    with tempfile.TemporaryDirectory() as folder:
        source, doctrees = Path(folder) / "source", Path(folder) / "doctrees"
        site_pages.stage(ROOT, source, notebooks=given.notebooks)
        if code := _sphinx(source, doctrees, given.out):
            return code
    if given.notebooks:
        _notebooks(given.out / "notebooks")
    return _report(site_check.check(given.out))


def _sphinx(source: Path, doctrees: Path, out: Path) -> int:
    from sphinx.cmd.build import main as sphinx

    settings = ["-c", str(ROOT / "docs" / "site"), "-d", str(doctrees)]
    return sphinx(["-b", "html", "-W", "--keep-going", "-n", "-q", "-E", *settings, str(source), str(out)])


def _notebooks(out: Path) -> None:
    """Run the notebooks, and put their pages and .ipynb where the site links them."""
    subprocess.run([sys.executable, str(ROOT / "notebooks" / "export.py"), str(out)], cwd=ROOT, check=True)


def _report(found: site_check.Checked) -> int:
    wrong = [*found.broken, *(f"{line}: loaded from elsewhere" for line in found.loads)]
    wrong += [f"{line}: no address" for line in site_check.badly_formed(found.external)]
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"{found.pages} pages, {found.internal} internal links, {len(wrong)} wrong")
    print("Links that leave the site (their form was checked; nobody visited them):")
    for link in sorted(found.external):
        print(f"  {link}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
