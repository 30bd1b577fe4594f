"""What is said between a cluster and the process of a node, over the pipes of that process: one JSON line each.

The first line is for Python itself: see `BOOT`. Orders go down and are answered in their order; the process then does
what they say. The token goes this way because arguments and environment can be read by others.
"""

from __future__ import annotations

import msgspec

from mpreg_lab.protocol.messages import Member
from mpreg_lab.transport.faulty import Wiring
from mpreg_lab.transport.tls import Tls
from mpreg_lab.types import ClusterId, Secret
from mpreg_lab.workflow.record import FaultNote

from .spec import NodeSpec

__all__ = [
    "BOOT",
    "Answer",
    "Befell",
    "Join",
    "Leave",
    "Order",
    "Rewire",
    "SetUp",
    "decode_answer",
    "decode_order",
    "encode",
]

BOOT = (
    "import json, sys; "
    # Unbuffered: the lines that follow are read by somebody else.
    "sys.path[:] = json.loads(open(0, 'rb', buffering=0, closefd=False).readline()); "
    "from mpreg_lab.cluster.node_process import main; "
    "main()"
)
"""The program of the process. Before it can import anything of ours it reads where to import from."""


class SetUp(msgspec.Struct, frozen=True, tag="set-up"):
    """Start the node; the first order. The answer has the member."""

    spec: NodeSpec
    cluster_id: ClusterId
    token: Secret
    guests: bool
    url: str
    tls: Tls | None
    wiring: Wiring = Wiring()
    """What is wrong between it and others."""


class Join(msgspec.Struct, frozen=True, tag="join"):
    """Enter the cluster of the node at this address."""

    seed: Member


class Befell(msgspec.Struct, frozen=True, tag="befell"):
    """Take note of a fault, at a time of the clock that all processes of a machine share."""

    fault: FaultNote


class Rewire(msgspec.Struct, frozen=True, tag="rewire"):
    """From now on this is wrong between nodes. Answered when the connections that it cuts have ended."""

    wiring: Wiring


class Leave(msgspec.Struct, frozen=True, tag="leave"):
    """Say goodbye and end. There is no answer."""


Order = SetUp | Join | Befell | Rewire | Leave


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """It is done, or why not."""

    member: Member | None = None
    error: str | None = None


_encoder = msgspec.json.Encoder(enc_hook=str)
_order_decoder = msgspec.json.Decoder(Order, dec_hook=lambda kind, value: kind(value))
_answer_decoder = msgspec.json.Decoder(Answer)


def encode(line: Order | Answer | list[str]) -> bytes:
    """The line, with its end."""
    return _encoder.encode(line) + b"\n"


def decode_order(line: bytes) -> Order:
    """The order in a line."""
    order: Order = _order_decoder.decode(line)
    return order


def decode_answer(line: bytes) -> Answer:
    """The answer in a line."""
    return _answer_decoder.decode(line)
