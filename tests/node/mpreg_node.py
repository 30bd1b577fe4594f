"""What a test has in place of a node of MPREG: real websockets, frames written by hand, and all that comes is kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve


class MpregNode:
    """Answers HELLO with ADDED and `internal-rpc` with what its functions return; says nothing by itself."""

    def __init__(self, cluster_id: str = "c1", functions: dict[str, Callable[..., Any]] | None = None) -> None:
        self.cluster_id = cluster_id
        self.functions = functions or {}
        self.frames: list[dict[str, Any]] = []
        self.url = ""
        self._changed = asyncio.Condition()
        self._accepted: set[ServerConnection] = set()
        self._dialled: list[ClientConnection] = []
        self._server: Server

    async def __aenter__(self) -> Self:
        await self.listen(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.die()

    async def listen(self, port: int) -> None:
        self._server = await serve(self._serve, "127.0.0.1", port)
        self.url = f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def die(self) -> None:
        self._server.close(close_connections=False)
        for connection in (*self._accepted, *self._dialled):
            connection.transport.abort()
        await asyncio.gather(*(connection.wait_closed() for connection in (*self._accepted, *self._dialled)))
        self._dialled.clear()

    async def hello(
        self, url: str, functions: list[str], resources: list[str], *, more: tuple[list[str], list[str]] | None = None
    ) -> dict[str, Any]:
        """Say HELLO on a connection that stays open, and perhaps once more; the last reply."""
        connection = await connect(url)
        self._dialled.append(connection)
        reply: dict[str, Any] = {}
        for funs, locs in [(functions, resources), *([more] if more else [])]:
            greeting = {
                "what": "HELLO",
                "funs": funs,
                "locs": locs,
                "cluster_id": self.cluster_id,
                "advertised_urls": [self.url],
            }
            reply = await ask(connection, {"role": "server", "server": greeting, "u": "h"})
        return reply

    async def say(self, frame: dict[str, Any]) -> dict[str, Any]:
        """On the first connection on which it said HELLO."""
        return await ask(self._dialled[0], frame)

    async def heard(self, meant: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first frame that is meant; waits for it."""
        async with self._changed:
            await self._changed.wait_for(lambda: any(map(meant, self.frames)))
        return next(frame for frame in self.frames if meant(frame))

    async def _serve(self, connection: ServerConnection) -> None:
        self._accepted.add(connection)
        try:
            async for raw in connection:
                frame = json.loads(raw)
                async with self._changed:
                    self.frames.append(frame)
                    self._changed.notify_all()
                reply = self._reply(frame)
                if reply is None:
                    connection.transport.abort()
                elif reply:
                    await connection.send(json.dumps(reply).encode())
        finally:
            self._accepted.discard(connection)

    def _reply(self, frame: dict[str, Any]) -> dict[str, Any] | None:
        """None: cut the connection, as MPREG does when a function raises."""
        if frame["role"] == "internal-rpc":
            try:
                answer = self.functions[frame["command"]](*frame["args"], **frame["kwargs"])
            except ValueError:
                return None
            return {"role": "internal-answer", "answer": answer, "u": frame["u"]}
        if frame["role"] == "server" and frame["server"].get("cluster_id", self.cluster_id) != self.cluster_id:
            error = {"code": 1005, "message": "Cluster ID mismatch", "details": None}
            return {"r": None, "error": error, "u": frame["u"]}
        return {"r": "ADDED", "error": None, "u": frame["u"]} if frame["role"] == "server" else {}


async def ask(connection: ClientConnection, frame: dict[str, Any]) -> dict[str, Any]:
    """Send a frame in binary, as MPREG's nodes do, and wait for the next one."""
    await connection.send(json.dumps(frame).encode())
    reply: dict[str, Any] = json.loads(await connection.recv())
    return reply


def is_hello(functions: list[str], resources: list[str]) -> Callable[[dict[str, Any]], bool]:
    """Whether a frame is a HELLO with these functions and resources."""

    def meant(frame: dict[str, Any]) -> bool:
        said = frame.get("server", {})
        return said.get("what") == "HELLO" and (said["funs"], said["locs"]) == (functions, resources)

    return meant
