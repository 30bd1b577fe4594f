"""Which step runs here: what a function may ask of the call that it is in, wherever a node runs it."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from mpreg_lab.errors import NoStepError
from mpreg_lab.types import NodeName, RunId, StepName

__all__ = ["CurrentStep", "current_step", "enter_step", "leave_step"]


@dataclass(frozen=True, slots=True)
class CurrentStep:
    """The call that a function is in.

    Attributes:
        run: The run it belongs to; every run has another.
        step: The name of the step in the workflow.
        attempt: 1 for the first; more when the step was started again.
        node: The name of the node that runs it.
    """

    run: RunId
    step: StepName
    attempt: int
    node: NodeName

    @property
    def key(self) -> str:
        """The same in every attempt of this step, and in no other step or run: what makes a repeated call harmless.

        A service that keeps it with what it did finds it again when a retry asks for the same once more.
        """
        return f"{self.run}/{self.step}"


# A plain tuple: it is set for every step, and asked for by few.
_now: ContextVar[tuple[RunId, StepName, int, NodeName] | None] = ContextVar("mpreg_step", default=None)


def current_step() -> CurrentStep:
    """The step that called this function, in a thread or a coroutine of a node, and in tasks that it starts.

    Raises:
        NoStepError: If no step did: the function was called as plain Python.
    """
    now = _now.get()
    if now is None:
        raise NoStepError(
            "current_step() is for functions that a node runs as a step of a workflow; nothing runs one here. Call the "
            "function through a cluster: cluster.call('name', ...)"
        )
    return CurrentStep(*now)


def enter_step(run: RunId, step: StepName, attempt: int, node: NodeName) -> None:
    """Say which step is called next in this thread or task. For what calls functions."""
    _now.set((run, step, attempt, node))


def leave_step() -> None:
    """Say that this thread or task is in no step any more."""
    _now.set(None)
