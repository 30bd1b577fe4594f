"""The live view of a cluster in a cell. It is given statuses and draws; what a person wants done it only passes on."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import msgspec
import traitlets

from mpreg_lab.client.status import ClusterStatus
from mpreg_lab.notebook.view import cluster_picture
from mpreg_lab.notebook.view.cluster_orders import Notice, Order

from .sources import script

__all__ = ["ClusterView"]

_HERE = Path(__file__).parent


def _style() -> str:
    """What the view of a run looks like, for the view of a cluster, and what this one has besides."""
    shared = (_HERE / "run_view.css").read_text(encoding="utf-8")
    return re.sub(r"\.mpreg-run(?![\w-])", ".mpreg-cluster", shared) + (_HERE / "cluster_view.css").read_text(
        encoding="utf-8"
    )


class ClusterView(anywidget.AnyWidget):
    """Nodes and links of one cluster, with a menu for each.

    Python sets the traits and JavaScript draws them; JavaScript speaks to Python in custom messages alone. A trait is
    sent only if it has changed, so that a step that begins does not send all functions again.
    """

    _esm = script("cluster_view.js")
    _css = _style()

    scene = traitlets.Dict().tag(sync=True)
    """A ClusterPicture."""
    state = traitlets.Dict().tag(sync=True)
    """A ClusterState."""
    links = traitlets.Dict().tag(sync=True)
    """Links."""
    detail = traitlets.Dict().tag(sync=True)
    """A ClusterDetail."""
    notice = traitlets.Dict().tag(sync=True)
    """A Notice: what became of what was wanted last."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[Order], object]] = []
        self._at_rest: ClusterStatus | None = None
        self._text = "no status yet"
        super().__init__()
        self.on_msg(self._handle)

    def update(self, status: ClusterStatus) -> None:
        """Show the cluster as it is now. From any thread, but one at a time."""
        at_rest = status.at_rest()
        with self.hold_sync():
            if at_rest != self._at_rest:
                self._at_rest = at_rest
                self.scene = cluster_picture.picture(status)
                self.detail = cluster_picture.detail(status)
                self.links = cluster_picture.link_picture(status)
            self.state = cluster_picture.state(status)
        self._text = self.state["headline"]

    def tell(self, notice: Notice) -> None:
        """Say what became of what was wanted. From any thread, but one at a time."""
        self.notice = msgspec.to_builtins(notice)

    def on_order(self, callback: Callable[[Order], object]) -> None:
        """Call it when somebody wants something done, on the thread on which the kernel handles messages of widgets."""
        self._callbacks.append(callback)

    def on_close(self, callback: Callable[[], object]) -> None:
        """Call it when the view is closed: it will not be seen again."""
        self.observe(lambda change: callback() if change["new"] is None else None, "comm")

    def _handle(self, _widget: object, content: Any, _buffers: object) -> None:
        try:
            order = msgspec.convert(content, Order)
        except msgspec.ValidationError:
            return  # No page of ours says such a thing, and nobody waits for an answer.
        for callback in self._callbacks:
            callback(order)

    def __repr__(self) -> str:
        return f"ClusterView({self._text})"
