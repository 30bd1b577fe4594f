"""A run that a cell has begun, until it has ended: shown, waited for, kept in a variable, told of if it fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mpreg_lab.client.run import Run
from mpreg_lab.types import StepName
from mpreg_lab.workflow.record import RunStatus

from .cell_errors import plainly, told

if TYPE_CHECKING:
    from .live import LiveRun

__all__ = ["watched"]

_AT_ONCE_S = 0.02
"""So long we wait for a refusal before we show anything: a workflow that never began needs no picture."""
_LAST_LOOK_S = 2.0


def watched(
    run: Run,
    names: dict[str, Any],
    out: str | None,
    *,
    plain: bool,
    silent: bool,
    detach: bool = False,
    cell: str = "",
    lines: Mapping[StepName, int] | None = None,
) -> Run:
    """The same run, when it has ended.

    Args:
        names: The variables of the notebook. out: The one that is set.
        plain: Text alone, for a terminal.
        silent: Neither a picture nor text; errors are raised all the same.
        detach: Do not wait: the run goes on, and its view with it.
        cell: The text of the cell, if it is one of a workflow. lines: Step to its line in it.

    Raises:
        Exception: What went wrong; shown with the line of its step, and none of our frames.
    """
    run.plain = plain
    if out:
        names[out] = run
    live = None
    try:
        if not run.join(_AT_ONCE_S) or run.record.status is not RunStatus.FAILED or run.record.failed:
            live = None if silent or plain else _shown(run, names, out)
        if detach and not run.done:
            return run
        run.join()
    except KeyboardInterrupt as interrupt:
        run.join(_LAST_LOOK_S)
        _show_end(run, live, silent)
        raise plainly(interrupt, told(interrupt, cell, lines, run)) from None
    error = run.exception
    if error is not None:
        if run.record.failed or run.status is RunStatus.CANCELLED:
            _show_end(run, live, silent)
        raise plainly(error, told(error, cell, lines, run)) from None
    if live is not None:
        live.wait(_LAST_LOOK_S)
    return run


def _shown(run: Run, names: dict[str, Any], out: str | None) -> LiveRun:
    from IPython.display import display

    from .live import LiveRun

    live = LiveRun(run, out or "", (lambda again: names.update({out: again})) if out else None)
    bundle, metadata = live.bundle()
    display(bundle, metadata=metadata, raw=True)  # type: ignore[no-untyped-call]  # IPython has no hints here
    return live


def _show_end(run: Run, live: LiveRun | None, silent: bool) -> None:
    """What stays in the cell of a run that is not returned, because it ended with an error."""
    if silent:
        return
    from IPython.display import display

    if live is not None:
        live.wait(_LAST_LOOK_S)
    display(run)  # type: ignore[no-untyped-call]  # IPython has no hints here
