"""mpreg-lab: the examples, workflow files and JupyterLab from a terminal."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from mpreg_lab import __version__
from mpreg_lab.client.aio import AsyncClient
from mpreg_lab.client.run import Run
from mpreg_lab.client.sync import Client
from mpreg_lab.cluster.local import LocalCluster
from mpreg_lab.cluster.offered import Offered, load_offered
from mpreg_lab.cluster.spec import default_slots, resource_names
from mpreg_lab.cluster.standalone import StandaloneNode, run_node
from mpreg_lab.cluster.summary import status_text
from mpreg_lab.cluster.token_file import read_token
from mpreg_lab.errors import FunctionError, MpregError, NotationError
from mpreg_lab.examples import EXAMPLES, lacks, load, offer
from mpreg_lab.protocol.messages import Described
from mpreg_lab.protocol.plain_json import plain
from mpreg_lab.transport.tls import Tls
from mpreg_lab.types import Secret
from mpreg_lab.workflow.legible import plain as plain_text

__all__ = ["main"]

_FIRST_TUTORIAL = "01_first_workflow.ipynb"


class UsageError(Exception):
    """The command line is wrong: one line, exit code 2."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 if all went well, 1 if a workflow failed, 2 for bad usage."""
    try:
        options, rest = _parser().parse_known_args(arguments)
        if options.act is _lab:
            options.jupyter = rest
        elif rest:
            raise UsageError(
                f"unrecognized arguments: {' '.join(rest)}. mpreg-lab {options.command} --help lists the options"
            )
        code: int = options.act(options)
        return code
    except UsageError as error:
        print(f"mpreg-lab: {plain_text(str(error))}", file=sys.stderr)
        return 2
    except MpregError as error:
        print(f"mpreg-lab: {plain_text(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("mpreg-lab: interrupted; the run was cancelled", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever reads our output (head, less) has had enough; Python would complain of it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


# --- commands -----------------------------------------------------------------------------------------------------


def _demo(options: argparse.Namespace) -> int:
    if options.list:
        print("\n".join(f"{name:17} {example.summary}" for name, example in EXAMPLES.items()))
        return 0
    example = _example(options.name)
    if EXAMPLES[options.name].tells:
        example.main()
        return 0
    with LocalCluster(example.nodes(), name="demo") as cluster:
        offer(cluster, example.FUNCTIONS)
        return _show(cluster.run(example.workflow(), check=False))


def _text_of(file: str) -> str:
    if file == "-":
        return sys.stdin.read()
    path = Path(file)
    if not path.exists() or path.is_dir():
        what = "is a folder, not a file" if path.is_dir() else "is not there"
        raise UsageError(f"cannot run {file}: it {what}")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as exc:
        raise UsageError(f"{file} is no text file: {exc.reason} at byte {exc.start}") from exc


def _run(options: argparse.Namespace) -> int:
    text = _text_of(options.file)
    offered = _offered(options.functions) if options.functions else None
    workflow = _parsed(text, options.file, vars(offered.module) if offered else {})
    show = _print_json if options.json else _show
    if options.connect:
        if offered is not None:
            raise UsageError("--functions goes with a cluster of our own: a cluster reached by --connect has its own")
        with Client(options.connect, token=_token(options), tls=_tls(options)) as client:
            return show(client.run(workflow, timeout=options.timeout, check=False))
    if options.token_file or options.ca:
        raise UsageError("--token-file and --ca go with --connect: a cluster of our own needs neither")
    with LocalCluster(_nodes(offered), name="run") as cluster:
        if offered is not None:
            _register(cluster, offered)
        return show(cluster.run(workflow, timeout=options.timeout, check=False))


def _node(options: argparse.Namespace) -> int:
    token, token_file = _node_token(options)
    host = f"[{options.host}]" if ":" in options.host else options.host
    tls = Tls(options.cert, options.key, options.ca) if options.cert or options.ca else None
    wanted = StandaloneNode(
        url=f"{'wss' if options.cert else 'ws'}://{host}:{options.port}",
        slots=options.slots,
        name=options.name,
        resources=resource_names(filter(None, options.resources.split(",")), "the node"),
        functions=_offered(options.functions).functions if options.functions else (),
        join=options.join,
        token=token,
        token_file=token_file,
        tls=tls,
    )
    asyncio.run(_until_interrupted(wanted))
    return 0


async def _until_interrupted(wanted: StandaloneNode) -> None:
    leave = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, leave.set)
    await run_node(wanted, lambda line: print(line, flush=True), leave)


def _status(options: argparse.Namespace) -> int:
    width = min(120, shutil.get_terminal_size((80, 24)).columns)
    client = AsyncClient(options.url, token=_token(options), tls=_tls(options))
    print(status_text(asyncio.run(_described(client)), width))
    return 0


async def _described(client: AsyncClient) -> Described:
    async with client:
        return await client.describe()


def _lab(options: argparse.Namespace) -> int:
    if importlib.util.find_spec("jupyterlab") is None:
        raise UsageError("JupyterLab is not installed. Install it: pip install 'mpreg-lab[lab]'")
    notebook = _tutorial(Path(options.directory))
    if os.name == "posix" and os.geteuid() == 0 and "--allow-root" not in options.jupyter:
        raise UsageError("JupyterLab should not run as root. In a container of your own: mpreg-lab lab --allow-root")
    return subprocess.call([sys.executable, "-m", "jupyter", "lab", str(notebook), *options.jupyter])


# --- helpers ------------------------------------------------------------------------------------------------------


def _show(run: Run) -> int:
    from mpreg_lab.notebook.view.text import run_text

    width = min(100, shutil.get_terminal_size((80, 24)).columns)
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    if run.exception is not None and not run.record.failed:
        raise run.exception
    print(run_text(run.record, run.results, width=width, colour=colour))
    return 0 if run.exception is None else 1


