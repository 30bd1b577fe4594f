"""One %%mpreg_workflow cell, from its text to the run: parse, submit, show, wait, and tell what went wrong."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from types import CodeType
from typing import TYPE_CHECKING, Any

import msgspec

from mpreg_lab.client.run import Run
from mpreg_lab.errors import MpregError, NotationError
from mpreg_lab.types import StepName
from mpreg_lab.workflow.model import Workflow
from mpreg_lab.workflow.notation import Draft, Nested, parse
from mpreg_lab.workflow.plan import levels, validate
from mpreg_lab.workflow.record import RunRecord

from .cell_errors import plainly, told
from .clusters import AnyCluster, any_cluster, members
from .settings import current
from .view.format import line
from .view.static_html import run_html
from .watched import watched

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["WorkflowCell", "Written"]

_ADVISED = 160
"""Characters of a line that is advised: it may hold pages of literals."""


class Written:
    """A workflow that was not run, as `--dry-run` gives it.

    Attributes:
        workflow: It.
    """

    def __init__(self, workflow: Workflow) -> None:
        self.workflow = workflow
        self._record = RunRecord.of([validate(workflow).opened()])

    def __repr__(self) -> str:
        depth = len(levels(self.workflow))
        return f"{self.workflow!r}, {depth} level{'' if depth == 1 else 's'}, not run"

    def _repr_html_(self) -> str:
        return run_html(self._record, {}, begun=False)


class WorkflowCell:
    """One execution of a cell.

    Args:
        shell: Where names are looked up, and where `out` is set.
        text: The cell without its first line.
        plain: Text alone, for a terminal.
        silent: Neither a picture nor text; errors are raised all the same.
    """

    def __init__(self, shell: InteractiveShell, text: str, *, plain: bool, silent: bool) -> None:
        self._shell = shell
        # An empty line for that of the magic: errors count lines as the cell does, in every cell.
        self._text = "\n" + text
        self._plain = plain
        self._silent = silent
        self._lines: Mapping[StepName, int] = {}

    def write(self, name: str) -> Workflow:
        """The workflow of the cell; expressions of the notebook are evaluated.

        Raises:
            MpregError: If it cannot be; shown with its line.
        """
        with self._telling():
            workflow = self._build(parse(self._text), name)
            validate(workflow)
            return workflow

    def run(
        self, cluster: str | None, name: str, out: str | None, timeout_s: float | None, *, detach: bool = False
    ) -> Run:
        """Run it on a cluster, show it, wait, and set `out`.

        Args:
            detach: Do not wait: the run goes on, and its view with it.

        Raises:
            Exception: What went wrong; shown with the line of its step, and none of our frames.
        """
        with self._telling():
            draft = parse(self._text)
            target = any_cluster(self._shell.user_ns, cluster)
            try:
                workflow = self._build(draft, name)
            except NotationError as error:
                raise self._advised(error, draft, target) from error.__cause__
            validate(workflow)
            self._say_what_ran_here(draft, target)
            if not (self._silent or self._plain):
                # Loading widgets takes 0.1 s of the processor: not while the run that they show needs it.
                from . import live as _  # noqa: F401
            run = target.submit(workflow, timeout=timeout_s)
        names, plain, silent = self._shell.user_ns, self._plain, self._silent
        return watched(run, names, out, plain=plain, silent=silent, detach=detach, cell=self._text, lines=self._lines)

    # --- helpers ---

    @contextlib.contextmanager
    def _telling(self) -> Any:
        try:
            yield
        except (MpregError, KeyboardInterrupt) as error:
            raise plainly(error, told(error, self._text, self._lines)) from None

    def _build(self, draft: Draft, name: str) -> Workflow:
        self._lines = dict(draft.names)
        now = current()
        script = draft.build(self._evaluate, retries=now.retries, backoff_s=now.backoff)
        self._lines = dict(script.lines)
        return msgspec.structs.replace(script.workflow, name=name)

    def _advised(self, error: NotationError, draft: Draft, cluster: AnyCluster) -> NotationError:
        """The same error; if a function of the cluster was called in the notebook, with how to have it run there."""
        missing = error.__cause__.name if isinstance(error.__cause__, NameError) else None
        nested = [call for call in draft.nested() if (call.root, call.line) == (missing, error.line)]
        for call in _of_cluster(nested, cluster):
            message = (
                f"{call.function!r} is a function of the cluster, but what stands inside an argument runs in the "
                "notebook, which has no such name. Make it a step of its own:"
            )
            return NotationError(
                "\n    ".join([message, *(line(written, _ADVISED) for written in call.advice)]),
                line=error.line,
                column=error.column,
                end_column=error.end_column,
                text=error.text,
                step=error.step,
            )
        return error

    def _say_what_ran_here(self, draft: Draft, cluster: AnyCluster) -> None:
        """What the notebook has too was called in it, which not everybody expects."""
        if self._silent:
            return
        nested = [call for call in draft.nested() if call.root in self._shell.user_ns]
        first = {call.function: call for call in reversed(_of_cluster(nested, cluster))}
        for call in reversed(first.values()):
            advice = " and ".join(line(written, _ADVISED) for written in call.advice)
            ran = f"line {call.line}: {line(call.text)} ran here, in the notebook"
            sys.stdout.write(f"{ran}. To have the cluster run it: {advice}\n")

    def _evaluate(self, code: CodeType, local: Mapping[str, object]) -> object:
        names = self._shell.user_ns
        # The user's own expressions, in their own notebook.
        return eval(code, {**names, **local} if local else names)  # noqa: S307


def _of_cluster(nested: list[Nested], cluster: AnyCluster) -> list[Nested]:
    """Those whose function the cluster has; it is asked only if there are any."""
    functions = {info.name for member in members(cluster) for info in member.functions} if nested else set()
    return [call for call in nested if call.function in functions]
