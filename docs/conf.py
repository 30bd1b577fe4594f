"""How Sphinx builds the guide: `make docs`. The notebooks are shown as they are stored; they run as tests elsewhere."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
ROOT = HERE.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOURCE = f"{PROJECT['urls']['Repository']}/blob/main/"

project = PROJECT["name"]
release = PROJECT["version"]
html_title = f"{project} {release}"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build", "examples/node_modules"]
html_theme = "furo"

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
nb_execution_mode = "off"
nb_execution_show_tb = True
# A page has no kernel: what a notebook stores beside each widget is what it shows.
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None), ("html", "text/html", 0)]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
default_role = "literal"
copybutton_prompt_text = "$ "
suppress_warnings = ["mystnb.unknown_mime_type"]


def bring_notebooks(app: Sphinx) -> None:
    """Copy the tutorials to where Sphinx looks for pages."""
    to = HERE / "tutorials"
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir()
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        shutil.copy(notebook, to)


def point_outside(app: Sphinx, name: str, text: list[str]) -> None:
    """Links to files that are not pages lead to the repository."""

    def link(found: re.Match[str]) -> str:
        target = (HERE / name).parent / found[1]
        inside = target.resolve().relative_to(ROOT)
        if inside.parts[0] == "notebooks" and inside.suffix == ".ipynb":
            return f"]({'../' * name.count('/')}tutorials/{inside.name})"
        return f"]({SOURCE}{inside})"

    if not name.startswith("tutorials/"):
        text[0] = re.sub(r"\]\((?!https?:)((?:\.\./)+[^)#]*|examples/[^)#]*|\.\./)\)", link, text[0])
        return
    # A notebook's links are relative to notebooks/, which is beside docs/.
    text[0] = text[0].replace("](../docs/", "](../")


def show_code(app: Sphinx, what: str, name: str, told: object, options: object, lines: list[str]) -> None:
    """Fenced code in a docstring becomes a code block, and a property's sentence stays one."""
    shown, inside = list[str](), False
    if what in ("attribute", "property") and lines:
        # Napoleon takes what stands before a colon for the type.
        lines[0] = f": {lines[0]}"
    for line in lines:
        if line.strip().startswith("```"):
            inside = not inside
            shown += ["", ".. code-block:: python", ""] if inside else [""]
        else:
            shown.append(f"    {line}" if inside else line)
    lines[:] = shown


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", show_code, priority=400)  # before napoleon
    app.connect("builder-inited", bring_notebooks)
    app.connect("source-read", point_outside)
