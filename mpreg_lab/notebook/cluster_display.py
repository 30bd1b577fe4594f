"""What a cell shows of a cluster: the live view, and below it, for a notebook without kernel, the same as HTML."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from mpreg_lab.client.status import ClusterStatus, NodeState
from mpreg_lab.client.views import Watchable
from mpreg_lab.types import NodeName

from .view.cluster_static import cluster_html, cluster_text

__all__ = ["ClusterDisplay", "Twin"]

_PATIENCE = 4
"""So often a status is asked for, each of which waits up to a second; on a busy machine one second is too short."""


class ClusterDisplay:
    """What `cluster.view()` gives: as the last expression of a cell it shows the cluster."""

    def __init__(self, cluster: Watchable) -> None:
        self._cluster = cluster

    def _ipython_display_(self) -> None:
        from IPython.core.getipython import get_ipython
        from IPython.display import display

        shell = get_ipython()
        if getattr(shell, "kernel", None) is None:
            display({"text/plain": str(self._cluster)}, raw=True)  # type: ignore[no-untyped-call]
            return
        status = _heard(self._cluster)
        twin = Twin()
        if status.running:
            self._show_live(twin)
        twin.show(status)

    def _show_live(self, twin: Twin) -> None:
        from IPython.display import display

        from .cluster_feed import Showing
        from .widgets.cluster_view import ClusterView

        view = ClusterView()
        showing = Showing(self._cluster, view, twin.update)
        view.on_order(showing.order)
        view.on_close(showing.close)
        # No text: what a notebook without the widget shows stands in the output below this one.
        bundle, metadata = view._repr_mimebundle_()  # type: ignore[misc]  # anywidget has no hints here
        display(bundle | {"text/plain": ""}, metadata=metadata, raw=True)  # type: ignore[no-untyped-call]

    def __repr__(self) -> str:
        return cluster_text(self._cluster.status())

    def _repr_html_(self) -> str:
        return cluster_html(self._cluster.status())


class Twin:
    """The output that is saved. It is brought up to date when something in it has changed, which load does not.

    It is shown by the cell, and updated by the thread of the feed.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._early: ClusterStatus | None = None
        self._handle: Any = None
        self._shown: dict[str, str] = {}
        self._at_rest: ClusterStatus | None = None
        self._states: Mapping[NodeName, NodeState] = {}

    def show(self, status: ClusterStatus) -> None:
        """Write it below the live view."""
        from IPython.display import display

        with self._lock:
            self._shown, self._states = _bundle(status), status.states
            self._handle = display(self._shown, raw=True, display_id=True)  # type: ignore[no-untyped-call]
            if self._early is not None:
                self.update(self._early)

    def update(self, status: ClusterStatus) -> None:
        """Write it anew, if it is."""
        with self._lock:
            if self._handle is None:
                # The feed was faster than the cell. If nothing changes any more, there comes no other status.
                self._early = status
                return
            at_rest = status.at_rest()
            if at_rest == self._at_rest or _forgetful(status, self._states):
                return
            self._at_rest, self._states = at_rest, status.states
            bundle = _bundle(status)
            if bundle != self._shown:
                self._shown = bundle
                self._handle.update(bundle, raw=True)


def _heard(cluster: Watchable) -> ClusterStatus:
    """Its status, once nodes that were just launched had the time to say how they are; the saved picture is of that."""
    for _ in range(_PATIENCE):
        status = cluster.status()
        if NodeState.SILENT not in status.states.values():
            break
    return status


def _forgetful(status: ClusterStatus, before: Mapping[NodeName, NodeState]) -> bool:
    """Whether it knows less than was known: who has just begun to watch has not heard of anybody yet.

    What follows in a moment may come too late for a notebook that is run without a person: its cell has ended then.
    """
    return any(state is NodeState.SILENT and before.get(name) is NodeState.UP for name, state in status.states.items())


def _bundle(status: ClusterStatus) -> dict[str, str]:
    return {"text/html": cluster_html(status), "text/plain": cluster_text(status)}
