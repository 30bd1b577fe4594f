"""What a transport is: Connection, Listener, Transport. transport/registry.py finds the one for a URL."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable

from mpreg_lab.protocol.messages import Message
from mpreg_lab.types import Frame

from .tls import TlsLike

__all__ = ["MAX_FRAME_BYTES", "OPEN_TIMEOUT_S", "Accept", "Connection", "Listener", "Transport"]

MAX_FRAME_BYTES = 1 << 30
OPEN_TIMEOUT_S = 2.0


class Connection(ABC):
    """One end of a two-way stream of frames that come whole and in order. Belongs to the loop that it was made on."""

    carries_objects: bool = False
    """Whether `send` takes messages themselves, by reference, and no frames."""

    trusted: bool = True
    """Whether the other end has shown the token, or was shown it: what others send is never unpickled."""

    peer_name: str
    """The other end, for people."""

    max_frame_bytes: int = MAX_FRAME_BYTES
    """What a frame may have, also one that goes in chunks."""

    @abstractmethod
    def send(self, frame: Frame | Message) -> None:
        """Send a frame; never waits. Frames of one tick go out together. After the end, frames are dropped.

        Raises:
            UnserialisableResultError: If it is longer than a frame may be.
        """

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[Frame | Message]:
        """The frames of the other end, until one of the two closes the connection. For one reader.

        Raises:
            ConnectionLostError: If it ends in another way.
        """

    @property
    @abstractmethod
    def pending_bytes(self) -> int:
        """What was sent and has not left this process yet."""

    async def drained(self) -> None:
        """Wait until most of what was sent has left this process, or the connection has ended; let others work."""
        await asyncio.sleep(0)

    @abstractmethod
    async def close(self) -> None:
        """Send what is pending, end the connection, and wait until it has ended."""

    @abstractmethod
    def abort(self) -> None:
        """End the connection now; what is pending is lost."""


Accept = Callable[[Connection], None]
"""Called on the loop for each connection that a listener takes."""


class Listener(ABC):
    """A place that others connect to."""

    url: str
    """Complete: it says which port was taken."""

    @abstractmethod
    async def serve(self, *, when_asked: bool = False) -> None:
        """Begin to take connections. Who connects earlier waits.

        Args:
            when_asked: Do nothing until somebody connects: a door that nobody uses costs nothing.
        """

    @abstractmethod
    async def close(self) -> None:
        """Take no more connections; those that are open live on."""


class Transport(ABC):
    """A way for frames to travel."""

    @abstractmethod
    async def connect(
        self,
        url: str,
        *,
        token: str | None = None,
        tls: TlsLike | None = None,
        timeout_s: float = OPEN_TIMEOUT_S,
        max_frame_bytes: int = MAX_FRAME_BYTES,
    ) -> Connection:
        """Connect to a listener.

        Args:
            tls: Whose certificates are believed, where the connection is encrypted. None: the system's authorities.

        Raises:
            ConnectError: If nobody answers there, or we are refused, or refuse its certificate.
        """

    @abstractmethod
    def listen(
        self,
        url: str,
        accept: Accept,
        *,
        token: str | None = None,
        guests: bool = False,
        tls: TlsLike | None = None,
        max_frame_bytes: int = MAX_FRAME_BYTES,
    ) -> Listener:
        """Take the address at once, so that `url` is known; nobody is answered before `serve`.

        Args:
            token: What who connects must show. None: nobody is asked, and no connection is trusted.
            guests: Whether who shows nothing comes in too; such a connection is not trusted.
            tls: The certificate that is shown, where connections are encrypted.

        Raises:
            ConnectError: If the address is taken.
            ClusterSpecError: If it is one that we do not listen on, or not in that way.
        """
