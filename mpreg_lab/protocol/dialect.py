"""What a dialect is: the way in which clients and nodes of another kind speak, told in our own messages.

A client of another kind needs no messages of its own: what it asks for is a Submit. What nodes of another kind say to
each other has the messages below; they never travel as they are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import msgspec

from mpreg_lab.errors import ProtocolError
from mpreg_lab.types import ClusterId, Frame, FunctionName, Resource

from .messages import Message
from .payload import Payload

__all__ = [
    "AnyMessage",
    "Ask",
    "Dialect",
    "ForeignAnswer",
    "ForeignCall",
    "ForeignMessage",
    "Offer",
    "OtherCluster",
    "Sighting",
    "Sightings",
    "Withdraw",
]


class ForeignMessage(msgspec.Struct, frozen=True):
    """What nodes of another kind say to each other. `u` is chosen by who asks and stands in the reply."""


class Offer(ForeignMessage, frozen=True):
    """I offer these functions to who wants all or some of these resources. Answered by Done or OtherCluster."""

    u: str
    cluster_id: ClusterId
    url: str
    """Where the speaker can be dialled, which is also its name; empty if it cannot be."""
    functions: tuple[FunctionName, ...]
    resources: tuple[Resource, ...] = ()
    """Sorted."""


class OtherCluster(ForeignMessage, frozen=True):
    """You belong to another cluster; nothing was taken in."""

    u: str


class Withdraw(ForeignMessage, frozen=True):
    """I am leaving: forget what I offered. Answered by Done."""

    u: str


class Ask(ForeignMessage, frozen=True):
    """Are you there? Answered by Done."""

    u: str


class ForeignCall(ForeignMessage, frozen=True):
    """Call one function. Answered by ForeignAnswer, whatever happens."""

    u: str
    function: FunctionName
    arguments: Payload
    """(args, kwargs), without references."""


class ForeignAnswer(ForeignMessage, frozen=True):
    """What a function returned, or why there is nothing."""

    u: str
    value: Payload | None = None
    """None: it failed."""
    error: Payload | None = None
    function: FunctionName = FunctionName("")
    """The one that failed; empty if the other end does not say."""


class Sighting(msgspec.Struct, frozen=True):
    """A node that is alive at this moment."""

    url: str
    functions: tuple[FunctionName, ...] = ()
    resources: tuple[Resource, ...] = ()


class Sightings(ForeignMessage, frozen=True):
    """These nodes are alive. No reply."""

    cluster_id: ClusterId
    nodes: tuple[Sighting, ...]


AnyMessage = Message | ForeignMessage


class Dialect(ABC):
    """How the other end of one connection speaks. One object a connection: it may remember who asked for what."""

    @abstractmethod
    def read(self, frame: Frame) -> AnyMessage:
        """The message in a frame. Nothing of it is ever unpickled.

        Raises:
            ProtocolError: If there is none in it; answer with `refusal`.
        """

    @abstractmethod
    def write(self, message: AnyMessage) -> Frame | None:
        """The frame of a message; None if the dialect has nothing for it and the other end expects nothing.

        Raises:
            UnserialisableResultError: If something in it cannot travel that way; the message counts as not sent.
        """

    @abstractmethod
    def refusal(self, frame: Frame, error: ProtocolError) -> Frame:
        """The answer to a frame that `read` has refused."""
