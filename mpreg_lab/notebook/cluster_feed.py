"""From a cluster to its views and back: statuses as they come, on a thread of the feed's own, and what is to be done.

The thread is not the kernel's, which may be busy with a cell, nor the cluster's, which drawing would hold up. There is
one for each cluster that is shown, in however many cells. What a person wants done has another one, while there is
something to do: a node that starts slowly must not stop the picture.
"""

from __future__ import annotations

import contextvars
import threading
import weakref
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Protocol
from weakref import WeakKeyDictionary

from mpreg_lab.client.status import ClusterStatus
from mpreg_lab.client.views import Watchable
from mpreg_lab.cluster.local import LocalCluster
from mpreg_lab.errors import ClusterStoppedError, MpregError

from .view.cluster_orders import Notice, Order
from .view.format import line

__all__ = ["ClusterScreen", "Showing"]

_SLOW_S = 0.2
_DROPPED = 0.1


class ClusterScreen(Protocol):
    """What is fed: a ClusterView."""

    def update(self, status: ClusterStatus) -> None:
        """Show the cluster as it is now."""

    def tell(self, notice: Notice) -> None:
        """Say what became of what was wanted."""


class _Feed:
    """Keeps the screens of one cluster up to date until it is stopped, or nobody looks. It does not hold it."""

    def __init__(self, cluster: Watchable) -> None:
        self._cluster = weakref.ref(cluster)
        self._news = threading.Condition()
        self._status: ClusterStatus | None = None
        self._showings: tuple[Showing, ...] = ()
        self._due = False
        self._orders: deque[tuple[Showing, int, Order]] = deque()
        self._doing = False
        self._unwatch = cluster.watch(self._hear)

    def add(self, showing: Showing) -> None:
        """One more screen; it is told of the cluster soon."""
        with self._news:
            if not self._showings:
                _begin(self._show_all, "mpreg-cluster-feed")
            self._showings = (*self._showings, showing)
            self._due = self._status is not None
            self._news.notify()

    def remove(self, showing: Showing) -> None:
        """Update a screen no more; with the last one the feed ends."""
        with self._news:
            before, self._showings = self._showings, tuple(other for other in self._showings if other is not showing)
            self._news.notify()
        if before and not self._showings:
            self._forget()
            self._unwatch()

    def order(self, showing: Showing, number: int, order: Order) -> None:
        """Have something done, after what was ordered before; the screen is told."""
        with self._news:
            self._orders.append((showing, number, order))
            if not self._doing:
                self._doing = True
                _begin(self._do_all, "mpreg-cluster-orders")

    # --- on the loop of the cluster ---

    def _hear(self, status: ClusterStatus) -> None:
        with self._news:
            self._status, self._due = status, True
            self._news.notify()

    # --- on threads of the feed ---

    def _show_all(self) -> None:
        while True:
            with self._news:
                # A slow screen skips to the latest.
                self._news.wait_for(lambda: self._due or not self._showings)
                self._due, status = False, self._status
            if status is None or not self._showings:
                return
            if not status.running:
                break
            for showing in self._showings:
                showing.show(status)
        # First: whoever comes from now on is none of ours.
        self._forget()
        with self._news:
            last, self._showings = self._showings, ()
        for showing in last:
            showing.show(status)

    def _forget(self) -> None:
        with _lock:
            cluster = self._cluster()
            if cluster is not None and _feeds.get(cluster) is self:
                del _feeds[cluster]

    def _do_all(self) -> None:
        while (ordered := self._next_order()) is not None:
            showing, number, order = ordered
            showing.tell(Notice(number, _doing(order), busy=True))
            try:
                self._do(order)
            except MpregError as error:
                showing.tell(Notice(number, line(str(error), 600), failed=True))
            else:
                showing.tell(Notice(number, ""))

    def _next_order(self) -> tuple[Showing, int, Order] | None:
        with self._news:
            self._doing = bool(self._orders)
            return self._orders.popleft() if self._doing else None

    def _do(self, order: Order) -> None:
        cluster = self._cluster()
        if not isinstance(cluster, LocalCluster):
            raise ClusterStoppedError("only who has launched a cluster can change it, and this one is gone or foreign")
        act = _DEEDS.get(order.verb)
        if act is None:
            raise MpregError(f"the view of a cluster cannot {order.verb!r}. It can: {', '.join(sorted(_DEEDS))}")
        act(cluster, order)


class Showing:
    """One screen of a cluster, which is kept up to date until the cluster is stopped, or the screen closed.

    Args:
        changed: Called with each status after the screen was, on the same thread.
    """

    def __init__(
        self,
        cluster: Watchable,
        screen: ClusterScreen,
        changed: Callable[[ClusterStatus], object] = lambda _: None,
    ) -> None:
        self._screen = screen
        self._changed = changed
        # By it the kernel knows to which cell the updates belong; 7.0 refuses them without.
        self._cell = contextvars.copy_context()
        self._shown: ClusterStatus | None = None
        self._numbers = count(1)
        self._over = threading.Event()
        with _lock:
            self._feed = _feeds.get(cluster) or _Feed(cluster)
            _feeds[cluster] = self._feed
            self._feed.add(self)

    def order(self, order: Order) -> None:
        """Have something done, after what was ordered before; the screen is told."""
        self._feed.order(self, next(self._numbers), order)

    def wait(self, timeout_s: float) -> bool:
        """Wait until the screen shows that the cluster was stopped; whether it does."""
        return self._over.wait(timeout_s)

    def close(self) -> None:
        """Nobody looks at the screen any more."""
        with _lock:
            self._feed.remove(self)

    # --- for the feed ---

    def show(self, status: ClusterStatus) -> None:
        """Bring the screen up to date, if it is not."""
        if status is self._shown:
            return
        self._shown = status
        cell = self._cell.copy()  # one cannot be entered twice, and notices come on another thread
        cell.run(self._screen.update, status)
        cell.run(self._changed, status)
        if not status.running:
            self._over.set()

    def tell(self, notice: Notice) -> None:
        """Say what became of an order."""
        self._cell.copy().run(self._screen.tell, notice)


_feeds: WeakKeyDictionary[Watchable, _Feed] = WeakKeyDictionary()
_lock = threading.RLock()
"""Of the feeds: one may begin while another one ends."""


def _begin(work: Callable[[], None], name: str) -> None:
    # Not in the context of a cell: each screen is updated in that of its own.
    threading.Thread(target=contextvars.Context().run, args=(work,), name=name, daemon=True).start()


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
