"""%%mpreg_workflow, %%mpreg_functions and %mpreg: thin layers over the facade. A line of Python can do the same."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, output_can_be_silenced

from mpreg_lab.client.run import Run
from mpreg_lab.errors import MpregError

from . import settings
from .cell_errors import plainly, told
from .clusters import local_cluster
from .command import Notebook
from .commands import command, overview
from .functions_cell import FunctionsCell
from .options import Argument, Kind, Syntax, identifier, names, seconds
from .workflow_cell import WorkflowCell, Written

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["FUNCTIONS", "WORKFLOW", "MpregMagics"]

_NOTATION = """A workflow cell has one line for each step:

  rows    = parse_csv(text)                 @ "csv-parser"
  clean   = clean_rows(rows, drop=["note"]) @ "cleaner" | retry(3, backoff=0.2)
  summary = aggregate(clean, by="region")   @ ("gpu", "model") | timeout(5)
  scores  = [score(c, summary) @ "gpu" for c in chunks]
  report  = format_report(summary, title=f"{year}") | on("output")
  report, scores

  name = function(...)    a step. %mpreg functions lists the functions
  rows                    a name bound in this cell, in any order, stands for
                          that step's result: it is waited for
  rows["total"]  rows[0]  ... or for a part of it; rows.total is a field
  [rows, 1]  {"x": rows}  ... also inside lists, tuples, sets, values of dicts
  anything else           is evaluated in the notebook, once, before the run
                          starts; a string is always a string
  @ "gpu"  @ ("a", "b")   resources that the node must hold
  | retry(n, backoff=s)   start again up to n times, after s, 2s, 4s seconds
  | timeout(s)            seconds for each attempt
  | on("node")            only on this node
  | wait_for(s)           wait so many seconds for a node that can run it
  | cache()  cache(ttl=s) take the result of an equal step that ran before
  [f(x) for x in xs]      one step for each x: scores[0], scores[1], ...;
                          `scores` is the list of them
  merge(*scores)          ... each as an argument of its own
  report, scores          a last line like this says which results to return;
                          else all that no step uses
  a ; at the end          runs it and shows nothing

Afterwards, with -o run:

  run.results  run["step"]  run.frame()  run.graph()  run.timeline()
  run.latency()"""

_CLUSTER = Argument(
    ("-c", "--cluster"), "on this cluster: a variable, or a name; else the newest", "CLUSTER", Kind.CLUSTER
)

WORKFLOW = Syntax(
    "%%mpreg_workflow",
    "Run the workflow in the cell, and show it.",
    (
        Argument(("name",), "what the workflow is called in views", "NAME", count="?", default=""),
        _CLUSTER,
        Argument(
            ("-o", "--out"),
            "keep the run in this variable, whatever becomes of it",
            "VARIABLE",
            Kind.VARIABLE,
            identifier,
        ),
        Argument(("--timeout",), "cancel the run when it takes longer", "SECONDS", read=seconds),
        Argument(("--detach",), "do not wait: the cell ends at once, the run and its picture go on"),
        Argument(("--dry-run",), "only check and draw it"),
        Argument(("--plain",), "text, no widget"),
    ),
    more=_NOTATION,
)

FUNCTIONS = Syntax(
    "%%mpreg_functions",
    "Define the functions in the cell and have nodes offer them; those whose names begin with _ stay here. "
    "Run the cell again to define them anew.",
    (
        Argument(
            ("nodes",), "only these; one that is not there is added. Else all nodes", "NODE", Kind.NODE, count="*"
        ),
        Argument(
            ("-r", "--resources"),
            "nodes must hold these, with commas between them; those added do",
            "RESOURCES",
            Kind.RESOURCES,
            names,
            default=[],
        ),
        _CLUSTER,
    ),
    (
        ("%%mpreg_functions", "on all nodes"),
        ("%%mpreg_functions -r gpu,model", "on all nodes that hold both"),
        ("%%mpreg_functions worker -r gpu", "on the node `worker`, which holds gpu"),
    ),
)


@magics_class
class MpregMagics(Magics):
    """The magics of the extension."""

    @output_can_be_silenced
    @cell_magic
    def mpreg_workflow(self, line: str, cell: str) -> Run | Written | None:
        """Run the workflow in the cell."""
        options = self._read(WORKFLOW, line)
        if options is None:
            return None
        now = settings.current()
        notebook = self._notebook(silent=cell.rstrip().endswith(";"))
        work = WorkflowCell(self._shell, cell, plain=options.plain or notebook.plain, silent=notebook.silent)
        if options.dry_run:
            written = Written(work.write(options.name))
            if options.out:
                self._shell.user_ns[options.out] = written
            return written
        out = options.out or now.variable
        run = work.run(options.cluster, options.name, out, options.timeout or now.timeout, detach=options.detach)
        return None if now.view == "none" else run

    @cell_magic
    def mpreg_functions(self, line: str, cell: str) -> None:
        """Define the functions in the cell and have nodes offer them."""
        options = self._read(FUNCTIONS, line)
        if options is None:
            return
        work = FunctionsCell(self._shell, cell)
        with _telling():
            cluster = local_cluster(self._shell.user_ns, options.cluster)
            print(work.run(cluster, options.nodes, options.resources))

    @output_can_be_silenced
    @line_magic
    def mpreg(self, line: str) -> Any:
        """Clusters, nodes, runs and faults."""
        word, _, rest = line.strip().removesuffix(";").strip().partition(" ")
        if word in ("", "--help"):
            print(overview())
            return None
        with _telling():
            wanted = command(word)
            options = wanted.read(rest)
            if options.help:
                print(wanted.help(rest))
                return None
            return wanted.act(self._notebook(silent=line.rstrip().endswith(";")), options)

    # --- helpers ---

    def _read(self, syntax: Syntax, line: str) -> argparse.Namespace | None:
        """The options; None if help was asked for, and given."""
        with _telling():
            options = syntax.read(line)
        if options.help:
            print(syntax.help())
            return None
        return options

    def _notebook(self, *, silent: bool) -> Notebook:
        view = settings.current().view
        plain = view == "plain" or not self._has_widgets()
        return Notebook(self._shell.user_ns, print, plain, silent or view == "none")

    @property
    def _shell(self) -> InteractiveShell:
        assert self.shell is not None
        return self.shell

    def _has_widgets(self) -> bool:
        """Whether there is a notebook at the other end; a terminal shows text."""
        return getattr(self.shell, "kernel", None) is not None


@contextlib.contextmanager
def _telling() -> Iterator[None]:
    """Errors of ours are shown in a few lines."""
    try:
        yield
    except MpregError as error:
        if "_render_traceback_" in vars(error):
            raise
        raise plainly(error, told(error)) from None


def _document(magic: Callable[..., Any], text: str) -> None:
    magic.__doc__ = text


_document(MpregMagics.mpreg_workflow, WORKFLOW.help())
_document(MpregMagics.mpreg_functions, FUNCTIONS.help())
_document(MpregMagics.mpreg, overview())
