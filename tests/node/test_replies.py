"""Every request gets exactly one reply, whatever is wrong with it; what is no request gets a refusal at most."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple, NoReturn

import pytest
from websockets.asyncio.client import ClientConnection, connect

from mpreg_lab.cluster.opening import open_node
from mpreg_lab.cluster.spec import NodeSpec
from mpreg_lab.errors import ConnectError, MpregError
from mpreg_lab.node.server import Node
from mpreg_lab.protocol import codec
from mpreg_lab.protocol.messages import (
    Announce,
    Attach,
    Attached,
    Beat,
    Call,
    CallReturned,
    Calls,
    CallsDone,
    Cancel,
    CancelCalls,
    Describe,
    Described,
    Done,
    Fetch,
    Fetched,
    Forget,
    Goodbye,
    Hello,
    Lane,
    Member,
    Message,
    Ping,
    Refused,
    Register,
    RunDone,
    RunUpdate,
    Submit,
    Unregister,
    Watch,
    Welcome,
)
from mpreg_lab.protocol.payload import Payload
from mpreg_lab.types import ClusterId, FunctionName, NodeName, RunId, StepName
from mpreg_lab.workflow.model import Step, Workflow

LAB, HERE, THERE = ClusterId("lab"), NodeName("here"), NodeName("there")
RUN, STEP, ECHO = RunId("r"), StepName("s"), FunctionName("echo")
ARGUMENTS = Payload.of((("x",), {}))


def submit(*steps: Step, needs: Any = None, arguments: Any = None, **fields: Any) -> Submit:
    steps = steps or (Step("s", "echo"),)
    needs = ((),) * len(steps) if needs is None else needs
    return Submit(RUN, Workflow(steps), needs, (ARGUMENTS,) * len(steps) if arguments is None else arguments, **fields)


def calls(*lanes: Lane, run: str = "other", **fields: Any) -> Calls:
    return Calls(RunId(run), lanes, **fields)


def call(function: str = "echo", arguments: Payload = ARGUMENTS, **fields: Any) -> Lane:
    return Lane((Call(0, STEP, FunctionName(function), arguments, **fields),))


class Case(NamedTuple):
    message: Message
    replies: list[str]
    """The kinds of what comes back for it, updates left out; a failure's with the class of its exception."""


