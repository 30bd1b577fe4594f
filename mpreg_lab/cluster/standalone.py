"""One node that is all of its process: it joins a cluster, or is the first of a new one, until it is told to leave."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from mpreg_lab.client.aio import AsyncClient
from mpreg_lab.errors import ClusterSpecError
from mpreg_lab.node.server import Node
from mpreg_lab.transport.registry import transport_for
from mpreg_lab.types import ClusterId, NodeName, Resource

from .opening import dialler, open_node
from .spec import NodeSpec
from .token_file import write_token

__all__ = ["StandaloneNode", "run_node"]

_LEAVE_S = 3.0


class StandaloneNode(msgspec.Struct, frozen=True):
    """What a person said about the node.

    Attributes:
        name: None: it is given one that nobody else has.
        functions: Each with the resource that it needs, "" if none. Those whose resource the node lacks are left out.
        join: The address of any node of the cluster. None: it begins one of its own.
        token: What the cluster asks for. None: one is made for a new cluster.
        token_file: Where that is written. None: to a file that goes with the node.
    """

    url: str
    slots: int
    name: str | None = None
    resources: frozenset[Resource] = frozenset()
    functions: Sequence[tuple[Callable[..., Any], str]] = ()
    join: str | None = None
    token: str | None = None
    token_file: Path | None = None


async def run_node(wanted: StandaloneNode, say: Callable[[str], object], leave: asyncio.Event) -> None:
    """Run the node until `leave` is set; `say` is given one line when others can reach it.

    Raises:
        ConnectError: If the cluster cannot be reached, or the node's address is taken.
        ClusterError: If the node cannot be had as it is described.
    """
    if wanted.join is not None:
        await _run_joined(wanted, wanted.join, say, leave)
        return
    name = wanted.name or _own_name()
    with TemporaryDirectory(prefix="mpreg-") as folder:
        token, where = wanted.token, "the token that it was given"
        if token is None:
            token, path = secrets.token_urlsafe(32), wanted.token_file or Path(folder) / "token"
            write_token(path, token)
            where = str(path)
        async with _Running(wanted, name, ClusterId(f"{name}-{secrets.token_hex(4)}"), token) as node:
            say(f"node {name!r} began cluster {node.cluster_id!r} at {node.member.url}, token: {where}. Ctrl-C ends it")
            await leave.wait()


async def _run_joined(wanted: StandaloneNode, seed: str, say: Callable[[str], object], leave: asyncio.Event) -> None:
    async with AsyncClient(seed, token=wanted.token) as client:
        described = await client.describe()
    name = wanted.name or _own_name()
    if name in {member.name for member in described.members}:
        raise ClusterSpecError(f"there is a node {name!r} in the cluster already. Give this one another --name")
    async with _Running(wanted, name, described.cluster_id, wanted.token) as node:
        await node.join(await transport_for(seed).connect(seed, token=wanted.token))
        say(
            f"node {name!r} is in cluster {node.cluster_id!r} of {len(node.members)} nodes at {node.member.url}. "
            "Ctrl-C leaves"
        )
        await leave.wait()


class _Running:
    """A node while it runs."""

    def __init__(self, wanted: StandaloneNode, name: str, cluster_id: ClusterId, token: str | None) -> None:
        self._wanted, self._cluster_id, self._token = wanted, cluster_id, token
        self._spec = NodeSpec(NodeName(name), wanted.resources, wanted.slots)

    async def __aenter__(self) -> Node:
        dial = dialler(self._token)
        self._node, self._listener = await open_node(
            self._spec, self._cluster_id, dial, token=self._token, url=self._wanted.url
        )
        for function, resource in self._wanted.functions:
            if not resource or resource in self._spec.resources:
                self._node.register(function, resources=[Resource(resource)] if resource else ())
        return self._node

    async def __aexit__(self, *_: object) -> None:
        await self._listener.close()
        # Others may hang: they find out by themselves that we have left.
        await asyncio.wait((asyncio.ensure_future(self._node.stop()),), timeout=_LEAVE_S)


def _own_name() -> str:
    """Unlike that of any other node, also on other machines, and told apart by a person."""
    return f"{socket.gethostname().partition('.')[0]}-{os.getpid()}"
