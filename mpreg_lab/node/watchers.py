"""Tells those who watch a node how it is: at once, and from then on when that has changed. It never asks on its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from mpreg_lab.protocol.messages import Watched
from mpreg_lab.transport.peer import Peer

__all__ = ["Watchers"]

EVERY_S = 0.1
_NEWS = ("member", "beliefs", "connected")
"""What is left out of an answer when it is as before; it is most of it."""


class Watchers:
    """Those who watch one node. Without any it costs nothing. Used on one loop.

    Args:
        condition: How the node is now.
        busy: Whether steps are under way: only then it looks again by itself.
    """

    def __init__(self, condition: Callable[[], Watched], busy: Callable[[], bool]) -> None:
        self._condition = condition
        self._busy = busy
        self._loop = asyncio.get_running_loop()
        self._told: dict[Peer, Watched] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next_s = 0.0

    def add(self, peer: Peer, u: str) -> None:
        """Tell the other end of a connection until that ends."""
        now = msgspec.structs.replace(self._condition(), u=u)
        self._told[peer] = now
        peer.post(now)
        self.changed()

    def drop(self, peer: Peer) -> None:
        """That connection has ended."""
        self._told.pop(peer, None)

    def changed(self) -> None:
        """Something may be different now."""
        if self._told and self._timer is None:
            self._timer = self._loop.call_at(max(self._next_s, self._loop.time()), self._tell)

    def _tell(self) -> None:
        self._timer = None
        if not self._told:
            return
        self._next_s = self._loop.time() + EVERY_S
        now = self._condition()
        for peer, before in list(self._told.items()):
            mine = msgspec.structs.replace(now, u=before.u)
            if mine != before:
                self._told[peer] = mine
                same = {name: None for name in _NEWS if getattr(mine, name) == getattr(before, name)}
                peer.post(msgspec.structs.replace(mine, **same))
        if self._busy():
            self.changed()
