"""mpreg-lab: the examples, workflow files and JupyterLab from a terminal."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from mpreg_lab.client.run import Run
from mpreg_lab.client.sync import Client
from mpreg_lab.cluster.local import LocalCluster
from mpreg_lab.errors import MpregError, NotationError

__all__ = ["main"]

EXAMPLES = {"data-pipeline": "mpreg_lab.examples.data_pipeline"}
_FIRST_TUTORIAL = "01_first_workflow.ipynb"


class UsageError(Exception):
    """The command line is wrong: one line, exit code 2."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 if all went well, 1 if a workflow failed, 2 for bad usage."""
    try:
        options = _parser().parse_args(arguments)
        code: int = options.act(options)
        return code
    except UsageError as error:
        print(f"mpreg-lab: {error}", file=sys.stderr)
        return 2
    except MpregError as error:
        print(f"mpreg-lab: {error}", file=sys.stderr)
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
    example = importlib.import_module(_example(options.name))
    with LocalCluster(example.nodes(), name="demo") as cluster:
        _register(cluster, example)
        return _show(cluster.run(example.workflow(), check=False))


def _run(options: argparse.Namespace) -> int:
    path = Path(options.file)
    if not path.is_file():
        raise UsageError(f"there is no file {options.file!r}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as exc:
        raise UsageError(f"{options.file} is no text file: {exc.reason} at byte {exc.start}") from exc
    module = _functions_module(options.functions) if options.functions else None
    workflow = _parsed(text, options.file, vars(module) if module else {})
    if options.connect:
        if module is not None:
            raise UsageError("--functions goes with a cluster of our own: a cluster reached by --connect has its own")
        with Client(options.connect, token=os.environ.get("MPREG_TOKEN")) as client:
            return _show(client.run(workflow, timeout=options.timeout, check=False))
    with LocalCluster(_nodes(module), name="run") as cluster:
        _register(cluster, module)
        return _show(cluster.run(workflow, timeout=options.timeout, check=False))


def _lab(options: argparse.Namespace) -> int:
    if importlib.util.find_spec("jupyterlab") is None:
        raise UsageError("JupyterLab is not installed. Install it: pip install 'mpreg-lab[lab]'")
    notebook = _tutorial(Path(options.directory))
    command = [sys.executable, "-m", "jupyter", "lab", str(notebook)]
    return subprocess.call(command + (["--no-browser"] if options.no_browser else []))


# --- helpers ------------------------------------------------------------------------------------------------------


def _show(run: Run) -> int:
    from mpreg_lab.notebook.view.text import run_text

    width = min(100, shutil.get_terminal_size((80, 24)).columns)
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    if run.exception is not None and not run.record.failed:
        raise run.exception
    print(run_text(run.record, run.results, width=width, colour=colour))
    return 0 if run.exception is None else 1


def _example(name: str) -> str:
    if name not in EXAMPLES:
        raise UsageError(f"there is no example {name!r}. Examples: {', '.join(EXAMPLES)}")
    return EXAMPLES[name]


def _parsed(text: str, file: str, namespace: Mapping[str, object]) -> Any:
    from mpreg_lab.workflow.notation import format_error, parse_workflow

    try:
        return parse_workflow(text, namespace).workflow
    except NotationError as error:
        raise UsageError(f"{file}: {format_error(error)}") from error


def _functions_module(name: str) -> ModuleType:
    """A module by its dotted name, or a Python file."""
    try:
        if name.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(name).stem, name)
            if spec is None or spec.loader is None:
                raise UsageError(f"{name} is no Python file")
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            spec.loader.exec_module(module)
            return module
        sys.path.insert(0, "")
        return importlib.import_module(name)
    except (ImportError, OSError, SyntaxError) as exc:
        raise UsageError(f"cannot load functions from {name!r}: {exc}") from exc


def _register(cluster: LocalCluster, module: ModuleType | None) -> None:
    """Give a cluster a module's functions: what FUNCTIONS says, resource to functions, or else all public ones."""
    listed: Mapping[str, Sequence[Callable[..., Any]]] = getattr(module, "FUNCTIONS", None) or {"": _public(module)}
    for resource, functions in listed.items():
        for function in functions:
            cluster.register(function, resources=[resource] if resource else [])


def _public(module: ModuleType | None) -> list[Callable[..., Any]]:
    names = vars(module) if module is not None else {}
    own = (value for name, value in names.items() if not name.startswith("_") and name != "nodes")
    return [
        value
        for value in own
        if callable(value) and getattr(value, "__module__", "") == getattr(module, "__name__", None)
    ]


def _nodes(module: ModuleType | None) -> Any:
    nodes = getattr(module, "nodes", None)
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


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}. {self.prog} --help lists the options")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="mpreg-lab", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=_Parser)
    demo = commands.add_parser("demo", help="run an example and show graph, results and latencies")
    demo.add_argument("name", nargs="?", default="data-pipeline", help=f"one of: {', '.join(EXAMPLES)}")
    demo.set_defaults(act=_demo)
    run = commands.add_parser("run", help="run a file that holds a workflow in the notation")
    run.add_argument("file", metavar="FILE")
    run.add_argument("--functions", metavar="MODULE", help="a module or .py file with the functions, nodes() and data")
    run.add_argument("--connect", metavar="URL", help="a cluster that runs already; its token in MPREG_TOKEN")
    run.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="cancel the run when it takes longer")
    run.set_defaults(act=_run)
    lab = commands.add_parser("lab", help="open JupyterLab on the first tutorial")
    lab.add_argument("directory", nargs="?", default=".", help="a checkout (default: the current folder)")
    lab.add_argument("--no-browser", action="store_true", help="only start the server")
    lab.set_defaults(act=_lab)
    return parser
