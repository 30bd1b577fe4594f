"""10,000 frames that make no sense, sent to a real node: each has an answer, nothing is logged, the node lives."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from mpreg_lab.cluster.opening import open_node
from mpreg_lab.cluster.spec import NodeSpec
from mpreg_lab.errors import ConnectError, MpregError, ProtocolError, UnserialisableResultError
from mpreg_lab.protocol import codec
from mpreg_lab.protocol.messages import Describe, Described, Member, Message, Refused
from mpreg_lab.types import ClusterId, Frame, NodeName

FRAMES = Path(__file__).parents[1] / "protocol" / "frames"
TOKEN = "token-of-the-fuzzer"
COUNT = 10_000
AT_ONCE = 200
KINDS = sorted(path.stem for path in FRAMES.glob("*.json") if not path.stem.startswith("mpreg-"))


class Case(NamedTuple):
    """A frame, and the `u` of the refusal that it must get. None: whatever the answer is."""

    frame: Frame
    u: str | None = None


class Door:
    """A node behind a websocket, and everything that it complains of."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.complaints: list[dict[str, Any]] = []
        self.hung_up = 0
        self._numbers = iter(range(10**9))

    def connect(self) -> connect:
        return connect(self.url, proxy=None, compression=None, additional_headers={"Authorization": f"Bearer {TOKEN}"})

    async def answers(self, websocket: ClientConnection, frames: list[Frame]) -> list[list[Message]]:
        """What comes for each frame until a good request after it is answered; fewer if the node hangs up."""

        async def send() -> None:
            for number, frame in zip(numbers, frames, strict=True):
                await websocket.send(frame)
                await websocket.send(text(Describe(f"after {number}")))

        numbers = [next(self._numbers) for _ in frames]
        sending = asyncio.ensure_future(send())
        answers: list[list[Message]] = []
        try:
            for number in numbers:
                found: list[Message] = []
                while not is_reply(message := codec.decode(await websocket.recv()), f"after {number}"):
                    found.append(message)
                answers.append(found)
        except ConnectionClosed:
            self.hung_up += 1
        finally:
            await asyncio.gather(sending, return_exceptions=True)
        return answers


def is_reply(message: Message, u: str) -> bool:
    return isinstance(message, Described) and message.u == u


@pytest.fixture
async def door(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Door]:
    async def nobody(member: Member) -> NoReturn:
        raise ConnectError(f"{member.name} is not there")

    caplog.set_level(logging.WARNING)
    node, listener = await open_node(NodeSpec(NodeName("here")), ClusterId("lab"), nobody, token=TOKEN)
    door = Door(listener.url)
    asyncio.get_running_loop().set_exception_handler(lambda _, context: door.complaints.append(context))
    yield door
    await listener.close()
    await node.stop()
    assert door.complaints == []
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []


def text(message: Message) -> str:
    frame = codec.encode(message, text=True)
    assert isinstance(frame, str)
    return frame


# --- what is wrong --------------------------------------------------------------------------------------------------

ODD: tuple[Any, ...] = (
    None, True, -1, 0, 2**63, 2**70, 1.5, -0.0, 1e300, "", "x", "\x00", "\U0010ffff", "a" * 5000,
    [], [[]], [None], {}, {"$": 1}, {"$": "ref"}, {"$": "ref", "step": "x", "path": [[]]}, {"kind": "submit"},
    [1, "x", {}],
)  # fmt: skip
RAW = ("NaN", "Infinity", "-Infinity", "1e999", "9" * 400, "-", "01", "'x'", "undefined", "\\", '"\\ud800"', '"\\x"')


@cache
def golden(kind: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FRAMES / f"{kind}.json").read_text(encoding="utf-8"))
    return loaded


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything in a value, but its kind and its `u`."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if path or key not in ("kind", "u"):
            yield (*path, key)
            yield from places(item, (*path, key))


