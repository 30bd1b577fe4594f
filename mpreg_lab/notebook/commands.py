"""The commands of %mpreg: how each is written, and what it does: what a line of Python over the facade can do too."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from mpreg_lab.client.sync import Client
from mpreg_lab.cluster.dask import DaskCluster
from mpreg_lab.cluster.faults import Playing
from mpreg_lab.cluster.local import LocalCluster, running_clusters
from mpreg_lab.errors import MagicError
from mpreg_lab.workflow.plan import did_you_mean

from . import settings
from .clusters import any_cluster, local_cluster, members
from .command import CLUSTER, WHICH, Command, Notebook
from .demos import DEMO
from .fault_lines import FAULTS, planned, written
from .options import Argument, Kind, Syntax, identifier, in_columns, names, whole
from .run_commands import RUN_COMMANDS
from .started import start, stop

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COMMANDS", "command", "overview"]


# --- clusters -----------------------------------------------------------------------------------------------------


def _start(notebook: Notebook, options: argparse.Namespace) -> LocalCluster:
    return start(
        notebook,
        "%mpreg start 3",
        vars(options)["as"],
        options.name,
        nodes=_described(options.nodes),
        slots=options.slots,
        transport=options.transport,
        processes=options.processes,
    )


def _described(words: list[str]) -> int | dict[str, list[str]]:
    if not words:
        return 3
    if len(words) == 1 and words[0].isdigit():
        return int(words[0])
    return _nodes_of(words)


def _nodes_of(words: list[str]) -> dict[str, list[str]]:
    nodes: dict[str, list[str]] = {}
    for word in words:
        name, _, resources = word.partition("=" if "=" in word else ":")
        if not name or name.lstrip("-").isdigit() or not name.lstrip("-"):
            raise MagicError(f"%mpreg start: {word!r} is no node. Write a number, or name=resource,resource for each")
        if name in nodes:
            raise MagicError(f"%mpreg start: two nodes are called {name!r}. Rename one of them")
        nodes[name] = names(resources)
    return nodes


def _stop(notebook: Notebook, options: argparse.Namespace) -> None:
    stopped = running_clusters() if options.all else (local_cluster(notebook.names, options.cluster),)
    stop(stopped)
    notebook.say(f"stopped {', '.join(cluster.name for cluster in stopped)}" if stopped else "no cluster runs")


def _status(notebook: Notebook, options: argparse.Namespace) -> None:
    clusters = running_clusters()
    notebook.say("\n".join(map(repr, clusters)) if clusters else "no cluster runs. Start one: %mpreg start 3")


def _nodes(notebook: Notebook, options: argparse.Namespace) -> pd.DataFrame:
    from .table import Table

    rows = [
        (m.name, ", ".join(m.resources), ", ".join(f.name for f in m.functions), m.slots)
        for m in members(any_cluster(notebook.names, options.cluster))
    ]
    return Table(rows, columns=["node", "resources", "functions", "slots"]).set_index("node")


def _functions(notebook: Notebook, options: argparse.Namespace) -> pd.DataFrame:
    from .table import Table

    holders: dict[str, list[str]] = {}
    infos = {}
    for member in members(any_cluster(notebook.names, options.cluster)):
        for info in member.functions:
            infos[info.name] = info
            holders.setdefault(info.name, []).append(member.name)
    rows = [
        (name, info.signature, ", ".join(info.resources), ", ".join(holders[name]), info.doc.partition("\n")[0])
        for name, info in infos.items()
    ]
    return Table(rows, columns=["function", "signature", "resources", "nodes", "doc"]).set_index("function")


def _view(notebook: Notebook, options: argparse.Namespace) -> object:
    return _looked_at(notebook, options).view()


def _unregister(notebook: Notebook, options: argparse.Namespace) -> None:
    cluster = any_cluster(notebook.names, options.cluster)
    if isinstance(cluster, Client):
        raise MagicError("%mpreg unregister: only who has launched a cluster can take functions from its nodes")
    known = {info.name for member in members(cluster) for info in member.functions}
    for name in options.functions:
        if name not in known:
            near = did_you_mean(name, sorted(known), "It has: ")
            raise MagicError(f"%mpreg unregister: the cluster has no function {name!r}. {near}")
    for name in options.functions:
        cluster.unregister(name)
    notebook.say(f"took {', '.join(options.functions)} away from all nodes")


def _clear_cache(notebook: Notebook, options: argparse.Namespace) -> None:
    _looked_at(notebook, options).clear_cache()
    notebook.say("all nodes forgot the results that they kept for equal steps")


def _looked_at(notebook: Notebook, options: argparse.Namespace) -> LocalCluster | Client:
    cluster = any_cluster(notebook.names, options.cluster)
    if isinstance(cluster, DaskCluster):
        raise MagicError("a DaskCluster has neither a view nor a cache of its own; Dask has a dashboard")
    return cluster


# --- nodes --------------------------------------------------------------------------------------------------------


def _add(notebook: Notebook, options: argparse.Namespace) -> None:
    name, resources = options.node, options.resources
    if "=" in name:
        # As for `%mpreg start`.
        ((name, also),) = _nodes_of([name]).items()
        resources = [*also, *resources]
    local_cluster(notebook.names, options.cluster).add(name, resources)
    holding = f", which holds {', '.join(resources)}" if resources else ""
    notebook.say(f"added {name}{holding}")


def _to_nodes(verb: str, done: str) -> Callable[[Notebook, argparse.Namespace], None]:
    def act(notebook: Notebook, options: argparse.Namespace) -> None:
        cluster = local_cluster(notebook.names, options.cluster)
        for node in options.nodes:
            getattr(cluster, verb)(node)
        notebook.say(f"{done} {', '.join(options.nodes)}")

    return act


def _log(notebook: Notebook, options: argparse.Namespace) -> None:
    text = local_cluster(notebook.names, options.cluster).log(options.node)
    notebook.say(text.rstrip("\n") or f"{options.node} has printed nothing outside of steps")


def _faults(notebook: Notebook, options: argparse.Namespace) -> pd.DataFrame | Playing | None:
    cluster = local_cluster(notebook.names, options.cluster)
    plan = planned(options.line, list(cluster.nodes))
    if not plan.actions:
        return _fault_log(cluster)
    if plan.script:
        return cluster.faults.play([(at_s or 0.0, action) for at_s, action in plan.actions])
    for _, action in plan.actions:
        cluster.faults.do(action)
    return None


_WHICH_CLUSTER = re.compile(r"(?<!\S)(-c|--cluster)(?:[\s=]+([^\s;]+)|(?=\s*(?:;|$)))")


def _read_faults(line: str) -> argparse.Namespace:
    """`[-c CLUSTER] FAULT; FAULT`: the faults have words of their own, and are read when their nodes are known.

    The cluster may also be named behind them, as options are elsewhere.
    """
    if "--help" in line.split():
        return argparse.Namespace(help=True)
    named = _WHICH_CLUSTER.search(line)
    if named is None:
        return argparse.Namespace(help=False, cluster=None, line=line)
    option, cluster = named.groups()
    if not cluster:
        raise MagicError(f"%mpreg faults: {option} names a cluster, and none is named")
    return argparse.Namespace(help=False, cluster=cluster, line=line[: named.start()] + line[named.end() :])


def _fault_log(cluster: LocalCluster) -> pd.DataFrame:
    from .table import Table

    rows = [(round(done.at_s, 3), written(done.action), done.error) for done in cluster.faults.log]
    return Table(rows, columns=["at_s", "action", "error"])


# --- the rest -----------------------------------------------------------------------------------------------------


def _config(notebook: Notebook, options: argparse.Namespace) -> pd.DataFrame:
    if options.key is not None:
        settings.setting_of(options.key)
    if options.reset:
        settings.reset(options.key)
    elif options.value is not None:
        settings.change(options.key, options.value)
    return _settings_table(options.key)


def _settings_table(only: str | None = None) -> pd.DataFrame:
    from .table import Table

    now, first = settings.current(), settings.Settings()
    rows = [
        (key, _word(getattr(now, key)), _word(getattr(first, key)), setting.text)
        for key, setting in settings.SETTINGS.items()
        if only in (None, key)
    ]
    return Table(rows, columns=["setting", "value", "at first", "what it is"]).set_index("setting")


def _word(value: object) -> str:
    return settings.NONE if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _help(notebook: Notebook, options: argparse.Namespace) -> None:
    notebook.say(command(options.command).syntax.help() if options.command else overview())


_ONE = Argument(("node",), "its name", "NODE", Kind.NODE)
_SOME = Argument(("nodes",), "their names", "NODE", Kind.NODE, count="+")

_ALL = (
    Command(
        Syntax(
            "%mpreg start",
            "Launch a cluster, which lives until %mpreg stop or until one of the same name is started.",
            (
                Argument(
                    ("nodes",),
                    "how many, or each as NAME=RESOURCE,RESOURCE or NAME:RESOURCE,RESOURCE; else 3",
                    "NODE",
                    count="*",
                ),
                Argument(("--name",), "what the cluster is called", "NAME", default="notebook"),
                Argument(
                    ("--as",), "the variable that holds it", "VARIABLE", Kind.VARIABLE, identifier, default="cluster"
                ),
                Argument(("--slots",), "how many plain functions each node runs at once", "N", read=whole),
                Argument(("--transport",), "how its nodes talk", "HOW", default="memory", choices=("memory", "ws")),
                Argument(("--processes",), "give each node a process of its own"),
            ),
            (
                ("%mpreg start 3", "node-1, node-2, node-3; the variable `cluster`"),
                ("%mpreg start ingest=csv work=gpu,model", "two nodes, with resources"),
            ),
        ),
        _start,
    ),
    Command(
        Syntax("%mpreg stop", "End a cluster.", (WHICH, Argument(("--all",), "end all clusters of this notebook"))),
        _stop,
    ),
    Command(Syntax("%mpreg status", "The clusters that run, as text."), _status),
    Command(Syntax("%mpreg nodes", "A table of nodes, their resources and functions.", (WHICH,)), _nodes),
    Command(
        Syntax("%mpreg functions", "A table of functions: signature, resources, who has them.", (WHICH,)), _functions
    ),
    Command(
        Syntax(
            "%mpreg unregister",
            "Take functions away from all nodes.",
            (Argument(("functions",), "their names", "FUNCTION", Kind.FUNCTION, count="+"), CLUSTER),
        ),
        _unregister,
    ),
    Command(Syntax("%mpreg view", "A cluster as it is, live, with a menu for each node and link.", (WHICH,)), _view),
    *RUN_COMMANDS,
    Command(
        Syntax("%mpreg clear-cache", "Forget the results that nodes keep for equal steps, | cache().", (WHICH,)),
        _clear_cache,
    ),
    Command(
        Syntax(
            "%mpreg add",
            "Launch one more node. It is given the functions that its resources allow.",
            (
                _ONE,
                Argument(
                    ("resources",),
                    "what it holds, with commas",
                    "RESOURCES",
                    Kind.RESOURCES,
                    names,
                    count="?",
                    default=[],
                ),
                CLUSTER,
            ),
            (
                ("%mpreg add worker gpu,model", "a node `worker` that holds two resources"),
                ("%mpreg add worker=gpu,model", "the same, as %mpreg start has it"),
            ),
        ),
        _add,
    ),
    Command(
        Syntax("%mpreg stop-node", "End nodes politely: they say goodbye first.", (_SOME, CLUSTER)),
        _to_nodes("stop_node", "stopped"),
    ),
    Command(Syntax("%mpreg kill", "End nodes as a crash would.", (_SOME, CLUSTER)), _to_nodes("kill", "killed")),
    Command(
        Syntax("%mpreg restart", "Launch nodes again, with their resources and functions.", (_SOME, CLUSTER)),
        _to_nodes("restart", "restarted"),
    ),
    Command(
        Syntax("%mpreg pause", "Halt nodes that have processes of their own.", (_SOME, CLUSTER)),
        _to_nodes("pause", "paused"),
    ),
    Command(
        Syntax("%mpreg resume", "Have paused nodes go on.", (_SOME, CLUSTER)),
        _to_nodes("resume", "resumed"),
    ),
    Command(
        Syntax("%mpreg log", "What the process of a node printed outside of steps, alive or not.", (_ONE, CLUSTER)),
        _log,
    ),
    Command(
        Syntax(
            "%mpreg faults",
            "Do to the cluster what networks do; without a fault, a table of what was done.",
            (
                Argument(("faults",), "in the words of cluster.faults, with ; between them", "FAULT", count="*"),
                CLUSTER,
            ),
            (
                ("%mpreg faults cut a b; kill c", "at once"),
                ("%mpreg faults slow a 0.2", "all links of a node"),
                ("%mpreg faults at 0.5 kill b; at 2 restart b", "in seconds from now; the cell does not wait"),
                ("%mpreg faults heal", "links are well again"),
            ),
            "\n".join(
                [
                    "Faults: `client` is the end of the cluster object itself.",
                    *(f"  {fault.syntax.usage.removeprefix('%mpreg faults ')}" for fault in FAULTS.values()),
                    "%mpreg faults cut --help tells of one of them; docs/faults.md of all.",
                ]
            ),
        ),
        _faults,
        {word: fault.syntax for word, fault in FAULTS.items()},
        _read_faults,
    ),
    DEMO,
    Command(
        Syntax(
            "%mpreg config",
            "What magics do when they are not told, until the kernel is restarted. Without a setting, a table of all.",
            (
                Argument(("key",), "a setting", "SETTING", Kind.SETTING, count="?"),
                Argument(("value",), "what it shall be", "VALUE", Kind.VALUE, count="?"),
                Argument(("--reset",), "put it, or all, back to what it was at first"),
            ),
            (
                ("%mpreg config retries 2", "steps that do not say retry(n) have two"),
                ("%mpreg config timeout none", "runs may take as long as they like"),
            ),
            "Settings:\n" + "\n".join(f"  {key:<10} {setting.text}" for key, setting in settings.SETTINGS.items()),
        ),
        _config,
    ),
    Command(
        Syntax(
            "%mpreg help",
            "All commands, or all about one.",
            (Argument(("command",), "a command", "COMMAND", Kind.COMMAND, count="?"),),
        ),
        _help,
    ),
)

COMMANDS: dict[str, Command] = {command.name: command for command in _ALL}
"""By their words, in the order of the help."""


def command(word: str) -> Command:
    """The command of that word.

    Raises:
        MagicError: If there is none.
    """
    if word not in COMMANDS:
        raise MagicError(f"%mpreg has no {word!r}. {did_you_mean(word, COMMANDS, 'It has: ')}")
    return COMMANDS[word]


def overview() -> str:
    """All commands, one line each."""
    lines: list[str] = []
    for known in COMMANDS.values():
        words = " ".join([known.name, *(argument.written for argument in known.syntax.positionals)])
        lines += in_columns(words, known.syntax.does.partition(". ")[0].rstrip("."))
    return "\n".join(
        [
            "%%mpreg_workflow   runs the workflow in its cell",
            "%%mpreg_functions  defines the functions in its cell, and nodes offer them",
            "%mpreg COMMAND     does the rest; COMMAND is one of",
            "",
            *lines,
            "",
            "--help behind any of them tells all about it.",
        ]
    )
