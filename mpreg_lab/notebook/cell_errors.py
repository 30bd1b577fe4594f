"""How a mistake looks in a cell: what, where in the cell, the function's own frames, what to do. Never our frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mpreg_lab.client.run import Run
from mpreg_lab.cluster.local import running_clusters
from mpreg_lab.errors import (
    EmptyWorkflowError,
    MpregError,
    NotationError,
    RoutingError,
    RunCancelledError,
    RunError,
    RunFailedError,
    RunTimeoutError,
    UnknownNodeError,
)
from mpreg_lab.types import StepName
from mpreg_lab.workflow.notation import format_error
from mpreg_lab.workflow.record import StepRecord

from .view.format import plain

__all__ = ["plainly", "told"]

_RED, _BOLD, _END = "\x1b[31m", "\x1b[1m", "\x1b[0m"
_SHOWN = 5


def plainly(error: BaseException, lines: Sequence[str]) -> BaseException:
    """The same exception, which a notebook will show as these lines and nothing else.

    A group, what came of one, a SyntaxError and a SystemExit are replaced: IPython has ways of its own for these.
    """
    shown = [line for text in lines for line in text.split("\n")]
    own_way = isinstance(error, (SyntaxError, SystemExit)) or _has_group(error)
    raised = RunError(str(error), run=getattr(error, "run", None)) if own_way else error
    raised._render_traceback_ = lambda: shown  # type: ignore[attr-defined]  # IPython asks for this attribute
    return raised


def _has_group(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, BaseExceptionGroup):
        error = error.__context__
    return error is not None


def told(
    error: BaseException, cell: str = "", lines: Mapping[StepName, int] | None = None, run: Run | None = None
) -> list[str]:
    """The lines for an error of a workflow cell.

    Args:
        cell: The text of the cell. lines: Step to its line in it.
        run: The run that failed; None if there was none.
    """
    lines = lines or {}
    if isinstance(error, EmptyWorkflowError):
        return [_title(error, "the cell has no steps. Write at least one, such as: hello = echo('hi')")]
    if isinstance(error, NotationError):
        return [_title(error, "the workflow cannot be read"), "", *format_error(error).split("\n")]
    if run is not None and run.record.failed:
        return _failed(run, cell, lines)
    if isinstance(error, KeyboardInterrupt):
        return [_title(error, "the run was cancelled"), "", _kept(run)]
    if isinstance(error, (RunCancelledError, RunTimeoutError)):
        return [_title(error, plain(str(error))), "", _kept(run)]
    step = getattr(error, "step", None) if isinstance(error, MpregError) else None
    return [_title(error, plain(str(error))), *_mark(cell, lines.get(StepName(step or ""))), *_elsewhere(error)]


def _failed(run: Run, cell: str, lines: Mapping[StepName, int]) -> list[str]:
    failed = run.record.failed
    error = run.exception
    shown = []
    if isinstance(error, RunFailedError) or len(failed) > 1:
        shown += [f"{_RED}{len(failed)} steps failed{_END}: {', '.join(plain(s.name) for s in failed[:8])}", ""]
    for step in failed[:_SHOWN]:
        shown += [*_failed_step(run, step, cell, lines), ""]
    if len(failed) > _SHOWN:
        shown += [f"... and {len(failed) - _SHOWN} more: run.record.failed", ""]
    skipped = [plain(step.name) for step in run.record.skipped]
    if skipped:
        more = f" and {len(skipped) - 8} more" if len(skipped) > 8 else ""
        shown.append(f"Skipped because of that: {', '.join(skipped[:8])}{more}")
    return [*shown, _kept(run)]


def _failed_step(run: Run, step: StepRecord, cell: str, lines: Mapping[StepName, int]) -> list[str]:
    assert step.failure is not None
    where = f" on node {plain(step.node)}" if step.node else ""
    attempts = f", attempt {step.attempts}" if step.attempts > 1 else ""
    title = f"{_RED}{plain(step.failure.type_name)}{_END} in step {_BOLD}{plain(step.name)}{_END}{where}{attempts}"
    frames = plain(step.failure.traceback).rstrip("\n").split("\n") if step.failure.traceback else []
    if len(frames) < 3:
        frames = [f"{plain(step.failure.type_name)}: {plain(step.failure.message)}"]
    return [title, *_mark(cell, lines.get(step.name)), "", *frames]


def _mark(cell: str, line: int | None) -> list[str]:
    """The line of the cell."""
    text = cell.split("\n")
    if line is None or not 1 <= line <= len(text):
        return []
    return [f"  line {line}: {plain(text[line - 1].strip())[:200]}"]


def _elsewhere(error: BaseException) -> list[str]:
    """What was not found may be on another cluster than the newest."""
    names = [plain(cluster.name) for cluster in running_clusters()]
    if len(names) < 2 or not isinstance(error, (RoutingError, UnknownNodeError)):
        return []
    return [f"Several clusters run: {', '.join(names)}. -c says which is meant; else it is the newest"]


def _title(error: BaseException, message: str) -> str:
    return f"{_RED}{type(error).__name__}{_END}: {message}"


def _kept(run: Run | None) -> str:
    if run is None:
        return "Nothing was started."
    ended = [s for s in run.record.steps.values() if s.status.succeeded]
    if not ended:
        return "No step had succeeded before."
    names = ", ".join(plain(s.name) for s in ended[:6]) + (", ..." if len(ended) > 6 else "")
    return f"What succeeded is kept in the run: {names}"
