from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from enum import IntEnum, StrEnum
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from mpreg_lab.errors import ProtocolError, RemoteError, UnserialisableResultError
from mpreg_lab.protocol import codec, payload
from mpreg_lab.protocol.messages import (
    Call,
    Calls,
    Describe,
    Done,
    Fetched,
    Lane,
    Message,
    Refused,
    RunDone,
    Submit,
)
from mpreg_lab.protocol.payload import Payload
from mpreg_lab.types import Frame, FunctionName, RunId, StepName
from mpreg_lab.workflow.model import Attr, Ref, Step, Workflow

FRAMES = Path(__file__).parent / "frames"
RUN = RunId("r")
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
KINDS = {kind.__struct_config__.tag: kind for kind in get_args(Message)}


def through(value: Any, *, text: bool) -> Any:
    """The value as it is after a trip."""
    frame = codec.encode(Fetched("1", Payload.of(value)), text=text)
    message = codec.decode(frame)
    assert isinstance(message, Fetched)
    return message.value.value()


def same(one: Any, other: Any) -> bool:
    """Equal, of the same types, at any depth; NaN is NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, np.ndarray):
        return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    if isinstance(one, pd.DataFrame):
        return bool(one.equals(other))
    if isinstance(one, float):
        return repr(one) == repr(other)
    return bool(one == other)


# --- golden frames --------------------------------------------------------------------------------------------------


def test_each_kind_of_message_has_a_golden_frame():
    assert {path.stem for path in FRAMES.glob("*.json") if not path.stem.startswith("mpreg-")} == set(KINDS)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_golden_frame_is_read_and_written_exactly(kind):
    golden = (FRAMES / f"{kind}.json").read_text(encoding="utf-8")
    message = codec.decode(golden)
    assert type(message) is KINDS[kind]
    assert pretty(codec.encode(message, text=True)) == golden


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_golden_frame_survives_a_binary_trip(kind):
    golden = (FRAMES / f"{kind}.json").read_text(encoding="utf-8")
    message = codec.decode(codec.encode(codec.decode(golden), text=False))
    assert pretty(codec.encode(message, text=True)) == golden


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_protocol_description_has_a_row_for_each_kind(kind):
    description = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
    assert f"| `{kind}` |" in description


def pretty(frame: Frame) -> str:
    assert isinstance(frame, str)
    return msgspec.json.format(frame, indent=2) + "\n"


# --- text -----------------------------------------------------------------------------------------------------------

refs = st.builds(
    Ref,
    st.text(min_size=1),
    st.lists(st.text() | st.integers(0, 99) | st.builds(Attr, st.text())).map(tuple),
    st.none() | st.text(),
)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text()
    | st.just({"$": "ref", "step": "x"})
    | refs,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["$", "kind", "items"]), inner),
    max_leaves=20,
)


@unhurried
@given(plain)
def test_what_json_can_carry_comes_back_exactly(value):
    assert same(through(value, text=True), value)


@unhurried
@given(st.lists(plain, max_size=3).map(tuple), st.dictionaries(st.text() | st.just("$"), plain, max_size=3))
def test_arguments_come_back_exactly(args, kwargs):
    step, function, arguments = StepName("s"), FunctionName("f"), Payload.of((args, kwargs))
    submit = Submit(RUN, Workflow((Step(step, function),)), ((),), (arguments,))
    calls = Calls(RUN, (Lane((Call(0, step, function, arguments),)),))
    for text in (True, False):
        read = codec.decode(codec.encode(submit, text=text))
        assert isinstance(read, Submit)
        assert same(read.arguments[0].value(), (args, kwargs))
        made = codec.decode(codec.encode(calls, text=text))
        assert isinstance(made, Calls)
        assert same(made.lanes[0].calls[0].arguments.value(), (args, kwargs))


class Colour(IntEnum):
    RED = 1


class Name(StrEnum):
    ANN = "ann"


class Point(NamedTuple):
    x: int


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        ((1, (2,)), [1, [2]]),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.float64("nan"), math.nan),
        (np.array(3), 3),
        (Colour.RED, 1),
        (Name.ANN, "ann"),
        (Point(1), [1]),
    ],
)
def test_what_is_nearly_json_arrives_as_json_has_it(value, arrives):
    assert same(through(value, text=True), arrives)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b"x", "a value of type bytes cannot travel as JSON"),
        ([{1}], "a value of type set cannot"),
        (np.zeros(2), "a value of type ndarray cannot travel as JSON: call .tolist()"),
        (pd.DataFrame(), "a value of type DataFrame cannot"),
        ({1: 2}, "a key of type int cannot travel as JSON: keys are strings"),
        (2**64, "an integer of more than 64 bits cannot"),
        ("\ud800", "half a character cannot travel"),
        (object(), "a value of type object cannot"),
    ],
)
def test_what_json_cannot_carry_is_told(value, told):
    with pytest.raises(UnserialisableResultError) as caught:
        codec.encode(Fetched("1", Payload.of(value)), text=True)
    assert told in str(caught.value)


@pytest.mark.parametrize("text", [True, False])
def test_what_is_nested_too_deeply_is_told(text):
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(UnserialisableResultError):
        codec.encode(Fetched("1", Payload.of(deep)), text=text)


def test_an_exception_is_text_in_json():
    error = ValueError("half: \ud800")
    error.add_note("a note")
    group = ExceptionGroup("several", [error, KeyError("k")])
    loaded = through(group, text=True)
    assert (type(loaded), loaded.message) == (ExceptionGroup, "several")
    one, two = loaded.exceptions
    assert (str(one), one.type_name, one.__notes__) == ("half: ?", "ValueError", ["a note"])
    assert (type(two), str(two), two.type_name) == (RemoteError, "'k'", "KeyError")


class Canary:
    sang = False

    def __reduce__(self) -> Any:
        return Canary.sing, ()

    @staticmethod
    def sing() -> None:
        Canary.sang = True


def test_nothing_of_a_json_frame_is_ever_unpickled(monkeypatch):
    monkeypatch.setattr(payload, "_loads", pytest.fail)
    head = pickle.dumps(Canary())
    disguises: list[Any] = [head.decode("latin-1"), list(head), [head.hex(), 0], {"$": "dict", "items": {"head": "x"}}]
    for disguise in disguises:
        frame = msgspec.json.encode({"kind": "fetched", "u": "1", "value": disguise}).decode()
        message = codec.decode(frame)
        assert isinstance(message, Fetched)
        message.value.value()
        codec.encode(message, text=True)
    assert not Canary.sang


# --- binary ---------------------------------------------------------------------------------------------------------

numbers = npst.integer_dtypes() | npst.floating_dtypes() | npst.complex_number_dtypes() | npst.boolean_dtypes()
arrays = npst.arrays(numbers, npst.array_shapes(max_dims=2, max_side=4)) | st.integers(0, 5000).map(np.arange)
tables = st.integers(0, 2000).map(
    lambda n: pd.DataFrame({"a": np.arange(n), "b": np.linspace(0, 1, n), "c": ["x"] * n})
)
anything = st.recursive(
    plain | st.binary(max_size=2000) | st.integers() | st.complex_numbers(allow_nan=False) | arrays | tables,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.integers(), inner),
    max_leaves=20,
)


@unhurried
@given(anything)
def test_any_value_comes_back_exactly(value):
    assert same(through(value, text=False), value)


@unhurried
@given(st.dictionaries(st.text(max_size=3), st.binary(max_size=2000) | arrays | tables, max_size=8))
def test_many_payloads_share_a_frame(values):
    message = RunDone(RUN, {StepName(name): Payload.of(value) for name, value in values.items()})
    read = codec.decode(codec.encode(message, text=False))
    assert isinstance(read, RunDone)
    assert same({name: value.value() for name, value in read.results.items()}, values)


def test_an_array_is_a_view_of_the_frame_that_brought_it():
    array = np.arange(10_000.0)
    frame = codec.encode(Fetched("1", Payload.of([array, array[:5000].copy()])), text=False)
    message = codec.decode(frame)
    assert isinstance(message, Fetched)
    for loaded in message.value.value():
        assert np.shares_memory(loaded, np.frombuffer(frame, np.uint8))  # type: ignore[arg-type]
        assert loaded.flags.aligned
        assert (loaded.ctypes.data - np.frombuffer(frame, np.uint8).ctypes.data) % 64 == 0  # type: ignore[arg-type]


def test_small_payloads_cost_a_few_bytes_each():
    steps = range(1000)
    message = RunDone(RUN, {StepName(f"{n:04}"): Payload.of(n) for n in steps})
    frame = codec.encode(message, text=False)
    assert len(frame) < 20 * len(steps)


def iter_of_nothing() -> Iterator[int]:
    yield from ()


def test_a_message_that_cannot_be_encoded_leaves_nothing_behind():
    array = Payload.of(np.zeros(10_000))
    with pytest.raises(UnserialisableResultError, match=r"a generator at value\[0\]"):
        codec.encode(RunDone(RUN, {StepName("a"): array, StepName("b"): Payload.of([iter_of_nothing()])}), text=False)
    frame = codec.encode(Done("1"), text=False)
    assert len(frame) < 40


def test_payloads_that_pass_through_are_not_unpickled(monkeypatch):
    frame = codec.encode(Fetched("1", Payload.of([1, np.zeros(1000)])), text=False)
    monkeypatch.setattr(payload, "_loads", None)
    assert codec.encode(codec.decode(frame), text=False) == frame


def test_an_exception_keeps_its_type_in_a_binary_frame():
    message = codec.decode(codec.encode(Refused("1", Payload.of_error(KeyError("x"))), text=False))
    assert isinstance(message, Refused)
    assert repr(message.error.value()) == "KeyError('x')"


# --- frames that make no sense --------------------------------------------------------------------------------------


@cache
def good_frame(kind: str, text: bool) -> Frame:
    if kind == "arrays":
        return codec.encode(Fetched("1", Payload.of([np.zeros(1000), np.ones(300)])), text=False)
    return codec.encode(codec.decode((FRAMES / f"{kind}.json").read_text(encoding="utf-8")), text=text)


good_frames = st.builds(good_frame, st.sampled_from([*KINDS, "arrays"]), st.booleans())


def read(frame: Frame) -> Message | None:
    """The message, None if there is none in it; any other outcome is a failure of the test."""
    codec.readable_u(frame)
    try:
        return codec.decode(frame)
    except ProtocolError:
        return None


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("[]", "not a message"),
        ("5", "not a message"),
        ('{"kind":"no-such"}', "no-such"),
        ('{"u":"1"}', "kind"),
        ('{"kind":"describe","u":5}', "Expected `str`, got `int`"),
        ('{"kind":"fetched","u":"1","value":{"$":"no-such"}}', "no-such"),
        ('{"kind":"fetched","u":"1","value":{"$":5}}', "not a message"),
        ('{"kind":"fetched","u":"1","value":{"$":"float","value":"5"}}', "not a message"),
        ('{"kind":"fetched","u":"1","value":' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ('{"kind":"submit","u":"1","workflow":{"steps":[]},"needs":[],"arguments":[5]}', "[[...], {...}]"),
        (
            '{"kind":"submit","u":"1","workflow":{"steps":[{"name":"","function":"f"}]},"needs":[],"arguments":[]}',
            "name",
        ),
        ('"\ud800"', "cannot be read"),
        (b"", "too short"),
        (b'{"kind":"describe","u":"1"}', "does not begin"),
        (b"\xc1\x02" + bytes(14), "does not begin"),
        (b"\xc1\x01\0\0" + b"\xff" * 12, "its beginning says"),
        (b"\xc1\x01\0\0" + bytes(12), "cannot be read"),
    ],
)
def test_a_frame_that_makes_no_sense_is_told(frame, told):
    with pytest.raises(ProtocolError) as caught:
        codec.decode(frame)
    assert told in str(caught.value)


@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("kind", [*KINDS, "arrays"])
def test_a_frame_that_was_cut_short_is_told(kind, text):
    frame = good_frame(kind, text)
    for length in range(0, len(frame), max(1, len(frame) // 200)):
        assert read(frame[:length]) is None


def test_a_frame_with_something_behind_it_is_told():
    assert read(codec.encode(Done("1"), text=False) + b"x") is None  # type: ignore[operator]


@unhurried
@given(good_frames, st.data())
def test_a_damaged_frame_is_told_or_still_a_message(frame, data):
    at = data.draw(st.integers(0, len(frame) - 1))
    if isinstance(frame, str):
        read(frame[:at] + data.draw(st.characters()) + frame[at + 1 :])
    else:
        read(frame[:at] + data.draw(st.binary(min_size=1, max_size=8)) + frame[at + 1 :])


@unhurried
@given(st.binary())
def test_noise_is_no_message(noise):
    assert read(noise) is None
    assert read(noise.decode("latin-1")) is None
    read(b"\xc1\x01\0\0" + len(noise).to_bytes(4, "little") + bytes(8) + noise)


def test_a_buffer_that_is_not_there_is_told():
    for value in ([b"x", 0], [b"x", -1], [0], [], "x", 5, [b"x", "y"], [[b"x"]]):
        head = msgspec.msgpack.encode({"kind": "fetched", "u": "1", "value": value})
        frame = b"\xc1\x01\0\0" + len(head).to_bytes(4, "little") + bytes(8) + head
        with pytest.raises(ProtocolError, match="not a message"):
            codec.decode(frame)


def test_the_u_of_a_frame_is_read_if_it_can_be():
    assert codec.readable_u('{"kind":"no-such","u":"7"}') == "7"
    assert codec.readable_u('{"kind":"no-such","u":7}') == ""
    assert codec.readable_u("junk") == ""
    assert codec.readable_u(codec.encode(Describe("7"), text=False)) == "7"
    assert codec.readable_u(b"junk") == ""
