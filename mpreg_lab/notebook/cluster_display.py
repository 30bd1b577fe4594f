"""What a cell shows of a cluster: the live view, and below it, for a notebook without kernel, the same as HTML."""

from __future__ import annotations

from mpreg_lab.client.status import ClusterStatus
from mpreg_lab.client.views import Watchable

from .twin import Twin
from .view.cluster_static import cluster_html, cluster_text

__all__ = ["ClusterDisplay"]


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
        status = self._cluster.status()
        twin = _Twin()
        if status.running:
            self._show_live(twin)
        twin.show(status)

    def _show_live(self, twin: _Twin) -> None:
        from IPython.display import display

        from .cluster_feed import ClusterFeed
        from .widgets.cluster_view import ClusterView

        view = ClusterView()
        feed = ClusterFeed(self._cluster, view, twin.update)
        view.on_order(feed.order)
        # No text: what a notebook without the widget shows stands in the output below this one.
        bundle, metadata = view._repr_mimebundle_()  # type: ignore[misc]  # anywidget has no hints here
        display(bundle | {"text/plain": ""}, metadata=metadata, raw=True)  # type: ignore[no-untyped-call]

    def __repr__(self) -> str:
        return cluster_text(self._cluster.status())

    def _repr_html_(self) -> str:
        return cluster_html(self._cluster.status())


class _Twin:
    """The output that is saved. It is brought up to date when something in it has changed, which load does not."""

    def __init__(self) -> None:
        self._output = Twin()
        self._at_rest: ClusterStatus | None = None

    def show(self, status: ClusterStatus) -> None:
        """Write it below the live view."""
        self._output.show(_bundle(status))

    def update(self, status: ClusterStatus) -> None:
        """Write it anew, if it is."""
        at_rest = status.at_rest()
        if self._output.there and at_rest != self._at_rest:
            self._at_rest = at_rest
            self._output.update(_bundle(status))


def _bundle(status: ClusterStatus) -> dict[str, str]:
    return {"text/html": cluster_html(status), "text/plain": cluster_text(status)}