BOTH = {
    "a workflow": Case(submit(), ["RunDone"]),
    "a workflow twice": Case(submit(Step("s", "slow")), ["RunDone RunCancelledError"]),
    "a workflow to be kept whose name can be guessed": Case(submit(keep=True), ["RunDone ProtocolError"]),
    "attach to nothing": Case(Attach("1"), ["Attached"]),
    "attach to what never was": Case(Attach("1", {RunId("x" * 32): 7}, (RunId("y" * 32),)), ["Attached"]),
    "no steps": Case(Submit(RUN, Workflow(()), (), ()), ["RunDone EmptyWorkflowError"]),
    "two steps of a name": Case(submit(Step("s", "echo"), Step("s", "echo")), ["RunDone DuplicateStepError"]),
    "a cycle": Case(submit(Step("a", "echo"), Step("b", "echo"), needs=((1,), (0,))), ["RunDone CycleError"]),
    "needs that do not fit": Case(submit(needs=()), ["RunDone UnknownStepError"]),
    "needs out of range": Case(submit(needs=((7,),)), ["RunDone UnknownStepError"]),
    "needs below zero": Case(submit(needs=((-1,),)), ["RunDone UnknownStepError"]),
    "arguments that do not fit": Case(submit(arguments=()), ["RunDone ProtocolError"]),
    "shapes that do not fit": Case(submit(shapes=((1, ()), (1, ()))), ["RunDone ProtocolError"]),
    "a call that does not fit": Case(submit(shapes=((5, ()),)), ["RunDone ArgumentsError"]),
    "a function of nobody": Case(submit(Step("s", "no-such")), ["RunDone UnknownFunctionError"]),
    "a resource of nobody": Case(submit(Step("s", "echo", resources=("gpu",))), ["RunDone RoutingError"]),
    "a node of nobody": Case(submit(Step("s", "echo", node="x")), ["RunDone RoutingError"]),
    "an error": Case(submit(Step("s", "fail")), ["RunDone KeyError"]),
    "a result that cannot travel": Case(submit(Step("s", "generator")), ["RunDone UnserialisableResultError"]),
    "a run that takes too long": Case(submit(Step("s", "slow"), timeout_s=0.01), ["RunDone RunTimeoutError"]),
    "cancel an unknown run": Case(Cancel(RUN), []),
    "forget an unknown run": Case(Forget(RUN), []),
    "fetch of an unknown run": Case(Fetch("1", RUN, STEP), ["Refused StepNotFinishedError"]),
    "describe": Case(Describe("1"), ["Described"]),
    "watch": Case(Watch("1"), ["Watched"]),
    "register no function": Case(Register("1", FunctionName("f"), Payload.of(5)), ["Refused FunctionError"]),
    "unregister what is not there": Case(Unregister("1", FunctionName("f")), ["Done"]),
    "hello of another cluster": Case(Hello("1", ClusterId("x"), Member(THERE)), ["Refused ClusterError"]),
    "hello in our name": Case(Hello("1", LAB, Member(HERE)), ["Refused ClusterError"]),
    "announce": Case(Announce("1", Member(THERE)), ["Done"]),
    "announce in our name": Case(Announce("1", Member(HERE, version=10**9)), ["Done"]),
    "our own goodbye": Case(Goodbye(HERE), []),
    "goodbye of nobody": Case(Goodbye(THERE), []),
    "heartbeats of another cluster": Case(Beat(ClusterId("x"), THERE), ["Refused ProtocolError"]),
    "a heartbeat where none belongs": Case(Ping(THERE, HERE, 1, 1), ["Refused ProtocolError"]),
    "a lane without calls": Case(calls(Lane(())), ["Refused ProtocolError"]),
    "calls for nobody's run": Case(calls(call()), ["CallsDone returned"]),
    "a call of no function": Case(calls(call("no-such")), ["CallsDone failed UnknownFunctionError"]),
    "a call with a missing value": Case(calls(call(refers=True)), ["CallsDone returned"]),
    "values of an unknown node": Case(calls(call(), held={STEP: THERE}), ["CallsDone failed ConnectError"]),
    "values that we do not have": Case(calls(call(), held={STEP: HERE}), ["CallsDone failed StepNotFinishedError"]),
    "outcomes of an unknown run": Case(CallsDone(RUN, (CallReturned(0, 1, 0.0, 0.0, 0.0, ARGUMENTS),)), []),
    "cancel calls of an unknown run": Case(CancelCalls(RUN, (0, 99, -1)), []),
    "a reply that nobody asked for": Case(Done("7"), ["Refused ProtocolError"]),
    "a value that nobody asked for": Case(Fetched("7", ARGUMENTS), ["Refused ProtocolError"]),
    "a welcome that nobody asked for": Case(Welcome("7", (), THERE), ["Refused ProtocolError"]),
    "a refusal of nothing": Case(Refused("7", Payload.of_error(KeyError("x"))), []),
    "an answer to an attach to a node": Case(Attached("7", "life"), ["Refused ProtocolError"]),
    "an update to a node": Case(RunUpdate(RUN, ()), ["Refused ProtocolError"]),
    "the end of a run to a node": Case(RunDone(RUN), ["Refused ProtocolError"]),
}


async def slow(value: str) -> NoReturn:
    await asyncio.Event().wait()
    raise AssertionError


def fail(value: str) -> NoReturn:
    raise KeyError(value)


def generator(value: str) -> Any:
    yield value


class Served:
    def __init__(self, node: Node, url: str, complaints: list[dict[str, Any]]) -> None:
        self.node, self.url, self.complaints = node, url, complaints

    def connect(self) -> connect:
        return connect(self.url, proxy=None, additional_headers={"Authorization": "Bearer t"})


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async def nobody(member: Member) -> NoReturn:
        raise ConnectError(f"{member.name} is not there")

    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    node, listener = await open_node(NodeSpec(HERE), LAB, nobody, token="t")
    for function in (slow, fail, generator):
        node.register(function)
    yield Served(node, listener.url, complaints)
    await listener.close()
    await node.stop()
    assert complaints == []


async def replies(websocket: ClientConnection, count: int) -> list[str]:
    """The next so many replies, and then what comes until a last request is answered."""
    found: list[str] = []
    while len(found) < count:
        found += told(codec.decode(await websocket.recv()))
    await websocket.send(codec.encode(Describe("last"), text=True))
    while not isinstance(message := codec.decode(await websocket.recv()), Described) or message.u != "last":
        found += told(message)
    return sorted(found)


