"""Keeps notebooks the same for the same content.

    python scripts/notebooks.py --check | --write | --execute [PATH ...]

--check says what is not as it should be and exits with 1; --write mends what can be mended; --execute runs the
notebooks first, each from top to bottom in a fresh kernel and in its own folder. PATH is a notebook or a folder;
"notebooks" if none is given.

A cell whose output nbval shall not compare has the tag `nbval-ignore-output` and tells its reader why, in a comment:
`# Times differ from run to run.`

Two runs of one notebook leave the same file, but for what carries the class `mpreg-timing` (see nbval_sanitize.cfg).
"""

from __future__ import annotations

import argparse
import copy
import difflib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

__all__ = ["execute", "main", "normalised", "problems", "read", "text_of"]

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
    },
}
"""Of every notebook: nothing in it depends on the Python that ran it."""

CELL_METADATA = {"jupyter", "slideshow", "tags"}
"""What a cell may keep; times of execution and an editor's notes go."""

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
MAY_WARN, MAY_RAISE = "stderr", "raises-exception"
"""Tags of cells that show a warning, or an error, on purpose."""

NOT_COMPARED = "nbval-ignore-output"
"""Tag of cells whose output is another one in every run; it needs a reason."""

REASON = re.compile(r"^# .*\bdiffers?\b", re.MULTILINE)

LONGEST_LINE = 100
"""Characters of code that JupyterLab shows beside its list of files on a small screen (1280 by 800)."""

CELL_TIMEOUT_S = 120
ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{6,}")


def normalised(notebook: NotebookNode) -> NotebookNode:
    """A copy without what differs from run to run; running it again changes nothing."""
    clean = copy.deepcopy(notebook)
    clean.nbformat, clean.nbformat_minor = 4, 5
    clean.metadata = nbformat.from_dict(METADATA)
    count = 0
    for number, cell in enumerate(clean.cells, start=1):
        cell.id = f"cell-{number:02}"
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k in CELL_METADATA})
        cell.source = "\n".join(line.rstrip() for line in cell.source.strip("\n").split("\n"))
        if cell.cell_type == "code":
            count += bool(cell.source)
            _normalise_code(cell, count if cell.source else None)
    return clean


def problems(notebook: NotebookNode) -> Iterator[str]:
    """What no normalising mends: the notebook has to be changed and run again."""
    for number, cell in enumerate(notebook.cells, start=1):
        if cell.cell_type == "code":
            tags = cell.metadata.get("tags", [])
            if NOT_COMPARED in tags and not REASON.search(cell.source):
                yield f"cell {number} is tagged '{NOT_COMPARED}'; say why: '# Times differ from run to run.'"
            if long := next((line for line in cell.source.split("\n") if len(line) > LONGEST_LINE), None):
                yield f"cell {number} has a line that a small screen cuts off, over {LONGEST_LINE} characters: {long!r}"
            yield from (f"cell {number} {problem}" for output in cell.outputs for problem in _problems(output, tags))


def text_of(notebook: NotebookNode) -> str:
    """The file: keys sorted, indented by one blank, validated.

    Raises:
        nbformat.ValidationError: If it is not a notebook.
    """
    nbformat.validate(notebook)
    return f"{nbformat.writes(notebook, version=nbformat.NO_CONVERT)}\n"


def read(path: Path) -> NotebookNode:
    """The notebook in a file, in the present version of the format."""
    notebook: NotebookNode = nbformat.read(path, as_version=4)
    return notebook


def execute(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """A copy with the outputs of a run from top to bottom, in a fresh kernel in `folder`.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell raises that has no tag for it.
    """
    from nbclient import NotebookClient

    fresh = copy.deepcopy(notebook)
    # Widget state would only be thrown away again.
    client = NotebookClient(
        fresh,
        timeout=CELL_TIMEOUT_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        store_widget_state=False,
    )
    client.execute()
    return fresh


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 if all is well."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true", help="say what is not as it should be")
    what.add_argument("--write", action="store_true", help="mend it")
    what.add_argument("--execute", action="store_true", help="run the notebooks and mend them")
    parser.add_argument("paths", nargs="*", type=Path, default=[Path("notebooks")], help="notebooks or folders")
    options = parser.parse_args(arguments)
    found = list(_notebooks(options.paths))
    if not found:
        parser.error(f"no notebooks in {', '.join(map(str, options.paths))}")
    complaints = [complaint for path in found for complaint in _handle(path, options)]
    print("\n".join(complaints) or f"{len(found)} notebook{'' if len(found) == 1 else 's'}: as it should be")
    return 1 if complaints else 0


def _handle(path: Path, options: argparse.Namespace) -> Iterator[str]:
    """Do what was asked with one notebook; what remains to be said."""
    before, notebook = path.read_text(encoding="utf-8"), read(path)
    if options.execute:
        notebook = execute(notebook, path.parent)
    clean = normalised(notebook)
    after = text_of(clean)
    yield from (f"{path}: {problem}" for problem in problems(clean))
    if after == before:
        return
    if options.check:
        yield f"{path}: not normalised; `make fmt` does it. It begins with {_first_difference(before, after)}"
    else:
        path.write_text(after, encoding="utf-8")


def _normalise_code(cell: NotebookNode, count: int | None) -> None:
    cell.execution_count = count
    cell.outputs = _merged(cell.outputs)
    for output in cell.outputs:
        if output.output_type == "execute_result":
            output.execution_count = count
        if WIDGET_VIEW in output.get("data", {}):
            output.data[WIDGET_VIEW]["model_id"] = ""


def _problems(output: NotebookNode, tags: Sequence[str]) -> Iterator[str]:
    if output.get("name") == "stderr" and MAY_WARN not in tags:
        yield f"writes to stderr: {output.text.strip()[:80]!r}; tag it '{MAY_WARN}' if that is meant"
    if output.output_type == "error" and MAY_RAISE not in tags:
        yield f"raises {output.ename}: {output.evalue[:80]}; tag it '{MAY_RAISE}' if that is meant"
    if found := next(filter(None, map(ADDRESS.search, _texts(output))), None):
        yield f"shows an address, another one in every run: {found[0]!r}"


def _merged(outputs: Iterable[NotebookNode]) -> list[NotebookNode]:
    """Neighbouring pieces of one stream as one: how a kernel cuts them is chance."""
    merged: list[NotebookNode] = []
    for output in outputs:
        last = merged[-1] if merged else None
        if output.output_type == "stream" and last is not None and last.get("name") == output.name:
            last.text += output.text
        else:
            merged.append(output)
    return merged


def _texts(output: NotebookNode) -> Iterator[str]:
    yield output.get("text", "")
    yield from (value for value in output.get("data", {}).values() if isinstance(value, str))


def _first_difference(before: str, after: str) -> str:
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm=""))
    return next((repr(line[:100]) for line in lines[3:]), "the end of the file")


def _notebooks(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
        else:
            yield path


if __name__ == "__main__":
    sys.exit(main())
