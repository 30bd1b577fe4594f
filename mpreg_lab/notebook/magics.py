"""%%mpreg_workflow and %mpreg. Each is a thin layer over the facade: whatever a magic does, a line of Python can."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, output_can_be_silenced

from mpreg_lab.client.run import Run
from mpreg_lab.cluster.local import LocalCluster, find_cluster, running_clusters
from mpreg_lab.errors import MagicError, MpregError

from .cell_errors import plainly, told
from .options import LineParser
from .workflow_cell import WorkflowCell, Written

if TYPE_CHECKING:
    import pandas as pd
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["MpregMagics"]

_VERBS = "start, stop, status, nodes, functions, help"

_HELP = """%load_ext mpreg_lab gives you

  %%mpreg_workflow [name]   run the workflow in the cell; %%mpreg_workflow --help tells how to write it
    -c, --cluster NAME        on this cluster: a variable, or the name of a cluster (default: the newest)
    -o, --out NAME            keep the run in this variable, whatever becomes of it
    --timeout SECONDS         cancel the run when it takes longer
    --detach                  do not wait: the cell ends at once, the run and its picture go on
    --dry-run                 only check and draw it
    --plain                   text, no widget
  a ; at the end of the cell runs it and shows nothing

  %mpreg start 3            launch three nodes, as the variable `cluster`
  %mpreg start ingest=csv-parser work=cleaner,gpu   ... or nodes with resources
    --name NAME --slots N --transport memory|ws
  %mpreg stop [NAME]        end a cluster
  %mpreg status             the clusters that run
  %mpreg nodes [NAME]       a table of nodes and their resources
  %mpreg functions [NAME]   a table of functions, and who has them

  @cluster.function(resources=["gpu"])   gives a function to all nodes with these resources
  run.results  run["step"]  run.frame()  run.graph()  run.timeline()  run.latency()"""

_NOTATION = """A workflow cell has one line for each step:

  rows    = parse_csv(text)                         @ "csv-parser"
  clean   = clean_rows(rows, drop=["note"])         @ "data-cleaner" | retry(3, backoff=0.2)
  summary = aggregate(clean, by="region")           @ "aggregator"   | timeout(5)
  scores  = [score(c, summary) @ "gpu" for c in chunks]
  report  = format_report(summary, title=f"{year}") | on("output")
  report, scores

  name = function(...)     a step: the function is one of a cluster's, %mpreg functions lists them
  rows                     a name bound in this cell, in any order, stands for that step's result;
  rows["total"]  rows[0]  rows.total   ... or for a part of it
  anything else            is evaluated here in the notebook, once, before the run starts; a string is a string
  @ "gpu"  @ ("a", "b")    resources that the node must hold
  | retry(n, backoff=s)    start again up to n times; | timeout(s) seconds for each attempt; | on("node")
  | wait_for(s)            wait so many seconds for a node that can run it
  [f(x) for x in xs]       one step for each x: scores[0], scores[1], ...; `scores` is the list of them
  report, scores           the last line may say which results to return; else all that no step uses"""


@magics_class
class MpregMagics(Magics):
    """The magics of the extension."""

    @output_can_be_silenced
    @cell_magic
    def mpreg_workflow(self, line: str, cell: str) -> Run | Written | None:
        """Run the workflow in the cell."""
        options = self._read(_workflow_options(), line)
        if options.help:
            print(f"{_workflow_usage()}\n\n{_NOTATION}")
            return None
        silent = cell.rstrip().endswith(";")
        work = WorkflowCell(self._shell, cell, plain=options.plain or not self._has_widgets(), silent=silent)
        if options.dry_run:
            written = Written(work.write(options.name))
            self._bind(options.out, written)
            return written
        return work.run(options.cluster, options.name, options.out, options.timeout, detach=options.detach)

    @line_magic
    def mpreg(self, line: str) -> Any:
        """Clusters: %mpreg start | stop | status | nodes | functions | help."""
        verb, _, rest = line.strip().partition(" ")
        act = {
            "start": self._start,
            "stop": self._stop,
            "status": self._status,
            "nodes": self._nodes,
            "functions": self._functions,
            "help": self._help,
            "": self._help,
            "--help": self._help,
        }.get(verb)
        try:
            if act is None:
                raise MagicError(f"%mpreg has no {verb!r}. It has: {_VERBS}")
            return act(rest)
        except MpregError as error:
            raise plainly(error, told(error)) from None

    # --- verbs ---

    def _start(self, line: str) -> LocalCluster:
        options = _start_options().read(line)
        cluster = LocalCluster(
            _nodes_of(options.nodes), name=options.name, slots=options.slots, transport=options.transport
        )
        self._bind("cluster", cluster)
        return cluster

    def _stop(self, line: str) -> None:
        cluster = find_cluster(line.strip() or None)
        cluster.stop()
        print(f"stopped {cluster.name}")

    def _status(self, line: str) -> None:
        _nothing_more("status", line)
        clusters = running_clusters()
        print("\n".join(map(repr, clusters)) if clusters else "no cluster runs. Start one: %mpreg start 3")

    def _nodes(self, line: str) -> pd.DataFrame:
        import pandas as pd

        members = find_cluster(line.strip() or None).nodes.values()
        rows = [(m.name, ", ".join(m.resources), ", ".join(f.name for f in m.functions), m.slots) for m in members]
        return pd.DataFrame(rows, columns=["node", "resources", "functions", "slots"]).set_index("node")

    def _functions(self, line: str) -> pd.DataFrame:
        import pandas as pd

        holders: dict[str, list[str]] = {}
        infos = {}
        for member in find_cluster(line.strip() or None).nodes.values():
            for info in member.functions:
                infos[info.name] = info
                holders.setdefault(info.name, []).append(member.name)
        rows = [
            (name, info.signature, ", ".join(info.resources), ", ".join(holders[name]), info.doc.partition("\n")[0])
            for name, info in infos.items()
        ]
        return pd.DataFrame(rows, columns=["function", "signature", "resources", "nodes", "doc"]).set_index("function")

    def _help(self, line: str) -> None:
        print(_HELP)

    # --- helpers ---

    def _read(self, parser: LineParser, line: str) -> argparse.Namespace:
        try:
            return parser.read(line)
        except MagicError as error:
            raise plainly(error, told(error)) from None

    def _bind(self, name: str | None, value: object) -> None:
        if name:
            self._shell.user_ns[name] = value

    @property
    def _shell(self) -> InteractiveShell:
        assert self.shell is not None
        return self.shell

    def _has_widgets(self) -> bool:
        """Whether there is a notebook at the other end; a terminal shows text."""
        return getattr(self.shell, "kernel", None) is not None


def _workflow_options() -> LineParser:
    parser = LineParser("%%mpreg_workflow")
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("-c", "--cluster")
    parser.add_argument("-o", "--out", type=_identifier)
    parser.add_argument("--timeout", type=_seconds)
    parser.add_argument("--detach", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--help", action="store_true")
    return parser


def _start_options() -> LineParser:
    parser = LineParser("%mpreg start", help_by="%mpreg help")
    parser.add_argument("nodes", nargs="*")
    parser.add_argument("--name", default="notebook")
    parser.add_argument("--slots", type=int)
    parser.add_argument("--transport", type=_transport, default="memory")
    return parser


def _nodes_of(words: list[str]) -> int | dict[str, list[str]]:
    if not words:
        return 3
    if len(words) == 1 and words[0].isdigit():
        return int(words[0])
    nodes = {}
    for word in words:
        name, _, resources = word.partition("=")
        if not name or name.isdigit():
            raise MagicError(f"%mpreg start: {word!r} is no node. Write a number, or name=resource,resource for each")
        nodes[name] = [resource for resource in resources.split(",") if resource]
    return nodes


def _nothing_more(verb: str, line: str) -> None:
    if line.strip():
        raise MagicError(f"%mpreg {verb} takes nothing more, not {line.strip()!r}")


def _identifier(text: str) -> str:
    if not text.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not a name for a variable")
    return text


def _transport(text: str) -> str:
    if text not in ("memory", "ws"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither memory nor ws")
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds


def _workflow_usage() -> str:
    return "\n".join(line[2:] for line in _HELP.split("\n")[2:10])


_documented: Callable[..., Any] = MpregMagics.mpreg_workflow
_documented.__doc__ = f"{_workflow_usage()}\n\n{_NOTATION}"
MpregMagics.mpreg.__doc__ = _HELP
