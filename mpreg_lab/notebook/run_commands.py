"""The commands of %mpreg about runs: list, show, compare, run again, wait, cancel, write to files and read back."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

from mpreg_lab.client.history import Runs
from mpreg_lab.client.run import Run
from mpreg_lab.client.saved import SavedRun
from mpreg_lab.client.views import ComparisonView
from mpreg_lab.errors import MagicError
from mpreg_lab.workflow.record import RunStatus

from .command import CLUSTER, OUT, WHICH, Command, Notebook, history, run_argument
from .options import Argument, Kind, Syntax, seconds
from .watched import watched

__all__ = ["RUN_COMMANDS"]


class _Format(NamedTuple):
    """How a run is written to a file: by `run.to_NAME`, if the name of the file ends so."""

    endings: tuple[str, ...]
    what: str


_FORMATS = {
    "svg": _Format((".svg",), "the graph, as a picture"),
    "mermaid": _Format((".mmd", ".mermaid"), "the graph, for Markdown pages"),
    "dot": _Format((".dot", ".gv"), "the graph, for Graphviz"),
    # Before json, which its files end with too.
    "trace": _Format((".trace.json",), "who did what when, for https://ui.perfetto.dev"),
    "json": _Format((".json",), "all that the run shows; %mpreg open shows the same"),
    "python": _Format((".py",), "a script that runs the same workflow"),
}
_PARTS = ("graph", "timeline", "latency", "frame", "events", "faults")
"""What of a run can be shown alone: verbs of a run."""


def _runs(notebook: Notebook, options: argparse.Namespace) -> Runs:
    return history(notebook.names, options.cluster)


def _run(notebook: Notebook, options: argparse.Namespace) -> Any:
    run = notebook.run_called(options.run or "-1", options.cluster)
    if options.only is None:
        return run
    part = getattr(run, options.only)
    return part() if callable(part) else part


def _compare(notebook: Notebook, options: argparse.Namespace) -> ComparisonView:
    if options.before is None and len(history(notebook.names, options.cluster)) < 2:
        raise MagicError("%mpreg compare: there are not two runs yet. Run the workflow once more: %mpreg rerun")
    before = notebook.run_called(options.before or "-2", options.cluster)
    after = notebook.run_called(options.after or "-1", options.cluster)
    if after.record is before.record:
        raise MagicError(
            f"%mpreg compare: {options.before} is the last run itself. Name the one before it, too: "
            f"%mpreg compare BEFORE {options.before}"
            if options.after is None
            else f"%mpreg compare: {options.before} and {options.after} are the same run. Name two"
        )
    return after.compare(before)


def _rerun(notebook: Notebook, options: argparse.Namespace) -> Run | None:
    run = notebook.run_called(options.run or "-1", options.cluster)
    if not isinstance(run, Run):
        raise MagicError(
            "%mpreg rerun: of this run no more is left than what it shows. One that is to run again has to be kept: "
            "%%mpreg_workflow -o run"
        )
    if options.from_failed and vars(options)["from"] is not None:
        raise MagicError("%mpreg rerun: --from-failed and --from STEP exclude each other. Give one of them")
    again = run.rerun(
        from_failed=options.from_failed, from_step=vars(options)["from"], timeout=options.timeout, wait=False
    )
    return notebook.watch(again, options.out, detach=options.detach)


def _wait(notebook: Notebook, options: argparse.Namespace) -> SavedRun:
    run = notebook.run_called(options.run or "-1", options.cluster)
    if isinstance(run, Run):
        # Where it was begun its picture goes on.
        watched(run, notebook.names, None, plain=notebook.plain, silent=True)
    return run


def _cancel(notebook: Notebook, options: argparse.Namespace) -> None:
    if options.run is not None:
        _cancel_one(notebook, options)
        return
    under_way = [run for run in history(notebook.names, options.cluster) if isinstance(run, Run) and not run.done]
    for run in under_way:
        run.cancel()
    count = len(under_way)
    notebook.say(f"cancelled {count} run{'' if count == 1 else 's'}" if count else "no run goes on")


def _cancel_one(notebook: Notebook, options: argparse.Namespace) -> None:
    run = notebook.run_called(options.run, options.cluster)
    if run.status is not RunStatus.RUNNING:
        notebook.say(f"{options.run} does not go on: it is {run.status}")
    elif isinstance(run, Run):
        run.cancel()
        notebook.say(f"cancelled {options.run}")
    else:
        raise MagicError(
            f"%mpreg cancel: {options.run} is what was saved of a run that went on. Nothing of it runs here"
        )


# --- files --------------------------------------------------------------------------------------------------------


def _export(notebook: Notebook, options: argparse.Namespace) -> None:
    path = Path(options.file).expanduser()
    name = options.format or _format_of(path)
    run = notebook.run_called(options.run or "-1", options.cluster)
    write = getattr(run, f"to_{name}", None)
    if write is None:
        raise MagicError(
            "%mpreg export: of this run no more is left than what it shows, which is no script. One that is to be "
            "written as Python has to be kept: %%mpreg_workflow -o run"
        )
    if path.is_dir():
        raise MagicError(f"%mpreg export: {path} is a folder. Name a file in it: {path / 'run'}{_ending(name)}")
    if path.exists() and not options.force:
        raise MagicError(f"%mpreg export: {path} is there already. --force writes over it")
    try:
        write(path)
    except OSError as exc:
        raise MagicError(f"%mpreg export: {path} cannot be written: {exc.strerror}") from exc
    notebook.say(f"wrote {path}: {_FORMATS[name].what}")


def _format_of(path: Path) -> str:
    for name, known in _FORMATS.items():
        if path.name.lower().endswith(known.endings):
            return name
    endings = " ".join(ending for known in _FORMATS.values() for ending in known.endings)
    raise MagicError(
        f"%mpreg export: the name {path.name!r} does not tell in which form to write. End it with one of {endings}, "
        f"or say --format {'|'.join(_FORMATS)}"
    )


def _ending(name: str) -> str:
    return _FORMATS[name].endings[0]


def _open(notebook: Notebook, options: argparse.Namespace) -> SavedRun:
    path = Path(options.file).expanduser()
    try:
        run = SavedRun.from_json(path.read_bytes())
    except OSError as exc:
        raise MagicError(f"%mpreg open: {path} cannot be read: {exc.strerror}") from exc
    if options.out:
        notebook.names[options.out] = run
    return run


# --- how they are written -----------------------------------------------------------------------------------------

_RUN = run_argument("run", "a variable that holds it, or its place in %mpreg runs; else the last")

RUN_COMMANDS = (
    Command(Syntax("%mpreg runs", "The last runs of a cluster: how each went, the newest last.", (WHICH,)), _runs),
    Command(
        Syntax(
            "%mpreg run",
            "Show a run again, or a part of it.",
            (_RUN, Argument(("--only",), "this alone", "PART", choices=_PARTS), CLUSTER),
            (
                ("%mpreg run", "the last one; %mpreg run -2 is the one before"),
                ("%mpreg run first --only timeline", "of the run that the variable `first` holds"),
            ),
        ),
        _run,
    ),
    Command(
        Syntax(
            "%mpreg compare",
            "Two runs beside each other: steps slower and faster, added and gone, in another state.",
            (
                run_argument("before", "a variable that holds it, or its place in %mpreg runs; else the last but one"),
                run_argument("after", "what became slower or faster; else the last"),
                CLUSTER,
            ),
            (
                ("%mpreg compare", "the last run beside the one before"),
                ("%mpreg compare baseline", "the last run beside the one in `baseline`"),
                ("%mpreg compare 0 2", "the third of %mpreg runs beside the first"),
            ),
        ),
        _compare,
    ),
    Command(
        Syntax(
            "%mpreg rerun",
            "Run the workflow of a run once more, and show it; results of steps that do not run are used again.",
            (
                _RUN,
                Argument(("--from-failed",), "only steps that did not succeed"),
                Argument(("--from",), "only this step, and all that depend on it", "STEP", Kind.STEP),
                OUT,
                Argument(("--timeout",), "cancel it when it takes longer", "SECONDS", read=seconds),
                Argument(("--detach",), "do not wait: the cell ends at once, the run and its picture go on"),
                CLUSTER,
            ),
            (
                ("%mpreg rerun --from-failed", "after the function was mended"),
                ("%mpreg rerun first --from train -o second", "`train` and what depends on it"),
            ),
        ),
        _rerun,
    ),
    Command(
        Syntax("%mpreg wait", "Wait for a detached run, and show it; Stop cancels it.", (_RUN, CLUSTER)),
        _wait,
    ),
    Command(
        Syntax(
            "%mpreg cancel",
            "Cancel a run that goes on, such as a detached one.",
            (
                run_argument("run", "a variable that holds it, or its place in %mpreg runs; else all that go on"),
                CLUSTER,
            ),
            (
                ("%mpreg cancel", "all runs that go on"),
                ("%mpreg cancel training", "the one that the variable `training` holds; %mpreg cancel -1 is the last"),
            ),
        ),
        _cancel,
    ),
    Command(
        Syntax(
            "%mpreg export",
            "Write a run to a file, in the form that the name of the file tells.",
            (
                Argument(("file",), "where to", "FILE"),
                _RUN,
                Argument(("--format",), "the form, whatever the name", "FORM", choices=tuple(_FORMATS)),
                Argument(("--force",), "write over a file that is there"),
                CLUSTER,
            ),
            tuple((f"%mpreg export run{known.endings[0]}", known.what) for known in _FORMATS.values()),
        ),
        _export,
    ),
    Command(
        Syntax(
            "%mpreg open",
            "Show a run that %mpreg export or run.to_json wrote as JSON. Nothing in the file is run.",
            (Argument(("file",), "which", "FILE", Kind.SAVED), OUT),
            (("%mpreg open run.json -o saved", "and keep it: it can be compared"),),
        ),
        _open,
    ),
)