def told(message: Message) -> list[str]:
    match message:
        case RunUpdate():
            return []
        case RunDone(refused=Payload() as refused):
            return [f"RunDone {name(refused)}"]
        case RunDone(errors=errors) if errors:
            return [f"RunDone {name(error.error)}" for error in errors]
        case Refused():
            return [f"Refused {name(message.error)}"]
        case CallsDone():
            kinds = [outcome.__struct_config__.tag for outcome in message.outcomes]
            classes = [f" {name(o.error)}" if hasattr(o, "error") else "" for o in message.outcomes]
            return [f"CallsDone {k}{c}" for k, c in zip(kinds, classes, strict=True) if k != "started"]
    return [type(message).__name__]


def name(payload: Payload) -> str:
    error = payload.value()
    return str(getattr(error, "type_name", type(error).__name__))


@pytest.mark.parametrize("text", [True, False], ids=["text", "binary"])
@pytest.mark.parametrize("what", BOTH)
async def test_each_message_gets_its_replies_and_no_more(served, what, text):
    case = BOTH[what]
    async with served.connect() as websocket:
        try:
            frame = codec.encode(case.message, text=text)
        except MpregError:
            pytest.fail(f"{what} cannot be said this way")
        await websocket.send(frame)
        if what == "a workflow twice":
            await websocket.send(frame)
            await websocket.send(codec.encode(Cancel(RUN), text=text))

        assert await replies(websocket, len(case.replies)) == sorted(case.replies)


async def test_another_workflow_under_the_name_of_one_that_runs_is_refused(served):
    async with served.connect() as websocket, served.connect() as other:
        await websocket.send(codec.encode(submit(Step("s", "slow")), text=False))
        await websocket.send(codec.encode(submit(Step("s", "echo")), text=False))
        assert await replies(websocket, 1) == ["Refused ProtocolError"]
        await other.send(codec.encode(submit(Step("s", "slow")), text=False))
        assert await replies(other, 1) == ["RunDone ProtocolError"]
        await websocket.send(codec.encode(Cancel(RUN), text=False))
        assert await replies(websocket, 1) == ["RunDone RunCancelledError"]


async def test_outcomes_of_steps_that_the_run_does_not_have_are_passed_over(served):
    async with served.connect() as websocket:
        await websocket.send(codec.encode(submit(Step("s", "slow")), text=False))
        for key in (-1, 1, 2**40):
            outcome = CallReturned(key, 1, 0.0, 0.0, 0.0, ARGUMENTS)
            await websocket.send(codec.encode(CallsDone(RUN, (outcome,)), text=False))
        await websocket.send(codec.encode(Cancel(RUN), text=False))
        assert await replies(websocket, 1) == ["RunDone RunCancelledError"]


async def test_nobody_else_gives_out_the_steps_of_a_run(served):
    async with served.connect() as client, served.connect() as other:
        await client.send(codec.encode(submit(Step("s", "slow")), text=False))
        await other.send(codec.encode(calls(call(), run=RUN), text=False))
        assert await replies(other, 1) == ["Refused ProtocolError"]
        await client.send(codec.encode(Cancel(RUN), text=False))
        assert await replies(client, 1) == ["RunDone RunCancelledError"]


async def test_a_run_that_is_forgotten_before_its_end_ends(served):
    async with served.connect() as websocket:
        await websocket.send(codec.encode(submit(Step("s", "slow")), text=False))
        await websocket.send(codec.encode(Forget(RUN), text=False))
        assert await replies(websocket, 1) == ["RunDone RunCancelledError"]


async def test_results_that_the_asker_cannot_read_are_failures_and_the_others_arrive(served):
    def made_bytes(value: str) -> bytes:
        return b"x"

    served.node.register(made_bytes)
    one = Call(0, StepName("a"), FunctionName("made_bytes"), ARGUMENTS)
    two = Call(1, StepName("b"), ECHO, ARGUMENTS)
    async with served.connect() as websocket:
        await websocket.send(codec.encode(calls(Lane((one, two))), text=True))
        assert await replies(websocket, 2) == ["CallsDone failed UnserialisableResultError", "CallsDone returned"]


async def test_a_json_client_whose_result_is_no_json_hears_of_its_run(served):
    served.node.register(lambda value: b"x", name="made_bytes")
    async with served.connect() as websocket:
        await websocket.send(codec.encode(submit(Step("s", "made_bytes")), text=True))
        assert await replies(websocket, 1) == ["RunDone UnserialisableResultError"]


async def test_a_client_that_goes_away_leaves_nothing_behind(served):
    async with served.connect() as websocket:
        await websocket.send(codec.encode(submit(Step("s", "slow")), text=False))
        await websocket.send(codec.encode(Describe("1"), text=False))
        while not isinstance(codec.decode(await websocket.recv()), Described):
            continue
        (peer,) = served.node._peers
        assert served.node._runs
    await peer.close()
    assert not served.node._runs
