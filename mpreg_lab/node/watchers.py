"""Tells those who watch a node how it is: at once, and from then on when that has changed. It never asks on its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from mpreg_lab.protocol.messages import Watch, Watched
from mpreg_lab.transport.peer import Peer

__all__ = ["Watchable", "Watchers"]

EVERY_S = 0.1
_NEWS = ("member", "beliefs", "connected")
"""What is left out of an answer when it is as before; it is most of it."""


class Watchable(Protocol):
    """What they need of the node."""

    @property
    def condition(self) -> Watched:
        """How it is now."""

    @property
    def busy(self) -> bool:
        """Whether it has something to do."""


class Watchers:
    """Those who watch one node. Without any it costs nothing. On the node's loop."""

    def __init__(self, host: Watchable) -> None:
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._told: dict[Peer, Watched] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next_s = 0.0

    @property
    def handlers(self) -> Mapping[type, Callable[[Peer, Any], None]]:
        """What is done with which message."""
        return {Watch: self._on_watch}

    def closed(self, peer: Peer) -> None:
        """A connection has ended."""
        self._told.pop(peer, None)

    def changed(self) -> None:
        """Something may be different now."""
        if self._told and self._timer is None:
            self._timer = self._loop.call_at(max(self._next_s, self._loop.time()), self._tell)

    def _on_watch(self, peer: Peer, message: Watch) -> None:
        now = msgspec.structs.replace(self._host.condition, u=message.u)
        self._told[peer] = now
        peer.post(now)
        self.changed()

    def _tell(self) -> None:
        self._timer = None
        if not self._told:
            return
        self._next_s = self._loop.time() + EVERY_S
        now = self._host.condition
        for peer, before in list(self._told.items()):
            mine = msgspec.structs.replace(now, u=before.u)
            if mine != before:
                self._told[peer] = mine
                same = {name: None for name in _NEWS if getattr(mine, name) == getattr(before, name)}
                peer.post(msgspec.structs.replace(mine, **same))
        # Nobody tells of each step that begins: while there are some, look again.
        if self._host.busy:
            self.changed()
