"""From a cluster to its view and back: statuses as they come, on a thread of the feed's own, and what is to be done.

The thread is not the kernel's, which may be busy with a cell, nor the cluster's, which drawing would hold up. What a
person wants done has another one: a node that starts slowly must not stop the picture.
"""

from __future__ import annotations

import contextvars
import threading
import weakref
from collections.abc import Callable
from itertools import count
from queue import SimpleQueue
from typing import Protocol

from mpreg_lab.client.status import ClusterStatus
from mpreg_lab.client.views import Watchable
from mpreg_lab.cluster.local import LocalCluster
from mpreg_lab.errors import ClusterStoppedError, MpregError

from .view.cluster_orders import Notice, Order
from .view.format import line

__all__ = ["ClusterFeed", "ClusterScreen"]

_SLOW_S = 0.2
_DROPPED = 0.1


class ClusterScreen(Protocol):
    """What is fed: a ClusterView."""

    def update(self, status: ClusterStatus) -> None:
        """Show the cluster as it is now."""

    def tell(self, notice: Notice) -> None:
        """Say what became of what was wanted."""


class ClusterFeed:
    """Keeps a screen up to date until the cluster is stopped. It does not hold the cluster.

    Args:
        changed: Called with each status after the screen was, on the same thread.
    """

    def __init__(
        self,
        cluster: Watchable,
        screen: ClusterScreen,
        changed: Callable[[ClusterStatus], object] = lambda _: None,
    ) -> None:
        self._cluster = weakref.ref(cluster)
        self._screen = screen
        self._changed = changed
        self._statuses: SimpleQueue[ClusterStatus] = SimpleQueue()
        self._orders: SimpleQueue[tuple[int, Order] | None] = SimpleQueue()
        self._numbers = count(1)
        self._over = threading.Event()
        self._start(self._show, "mpreg-cluster-feed")
        self._start(self._do_all, "mpreg-cluster-orders")
        cluster.watch(self._statuses.put)

    def order(self, order: Order) -> None:
        """Have something done, after what was ordered before; the screen is told."""
        self._orders.put((next(self._numbers), order))

    def wait(self, timeout_s: float) -> bool:
        """Wait until the screen shows that the cluster was stopped; whether it does."""
        return self._over.wait(timeout_s)

    # --- on threads of the feed ---

    def _start(self, work: Callable[[], None], name: str) -> None:
        # In the context of the cell: by it the kernel knows to which cell the updates belong; 7.0 refuses them without.
        run = contextvars.copy_context().run
        threading.Thread(target=run, args=(work,), name=name, daemon=True).start()

    def _show(self) -> None:
        status = self._statuses.get()
        while status.running:
            # A slow screen skips to the latest.
            if self._statuses.empty():
                self._screen.update(status)
                self._changed(status)
            status = self._statuses.get()
        self._screen.update(status)
        self._changed(status)
        self._orders.put(None)
        self._over.set()

    def _do_all(self) -> None:
        while (item := self._orders.get()) is not None:
            number, order = item
            self._screen.tell(Notice(number, _doing(order), busy=True))
            try:
                self._do(order)
            except MpregError as error:
                self._screen.tell(Notice(number, line(str(error), 600), failed=True))
            else:
                self._screen.tell(Notice(number, ""))

    def _do(self, order: Order) -> None:
        cluster = self._cluster()
        if not isinstance(cluster, LocalCluster):
            raise ClusterStoppedError("only who has launched a cluster can change it, and this one is gone or foreign")
        act = _DEEDS.get(order.verb)
        if act is None:
            raise MpregError(f"the view of a cluster cannot {order.verb!r}. It can: {', '.join(sorted(_DEEDS))}")
        act(cluster, order)


_DEEDS: dict[str, Callable[[LocalCluster, Order], None]] = {
    "add": lambda cluster, order: cluster.add(order.node, order.resources),
    "kill": lambda cluster, order: cluster.faults.kill(order.node),
    "stop": lambda cluster, order: cluster.stop_node(order.node),
    "restart": lambda cluster, order: cluster.faults.restart(order.node),
    "pause": lambda cluster, order: cluster.faults.pause(order.node),
    "resume": lambda cluster, order: cluster.faults.resume(order.node),
    "slow": lambda cluster, order: cluster.faults.slow(order.node, _SLOW_S),
    "quick": lambda cluster, order: cluster.faults.slow(order.node, 0.0),
    "cut": lambda cluster, order: cluster.faults.cut(order.node, order.other),
    "cut_silently": lambda cluster, order: cluster.faults.cut(order.node, order.other, silent=True),
    "delay": lambda cluster, order: cluster.faults.delay(order.node, order.other, _SLOW_S),
    "drop": lambda cluster, order: cluster.faults.drop(order.node, order.other, _DROPPED),
    "heal": lambda cluster, order: cluster.faults.heal(order.node, order.other),
    "heal_all": lambda cluster, order: cluster.faults.heal(),
}
"""The same verbs as in a cell: what a click does, a line of Python can."""


def _doing(order: Order) -> str:
    ends = " to ".join(line(end) for end in (order.node, order.other) if end)
    return f"{order.verb.replace('_', ' ')} {ends}…".replace("  ", " ")