def _print_json(run: Run) -> int:
    if run.exception is not None and not run.record.failed:
        raise run.exception
    for step in run.record.failed:
        assert step.failure is not None
        told = plain_text(f"{step.failure.type_name}: {step.failure.message}")
        print(f"mpreg-lab: step {step.name!r}: {told}", file=sys.stderr)
    if run.exception is not None:
        return 1
    print(json.dumps(plain(run.results), ensure_ascii=False))
    return 0


def _example(name: str) -> ModuleType:
    if name not in EXAMPLES:
        raise UsageError(f"there is no example {name!r}. Examples: {', '.join(EXAMPLES)}")
    if (lacking := lacks(name)) is not None:
        raise UsageError(lacking)
    return load(name)


def _parsed(text: str, file: str, namespace: Mapping[str, object]) -> Any:
    from mpreg_lab.workflow.notation import format_error, parse_workflow

    try:
        return parse_workflow(text, namespace).workflow
    except NotationError as error:
        raise UsageError(f"{file}: {format_error(error)}") from error


def _offered(name: str) -> Offered:
    try:
        return load_offered(name)
    except FunctionError as error:
        raise UsageError(str(error)) from error


def _register(cluster: LocalCluster, offered: Offered) -> None:
    for function, resource in offered.functions:
        cluster.register(function, resources=[resource] if resource else [])


def _token(options: argparse.Namespace) -> Secret | None:
    """The token of a cluster. Never an argument: those can be seen by everybody on the machine."""
    if options.token_file:
        return read_token(Path(options.token_file))
    return Secret(os.environ["MPREG_TOKEN"]) if os.environ.get("MPREG_TOKEN") else None


def _tls(options: argparse.Namespace) -> Tls | None:
    return Tls(ca=options.ca) if options.ca else None


def _node_token(options: argparse.Namespace) -> tuple[Secret | None, Path | None]:
    """The token of a node's cluster; or None, and the file that the one of a new cluster is written to."""
    path = Path(options.token_file) if options.token_file else None
    if path is not None and options.join is None and not path.exists():
        return None, path
    return _token(options), None


def _nodes(offered: Offered | None) -> Any:
    nodes = getattr(offered.module, "nodes", None) if offered else None
    return nodes() if callable(nodes) else 3


def _tutorial(directory: Path) -> Path:
    for place in (directory / "notebooks", directory):
        if (place / _FIRST_TUTORIAL).is_file():
            return place / _FIRST_TUTORIAL
    raise UsageError(f"there is no notebooks/{_FIRST_TUTORIAL} in {directory}. Call it in a checkout, or name one")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds


def _slots(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of slots")
    return int(text)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}. {self.prog} --help lists the options")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="mpreg-lab", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(
        title="commands", required=True, metavar="COMMAND", parser_class=_Parser, dest="command"
    )
    parser.add_argument("--version", action="version", version=f"mpreg-lab {__version__}")
    demo = commands.add_parser("demo", help="run an example and show what it shows")
    demo.add_argument("name", nargs="?", default="data-pipeline", metavar="NAME", help="default: %(default)s")
    demo.add_argument("--list", action="store_true", help="list the examples, each with what it shows")
    demo.set_defaults(act=_demo)
    run = commands.add_parser("run", help="run a file that holds a workflow in the notation")
    run.add_argument("file", metavar="FILE", help="a workflow, one line for each step; - reads standard input")
    run.add_argument("--json", action="store_true", help="print the results alone, as JSON")
    run.add_argument("--functions", metavar="MODULE", help="a module or .py file with the functions, nodes() and data")
    run.add_argument("--connect", metavar="URL", help="a cluster that runs already: any node of it")
    run.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="cancel the run when it takes longer")
    _add_secrets(run)
    run.set_defaults(act=_run)
    node = commands.add_parser("node", help="be one node: of a cluster that runs already, or the first of a new one")
    node.add_argument("--join", metavar="URL", help="any node of the cluster; it may come up later")
    node.add_argument("--resources", metavar="A,B", default="", help="what the node holds")
    node.add_argument("--functions", metavar="MODULE[:OBJECT]", help="a module or .py file with the functions")
    node.add_argument("--name", help="what others call it (default: machine and process)")
    node.add_argument("--slots", type=_slots, metavar="N", default=default_slots(), help="functions that run at once")
    node.add_argument("--host", default="127.0.0.1", help="where others reach it (default: %(default)s)")
    node.add_argument("--port", type=int, metavar="N", default=0, help="default: any free one")
    node.add_argument("--cert", metavar="FILE", help="the certificate of this machine: others may come in, encrypted")
    node.add_argument("--key", metavar="FILE", help="the key of the certificate, if it is not in there")
    _add_secrets(node)
    node.set_defaults(act=_node)
    status = commands.add_parser("status", help="list the nodes of a cluster that runs")
    status.add_argument("url", metavar="URL", help="any node of the cluster")
    _add_secrets(status)
    status.set_defaults(act=_status)
    lab = commands.add_parser(
        "lab",
        help="open JupyterLab on the first tutorial",
        description="Open JupyterLab on the first tutorial. Further options, such as --no-browser, are JupyterLab's.",
    )
    lab.add_argument("directory", nargs="?", default=".", help="a checkout (default: the current folder)")
    lab.set_defaults(act=_lab)
    return parser


def _add_secrets(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--token-file",
        metavar="FILE",
        help="has the cluster's token (mode 600), unless MPREG_TOKEN or this user's own has",
    )
    command.add_argument("--ca", metavar="FILE", help="the authorities whose certificates are believed, for wss://")
