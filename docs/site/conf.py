"""Sphinx's settings for the documentation's site; docs/build.py says where the staged pages are."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tomllib
from typing import Any

import site_docstrings

_ROOT = Path(__file__).resolve().parents[2]
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "foretell"
author = "the founders of foretell"
copyright = author
version = release = _PROJECT["version"]

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_parser"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 5  # the anchors that GitHub gives to headings
smartquotes = False  # options of commands begin with two hyphens
default_role = "py:obj"  # names in docstrings become links where they are documented, else code
nitpicky = True
suppress_warnings = ["ref.python"]  # `layers` may be several things; then the word is no link

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False  # the signature has them
add_module_names = False
python_maximum_signature_line_length = 90
toc_object_entries = False  # equations and API pages begin with a table of what is on them

html_theme = "furo"
html_title = "foretell"
html_static_path = [str(Path(__file__).parent / "static")]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": False}
highlight_language = "text"
pygments_style = "friendly"


def setup(app: Any) -> None:
    """What docstrings need on their way into pages."""
    site_docstrings.connect(app)
