"""The live view of one run in a cell. It is given records and draws; it knows no client."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from mpreg_lab.notebook.view import picture, summary
from mpreg_lab.notebook.view.format import counted
from mpreg_lab.types import StepName
from mpreg_lab.workflow.record import RunRecord, RunStatus

__all__ = ["RunView"]

_HERE = Path(__file__).parent
_SMALL_STEPS = 100
"""Up to so many steps the details are as cheap as the state, and sent as often."""
_DETAIL_EVERY_S = 0.5


class RunView(anywidget.AnyWidget):
    """Graph, results, timeline, latency and steps of one run.

    Python sets the traits and JavaScript draws them; JavaScript speaks to Python in custom messages alone, because an
    awaited cell on ipykernel 7.4 gets only the first change of a trait.
    """

    _esm = _HERE / "run_view.js"
    _css = _HERE / "run_view.css"

    scene = traitlets.Dict().tag(sync=True)
    """A Picture: where everything is; set once, when the steps are known."""
    state = traitlets.Dict().tag(sync=True)
    """A RunState."""
    detail = traitlets.Dict().tag(sync=True)
    """A RunDetail."""

    def __init__(self, record: RunRecord | None = None, results: Mapping[str, object] | None = None) -> None:
        self._cancel_callbacks: list[Callable[[], object]] = []
        self._open_callbacks: list[Callable[[str], object]] = []
        self._names: list[StepName] = []
        self._folded: dict[int, list[int]] = {}
        self._detail_at_s = float("-inf")
        super().__init__()
        self.on_msg(self._handle)
        if record is not None:
            self.update(record, results)

    def update(self, record: RunRecord, results: Mapping[str, object] | None = None) -> None:
        """Show the record as it is now.

        From any thread, but one at a time, and with a record that nobody changes meanwhile; at most 10 times a second.
        """
        if record.steps and not self.scene:
            self._names = list(record.steps)
            self.scene = picture.picture(record)
            boxes = enumerate(self.scene["nodes"])
            self._folded = {i: box["steps"] for i, box in boxes if len(box["steps"]) > 1}
        self.state = summary.state(record, self._folded)
        now_s = time.monotonic()
        often = len(record.steps) <= _SMALL_STEPS or record.status is not RunStatus.RUNNING
        if often or now_s - self._detail_at_s >= _DETAIL_EVERY_S:
            self.detail = summary.detail(record, results or {})
            self._detail_at_s = now_s

    def on_cancel(self, callback: Callable[[], object]) -> None:
        """Call it when Cancel is pressed, on the thread on which the kernel handles messages of widgets."""
        self._cancel_callbacks.append(callback)

    def on_open(self, callback: Callable[[str], object]) -> None:
        """Call it with the name of a step when that step is opened, on the same thread."""
        self._open_callbacks.append(callback)

    def _handle(self, _widget: object, content: Any, _buffers: object) -> None:
        match content:
            case {"kind": "cancel"}:
                for callback in self._cancel_callbacks:
                    callback()
            case {"kind": "open", "step": int(index)} if 0 <= index < len(self._names):
                for callback_ in self._open_callbacks:
                    callback_(self._names[index])

    def __repr__(self) -> str:
        return f"RunView({counted(len(self._names), 'step')})"
