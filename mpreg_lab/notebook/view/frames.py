"""A run as a pandas DataFrame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpreg_lab.workflow.record import RunRecord, StepRecord, StepStatus

from .compare import Compared
from .format import line, whole

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["comparison_frame", "faults_frame", "frame"]


def frame(record: RunRecord) -> pd.DataFrame:
    """One row a step, in the order of the workflow; the index is the step's name.

    Columns: function, node, resources (separated by blanks), status (categorical), attempts, queued_s, ran_s,
    travel_s (seconds, NaN where not known), error (`ValueError: …`, empty if there is none).
    """
    import pandas as pd

    steps = list(record.steps.values())
    return pd.DataFrame(
        {
            "function": pd.Series([whole(s.plan.function) for s in steps], dtype="string"),
            "node": pd.Series([s.node for s in steps], dtype="string"),
            "resources": pd.Series([whole(" ".join(s.plan.resources)) for s in steps], dtype="string"),
            "status": pd.Categorical([s.status.value for s in steps], categories=[s.value for s in StepStatus]),
            "attempts": pd.Series([s.attempts for s in steps], dtype="int64"),
            "queued_s": pd.Series([s.queued_s for s in steps], dtype="float64"),
            "ran_s": pd.Series([s.ran_s for s in steps], dtype="float64"),
            "travel_s": pd.Series([s.travel_s for s in steps], dtype="float64"),
            "error": pd.Series([_error(s) for s in steps], dtype="string"),
        }
    ).set_axis(pd.Index([whole(s.name) for s in steps], name="step", dtype="str"), axis=0)


def comparison_frame(found: Compared) -> pd.DataFrame:
    """One row a step of either run; the index is the step's name.

    Columns: function, status and other_status (empty if the step is not in that run), ran_s, other_ran_s, difference_s
    (seconds that it took longer in this run; NaN where not known).
    """
    import pandas as pd

    pairs = found.pairs
    return pd.DataFrame(
        {
            "function": pd.Series([whole(p.function) for p in pairs], dtype="string"),
            "status": pd.Series([p.status and str(p.status) for p in pairs], dtype="string"),
            "other_status": pd.Series([p.other_status and str(p.other_status) for p in pairs], dtype="string"),
            "ran_s": pd.Series([p.ran_s for p in pairs], dtype="float64"),
            "other_ran_s": pd.Series([p.other_ran_s for p in pairs], dtype="float64"),
            "difference_s": pd.Series([p.difference_s for p in pairs], dtype="float64"),
        }
    ).set_axis(pd.Index([whole(p.name) for p in pairs], name="step", dtype="str"), axis=0)


def _error(step: StepRecord) -> str:
    if step.failure is not None:
        return line(f"{step.failure.type_name}: {step.failure.message}", 200)
    return f"skipped: {line(step.because)} failed" if step.because is not None else ""


def faults_frame(record: RunRecord) -> pd.DataFrame:
    """One row a fault, in the order of time; empty if there was none.

    Columns: at_s (seconds since the run began, negative if it was there before), kind, nodes (separated by blanks),
    text.
    """
    import pandas as pd

    faults = record.faults
    return pd.DataFrame(
        {
            "at_s": pd.Series([f.now_s for f in faults], dtype="float64"),
            "kind": pd.Series([f.kind.value for f in faults], dtype="string"),
            "nodes": pd.Series([" ".join(f.nodes) for f in faults], dtype="string"),
            "text": pd.Series([line(f.text) for f in faults], dtype="string"),
        }
    )
