"""Run: one execution of a workflow as its owner holds it. May be used from any thread, while it goes on and after."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Protocol

from mpreg_lab.errors import (
    MpregError,
    RemoteError,
    RunCancelledError,
    RunFailedError,
    RunNotFinishedError,
    StepNotFinishedError,
    StepSkippedError,
    UnserialisableRunError,
    WorkflowError,
    WrongThreadError,
)
from mpreg_lab.protocol.messages import RunDone
from mpreg_lab.protocol.payload import Payload, add_note, message_of
from mpreg_lab.types import RunId, StepName
from mpreg_lab.workflow.model import Workflow
from mpreg_lab.workflow.parting import farewell
from mpreg_lab.workflow.plan import Plan
from mpreg_lab.workflow.python_script import python_script
from mpreg_lab.workflow.record import Failed, Failure, RunEvent, RunRecord, RunStatus, StepStatus
from mpreg_lab.workflow.reuse import kept_steps

from .saved import SavedRun
from .verbs import in_a_thread, verb
from .views import views
from .waiting import wait, wait_async

__all__ = ["Owner", "Run"]


class Owner(Protocol):
    """What a run needs of the client that started it."""

    def cancel(self, run: RunId) -> None:
        """Ask for the run to be cancelled. From any thread."""

    def forget(self, run: RunId) -> None:
        """Nobody wants the results any more. From any thread."""

    def fetch(self, run: RunId, step: StepName) -> Future[Payload]:
        """Get the result of one step. From any thread."""

    def again(self, run: Run, keep: tuple[StepName, ...], timeout: float | None) -> Future[Run]:
        """Start the workflow of a run once more, with the results of these steps. From any thread."""

    @property
    def here(self) -> bool:
        """Whether the caller is on the thread that would have to answer."""


class Run(SavedRun):
    """One execution of a workflow.

    Attributes:
        workflow: What runs.
        plan: The workflow, checked.
        record: Everything known of it so far: see RunRecord.
        timeout: Seconds after which it is cancelled. None: never.
        plain: Whether a notebook shows it as text alone.
    """

    def __init__(
        self, run_id: RunId, plan: Plan, owner: Owner, *, timeout: float | None = None, source: Run | None = None
    ) -> None:
        self.id = run_id
        self.timeout = timeout
        self.workflow: Workflow = plan.workflow
        super().__init__(RunRecord())
        self.record.apply(plan.opened())
        self.plan = plan
        self._owner = owner
        # Held until its results were taken over: a run that nobody holds is forgotten on the nodes too.
        self._source = source
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._on_change: list[Callable[[Run], object]] = []
        self._on_end: list[Callable[[], object]] = []
        self._payloads: dict[StepName, Payload] = {}
        self._errors: dict[StepName, Exception] = {}
        self._frames: dict[StepName, TracebackType | None] = {}
        self._refused: Exception | None = None

    # --- what came out ---

    @property
    def results(self) -> dict[str, Any]:
        """The results that were asked for, or else those of all leaves, by the name of the step or fan-out.

        Of a run that failed those that did succeed; of one that goes on, nothing yet.
        """
        groups = {group.name: group.steps for group in self.workflow.groups}
        found: dict[str, Any] = {}
        for name in self.plan.returns:
            members = groups.get(name)
            if members is None:
                if name in self._payloads:
                    found[name] = self._payloads[name].value()
            elif all(member in self._payloads for member in members):
                found[name] = [self._payloads[member].value() for member in members]
        return found

    @verb
    def __getitem__(self, name: str) -> Any:
        """The result of any step, or the list of a fan-out; fetched from its node if it was not asked for.

        Raises:
            UnknownStepError: If there is no such step.
            StepNotFinishedError: If it has not ended.
            StepSkippedError: If it never ran.
            Exception: If it failed: its own exception.
        """
        for group in self.workflow.groups:
            if group.name == name:
                return [self[member] for member in group.steps]
        step = self.record.steps.get(StepName(name))
        if step is None:
            raise self._unknown(name)
        if step.name in self._payloads:
            return self._payloads[step.name].value()
        if step.status.succeeded:
            return self._fetched(step.name)
        raise self._as_it_came(self._why_no_result(step.name))

    @property
    def errors(self) -> dict[str, Exception]:
        """The exceptions of all steps that failed, by step."""
        return {str(step): error for step, error in self._errors.items()}

    @property
    def exception(self) -> Exception | None:
        """What `wait` raises; None if the run is under way or succeeded.

        The exception of the step that failed; of several, a RunFailedError, which is an ExceptionGroup of theirs.
        """
        if self._refused is not None:
            return self._refused
        failed = list(self._errors.values())
        if len(failed) <= 1:
            return failed[0] if failed else None
        return RunFailedError(f"{len(failed)} steps failed: {_names(list(self._errors))}", failed, run=self)

    @property
    def done(self) -> bool:
        """Whether the run has ended, one way or another."""
        return self._done.is_set()

    # --- waiting ---

    @verb
    def wait(self, timeout: float | None = None) -> Run:
        """Wait until the run has ended. An interrupt (Ctrl-C, the Stop button) cancels it.

        Args:
            timeout: Seconds. The run goes on when they are over.

        Returns:
            The run itself.

        Raises:
            TimeoutError: If it has not ended by then.
            Exception: If it failed: see `exception`.
        """
        self.join(timeout)
        if not self.done:
            raise _goes_on(timeout)
        if (exception := self.exception) is not None:
            raise self._as_it_came(exception)
        return self

    def join(self, timeout: float | None = None) -> bool:
        """As `wait`, but raises nothing; whether the run has ended."""
        if not self.done and self._owner.here:
            raise WrongThreadError("waiting for a run on the cluster's own loop would wait for ever. Await the run")
        try:
            return wait(self, self._done, timeout)
        except KeyboardInterrupt:
            self.cancel()
            raise

    def __await__(self) -> Generator[Any, None, Run]:
        """Wait as `wait` does, on any event loop; cancelling the awaiting task cancels the run."""
        return self._wait_async().__await__()

    async def wait_async(self, timeout: float | None = None) -> Run:
        """As `wait`, awaitable on any loop; `await run` is the same without a time-out.

        Cancelling the awaiting task cancels the run.
        """
        if not await self.join_async(timeout):
            raise _goes_on(timeout)
        return await self

    async def join_async(self, timeout: float | None = None) -> bool:
        """As `join`, awaitable on any loop."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        self.on_end(lambda: _set(loop, ended))
        try:
            async with asyncio.timeout(timeout):
                await wait_async(ended)
        except TimeoutError:
            return self.done
        except asyncio.CancelledError as stop:
            self.cancel()
            _render(stop)
            raise
        return True

    async def ended(self) -> Run:
        """As awaiting the run, but raises nothing that came of it."""
        await self.join_async()
        return self

    async def result_async(self, name: str) -> Any:
        """As `run[name]`, awaitable on any loop, which goes on while a large result is fetched from its node."""
        return await in_a_thread(lambda: self[name])

    def cancel(self) -> None:
        """Stop the run, now; what has ended is kept. Nothing happens if it is over."""
        if not self.done:
            self._owner.cancel(self.id)

    # --- once more ---

    @verb
    def rerun(
        self,
        *,
        from_failed: bool = False,
        from_step: str | None = None,
        timeout: float | None = None,
        check: bool = True,
        wait: bool = True,
    ) -> Run:
        """Run the same workflow once more, on the same cluster.

        Results that are used again are taken from the nodes that have them; they are not computed and not sent. Those
        that are gone, with their node or because they are too old, are computed again where somebody needs them: the
        record says so (`StepRecord.gone`).

        Args:
            from_failed: Whether steps that succeeded keep their results, and only the others run.
            from_step: The name of a step or fan-out: it runs, and what depends on it; other steps that succeeded keep
                their results. Without this and `from_failed`, all steps run.
            timeout: Seconds; then the new run is cancelled. None: as long as this run had.
            check: Whether to raise what went wrong; if not, look at `exception` of the new run.
            wait: Whether to wait for its end; an interrupt then cancels it.

        Returns:
            The new run.

        Raises:
            RunNotFinishedError: If this run goes on.
            UnknownStepError: If there is no step of that name.
            WorkflowError: If both `from_failed` and `from_step` are given.
            ConnectionLostError: If the cluster was stopped.
            Exception: With `check`, what a step raised.
        """
        keep = self._kept(from_failed, from_step)
        if self._owner.here:
            raise WrongThreadError("rerun() on the cluster's own loop would wait for ever. Await run.rerun_async()")
        again = self._owner.again(self, keep, self.timeout if timeout is None else timeout)
        try:
            run = again.result()
        except KeyboardInterrupt:
            again.add_done_callback(_cancel)
            raise
        if wait:
            run.join()
        return run.wait() if wait and check else run

    async def rerun_async(
        self,
        *,
        from_failed: bool = False,
        from_step: str | None = None,
        timeout: float | None = None,
        check: bool = True,
        wait: bool = True,
    ) -> Run:
        """As `rerun`, awaitable on any loop."""
        keep = self._kept(from_failed, from_step)
        again = self._owner.again(self, keep, self.timeout if timeout is None else timeout)
        run = await asyncio.wrap_future(again)
        if not wait:
            return run
        return await (run if check else run.ended())

    def _kept(self, from_failed: bool, from_step: str | None) -> tuple[StepName, ...]:
        """The steps that do not run again."""
        if not self.done:
            raise RunNotFinishedError(
                "the run goes on. Wait for it, run.wait(), or stop it, run.cancel(), and then run it again", run=self
            )
        if from_failed and from_step is not None:
            raise WorkflowError("give from_failed=True or from_step=..., not both")
        if from_step is None:
            return kept_steps(self.plan, self.record.steps, ()) if from_failed else ()
        groups = {group.name: group.steps for group in self.workflow.groups}
        again = groups.get(StepName(from_step), (StepName(from_step),))
        if not self.record.steps.keys() >= set(again):
            raise self._unknown(from_step)
        return kept_steps(self.plan, self.record.steps, again)

    def on_change(self, callback: Callable[[Run], object]) -> None:
        """Have `callback(run)` called on the client's loop after each change, and once at the end."""
        with self._lock:
            self._on_change.append(callback)

    def on_end(self, callback: Callable[[], object]) -> None:
        """Have `callback()` called on the client's loop when the run has ended; at once, here, if it has."""
        with self._lock:
            if not self._done.is_set():
                self._on_end.append(callback)
                return
        callback()

    # --- as a value ---

    def to_python(self, path: str | PathLike[str] | None = None) -> str:
        """A script that runs the same workflow, on a cluster that has its functions.

        Args:
            path: Where to write it as well.

        Raises:
            WorkflowError: If an argument has no literal in Python, such as a DataFrame: names step and argument.
        """
        text = python_script(self.workflow)
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise UnserialisableRunError(
            "a run holds a connection to its cluster, so it cannot be pickled or copied. Keep run.to_json(), which "
            "Run.from_json() reads, or run.record, or run.results"
        )

    def __repr__(self) -> str:
        return self._text("Run")

    def _ipython_display_(self) -> None:
        if self.done or not views().show_run(self):
            # So IPython takes what a saved run shows.
            raise NotImplementedError

    # --- for the client: on its loop ---

    def apply(self, events: Sequence[RunEvent]) -> None:
        """Take in what happened."""
        self._source = None
        for event in events:
            self.record.apply(event)
        self._changed()

    def finish(self, done: RunDone) -> None:
        """Take in the end."""
        self._payloads.update(done.results)
        for failed in done.errors:
            error = _loaded(failed.error)
            self._frames[failed.step] = error.__traceback__
            self._errors[failed.step] = self._with_notes(failed.step, error)
        if done.refused is not None:
            self._refused = _loaded(done.refused)
            if isinstance(self._refused, MpregError) and hasattr(self._refused, "run"):
                self._refused.run = self
        self._end()

    def lose(self, error: MpregError, now_s: float) -> None:
        """The client will never hear the end, or will not wait for it any more, so many seconds after the begin."""
        if self.done:
            return
        self._refused = error
        failure = None if isinstance(error, RunCancelledError) else Failure(type(error).__name__, str(error))
        for event in farewell(self.record, failure, now_s):
            if isinstance(event, Failed):
                self._errors[event.step], self._frames[event.step] = error, None
            self.record.apply(event)
        self._end()

    # --- helpers ---

    def _end(self) -> None:
        self._source = None
        if self.record.status is RunStatus.RUNNING:
            self.record.status = (
                RunStatus.CANCELLED if isinstance(self._refused, RunCancelledError) else RunStatus.FAILED
            )
        with self._lock:
            self._done.set()
            callbacks, self._on_end = self._on_end, []
        for callback in callbacks:
            callback()
        self._changed()

    def _as_it_came(self, error: Exception) -> Exception:
        """The exception without the frames that earlier `raise`s of it added."""
        for step, known in self._errors.items():
            if known is error:
                return error.with_traceback(self._frames[step])
        return error.with_traceback(None) if error is self._refused else error

    def _changed(self) -> None:
        for callback in tuple(self._on_change):
            callback(self)

    async def _wait_async(self) -> Run:
        await self.ended()
        if isinstance(stop := self.exception, StopIteration):
            # Python lets none out of a coroutine; run.exception has it as it was.
            raise RemoteError(message_of(stop), type_name=type(stop).__name__) from stop
        return self.wait()

    def _fetched(self, step: StepName) -> Any:
        if self._owner.here:
            raise WrongThreadError(
                "fetching a result on the cluster's own loop would wait for ever. "
                f"Ask for it: Workflow(..., returns=[{step!r}])"
            )
        payload = self._owner.fetch(self.id, step).result()
        self._payloads[step] = payload
        return payload.value()

    def _why_no_result(self, name: StepName) -> Exception:
        step = self.record.steps[name]
        if name in self._errors:
            return self._errors[name]
        if step.status is StepStatus.SKIPPED:
            return StepSkippedError(f"step {name!r} was skipped, because {step.because!r} failed", step=name, run=self)
        if step.status is StepStatus.CANCELLED and self.status is RunStatus.CANCELLED:
            return RunCancelledError(f"step {name!r} has no result: the run was cancelled", step=name, run=self)
        if self.done and self._refused is not None:
            return self._refused
        return StepNotFinishedError(f"step {name!r} is {step.status}. Wait for it: run.wait()", step=name, run=self)

    def _with_notes(self, name: StepName, error: Exception) -> Exception:
        step = self.record.steps[name]
        where = f" on node {step.node!r}" if step.node is not None else ""
        notes = [f"in step {name!r} ({step.plan.function}){where}, attempt {max(1, step.attempts)}"]
        skipped = [s.name for s in self.record.skipped if s.because == name]
        if skipped:
            notes.append(f"skipped because of it: {_names(skipped)}")
        for note in notes:
            add_note(error, note)
        return error


def _loaded(payload: Payload) -> Exception:
    try:
        error = payload.value()
    except MpregError as exc:
        return exc
    return error if isinstance(error, Exception) else MpregError(f"no exception came, but {error!r:.60}")


def _cancel(started: Future[Run]) -> None:
    if not started.cancelled() and started.exception() is None:
        started.result().cancel()


def _goes_on(timeout: float | None) -> TimeoutError:
    return TimeoutError(f"the run has not ended after {timeout:g} s; it goes on. run.cancel() stops it")


def _render(stop: asyncio.CancelledError) -> None:
    """What a notebook shows of an awaiting cell that was stopped: not the frames of the event loop."""
    lines = [
        "\x1b[31mCancelledError\x1b[0m: stopped while it awaited a run; the run was cancelled",
        "",
        "The cluster lives on. To keep what succeeds, name the run: run = cluster.submit(workflow), then await run",
    ]
    stop._render_traceback_ = lambda: lines  # type: ignore[attr-defined]  # IPython asks for this attribute


def _set(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    try:
        loop.call_soon_threadsafe(event.set)
    except RuntimeError:
        # The awaiting loop was closed meanwhile: nobody waits any more.
        if not loop.is_closed():
            raise


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more
