"""Which node of a cluster the client of this process speaks to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mpreg_lab.errors import ConnectError
from mpreg_lab.transport.base import Connection

from .base import Handle, Launcher

__all__ = ["Entry"]


class Entry:
    """The first node that answers; when that one is gone, the next.

    It does not know the cluster: a client that holds it must not keep the cluster alive.

    Args:
        handles: The nodes of the cluster, now and whenever somebody connects.

    Attributes:
        handle: The node that was connected to last.
    """

    def __init__(self, launcher: Launcher[Any], handles: Sequence[Handle]) -> None:
        self._launcher = launcher
        self._handles = handles
        self.handle: Handle | None = None

    async def again(self) -> Connection:
        """Connect to the node that was connected to last.

        Raises:
            ConnectError: If it does not answer.
        """
        assert self.handle is not None
        return await self._launcher.connect(self.handle)

    def ended(self) -> bool:
        """Whether the node that was connected to last is no more."""
        return self.handle is not None and not self.handle.alive

    async def dial(self) -> Connection:
        """Connect.

        Raises:
            ConnectError: If no node answers.
        """
        for handle in self._handles:
            if not handle.alive:
                continue
            try:
                connection = await self._launcher.connect(handle)
            except ConnectError:
                continue
            self.handle = handle
            return connection
        names = ", ".join(handle.spec.name for handle in self._handles)
        raise ConnectError(f"no node of the cluster answers: {names}. Bring one back: cluster.restart('name')")
