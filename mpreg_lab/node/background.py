"""What a node does in the background: work that nobody waits for, and requests whose replies come later."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from mpreg_lab.errors import MpregError
from mpreg_lab.protocol.messages import Message, Refused
from mpreg_lab.protocol.payload import Payload
from mpreg_lab.transport.peer import Peer

__all__ = ["Background"]


class Background:
    """The tasks of one node, on its loop; they end with it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Awaitable[None]) -> None:
        """Have something done."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def reply(self, peer: Peer, u: str, work: Awaitable[Message]) -> None:
        """Have a request done and answered, whatever becomes of it."""

        async def reply() -> None:
            try:
                peer.post(await work)
            except MpregError as error:
                peer.post(Refused(u, Payload.of_error(error)))
            except Exception as exc:  # noqa: BLE001 - as in Peer: a mistake must not leave a request without its reply
                peer.post(Refused(u, Payload.of_error(exc)))
                context = {"message": f"request {u!r} failed", "exception": exc}
                asyncio.get_running_loop().call_exception_handler(context)

        self.spawn(reply())

    def cancel(self) -> None:
        """End all of it; `ended` waits for that."""
        for task in self._tasks:
            task.cancel()

    async def ended(self) -> None:
        """Wait until all tasks have ended."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
