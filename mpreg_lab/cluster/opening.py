"""A node with an open door: what every way of launching one has in common."""

from __future__ import annotations

from mpreg_lab.errors import ConnectError
from mpreg_lab.node.links import Dial
from mpreg_lab.node.server import Node
from mpreg_lab.protocol.messages import Member
from mpreg_lab.transport.base import Connection, Listener
from mpreg_lab.transport.registry import transport_for
from mpreg_lab.types import ClusterId

from .spec import NodeSpec

__all__ = ["ANY_PORT", "dialler", "open_node"]

ANY_PORT = "ws://127.0.0.1:0"


async def open_node(
    spec: NodeSpec,
    cluster_id: ClusterId,
    dial: Dial,
    *,
    token: str | None,
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
    listener = transport_for(url).listen(url, node.accept, token=token)
    node.set_url(listener.url)
    await listener.serve(when_asked=when_asked)
    return node, listener


def dialler(token: str | None) -> Dial:
    """Reaches other nodes at their addresses."""

    async def dial(member: Member) -> Connection:
        if not member.url:
            raise ConnectError(f"node {member.name!r} has no address")
        return await transport_for(member.url).connect(member.url, token=token)

    return dial
