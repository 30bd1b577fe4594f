"""RPCCommand: a step as MPREG writes it, where a string that names another step stands for its result.

The only place where strings mean steps: everywhere else a string is a string, and references are written `Ref("rows")`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from mpreg_lab.errors import InvalidStepError
from mpreg_lab.types import StepName
from mpreg_lab.workflow.model import Ref, Step, Workflow
from mpreg_lab.workflow.plan import Plan, validate
from mpreg_lab.workflow.references import references

__all__ = ["RPCCommand", "answers", "level_of_each", "needs", "steps_of", "workflow_of"]


class RPCCommand(msgspec.Struct, frozen=True):
    """One step of a request, as MPREG names its parts.

    A string in `args` or `kwargs`, at any depth of lists, tuples, sets and values of dicts, that is the name of another
    command stands for its result; `"name.field"` for a field or item of it, or for itself if there is no such field.
    Any other string is a string.

    Attributes:
        name: Names the result.
        fun: The function to call.
        locs: Resources that the node must hold.
    """

    name: str
    fun: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    locs: frozenset[str] = frozenset()

    if TYPE_CHECKING:
        # Any iterable does; a step makes tuples and sets of them.
        def __init__(
            self,
            name: str,
            fun: str,
            args: Iterable[Any] = (),
            kwargs: Mapping[str, Any] = {},
            locs: Iterable[str] = (),
        ) -> None: ...


def workflow_of(commands: Iterable[RPCCommand]) -> Workflow:
    """The workflow that a list of commands stands for; it returns what MPREG would.

    Raises:
        WorkflowError: If it cannot run as it is written.
    """
    commands = tuple(commands)
    for command in commands:
        if not isinstance(command, RPCCommand):
            raise InvalidStepError(f"a request is a list of RPCCommand objects, not of {command!r:.60}")
    try:
        steps = steps_of(commands)
    except RecursionError as exc:
        raise InvalidStepError("an argument of a command is nested too deeply, or holds itself. Flatten it") from exc
    plan = validate(Workflow(steps))
    by_position = [needs(msgspec.structs.replace(step, kwargs={}), plan.keys) for step in steps]
    return Workflow(steps, answers(plan, by_position))


def steps_of(commands: Sequence[RPCCommand]) -> list[Step]:
    """The commands as steps of ours, strings that name a step replaced by references.

    Raises:
        InvalidStepError: If a part of a command has the wrong type.
    """
    names = _Names(command.name for command in commands)
    return [_step(command, names) for command in commands]


def needs(step: Step, keys: Mapping[StepName, int]) -> tuple[int, ...]:
    """The positions of the steps that it refers to, each once."""
    return tuple(dict.fromkeys(keys[ref.step] for ref in references(step)))


def answers(plan: Plan, by_position: Sequence[Sequence[int]]) -> tuple[StepName, ...]:
    """The steps whose results a client gets: all leaves, and the last level as upstream sees it.

    Upstream returns the last level alone, and orders steps by positional arguments only: a step that is read by keyword
    may sit there.

    Args:
        by_position: For each step, the positions of those that its positional arguments refer to.
    """
    level = level_of_each(plan, by_position)
    last = max(level)
    return tuple(name for name, key in plan.keys.items() if not plan.dependents[key] or level[key] == last)


def level_of_each(plan: Plan, needs: Sequence[Sequence[int]]) -> list[int]:
    """For each step, how many steps stand before it at the longest."""
    level = [0] * len(needs)
    for key in plan.order:
        level[key] = 1 + max((level[need] for need in needs[key]), default=-1)
    return level


class _Names:
    """The names of all steps, and what a string means by them."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._lengths = sorted({len(name) for name in self._names}, reverse=True)

    def refer(self, value: Any, own: str) -> Any:
        """The value with references in place of strings that name a step, but for the step `own` itself."""
        kind = type(value)
        if kind is str:
            return self._reference(value, own)
        if kind in (list, tuple, set, frozenset):
            return kind(self.refer(item, own) for item in value)
        if kind is dict:
            return {key: self.refer(item, own) for key, item in value.items()}
        return value

    def _reference(self, text: str, own: str) -> Ref | str:
        if text in self._names:
            return Ref(text) if text != own else text
        if "." in text:
            for length in self._lengths:  # Longest first, as names may have dots.
                if text[length : length + 1] == "." and text[:length] in self._names:
                    return _with_path(text, length) if text[:length] != own else text
        return text


def _with_path(text: str, length: int) -> Ref | str:
    path = tuple(text[length + 1 :].split("."))
    # Perhaps it is a file name, or a sentence: then it stays what it is.
    return Ref(text[:length], path, otherwise=text) if all(path) else text


def _step(command: RPCCommand, names: _Names) -> Step:
    # A step cannot mean itself: upstream's client names a single step after its function, as in call("echo", "echo").
    step = Step(command.name, command.fun, command.args, command.kwargs, command.locs)
    return msgspec.structs.replace(
        step,
        args=tuple(names.refer(value, step.name) for value in step.args),
        kwargs={name: names.refer(value, step.name) for name, value in step.kwargs.items()},
    )
