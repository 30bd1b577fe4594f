"""One node that is all of its process: it joins a cluster, or is the first of a new one, until it is told to leave."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import msgspec

from mpreg_lab.client.aio import AsyncClient
from mpreg_lab.client.line import pauses
from mpreg_lab.errors import ClusterSpecError, ConnectError, ConnectionLostError
from mpreg_lab.node.server import Node
from mpreg_lab.protocol.messages import Described
from mpreg_lab.transport.registry import transport_for
from mpreg_lab.transport.tls import Tls
from mpreg_lab.transport.tokens import TokenFile, token_for
from mpreg_lab.types import ClusterId, NodeName, Resource, Secret

from .opening import cluster_token, dialler, open_node
from .spec import NodeSpec
from .token_file import write_token

__all__ = ["StandaloneNode", "run_node"]

T = TypeVar("T")

_LEAVE_S = 3.0
_TOKEN_S = 2.0


class StandaloneNode(msgspec.Struct, frozen=True):
    """What a person said about the node.

    Attributes:
        url: Where it listens.
        name: None: it is given one that nobody else has.
        functions: Each with the resource that it needs, "" if none. Those whose resource the node lacks are left out.
        join: The address of any node of the cluster, which may come up later. None: it begins one of its own.
        token: What the cluster asks for. None: that of a cluster of the same user on this machine is found by the
            address; a new cluster gets one.
        token_file: Where the token of a new cluster is written. None: to a file that goes with the node.
        tls: The certificate that it shows, and whose it believes.
    """

    url: str
    slots: int
    name: str | None = None
    resources: frozenset[Resource] = frozenset()
    functions: Sequence[tuple[Callable[..., Any], str]] = ()
    join: str | None = None
    token: Secret | None = None
    token_file: Path | None = None
    tls: Tls | None = None


async def run_node(wanted: StandaloneNode, say: Callable[[str], object], leave: asyncio.Event) -> None:
    """Run the node until `leave` is set.

    Args:
        say: Given a line when others can reach the node, and one before if it has to wait for its seed.

    Raises:
        ConnectError: If the cluster refuses us, or the node's address is taken.
        ClusterError: If the node cannot be had as it is described.
    """
    name = NodeName(wanted.name or _own_name())
    if wanted.join is None:
        await _begin(wanted, name, say, leave)
    else:
        await _join(wanted, name, wanted.join, say, leave)


async def _begin(wanted: StandaloneNode, name: NodeName, say: Callable[[str], object], leave: asyncio.Event) -> None:
    token = cluster_token(wanted.token)
    with ExitStack() as files:
        path = wanted.token_file
        if path is None:
            path = Path(files.enter_context(TemporaryDirectory(prefix="mpreg-"))) / "token"
        write_token(path, token)
        cluster_id = ClusterId(f"{name}-{secrets.token_hex(4)}")
        async with _open(wanted, name, cluster_id, token) as node:
            url = node.member.url
            say(
                f"node {name!r} began cluster {cluster_id!r}. Ctrl-C ends it. Its token is in {path} and it is at {url}"
            )
            await leave.wait()


async def _join(
    wanted: StandaloneNode, name: NodeName, seed: str, say: Callable[[str], object], leave: asyncio.Event
) -> None:
    found = await _unless(leave, _find(wanted, seed, say))
    if found is None:
        return
    described, token = found
    if token is None:
        raise ClusterSpecError("a node needs the token of its cluster, in MPREG_TOKEN or a file: --token-file FILE")
    if name in {member.name for member in described.members}:
        raise ClusterSpecError(f"there is a node {name!r} in the cluster already. Give this one another --name")
    async with _open(wanted, name, described.cluster_id, token) as node:
        await node.join(await transport_for(seed).connect(seed, token=token, tls=wanted.tls))
        say(
            f"node {name!r} is in cluster {node.cluster_id!r} of {len(node.members)} nodes at {node.member.url}. "
            "Ctrl-C leaves"
        )
        await leave.wait()


async def _unless(leave: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """What the work gives; None if we are to leave before it is done."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(leave.wait())
    await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
    leaving.cancel()
    if working.done():
        return working.result()
    working.cancel()
    await asyncio.wait((working,))
    return None


async def _find(wanted: StandaloneNode, seed: str, say: Callable[[str], object]) -> tuple[Described, Secret | None]:
    """The cluster at that address and its token. A node may come before its seed: then it waits, and says so once.

    Raises:
        ConnectError: If waiting is of no use: the address makes no sense, or somebody is there and refuses us.
    """
    waits, refused_s, waiting = False, 0.0, pauses()
    while True:
        token = token_for(seed) if wanted.token is None else wanted.token
        try:
            async with AsyncClient(seed, token=token, tls=wanted.tls) as client:
                return await client.describe(), token
        except (ConnectError, ConnectionLostError) as error:
            pause_s = next(waiting)
            if _may_come(error):
                if not waits:
                    say(f"{error}. Waiting until it is up; Ctrl-C ends that")
                waits = True
            elif waits and token is None and refused_s < _TOKEN_S:
                # A seed that has just begun answers some moments before its token can be found.
                refused_s += pause_s
            else:
                raise
        await asyncio.sleep(pause_s)


def _may_come(error: ConnectError | ConnectionLostError) -> bool:
    """Whether somebody may answer there later: nobody does now, and nobody has refused us."""
    mistrusted = isinstance(error.__cause__, ssl.SSLError)
    return isinstance(error, ConnectionLostError) or (isinstance(error.__cause__, OSError) and not mistrusted)


@asynccontextmanager
async def _open(wanted: StandaloneNode, name: NodeName, cluster_id: ClusterId, token: Secret) -> AsyncIterator[Node]:
    """The node, with its functions, while others can reach it."""
    spec = NodeSpec(name, wanted.resources, wanted.slots)
    dial = dialler(token, wanted.tls)
    node, listener = await open_node(spec, cluster_id, dial, token=token, tls=wanted.tls, url=wanted.url)
    known = TokenFile(cluster_id, token)
    try:
        for function, resource in wanted.functions:
            if not resource or resource in wanted.resources:
                node.register(function, resources=[Resource(resource)] if resource else ())
        known.write([listener.url])
        yield node
    finally:
        known.remove()
        await listener.close()
        # Others may hang: they find out by themselves that we have left.
        await asyncio.wait((asyncio.ensure_future(node.stop()),), timeout=_LEAVE_S)


def _own_name() -> str:
    """Unlike that of any other node, also on other machines, and such that a person can tell them apart."""
    return f"{socket.gethostname().partition('.')[0]}-{os.getpid()}"
