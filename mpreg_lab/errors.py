"""Every exception of mpreg_lab.

MpregError
├── WorkflowError (ValueError)        found before anything is sent
│   ├── EmptyWorkflowError            no steps
│   ├── InvalidStepError              a field of a step is wrong: name, function, resources, an option
│   ├── DuplicateStepError            two steps of one name
│   ├── UnknownStepError              a reference, or the return list, names no step
│   ├── CycleError                    steps wait for each other
│   ├── ArgumentsError                the function cannot be called with these arguments
│   ├── UnserialisableArgumentError   an argument cannot travel to a node
│   └── NotationError                 a line of a %%mpreg_workflow cell is not in the notation
├── RoutingError (LookupError)        no node can run a step
│   └── UnknownFunctionError          no node at all has the function
├── RunError                          what happened to a run or to one of its steps
│   ├── RunFailedError                several steps failed: an ExceptionGroup of their exceptions
│   ├── RunCancelledError             the run was cancelled
│   ├── RunTimeoutError               the run took longer than its time-out (a TimeoutError)
│   ├── StepTimeoutError              a step took longer than its time-out (a TimeoutError)
│   ├── StepSkippedError              asked for the result of a step that never ran
│   ├── StepNotFinishedError          asked for the result of a step that has not finished
│   ├── RunNotFinishedError           asked for what only a run that has ended can do
│   ├── ReferenceValueError           a result has no such field or item (a LookupError)
│   ├── UnserialisableResultError     a result cannot travel (a TypeError)
│   ├── SavedRunError                 a file is no saved run, or a saved run lacks what was asked for (a ValueError)
│   ├── UnserialisableRunError        a run was to be pickled or copied (a TypeError)
│   ├── NodeLostError                 a node went away with a step under way
│   └── RemoteError                   stands for an exception whose class cannot be had here
├── ClusterError
│   ├── NoClusterError                there is no cluster of that name, or none at all
│   ├── ClusterStoppedError           the cluster was stopped
│   ├── ClusterSpecError (ValueError) the description of a cluster is wrong
│   ├── OverloadedError               a queue is full: nothing was done, try again later
│   ├── UnknownNodeError (LookupError)
│   └── FunctionError (ValueError)    a function cannot be registered
├── ConnectError (ConnectionError)    nobody answers, or the door is locked
├── ConnectionLostError (ConnectionError)
├── ProtocolError                     a frame that makes no sense
├── ClockError (RuntimeError)         virtual time cannot go on
├── WrongThreadError (RuntimeError)   a blocking verb was called on the loop that would serve it
├── NoStepError (RuntimeError)        current_step() was called where no step runs
└── MagicError                        a %mpreg line or its options are wrong
"""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Any

__all__ = [
    "ArgumentsError",
    "ClockError",
    "ClusterError",
    "ClusterSpecError",
    "ClusterStoppedError",
    "ConnectError",
    "ConnectionLostError",
    "CycleError",
    "DuplicateStepError",
    "EmptyWorkflowError",
    "FunctionError",
    "InvalidStepError",
    "MagicError",
    "MpregError",
    "NoClusterError",
    "NoStepError",
    "NodeLostError",
    "NotationError",
    "OverloadedError",
    "ProtocolError",
    "ReferenceValueError",
    "RemoteError",
    "RoutingError",
    "RunCancelledError",
    "RunError",
    "RunFailedError",
    "RunNotFinishedError",
    "RunTimeoutError",
    "SavedRunError",
    "StepNotFinishedError",
    "StepSkippedError",
    "StepTimeoutError",
    "UnknownFunctionError",
    "UnknownNodeError",
    "UnknownStepError",
    "UnserialisableArgumentError",
    "UnserialisableResultError",
    "UnserialisableRunError",
    "WorkflowError",
    "WrongThreadError",
]


_NOT_THEIRS = str(Path(__file__).parent)
_CELL = re.compile(r"[\\/]ipykernel_\d+[\\/]\d+\.py$|^<ipython-input-")


class MpregError(Exception):
    """Base of all errors of this package.

    Attributes:
        step: The name of the step it is about, None if it is about no single step.
    """

    step: str | None

    def __init__(self, message: str = "", *, step: str | None = None) -> None:
        super().__init__(message)
        self.step = step

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows for it: where the caller's own code was, and the message. None of our frames."""
        lines = [f"\x1b[31m{type(self).__name__}\x1b[0m: {self}", *getattr(self, "__notes__", ())]
        for frame in traceback.extract_tb(self.__traceback__):
            if not frame.filename.startswith(_NOT_THEIRS) and "IPython" not in Path(frame.filename).parts:
                place = "notebook cell" if _CELL.search(frame.filename) else frame.filename
                lines.append(f"  {place}, line {frame.lineno}: {frame.line}")
        return lines


class WorkflowError(MpregError, ValueError):
    """The workflow cannot run as it is written; nothing was sent."""


class EmptyWorkflowError(WorkflowError):
    """The workflow has no steps."""


class InvalidStepError(WorkflowError):
    """A field of a step is wrong."""


class DuplicateStepError(WorkflowError):
    """Two steps have one name."""


class UnknownStepError(WorkflowError):
    """A reference, or the return list, names no step of the workflow."""


