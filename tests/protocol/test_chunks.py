from __future__ import annotations

import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpreg_lab.errors import ProtocolError
from mpreg_lab.protocol import chunks as module
from mpreg_lab.protocol import codec
from mpreg_lab.protocol.chunks import Assembly, chunks, is_chunk
from mpreg_lab.protocol.messages import Describe, Fetched
from mpreg_lab.protocol.payload import Payload


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", 10)


def chunk(stream: int, size_bytes: int, at: int, piece: bytes) -> bytes:
    return struct.pack("<4sIQQ", b"\xc1\x02\x00\x00", stream, size_bytes, at) + piece


def assembled(assembly: Assembly, pieces: Any) -> list[bytes]:
    return [bytes(whole) for piece in pieces if (whole := assembly.take(piece)) is not None]


# --- whole frames ---------------------------------------------------------------------------------------------------


def test_the_layout_of_a_chunk():
    assert list(chunks((b"0123456789ab",), 7)) == [
        bytes.fromhex("c1020000 07000000 0c00000000000000 0000000000000000") + b"0123456789",
        bytes.fromhex("c1020000 07000000 0c00000000000000 0a00000000000000") + b"ab",
    ]


@given(st.lists(st.binary(max_size=35), min_size=1, max_size=6).filter(any))
@settings(max_examples=500)
def test_parts_of_any_length_arrive_as_one(parts):
    cut = list(chunks(parts, 1))
    assert assembled(Assembly(1000), cut) == [b"".join(parts)]
    assert len(cut) == -(-sum(map(len, parts)) // module.CHUNK_BYTES)
    assert all(map(is_chunk, cut))


@given(st.permutations([1] * 3 + [2] * 3 + [3] * 3))
def test_streams_may_be_mixed(turns):
    wholes = {stream: bytes([stream]) * 25 for stream in (1, 2, 3)}
    cut = {stream: chunks((whole,), stream) for stream, whole in wholes.items()}
    assert sorted(assembled(Assembly(75), (next(cut[stream]) for stream in turns))) == sorted(wholes.values())


def test_a_message_in_chunks_is_that_message():
    array = np.arange(1000.0)
    (whole,) = assembled(Assembly(10_000), chunks(codec.parts(Fetched("1", Payload.of(array))), 1))
    message = codec.decode(whole)
    assert isinstance(message, Fetched)
    assert np.array_equal(message.value.value(), array)


def test_a_frame_that_came_in_chunks_cannot_be_written_to():
    assembly = Assembly(10_000)
    *_, whole = map(assembly.take, chunks(codec.parts(Fetched("1", Payload.of(np.arange(1000.0)))), 1))
    assert whole is not None
    message = codec.decode(whole)
    assert isinstance(message, Fetched)
    assert not message.value.value().flags.writeable


def test_parts_are_the_frame_and_arrays_are_not_copied():
    array = np.arange(10_000.0)
    message = Fetched("1", Payload.of(array))
    parts = codec.parts(message)
    assert b"".join(parts) == codec.encode(message, text=False)
    assert any(isinstance(part, memoryview) and np.shares_memory(np.frombuffer(part), array) for part in parts)


def test_frames_of_messages_are_no_chunks():
    assert not is_chunk(codec.encode(Describe("1"), text=False))
    assert not is_chunk(codec.encode(Describe("1"), text=True))


# --- what is wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pieces", "problem"),
    [
        ([b"\xc1\x02\x00\x00"], "without a piece"),
        ([chunk(1, 10, 0, b"")], "without a piece"),
        ([chunk(1, 30, 10, bytes(10))], "stream 1 at 10; expected was one at 0"),
        ([chunk(1, 30, 0, bytes(10)), chunk(1, 30, 0, bytes(10))], "stream 1 at 0; expected was one at 10"),
        ([chunk(1, 30, 0, bytes(10)), chunk(1, 30, 20, bytes(10))], "stream 1 at 20; expected was one at 10"),
        ([chunk(1, 30, 0, bytes(10)), chunk(2, 30, 10, bytes(10))], "stream 2 at 10; expected was one at 0"),
        ([chunk(1, 30, 0, bytes(10)), chunk(1, 31, 10, bytes(10))], "has 30 bytes, and now 31"),
        ([chunk(1, 30, 0, bytes(11))], "11 bytes is too long: at most 10"),
        ([chunk(1, 5, 0, bytes(6))], "longer than the 5 bytes"),
        ([chunk(1, 0, 0, b"x")], "longer than the 0 bytes"),
        ([chunk(1, 101, 0, b"x")], "101 bytes are too many .* at most 100"),
        ([chunk(1, 1 << 63, 0, b"x")], "too many"),
        ([chunk(1, 60, 0, b"x"), chunk(2, 41, 0, b"x")], "41 bytes are too many with what is open already"),
    ],
)
def test_chunks_that_make_no_sense_are_told(pieces, problem):
    assembly = Assembly(100)
    *good, bad = pieces
    assert assembled(assembly, good) == []
    with pytest.raises(ProtocolError, match=problem):
        assembly.take(bad)
    assert assembled(assembly, chunks((bytes(40),), 9)) == [bytes(40)]


def test_a_stream_that_went_wrong_is_forgotten():
    assembly = Assembly(100)
    for _ in range(3):
        assembly.take(chunk(1, 90, 0, bytes(10)))
        with pytest.raises(ProtocolError):
            assembly.take(chunk(1, 90, 5, bytes(10)))
    assert assembly._open == {}


def test_only_so_many_streams_are_open_at_once():
    assembly = Assembly(10_000)
    for stream in range(module.MAX_STREAMS):
        assembly.take(chunk(stream, 2, 0, b"x"))
    with pytest.raises(ProtocolError, match="64 streams are open already"):
        assembly.take(chunk(99, 2, 0, b"x"))
    assert assembled(assembly, [chunk(0, 2, 1, b"y")]) == [b"xy"]


def test_what_was_announced_and_not_sent_takes_no_memory():
    assembly = Assembly(1 << 40)
    assembly.take(chunk(1, 1 << 39, 0, b"x"))
    (_, frame) = assembly._open[1]
    assert len(frame) == 1


@given(st.lists(st.tuples(*[st.integers(0, 40)] * 3, st.binary(max_size=12)), max_size=30))
@settings(max_examples=500)
def test_memory_is_bounded_whatever_comes(cases):
    assembly = Assembly(60)
    for stream, size_bytes, at, piece in cases:
        with suppress(ProtocolError):
            assembly.take(chunk(stream % 4, size_bytes, at % 21, piece))
        assert sum(len(frame) for _, frame in assembly._open.values()) <= 60
