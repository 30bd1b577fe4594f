"""What the HTML of stored outputs has in common: it has to last in notebooks, on pages and in Markdown."""

from __future__ import annotations

from urllib.parse import quote

__all__ = ["ALONE", "unbroken"]

_RULE = (
    ".jp-OutputArea-child:not(:has(.jp-OutputArea-output *))"
    ":has(+.jp-OutputArea-child :is(.mpreg-run-static,.mpreg-cluster-static)){display:none}"
)
ALONE = f'<link rel="stylesheet" href="data:text/css,{quote(_RULE)}">'
"""Hides JupyterLab's line "Loading widget..." or "Error displaying widget", where no kernel has the live view.

That line is bare text, which no other output is. Where this cannot work it is left out without a trace: by the
sanitizer of notebooks that are not trusted, and by GitHub, which would show a `<style>` as text.
"""


def unbroken(html: str) -> str:
    """The HTML on one line, with the line breaks of its texts kept.

    In a Markdown file an empty line ends the HTML, and what follows would be read as Markdown.
    """
    return html.replace("\n", "&#10;")
