"""What a person may want done to a cluster from its view, and what became of it."""

from __future__ import annotations

import msgspec

__all__ = ["Notice", "Order"]


class Order(msgspec.Struct, frozen=True, tag_field="kind", tag="do"):
    """Do something.

    Attributes:
        verb: One of the deeds of cluster_picture, or "add".
        node: To which node, or the name of a new one; one end of a link.
        other: The other end.
        resources: Those of a new node.
    """

    verb: str
    node: str = ""
    other: str = ""
    resources: tuple[str, ...] = ()


class Notice(msgspec.Struct, frozen=True):
    """What became of an order.

    Attributes:
        number: Of the order: a later one has a higher number.
        busy: Whether it is still being done.
        failed: Whether it could not be.
    """

    number: int
    text: str
    busy: bool = False
    failed: bool = False
