"""A node with an open door: what every way of launching one has in common."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from mpreg_lab.errors import ClusterSpecError, ConnectError
from mpreg_lab.node.links import Dial
from mpreg_lab.node.server import Node
from mpreg_lab.protocol.messages import Member
from mpreg_lab.transport.base import Connection, Listener
from mpreg_lab.transport.door import Door
from mpreg_lab.transport.registry import transport_for
from mpreg_lab.transport.tls import TlsLike, server_context
from mpreg_lab.types import ClusterId, Secret

from .spec import NodeSpec

__all__ = ["ANY_PORT", "Doorway", "cluster_token", "dialler", "open_node"]

ANY_PORT = "ws://127.0.0.1:0"


@dataclass(frozen=True)
class Doorway:
    """How the nodes of a cluster are reached.

    Attributes:
        token: What they show each other, and what clients show.
        guests: Whether who shows nothing comes in too, and speaks JSON.
        host: The name or address under which others reach this machine.

    Raises:
        ClusterSpecError: If other machines could come in without a token or encryption, or the certificate is no good.
    """

    token: Secret
    guests: bool = False
    host: str = "127.0.0.1"
    tls: TlsLike | None = None

    def __post_init__(self) -> None:
        Door(self.host, token=self.token, guests=self.guests, encrypted=self.tls is not None)
        if self.tls is not None:
            server_context(self.tls)

    @property
    def url(self) -> str:
        """Where to listen: any port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'ws' if self.tls is None else 'wss'}://{host}:0"


def cluster_token(given: str | None = None) -> Secret:
    """The token of a new cluster: 256 random bits, unless one is given.

    Raises:
        ClusterSpecError: If what is given cannot be a token.
    """
    if given is None:
        return Secret(secrets.token_urlsafe(32))
    if not isinstance(given, str) or re.fullmatch("[!-~]+", given) is None:
        raise ClusterSpecError("a token is a string of letters, digits and signs that are on every keyboard, no spaces")
    return Secret(given)


async def open_node(
    spec: NodeSpec,
    cluster_id: ClusterId,
    dial: Dial,
    *,
    token: str | None,
    guests: bool = False,
    tls: TlsLike | None = None,
    url: str = ANY_PORT,
    when_asked: bool = False,
) -> tuple[Node, Listener]:
    """A node that can be reached, on the running loop. To end it, close the listener and stop the node.

    Args:
        when_asked: Open the door when somebody knocks, not before.

    Raises:
        ConnectError: If the address is taken.
        ClusterSpecError: If it is one that we do not listen on.
    """
    node = Node(spec.name, spec.resources, cluster_id=cluster_id, dial=dial, slots=spec.slots)
    listener = transport_for(url).listen(url, node.accept, token=token, guests=guests, tls=tls)
    node.set_url(listener.url)
    await listener.serve(when_asked=when_asked)
    return node, listener


def dialler(token: str | None, tls: TlsLike | None = None) -> Dial:
    """Reaches other nodes at their addresses."""

    async def dial(member: Member) -> Connection:
        if not member.url:
            raise ConnectError(f"node {member.name!r} has no address")
        return await transport_for(member.url).connect(member.url, token=token, tls=tls)

    return dial