def changed(value: Any, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    copy = json.loads(json.dumps(value))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    change(inner, path[-1])
    return copy


def judged(frame: Frame, u: str) -> Case:
    """With its `u` if it makes no sense; else it is merely odd."""
    try:
        codec.decode(frame)
    except ProtocolError:
        return Case(frame, u)
    return Case(frame)


def some_place(rng: random.Random) -> tuple[dict[str, Any], tuple[Any, ...], str]:
    u = f"u{rng.getrandbits(32)}"
    message = dict(golden(rng.choice(KINDS)))
    has_u = "u" in message
    if has_u:
        message["u"] = u
    found = list(places(message))
    return message, rng.choice(found) if found else ("u",), u if has_u else ""


def wrong_value(rng: random.Random) -> Case:
    message, path, u = some_place(rng)
    odd = rng.choice(ODD)
    if path == ("u",):
        u = odd if isinstance(odd, str) else ""
    return judged(json.dumps(changed(message, path, lambda inner, key: inner.__setitem__(key, odd))), u)


def missing_value(rng: random.Random) -> Case:
    message, path, u = some_place(rng)
    u = "" if path == ("u",) else u
    return judged(json.dumps(changed(message, path, lambda inner, key: inner.__delitem__(key))), u)


def binary_wrong_value(rng: random.Random) -> Case:
    message, path, u = some_place(rng)
    odd = rng.choice([odd for odd in ODD if odd != 2**70] + [b"", b"junk", float("nan"), float("-inf"), [b"x", 7], [0]])
    u = (odd if isinstance(odd, str) else "") if path == ("u",) else u
    changed_message = changed(message, path, lambda inner, key: inner.__setitem__(key, odd))
    return judged(binary(msgspec.msgpack.encode(changed_message)), u)


def raw_value(rng: random.Random) -> Case:
    u = f"u{rng.getrandbits(32)}"
    frame = f'{{"kind":"fetch","u":"{u}","run":{rng.choice(RAW)},"step":"s"}}'
    return judged(frame, u)


def unknown_kind(rng: random.Random) -> Case:
    u = f"u{rng.getrandbits(32)}"
    return Case(json.dumps({"kind": rng.choice(("no-such", "", "SUBMIT", 5, None, [], "rpc")), "u": u}), u)


def doubled_key(rng: random.Random) -> Case:
    frame = json.dumps(golden(rng.choice(KINDS)))
    return Case(frame[:-1] + ", " + frame[1:])


def deep(rng: random.Random) -> Case:
    u, depth = f"u{rng.getrandbits(32)}", rng.choice((500, 2000, 20_000, 100_000))
    opening, closing = rng.choice((("[", "]"), ('{"a":', "}"), ('{"$":"dict","items":{"a":', "}}")))
    inner = opening * depth + "1" + closing * depth
    return judged(f'{{"kind":"fetched","u":"{u}","value":{inner}}}', u)


def cut_short(rng: random.Random) -> Case:
    u = f"u{rng.getrandbits(32)}"
    frame = json.dumps({"u": u} | {key: value for key, value in golden(rng.choice(KINDS)).items() if key != "u"})
    at = rng.randrange(len(u) + 9, len(frame))
    return Case(frame[:at], u)


def noise(rng: random.Random) -> Case:
    data = rng.randbytes(rng.randrange(200))
    return Case(data) if rng.random() < 0.5 else Case(data.decode("latin-1"))


def binary(head: bytes, *, head_bytes: int | None = None, lengths: tuple[int, ...] = (), rest: bytes = b"") -> bytes:
    prefix = struct.pack("<4sIII", b"\xc1\x01\0\0", len(head) if head_bytes is None else head_bytes, len(lengths), 0)
    return prefix + struct.pack(f"<{len(lengths)}Q", *lengths) + head + rest


def broken_binary(rng: random.Random) -> Case:
    u = f"u{rng.getrandbits(32)}"
    head = msgspec.msgpack.encode({"kind": "fetched", "u": u, "value": [b"x", rng.choice((0, 1, -1, 2**40))]})
    return rng.choice(
        (
            lambda: Case(binary(head), u),
            lambda: Case(binary(head, lengths=(rng.choice((2**63, 2**40, 100)),)), u),
            lambda: Case(binary(head, rest=b"x" * rng.randrange(1, 100)), u),
            lambda: Case(binary(head, head_bytes=rng.choice((0, 2**31, 2**32 - 1))), None),
            lambda: Case(binary(head)[: rng.randrange(len(head))], None),
            lambda: Case(binary(head[: rng.randrange(len(head))]), None),
            lambda: Case(b"\xc1" + rng.randbytes(3) + binary(head)[4:], None),
        )
    )()


def chunk(piece: bytes, *, stream: int = 7, size_bytes: int | None = None, at: int = 0) -> bytes:
    """A piece of a frame; the whole of it if not told otherwise."""
    size_bytes = len(piece) if size_bytes is None else size_bytes
    return struct.pack("<4sIQQ", b"\xc1\x02\0\0", stream, size_bytes, at) + piece


def broken_chunk(rng: random.Random) -> Case:
    stream, piece = rng.getrandbits(32), rng.randbytes(rng.randrange(1, 100))
    inner = broken_binary(rng)
    assert isinstance(inner.frame, bytes)
    whole = chunk(inner.frame, stream=stream) if inner.frame else chunk(b"")
    return rng.choice(
        (
            Case(chunk(piece, stream=stream, size_bytes=1000, at=rng.choice((1, 500, 999, 2**40, 2**64 - 1))), ""),
            Case(chunk(piece, stream=stream, size_bytes=len(piece) - 1), ""),
            Case(chunk(piece, stream=stream, size_bytes=rng.choice((2**40, 2**63, 2**64 - 1))), ""),
            Case(chunk(b"", stream=stream), ""),
            Case(chunk(b"", stream=stream)[: rng.randrange(4, 24)], ""),
            Case(chunk(chunk(piece), stream=stream), ""),
            Case(whole, inner.u or None),
        )
    )


def damaged(rng: random.Random) -> Case:
    frame = codec.encode(codec.decode(json.dumps(golden(rng.choice(KINDS)))), text=rng.random() < 0.5)
    at = rng.randrange(len(frame))
    if isinstance(frame, str):
        return Case(frame[:at] + chr(rng.randrange(0xD800)) + frame[at + 1 :])
    return Case(frame[:at] + rng.randbytes(rng.randrange(1, 9)) + frame[at + 1 :])


SORTS = (
    wrong_value, missing_value, binary_wrong_value, raw_value, unknown_kind, doubled_key, cut_short, noise,
    broken_binary, broken_chunk, damaged,
)  # fmt: skip


def cases(count: int, seed: int) -> list[Case]:
    rng = random.Random(seed)
    found = [SORTS[n % len(SORTS)](rng) for n in range(count - 40)] + [deep(rng) for _ in range(40)]
    rng.shuffle(found)
    return found


@pytest.mark.slow
async def test_ten_thousand_frames_that_make_no_sense_are_answered_and_the_node_lives(door):
    todo = cases(COUNT, seed=1)
    refused = 0

    while todo:
        async with door.connect() as websocket:
            while todo and websocket.state is State.OPEN:
                batch, todo = todo[:AT_ONCE], todo[AT_ONCE:]
                answered = await door.answers(websocket, [case.frame for case in batch])
                for case, answers in zip(batch, answered, strict=False):
                    refused += was_told(case, answers)
                # A goodbye in the name of a node ends its connections: the frame after it is the first without answer.
                todo = batch[len(answered) + 1 :] + todo

    assert refused > COUNT / 2
    assert door.hung_up < 200


def was_told(case: Case, answers: list[Message]) -> bool:
    """Whether it was refused, as it must be if it makes no sense; answers to earlier frames may stand before it."""
    if case.u is None:
        return False
    refusals = [answer for answer in answers if isinstance(answer, Refused) and answer.u == case.u]
    assert len(refusals) == 1, case.frame[:300]
    assert isinstance(refusals[0].error.value(), MpregError)
    return True


DESCRIBE = binary(msgspec.msgpack.encode({"kind": "describe", "u": "in pieces"}))
HALF = len(DESCRIBE) // 2
FIRST, SECOND = DESCRIBE[:HALF], DESCRIBE[HALF:]


@pytest.mark.parametrize(
    ("frames", "refused"),
    [
        ([chunk(FIRST, size_bytes=len(DESCRIBE)), chunk(SECOND, size_bytes=len(DESCRIBE), at=HALF - 1)], [1]),
        ([chunk(FIRST, size_bytes=len(DESCRIBE)), chunk(SECOND, size_bytes=len(DESCRIBE), at=HALF + 1)], [1]),
        ([chunk(FIRST, size_bytes=len(DESCRIBE)), chunk(SECOND, size_bytes=len(DESCRIBE) + 1, at=HALF)], [1]),
        ([chunk(FIRST, size_bytes=len(DESCRIBE)), chunk(SECOND + b"x", size_bytes=len(DESCRIBE), at=HALF)], [1]),
        ([chunk(FIRST, size_bytes=len(DESCRIBE)), chunk(FIRST, size_bytes=len(DESCRIBE))], [1]),
        ([chunk(FIRST, size_bytes=len(DESCRIBE)), chunk(SECOND, stream=8, size_bytes=len(DESCRIBE), at=HALF)], [1]),
        ([chunk(SECOND, size_bytes=len(DESCRIBE), at=HALF), chunk(FIRST, size_bytes=len(DESCRIBE))], [0]),
        ([chunk(b"x", stream=n, size_bytes=2) for n in range(66)], [64, 65]),
        ([chunk(b"x", stream=n, size_bytes=2**30) for n in range(3)], [1, 2]),
    ],
    ids=[
        "overlapping", "with a gap", "another length", "too long", "begun twice", "of another stream",
        "the end first", "too many streams", "too much announced",
    ],
)  # fmt: skip
async def test_pieces_that_do_not_fit_are_refused_and_whole_ones_are_taken_afterwards(door, frames, refused):
    async with door.connect() as websocket:
        answers = await door.answers(websocket, frames)

        assert [n for n, found in enumerate(answers) if any(isinstance(one, Refused) for one in found)] == refused
        assert len(answers) == len(frames)
    async with door.connect() as websocket:
        for piece in (chunk(FIRST, size_bytes=len(DESCRIBE)), chunk(SECOND, size_bytes=len(DESCRIBE), at=HALF)):
            await websocket.send(piece)
        assert is_reply(codec.decode(await websocket.recv()), "in pieces")


@pytest.mark.parametrize("role", ["no-such", "rpc", "gossip", 5, None, []])
async def test_frames_with_unknown_roles_are_answered_and_the_node_lives(door, role):
    async with door.connect() as websocket:
        await websocket.send(json.dumps({"role": role, "u": "1", "cmds": 5}))
        assert json.loads(await websocket.recv())
    async with door.connect() as websocket:
        assert await door.answers(websocket, []) == []


def masked(opcode: int, data: bytes, *, fin: bool = True, mask: bool = True) -> bytes:
    """A websocket frame, written by hand."""
    length = len(data)
    size = bytes([length]) if length < 126 else b"\x7e" + length.to_bytes(2, "big")
    key = b"\1\2\3\4" if mask else b""
    head = bytes([0x80 * fin | opcode, size[0] | 0x80 * mask]) + size[1:] + key
    return head + (bytes(byte ^ key[n % 4] for n, byte in enumerate(data)) if mask else data)


@pytest.mark.parametrize(
    "data",
    [
        masked(1, b"\xff\xfe"),
        masked(1, b'{"kind":"describe","u":"' + b"\xc3\x28" + b'"}'),
        masked(3, b"reserved"),
        masked(0, b"continues nothing"),
        masked(1, b"{", fin=False) + masked(1, b"another"),
        masked(1, b"not masked", mask=False),
        masked(9, b"x" * 200),
        masked(8, b"\x00"),
        masked(8, b"\x03\xe8\xff"),
        b"\x81\xff" + b"\xff" * 8 + b"\1\2\3\4",
        b"\x82\xff" + (2**31).to_bytes(8, "big") + b"\1\2\3\4",
        b"\xf1\x80\1\2\3\4",
        masked(1, b"whole")[:-2],
    ],
    ids=[
        "no text", "half a character", "reserved opcode", "continues nothing", "interrupted", "not masked", "long ping",
        "short close", "no text in close", "endless", "too long", "reserved bits", "cut short",
    ],
)  # fmt: skip
async def test_what_is_no_websocket_frame_ends_that_connection_alone(door, data):
    async with door.connect() as other:
        reader, writer = await handshaken(door.url)
        writer.write(data)
        writer.write_eof()
        await reader.read()
        writer.close()
        await writer.wait_closed()
        assert await door.answers(other, [text(Describe("1"))])


async def handshaken(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = url.removeprefix("ws://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = (
        "GET / HTTP/1.1", f"Host: {host}:{port}", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + "A" * 22 + "==", f"Authorization: Bearer {TOKEN}", "", "",
    )  # fmt: skip
    writer.write("\r\n".join(lines).encode())
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def test_a_number_that_only_json_has_does_not_stay_and_spoil_later_answers(door):
    big = {"kind": "announce", "u": "1", "member": {"name": "there", "version": 2**70}}
    async with door.connect() as websocket:
        (answers,) = await door.answers(websocket, [json.dumps(big)])
        assert [type(answer) for answer in answers] == [Refused]
        await websocket.send(codec.encode(Describe("2"), text=False))
        assert isinstance(codec.decode(await websocket.recv()), Described)


# --- both codecs ----------------------------------------------------------------------------------------------------

thorough = settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck), database=None)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(ODD),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


def told_or_read(frame: Frame) -> None:
    """Any other outcome is a failure of the test."""
    try:
        message = codec.decode(frame)
    except ProtocolError:
        assert isinstance(codec.readable_u(frame), str)
    else:
        with suppress(UnserialisableResultError):  # numbers that the one codec has and the other has not
            codec.encode(message, text=False)
            codec.encode(message, text=True)


def a_change(data: st.DataObject) -> Any:
    message = golden(data.draw(st.sampled_from(KINDS)))
    path = data.draw(st.sampled_from([*places(message), ("u",), ("kind",)]))
    value = data.draw(json_values)
    return changed(message, path, lambda inner, key: inner.__setitem__(key, value))


@thorough
@given(st.data())
def test_a_json_frame_with_anything_anywhere_is_told_or_read(data):
    told_or_read(json.dumps(a_change(data)))


@thorough
@given(st.data())
def test_a_binary_frame_with_anything_anywhere_is_told_or_read(data):
    change = a_change(data)
    try:
        head = msgspec.msgpack.encode(change)
    except OverflowError:
        head = b""
    told_or_read(binary(head))
