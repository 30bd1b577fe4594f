"""Who may attach to which run, and what is told then: spoken to a node over sockets, message by message."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from typing import NoReturn

import pytest
from websockets.asyncio.client import ClientConnection, connect

from mpreg_lab.cluster.opening import open_node
from mpreg_lab.cluster.spec import NodeSpec
from mpreg_lab.errors import ConnectError
from mpreg_lab.node import client_runs
from mpreg_lab.protocol import codec
from mpreg_lab.protocol.messages import (
    Attach,
    Attached,
    Cancel,
    Fetch,
    Forget,
    Member,
    Message,
    Refused,
    RunDone,
    RunUpdate,
    Submit,
)
from mpreg_lab.protocol.payload import Payload
from mpreg_lab.types import ClusterId, NodeName, RunId, StepName
from mpreg_lab.workflow.model import Step, Workflow
from mpreg_lab.workflow.record import RunRecord

S = StepName("s")


class Served:
    """A node, and a gate that its function `wait` waits for."""

    def __init__(self, url: str, gate: asyncio.Event) -> None:
        self.url, self.gate = url, gate
        self.starts = 0
        self.stopped = asyncio.Event()

    def connect(self, *, guest: bool = False) -> connect:
        return connect(self.url, proxy=None, additional_headers={} if guest else {"Authorization": "Bearer t"})


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async def nobody(member: Member) -> NoReturn:
        raise ConnectError(f"{member.name} is not there")

    node, listener = await open_node(NodeSpec(NodeName("here")), ClusterId("lab"), nobody, token="t", guests=True)
    served = Served(listener.url, asyncio.Event())

    async def wait() -> str:
        served.starts += 1
        try:
            await served.gate.wait()
        except asyncio.CancelledError:
            served.stopped.set()
            raise
        return "done"

    node.register(wait)
    yield served
    await listener.close()
    await node.stop()


def submit(run: RunId, function: str = "wait", *, keep: bool = True) -> Submit:
    return Submit(run, Workflow((Step("s", function),)), ((),), (Payload.of(((), {})),), keep=keep)


async def say(websocket: ClientConnection, message: Message) -> None:
    await websocket.send(codec.encode(message, text=True))


async def hear(websocket: ClientConnection, wanted: Callable[[Message], bool]) -> list[Message]:
    """What comes, up to the first message that is wanted."""
    heard: list[Message] = []
    while not heard or not wanted(heard[-1]):
        heard.append(codec.decode(await websocket.recv()))
    return heard


def is_done(message: Message) -> bool:
    return isinstance(message, RunDone)


def is_attached(message: Message) -> bool:
    return isinstance(message, Attached)


def has_started(message: Message) -> bool:
    return isinstance(message, RunUpdate) and any(type(event).__name__ == "Started" for event in message.events)


def unguessable() -> RunId:
    return RunId(secrets.token_hex(16))


async def test_a_connection_that_is_not_known_to_be_dead_yet_loses_its_run_to_who_attaches(served):
    run = unguessable()
    async with served.connect() as old, served.connect() as new:
        await say(old, submit(run))
        known = [m for m in await hear(old, has_started) if isinstance(m, RunUpdate)]
        await say(new, Attach("1", {run: 0}))
        await hear(new, lambda message: isinstance(message, RunUpdate))
        old.transport.abort()
        await old.wait_closed()
        served.gate.set()
        (*_, done) = heard = await hear(new, is_done)

    assert isinstance(done, RunDone)
    assert done.results[S].value() == "done"
    assert served.starts == 1
    assert known[0].first == 0
    assert [m.first for m in heard if isinstance(m, RunUpdate)][-1] < done.after


async def test_who_attaches_is_told_what_was_missed_and_the_end_once(served):
    run = unguessable()
    async with served.connect() as old:
        await say(old, submit(run))
        await hear(old, has_started)
        old.transport.abort()
    served.gate.set()
    async with served.connect() as new:
        await say(new, Attach("1", {run: 0}))
        attached, *updates, _ = await hear(new, is_done)
        await say(new, Attach("2", {run: 3}))
        assert is_attached((await hear(new, is_attached))[-1])

    assert isinstance(attached, Attached)
    assert (attached.unknown, attached.past) == ((), ())
    events = [event for update in updates if isinstance(update, RunUpdate) for event in update.events]
    assert repr(RunRecord.of(events)) == "RunRecord(1 step: 1 done)"


async def test_what_was_forgotten_is_past_and_a_late_copy_of_its_submit_starts_nothing(served):
    run = unguessable()
    served.gate.set()
    async with served.connect() as websocket:
        await say(websocket, submit(run))
        await hear(websocket, is_done)
        await say(websocket, Forget(run))
        await say(websocket, submit(run))
        (done,) = await hear(websocket, is_done)
        await say(websocket, Attach("1", {run: 0, RunId("never"): 0}))
        (attached,) = await hear(websocket, is_attached)

    assert isinstance(done, RunDone)
    assert done.refused is not None
    assert isinstance(attached, Attached)
    assert (attached.past, attached.unknown) == ((run,), ("never",))
    assert served.starts == 1


async def test_more_runs_than_have_their_results_kept_can_be_attached_to(served, monkeypatch):
    monkeypatch.setattr(client_runs, "KEPT_RUNS", 2)
    served.gate.set()
    runs = [unguessable() for _ in range(5)]
    async with served.connect() as old:
        for run in runs:
            await say(old, submit(run))
            await hear(old, is_done)
        old.transport.abort()
    async with served.connect() as new:
        await say(new, Attach("1", dict.fromkeys(runs, 0)))
        done: set[RunId] = set()
        while len(done) < 5:
            done |= {m.u for m in await hear(new, is_done) if isinstance(m, RunDone)}

    assert done == set(runs)


async def test_of_too_many_runs_whose_clients_are_away_the_first_to_be_left_is_cancelled(served, monkeypatch):
    monkeypatch.setattr(client_runs, "MOST_ALONE", 1)
    runs = [unguessable(), unguessable()]
    for run in runs:
        async with served.connect() as old:
            await say(old, submit(run))
            await hear(old, has_started)
            old.transport.abort()
    await served.stopped.wait()
    async with served.connect() as new:
        await say(new, Attach("1", dict.fromkeys(runs, 0)))
        (attached,) = await hear(new, is_attached)

    assert isinstance(attached, Attached)
    assert (attached.past, attached.unknown) == ((runs[0],), ())


async def test_a_run_that_did_not_ask_to_be_kept_cannot_be_attached_to_and_ends_with_its_connection(served):
    run = RunId("1")
    async with served.connect() as old, served.connect() as other:
        await say(old, submit(run, keep=False))
        await hear(old, has_started)
        await say(other, Attach("1", {run: 0}))
        (attached,) = await hear(other, is_attached)

    assert isinstance(attached, Attached)
    assert attached.unknown == (run,)


async def test_who_has_not_shown_the_token_reaches_no_run_but_its_own(served):
    run = RunId("1")
    async with served.connect(guest=True) as owner, served.connect(guest=True) as stranger:
        await say(owner, submit(run, keep=False))
        await hear(owner, has_started)
        await say(stranger, Cancel(run))
        await say(stranger, Forget(run))
        await say(stranger, Fetch("2", run, S))
        (refused,) = await hear(stranger, lambda message: isinstance(message, Refused))
        served.gate.set()
        (*_, done) = await hear(owner, is_done)
        await say(stranger, Fetch("3", run, S))
        (again,) = await hear(stranger, lambda message: isinstance(message, Refused))

    assert isinstance(refused, Refused)
    assert "this connection has no run with a result of step 's'" in str(refused.error.value())
    assert isinstance(again, Refused)
    assert isinstance(done, RunDone)
    assert done.results[S].value() == "done"
