"""How the pages become a site: ``inv site`` runs Sphinx with it, over this checkout.

The pages stay plain Markdown that reads well where it lies: the site's table of
contents is put into the first page here, when it is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pygments.lexers.shell import BashLexer
from pygments.lexers.special import TextLexer
from sphinx.highlighting import lexers

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "sshjobs"
author = "The sshjobs authors"
extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["*.md", "docs/**.md"]
html_theme = "furo"
html_title = "sshjobs"
html_copy_source = False
myst_heading_anchors = 4
nitpicky = True
lexers |= {"cron": BashLexer(), "mermaid": TextLexer()}

#: The chapters, each with its pages in the order in which a newcomer wants them.
_CHAPTERS = {
    "First days": ["docs/tutorial", "docs/faq", "docs/how-to/*"],
    "To look up": ["docs/reference/*", "docs/glossary", "CHANGELOG"],
    "Why it is so": ["docs/explanation/*", "docs/benchmarks", "docs/decisions/*"],
    "Working on it": ["CONTRIBUTING", "SECURITY", "docs/README"],
}


def add_contents(_app: Sphinx, page: str, source: list[str]) -> None:
    """Give the first page its table of contents (the event ``source-read``)."""
    if page == root_doc:
        for chapter, names in _CHAPTERS.items():
            options = f":hidden:\n:glob:\n:caption: {chapter}\n"
            source[0] += f"\n```{{toctree}}\n{options}\n" + "\n".join(names) + "\n```\n"


def open_at_first_page(app: Sphinx, error: Exception | None) -> None:
    """Write the page with which a server answers for ``/`` (``build-finished``)."""
    if error is None:
        index = Path(app.outdir, "index.html")
        index.write_text(f'<meta http-equiv="refresh" content="0; {root_doc}.html">\n')


def setup(app: Sphinx) -> None:
    """Tell Sphinx which of its events these functions serve."""
    app.connect("source-read", add_contents)
    app.connect("build-finished", open_at_first_page)