class CycleError(WorkflowError):
    """Steps wait for each other.

    Attributes:
        steps: Their names, in the order in which each waits for the next; the last waits for the first.
    """

    steps: tuple[str, ...]

    def __init__(self, message: str = "", *, steps: tuple[str, ...] = ()) -> None:
        super().__init__(message, step=steps[0] if steps else None)
        self.steps = steps


class ArgumentsError(WorkflowError, TypeError):
    """The function cannot be called with the step's arguments."""


class UnserialisableArgumentError(WorkflowError, TypeError):
    """An argument cannot travel to a node."""


class NotationError(WorkflowError):
    """A line of the notation is wrong.

    Attributes:
        line: 1-based line in the text. column: 0-based, in characters. end_column: None if not known.
        text: That line.
    """

    line: int
    column: int
    end_column: int | None
    text: str

    def __init__(
        self,
        message: str = "",
        *,
        line: int = 1,
        column: int = 0,
        end_column: int | None = None,
        text: str = "",
        step: str | None = None,
    ) -> None:
        super().__init__(message, step=step)
        self.line, self.column, self.end_column, self.text = line, column, end_column, text


class RoutingError(MpregError, LookupError):
    """No node can run a step; the message says who has the function and who has the resources."""


class UnknownFunctionError(RoutingError):
    """No node of the cluster has a function of that name."""


class RunError(MpregError):
    """What happened to a run or to one of its steps.

    Attributes:
        run: The run, with everything that did succeed; None where there is none.
    """

    run: Any

    def __init__(self, message: str = "", *, step: str | None = None, run: Any = None) -> None:
        super().__init__(message, step=step)
        self.run = run

    def __reduce__(self) -> tuple[Any, ...]:
        # A run holds a connection: it stays where it is, the error may travel.
        return type(self), self.args, {k: v for k, v in self.__dict__.items() if k != "run"} | {"run": None}


class RunFailedError(RunError, ExceptionGroup):
    """Several steps of a run failed; `exceptions` are their own exceptions, in the order of the steps.

    Attributes:
        run: The run, with everything that did succeed.
    """

    def __new__(cls, message: str, exceptions: list[Exception], **_: Any) -> RunFailedError:
        return super().__new__(cls, message, exceptions)

    def __init__(self, message: str, exceptions: list[Exception], *, run: Any = None) -> None:
        self.step, self.run = None, run

    def __str__(self) -> str:
        return str(self.message)


class RunCancelledError(RunError):
    """The run was cancelled before it ended."""


class RunTimeoutError(RunError, TimeoutError):
    """The run took longer than its time-out."""


class StepTimeoutError(RunError, TimeoutError):
    """A step took longer than its time-out."""


class StepSkippedError(RunError):
    """The step never ran, because a step that it needs failed or was cancelled."""


class StepNotFinishedError(RunError):
    """The step has not finished yet."""


class RunNotFinishedError(RunError):
    """The run goes on; what was asked for can only be done with one that has ended."""


class ReferenceValueError(RunError, LookupError):
    """The result that a reference stands for has no such field or item."""


class UnserialisableResultError(RunError, TypeError):
    """A function returned something that cannot travel to another node or to the client."""


class SavedRunError(RunError, ValueError):
    """A text is no saved run, or what was asked for is not kept in one."""


class UnserialisableRunError(RunError, TypeError):
    """A run holds a connection to its cluster: it cannot be pickled or copied; what is known of it can."""


class NodeLostError(RunError):
    """A node went away with a step under way: it may or may not have run."""


class RemoteError(RunError):
    """Stands for an exception whose class or value cannot be had here.

    Attributes:
        type_name: The name of the class where it was raised.
    """

    type_name: str

    def __init__(self, message: str = "", *, step: str | None = None, type_name: str = "Exception") -> None:
        super().__init__(message, step=step)
        self.type_name = type_name


class ClusterError(MpregError):
    """Something about a cluster as a whole."""


class NoClusterError(ClusterError, LookupError):
    """There is no cluster of that name, or none at all."""


class ClusterStoppedError(ClusterError):
    """The cluster was stopped."""


class ClusterSpecError(ClusterError, ValueError):
    """The description of a cluster is wrong."""


class OverloadedError(ClusterError):
    """A queue is full, so that what was asked for has not begun: ask again when something has ended."""


class UnknownNodeError(ClusterError, LookupError):
    """The cluster has no node of that name."""


class FunctionError(ClusterError, ValueError):
    """A function cannot be registered."""


class ConnectError(MpregError, ConnectionError):
    """Nobody answers at that address, or it refuses us."""


class ConnectionLostError(MpregError, ConnectionError):
    """The connection ended before the answer came."""


class ProtocolError(MpregError):
    """A frame that makes no sense."""


class ClockError(MpregError, RuntimeError):
    """Virtual time cannot go on: nothing is left that would ever happen, or somebody works in real time."""


class WrongThreadError(MpregError, RuntimeError):
    """A blocking verb was called on the loop that would have to serve it."""


class NoStepError(MpregError, RuntimeError):
    """Asked which step runs, where none does."""


class MagicError(MpregError):
    """A %mpreg line, or an option of it, is wrong."""
