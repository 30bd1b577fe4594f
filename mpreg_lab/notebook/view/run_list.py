"""Several runs as a table: what a history shows."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from mpreg_lab.workflow.record import RunRecord, RunStatus, StepStatus

from .format import counted, duration, line, whole
from .palette import MARK

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["runs_frame", "runs_html", "runs_text"]

_MARK = {
    RunStatus.RUNNING: MARK[StepStatus.RUNNING],
    RunStatus.DONE: MARK[StepStatus.DONE],
    RunStatus.FAILED: MARK[StepStatus.FAILED],
    RunStatus.CANCELLED: MARK[StepStatus.CANCELLED],
}


def runs_frame(runs: Sequence[RunRecord]) -> pd.DataFrame:
    """One row a run, in their order: name, status, steps, done, failed, seconds (NaN while it goes on)."""
    import pandas as pd

    return pd.DataFrame(
        {
            "name": pd.Series([whole(record.name) for record in runs], dtype="string"),
            "status": pd.Categorical([r.status.value for r in runs], categories=[s.value for s in RunStatus]),
            "steps": pd.Series([len(record.steps) for record in runs], dtype="int64"),
            "done": pd.Series([_done(record) for record in runs], dtype="int64"),
            "failed": pd.Series([len(record.failed) for record in runs], dtype="int64"),
            "seconds": pd.Series([record.duration_s for record in runs], dtype="float64"),
        }
    )


def runs_text(runs: Sequence[RunRecord]) -> str:
    """One line a run, with nothing that differs from run to run."""
    lines = [f"Runs({counted(len(runs), 'run')})"]
    for number, record in enumerate(runs):
        name = f"{line(record.name, 40)}  " if record.name else ""
        lines.append(f"  {number:>2}  {_MARK[record.status]} {record.status:<9}  {name}{_steps(record)}")
    return "\n".join(lines)


def runs_html(runs: Sequence[RunRecord]) -> str:
    """A table with a row for each run, the newest last; how long each took is marked as a time."""
    if not runs:
        return "<div>No runs yet</div>"
    columns = ("", "Name", "State", "Steps", "Took", "Failed")
    head = "".join(f'<th style="text-align:left">{column}</th>' for column in columns)
    rows = "".join(f"<tr>{_row(number, record)}</tr>" for number, record in enumerate(runs))
    return (
        f"<div><b>{counted(len(runs), 'run')}</b></div>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _row(number: int, record: RunRecord) -> str:
    took = "" if record.duration_s is None else duration(record.duration_s)
    failed = ", ".join(line(step.name, 40) for step in record.failed[:3])
    more = f" and {len(record.failed) - 3} more" if len(record.failed) > 3 else ""
    cells = (
        str(number),
        escape(line(record.name, 60)),
        f"{_MARK[record.status]} {record.status}",
        f"{_done(record):,} of {len(record.steps):,} done",
        f'<span class="mpreg-timing">{took}</span>' if took else "",
        escape(failed + more),
    )
    return "".join(f'<td style="text-align:left">{cell}</td>' for cell in cells)


def _steps(record: RunRecord) -> str:
    counts = ((status, record.count(status)) for status in StepStatus)
    states = ", ".join(f"{n:,} {status}" for status, n in counts if n)
    return f"{counted(len(record.steps), 'step')}: {states or 'none'}"


def _done(record: RunRecord) -> int:
    return sum(step.status.succeeded for step in record.steps.values())
