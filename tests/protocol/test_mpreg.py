"""MPREG's messages, on values alone: what is read from its frames and written to it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpreg_lab.errors import ProtocolError, RemoteError, UnknownFunctionError, UnserialisableResultError
from mpreg_lab.protocol.dialect import (
    AnyMessage,
    Ask,
    ForeignAnswer,
    ForeignCall,
    Offer,
    OtherCluster,
    Sighting,
    Sightings,
    Withdraw,
)
from mpreg_lab.protocol.messages import Done, Refused, RunDone, RunUpdate, StepError, Submit
from mpreg_lab.protocol.mpreg import Mpreg
from mpreg_lab.protocol.payload import Payload
from mpreg_lab.types import ClusterId, Frame, FunctionName, NodeName, Resource, RunId, StepName
from mpreg_lab.workflow.model import Ref
from mpreg_lab.workflow.plan import make_plan
from mpreg_lab.workflow.record import Ended, Finished, RunStatus

FRAMES = Path(__file__).parent / "frames"
unhurried = settings(deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow])


def dialect() -> Mpreg:
    return Mpreg("conn", lambda: 1000.0)


def golden(name: str) -> str:
    return (FRAMES / f"mpreg-{name}.json").read_text(encoding="utf-8")


def pretty(frame: Frame | None) -> str:
    assert frame is not None
    text = frame if isinstance(frame, str) else frame.decode()
    return msgspec.json.format(text, indent=2) + "\n"


def rpc(*cmds: dict[str, Any], u: str = "1", **more: Any) -> str:
    return json.dumps({"role": "rpc", "cmds": cmds, "u": u, **more})


def cmd(name: str, fun: str, *args: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "fun": fun, "args": args, **more}


def submitted(frame: Frame, mpreg: Mpreg | None = None) -> Submit:
    message = (mpreg or dialect()).read(frame)
    assert isinstance(message, Submit)
    return message


def arguments(frame: Frame) -> list[Any]:
    return [payload.value() for payload in submitted(frame).arguments]


def returns(frame: Frame) -> tuple[str, ...] | None:
    return submitted(frame).workflow.returns


def answered(mpreg: Mpreg, message: AnyMessage) -> Any:
    frame = mpreg.write(message)
    assert frame is not None
    return json.loads(frame)


def refusal(frame: Frame) -> Any:
    """The reply to a frame that makes no sense; None if it does."""
    mpreg = dialect()
    try:
        mpreg.read(frame)
    except ProtocolError as exc:
        reply = mpreg.refusal(frame, exc)
        assert type(reply) is type(frame)
        return json.loads(reply)
    return None


def done(run: RunId, **results: Any) -> RunDone:
    return RunDone(run, {StepName(name): Payload.of(value) for name, value in results.items()})


def result_of(value: Any) -> Any:
    mpreg = dialect()
    run = submitted(rpc(cmd("a", "f")), mpreg).u
    return answered(mpreg, done(run, a=value))["r"]["a"]


# --- golden frames --------------------------------------------------------------------------------------------------


def test_a_request_becomes_a_workflow():
    submit = submitted(golden("rpc"))

    assert submit.u == "conn-1"
    first, second = submit.workflow.steps
    assert (first.name, first.function) == ("|first", "echo")
    assert not first.resources
    assert (second.name, second.function) == ("|second", "echos")
    assert second.resources == {Resource("gpu")}
    assert submit.needs == ((), (0,))
    assert submit.shapes == ((1, ()), (4, ("sep",)))
    assert submit.arguments[0].value() == (("hi there!",), {})
    dotted = Ref("|first", ("text",), otherwise="|first.text")
    assert submit.arguments[1].value() == (
        (Ref("|first"), {"deep": [Ref("|first")]}, dotted, "file.csv"),
        {"sep": Ref("|first")},
    )
    assert submit.workflow.returns == ("|second",)


def test_results_become_a_response():
    mpreg = dialect()
    run = submitted(golden("rpc"), mpreg).u

    assert mpreg.write(RunUpdate(run, ())) is None
    frame = mpreg.write(done(run, **{"|second": ("hi there!", "AND ME TOO")}))

    assert isinstance(frame, str)
    assert pretty(frame) == golden("response")


def test_an_unknown_function_is_1001_with_its_name():
    mpreg = dialect()
    run = submitted(rpc(cmd("x", "nope"), u="E1"), mpreg).u
    error = UnknownFunctionError("step 'x': no node has a function 'nope'", step="x")

    assert pretty(mpreg.write(RunDone(run, refused=Payload.of_error(error)))) == golden("error")


def test_levels_and_a_summary_are_told_to_who_asks():
    mpreg = dialect()
    frame = rpc(
        cmd("a", "f"), cmd("b", "f", "a"), u="e1", return_intermediate_results=True, include_execution_summary=True
    )
    submit = submitted(frame, mpreg)
    assert submit.workflow.returns == ("a", "b")

    def finished(step: str, began_s: float, ended_s: float) -> Finished:
        return Finished(ended_s, StepName(step), NodeName("n"), 1, began_s, began_s, began_s, ended_s)

    opened = make_plan(submit.workflow, submit.needs).opened()
    events = (opened, finished("a", 0.0, 0.5), finished("b", 0.5, 1.5), Ended(2.0, RunStatus.DONE))
    assert mpreg.write(RunUpdate(submit.u, events)) is None

    assert pretty(mpreg.write(done(submit.u, a=1, b=1))) == golden("response-2026")


OFFER = Offer(
    "h1",
    ClusterId("c1"),
    "ws://127.0.0.1:7102",
    (FunctionName("echo"), FunctionName("fb")),
    (Resource("rb"),),
)
SEEN = Sighting("ws://127.0.0.1:7103", (FunctionName("onC"),), (Resource("rc"),))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hello", OFFER),
        ("goodbye", Withdraw("h5")),
        ("status", Ask("h6")),
        ("gossip", Sightings(ClusterId("c1"), (SEEN,))),
        ("mismatch", OtherCluster("h3")),
    ],
)
def test_what_nodes_say_is_read_and_written_exactly(name: str, message: AnyMessage):
    assert dialect().read(golden(name).encode()) == message
    frame = dialect().write(message)
    assert isinstance(frame, bytes)
    assert pretty(frame) == golden(name)


def test_calls_between_nodes_are_read_and_written_exactly():
    call = dialect().read(golden("internal-rpc"))
    answer = dialect().read(golden("internal-answer"))
    failed = dialect().read(golden("internal-answer-error"))

    assert isinstance(call, ForeignCall)
    assert (call.u, call.function) == ("i1", "fb")
    assert call.arguments.value() == (({"node": "A"}, {"deep": ["..."]}), {"kw": 1})
    assert isinstance(answer, ForeignAnswer)
    assert answer.value is not None
    assert answer.value.value() == 3
    assert isinstance(failed, ForeignAnswer)
    assert failed.error is not None
    error = failed.error.value()
    assert (type(error), str(error), error.type_name, failed.function) == (RemoteError, "no luck", "ValueError", "fb")
    for name, message in (("internal-rpc", call), ("internal-answer", answer), ("internal-answer-error", failed)):
        assert pretty(dialect().write(message)) == golden(name)


@pytest.mark.parametrize(("asked", "word"), [("hello", "ADDED"), ("goodbye", "GONE"), ("status", "STATUS")])
def test_nodes_get_the_word_that_they_wait_for(asked: str, word: str):
    mpreg = dialect()
    message = mpreg.read(golden(asked))
    assert isinstance(message, (Offer, Withdraw, Ask))

    assert answered(mpreg, Done(message.u)) == {"r": word, "error": None, "u": message.u}


def test_the_reply_to_a_greeting_of_ours_is_understood():
    assert dialect().read(golden("added")) == Done("h1")
    refusal = dialect().read(golden("error"))
    assert isinstance(refusal, Refused)
    assert str(refusal.error.value()) == "1001 Command not found"


def test_each_golden_frame_has_a_row_in_the_protocol_description():
    description = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
    for path in FRAMES.glob("mpreg-*.json"):
        assert f"`{path.stem}`" in description


# --- references -----------------------------------------------------------------------------------------------------


def test_a_step_does_not_refer_to_itself():
    assert arguments(rpc(cmd("echo", "echo", "echo", kwargs={"x": "echo.y"}))) == [(("echo",), {"x": "echo.y"})]


def test_keys_are_never_references():
    assert arguments(rpc(cmd("a", "f"), cmd("b", "f", {"a": 1})))[1] == (({"a": 1},), {})


def test_names_may_have_dots_and_the_longest_one_counts():
    frame = rpc(cmd("a", "f"), cmd("a.b", "f"), cmd("c", "f", "a.b", "a.b.c", "a.x"))

    assert arguments(frame)[2][0] == (
        Ref("a.b"),
        Ref("a.b", ("c",), otherwise="a.b.c"),
        Ref("a", ("x",), otherwise="a.x"),
    )


@pytest.mark.parametrize("text", ["a.", "a..b", ".a", "A", "a b", "a .b", ""])
def test_what_only_looks_like_a_reference_stays_a_string(text: str):
    frame = rpc(cmd("a", "f"), cmd("b", "f", text))

    assert arguments(frame)[1] == ((text,), {})
    assert submitted(frame).needs == ((), ())


# --- which results --------------------------------------------------------------------------------------------------


def test_all_leaves_are_returned_whatever_their_level():
    assert returns(rpc(cmd("a", "f"), cmd("lone", "f"), cmd("b", "f", "a"))) == ("lone", "b")


def test_a_step_of_the_last_level_is_returned_though_it_is_read_by_keyword():
    assert returns(rpc(cmd("a", "f"), cmd("b", "f", kwargs={"x": "a"}))) == ("a", "b")
    assert returns(rpc(cmd("a", "f"), cmd("b", "f", {"x": ["a"]}))) == ("b",)


# --- what JSON can carry --------------------------------------------------------------------------------------------


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: tuple[float, ...]


@dataclass
class Unset:
    x: int

    def __init__(self) -> None:
        """Leaves its field without a value."""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, (2,)), [1, [2]]),
        ([float("nan"), float("inf"), -float("inf")], [None, None, None]),
        (np.float64(1.5), 1.5),
        (np.array(3), 3),
        (Colour.RED, "red"),
        (Point(1, (2.0,)), {"x": 1, "y": [2.0]}),
        (datetime(2025, 7, 1, 12, tzinfo=UTC), "2025-07-01T12:00:00+00:00"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ({"$": {"$": "ref"}}, {"$": {"$": "ref"}}),
    ],
)
def test_a_result_is_plain_json(value: Any, expected: Any):
    assert result_of(value) == expected


def nested(depth: int) -> Any:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "culprit"),
    [
        ({1}, "type set"),
        (b"x", "type bytes"),
        ({1: 2}, "key of type int"),
        (1 << 64, "64 bits"),
        (np.arange(2), ".tolist()"),
        (object(), "type object"),
        (nested(5000), "nested too deeply"),
        (Unset(), "AttributeError"),
    ],
)
def test_a_result_that_json_cannot_carry_is_an_error_that_names_it(value: Any, culprit: str):
    mpreg = dialect()
    run = submitted(rpc(cmd("a", "f"), u="7"), mpreg).u

    with pytest.raises(UnserialisableResultError, match=r"result of step 'a'.* travel as JSON") as caught:
        mpreg.write(done(run, a=value))
    error = answered(mpreg, RunDone(run, refused=Payload.of_error(caught.value)))

    assert error["u"] == "7"
    assert error["error"]["code"] == 1003
    assert culprit in error["error"]["details"]


# --- errors ---------------------------------------------------------------------------------------------------------


def test_failures_are_1003_with_a_line_for_each_and_no_files():
    mpreg = dialect()
    run = submitted(rpc(cmd("a", "f"), cmd("b", "f")), mpreg).u
    errors = [StepError(StepName(n), Payload.of_error(ValueError(f"no {n}"))) for n in "ab"]

    error = answered(mpreg, RunDone(run, errors=tuple(errors)))["error"]

    assert (error["code"], error["message"]) == (1003, "RPC execution failed")
    assert error["details"] == "step 'a': ValueError: no a\nstep 'b': ValueError: no b"


def test_a_request_is_answered_once():
    mpreg = dialect()
    run = submitted(rpc(cmd("a", "f")), mpreg).u

    assert mpreg.write(done(run, a=1)) is not None
    assert mpreg.write(done(run, a=1)) is None


@pytest.mark.parametrize(
    ("frame", "u", "code"),
    [
        (rpc(u="8"), "8", 1003),
        (rpc(cmd("a", "f"), cmd("a", "g"), u="9"), "9", 1003),
        (rpc(cmd("a", "f", "b"), cmd("b", "f", "a"), u="10"), "10", 1003),
        (rpc(cmd("", "f"), u="11"), "11", 1003),
        ('{"role": "weird", "u": "12"}', "12", 1004),
        ('{"role": null, "u": "13"}', "13", 1004),
        ('{"role": "rpc", "u": "14"}', "14", 1004),
        ('{"role": "rpc", "cmds": [], "u": 15}', 15, 1004),
        ('{"role": "rpc", "cmds": [{"name": "a", "fun": "f", "args": null}], "u": "16"}', "16", 1004),
        ('{"role": "server", "u": "17", "server": {"what": "SHOUT"}}', "17", 1000),
        ('{"role": "server", "u": "18", "server": {"what": "HELLO"}}', "18", 1004),
        ('{"u": "19"}', "19", 1004),
        ('{"role": "rpc", "u": {}}', "unknown", 1004),
        ("[1]", "unknown", 1004),
        ("{", "unknown", 1004),
        (b"\xff", "unknown", 1004),
        ('{"role": "rpc", "cmds": ' + "[" * 100_000, "unknown", 1004),
    ],
)
def test_what_makes_no_sense_gets_an_error_with_its_u(frame: Frame, u: object, code: int):
    reply = refusal(frame)

    assert reply["r"] is None
    assert reply["u"] == u
    assert reply["error"]["code"] == code


# --- hypothesis -----------------------------------------------------------------------------------------------------

plain_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@unhurried
@given(plain_json)
def test_plain_json_comes_and_goes_unchanged(value):
    [((come,), _)] = arguments(rpc(cmd("a step whose name is in no value", "f", value)))

    assert json.dumps(come) == json.dumps(value)
    assert json.dumps(result_of(come)) == json.dumps(value)


names = st.sampled_from(["a", "b", "c", "a.b", "echo"])
strings = names | st.sampled_from(["a.x", "b.c.d", "a.b.c", "z", "c."])
steps = st.fixed_dictionaries(
    {"name": names, "fun": st.sampled_from(["echo", "f"])},
    optional={
        "args": st.lists(strings | st.lists(strings, max_size=2), max_size=3),
        "kwargs": st.dictionaries(st.sampled_from(["x", "a"]), strings, max_size=2),
        "locs": st.lists(st.sampled_from(["gpu", "ram"]), max_size=2),
        "version_constraint": st.none(),
    },
)


@unhurried
@given(st.lists(steps, max_size=5))
def test_every_request_is_run_or_refused_and_never_loses_a_leaf(cmds):
    frame = rpc(*cmds)
    reply = refusal(frame)
    if reply is not None:
        assert reply["error"]["code"] == 1003
        return
    submit = submitted(frame)
    read = {need for needs in submit.needs for need in needs}
    leaves = {step.name for key, step in enumerate(submit.workflow.steps) if key not in read}
    assert submit.workflow.returns is not None
    assert leaves <= set(submit.workflow.returns)


mangled = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["rpc", "server", "HELLO", "a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "cmds", "u", "name", "fun", "args", "kwargs", "locs", "server", "what", "peers"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=6,
)


@unhurried
@given(
    st.builds(lambda role, rest: {**rest, "role": role}, mangled, st.dictionaries(st.text(max_size=6), mangled))
    | mangled,
    st.integers(0, 400),
    st.booleans(),
)
def test_malformed_frames_are_refused_in_json_or_make_sense(value, cut, binary):
    text = json.dumps(value)
    text = text[:cut] if cut < len(text) else text
    frame: Frame = text.encode() if binary else text
    reply = refusal(frame)
    assert reply is None or reply["error"]["code"] in (1000, 1003, 1004)


@unhurried
@given(st.binary(max_size=200))
def test_bytes_are_refused_or_make_sense(frame):
    reply = refusal(frame)
    assert reply is None or reply["error"]["code"] in (1000, 1003, 1004)
