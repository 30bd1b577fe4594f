"""The live view of one run in a cell. It is given records and draws; it knows no client."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import anywidget
import msgspec
import traitlets

from mpreg_lab.notebook.view import picture, summary
from mpreg_lab.notebook.view.format import counted, has_half, line, plain, whole
from mpreg_lab.notebook.view.rendering import rendered
from mpreg_lab.notebook.view.tracebacks import trace_parts
from mpreg_lab.types import StepName
from mpreg_lab.workflow.model import Workflow
from mpreg_lab.workflow.record import RunRecord, RunStatus

from .sources import script

__all__ = ["RunView"]

_HERE = Path(__file__).parent
_SMALL_STEPS = 100
"""Up to so many steps the details are as cheap as the state, and sent as often."""
_DETAIL_EVERY_S = 0.5


class RunView(anywidget.AnyWidget):
    """Graph, results, timeline, latency and steps of one run.

    Python sets the traits and JavaScript draws them; JavaScript speaks to Python in custom messages alone, because an
    awaited cell on ipykernel 7.4 gets only the first change of a trait. What is long is sent in answer to a question,
    and never stands in a trait: it would be copied into the saved notebook.

    Args:
        workflow: What runs; without it the page shows no arguments.
    """

    _esm = script("run_view.js")
    _css = _HERE / "run_view.css"

    scene = traitlets.Dict().tag(sync=True)
    """A Picture: where everything is; set when the steps are known, and when some are folded or unfolded."""
    state = traitlets.Dict().tag(sync=True)
    """A RunState."""
    detail = traitlets.Dict().tag(sync=True)
    """A RunDetail."""
    able = traitlets.List(traitlets.Unicode()).tag(sync=True)
    """What there are buttons for: `fetch`, `rerun`."""
    again = traitlets.Dict().tag(sync=True)
    """How often the view was given another run of its workflow, `count`, and what is said of it, `text`."""

    def __init__(
        self,
        record: RunRecord | None = None,
        results: Mapping[str, object] | None = None,
        *,
        workflow: Workflow | None = None,
    ) -> None:
        self._workflow = workflow
        self._cancel_callbacks: list[Callable[[], object]] = []
        self._open_callbacks: list[Callable[[str], object]] = []
        self._fetch: Callable[[str], object] | None = None
        self._rerun: Callable[[str], object] | None = None
        self._record = RunRecord()
        self._names: list[StepName] = []
        self._broken = False
        self._closed: set[str] | None = None
        """Names of the folds that are closed; None: as a run starts."""
        self._folded: dict[int, list[int]] = {}
        self._detail_at_s = float("-inf")
        # The feed's thread brings records, the kernel's thread folds.
        self._lock = threading.Lock()
        super().__init__()
        self.on_msg(self._handle)
        if record is not None:
            self.update(record, results)

    def update(self, record: RunRecord, results: Mapping[str, object] | None = None) -> None:
        """Show the record as it is now.

        From any thread, with a record that nobody changes meanwhile; at most 10 times a second.
        """
        with self._lock:
            self._record = record
            if record.steps and not self.scene:
                self._names = list(record.steps)
                self._broken = any(map(has_half, _names(record)))
                self._place()
            self.state = self._sendable(summary.state(record, self._folded))
            now_s = time.monotonic()
            often = len(record.steps) <= _SMALL_STEPS or record.status is not RunStatus.RUNNING
            if often or now_s - self._detail_at_s >= _DETAIL_EVERY_S:
                self.detail = self._sendable(summary.detail(record, results or {}))
                self._detail_at_s = now_s

    def begin_again(self, text: str) -> None:
        """Another run of the same workflow is shown from now on: what the page fetched of the last one is forgotten."""
        with self._lock:
            self._detail_at_s = float("-inf")
            self.again = {"count": self.again.get("count", 0) + 1, "text": text}

    def on_cancel(self, callback: Callable[[], object]) -> None:
        """Call it when Cancel is pressed, on the thread on which the kernel handles messages of widgets."""
        self._cancel_callbacks.append(callback)

    def on_open(self, callback: Callable[[str], object]) -> None:
        """Call it with the name of a step when that step is opened, on the same thread."""
        self._open_callbacks.append(callback)

    def fetch_with(self, fetch: Callable[[str], object]) -> None:
        """Where the result of a step comes from, by its name; called on a thread of its own, as it may take long."""
        self._fetch = fetch
        self._can("fetch")

    def rerun_with(self, rerun: Callable[[str], object]) -> None:
        """What runs the workflow again from a step on, by its name; called on a thread of its own."""
        self._rerun = rerun
        self._can("rerun")

    def fold(self, names: set[str], *, closed: bool) -> None:
        """Show these fan-outs as one box each, or their steps; names that mean nothing are left aside."""
        with self._lock:
            if not self.scene:
                return
            known = {fold["name"] for fold in self.scene["folds"]}
            now = {fold["name"] for fold in self.scene["folds"] if fold["closed"]}
            self._closed = now | (names & known) if closed else now - names
            # Together: a state belongs to the boxes of its scene.
            with self.hold_sync():
                self._place()
                self.state = self._sendable(summary.state(self._record, self._folded))

    # --- what the page asks ---

    def _handle(self, _widget: object, content: Any, _buffers: object) -> None:
        match content:
            case {"kind": "cancel"}:
                for callback in self._cancel_callbacks:
                    callback()
            case {"kind": "open", "step": int(index)} if 0 <= index < len(self._names):
                for callback_ in self._open_callbacks:
                    callback_(self._names[index])
            case {"kind": "fold", "names": list(names), "closed": bool(closed)}:
                self.fold({name for name in names if isinstance(name, str)}, closed=closed)
            case {"kind": "ask", "id": int(number), "what": str(what), "step": int(index)} if index in range(
                len(self._names)
            ):
                self._answer_soon(number, what, self._names[index])

    def _answer_soon(self, number: int, what: str, step: StepName) -> None:
        """From a thread of its own, so that neither the kernel nor its messages wait for a node."""

        def answer() -> None:
            self.send({"kind": "answer", "id": number, **_whole(self._answer(what, step))})

        # In the context of the message: by it the kernel knows to which one this is the answer.
        here = contextvars.copy_context().run
        threading.Thread(target=here, args=(answer,), name="mpreg-answer", daemon=True).start()

    def _answer(self, what: str, step: StepName) -> dict[str, Any]:
        try:
            match what:
                case "result" if self._fetch is not None:
                    return {"result": msgspec.to_builtins(rendered(self._fetch(step)))}
                case "alive":
                    return {}
                case "printed":
                    return {"printed": plain(self._record.steps[step].printed)}
                case "rerun" if self._rerun is not None:
                    self._rerun(step)
                    return {}
                case "trace":
                    failure = self._record.steps[step].failure
                    return {"trace": msgspec.to_builtins(trace_parts(plain(failure.traceback) if failure else ""))}
        except Exception as exc:  # noqa: BLE001 - unpickling, a user's function: the page shows it
            return {"error": f"{type(exc).__name__}: {line(str(exc), 500)}"}
        return {"error": f"This view cannot answer {line(what, 40)!r}"}

    # --- helpers ---

    def _place(self) -> None:
        self.scene = self._sendable(picture.picture(self._record, self._workflow, self._closed))
        boxes = enumerate(self.scene["nodes"])
        self._folded = {i: box["steps"] for i, box in boxes if len(box["steps"]) > 1}

    def _sendable(self, told: Any) -> Any:
        """What a message can hold: a name with half a character in it cannot be encoded."""
        return _whole(told) if self._broken else told

    def _can(self, name: str) -> None:
        self.able = [*self.able, name]

    def __repr__(self) -> str:
        return f"RunView({counted(len(self._names), 'step')})"


def _names(record: RunRecord) -> Iterator[str]:
    """All names in it that a person has chosen, and nobody has checked."""
    yield record.name
    yield from (group.name for group in record.groups)
    for step in record.steps.values():
        yield from (step.name, step.plan.function, *step.plan.resources)


def _whole(told: Any) -> Any:
    if isinstance(told, str):
        return whole(told)
    if isinstance(told, dict):
        return {_whole(key): _whole(value) for key, value in told.items()}
    if isinstance(told, (list, tuple)):
        return [_whole(item) for item in told]
    return told
