"""What every member of a seam must do, as test classes: subclass one, say what is tested, and pytest does the rest.

```python
class TestMemory(TransportConformance):
    address = "memory://"
```
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from queue import SimpleQueue
from typing import Any, NoReturn

import pytest

from mpreg_lab.errors import (
    ConnectError,
    ConnectionLostError,
    CycleError,
    EmptyWorkflowError,
    ReferenceValueError,
    StepTimeoutError,
)
from mpreg_lab.protocol import codec
from mpreg_lab.protocol.messages import Done, Message
from mpreg_lab.transport.base import Connection, Listener, Transport
from mpreg_lab.transport.registry import transport_for
from mpreg_lab.types import Frame
from mpreg_lab.workflow.model import Group, Ref, Step, Workflow
from mpreg_lab.workflow.record import StepStatus

from .clock import Ran

__all__ = ["EngineConformance", "TransportConformance"]


class TransportConformance:
    """The promises of transport.base.

    Attributes:
        address: Where to listen; the transport must choose a free place by itself.
    """

    address: str

    @pytest.fixture
    def transport(self) -> Transport:
        return transport_for(self.address)

    @pytest.fixture
    async def ends(self, transport: Transport) -> AsyncIterator[tuple[Connection, Connection]]:
        """The two ends of one connection: of who connected, and of who listened."""
        async with self.listening(transport) as (listener, taken), AsyncExitStack() as stack:
            end = await transport.connect(listener.url)
            stack.push_async_callback(end.close)
            other = await taken.get()
            stack.push_async_callback(other.close)
            yield end, other

    @asynccontextmanager
    async def listening(self, transport: Transport) -> AsyncIterator[tuple[Listener, asyncio.Queue[Connection]]]:
        """A listener that serves, and the connections that it takes."""
        taken: asyncio.Queue[Connection] = asyncio.Queue()
        listener = transport.listen(self.address, taken.put_nowait)
        await listener.serve()
        try:
            yield listener, taken
        finally:
            await listener.close()

    # --- frames ---------------------------------------------------------------------------------------------------

    async def test_frames_arrive_whole_and_in_order(self, ends: tuple[Connection, Connection]) -> None:
        end, other = ends
        frames = [frame(end, number) for number in range(100)]
        for sent in frames:
            end.send(sent)
        assert await take(other, 100) == frames

    async def test_both_ends_may_send(self, ends: tuple[Connection, Connection]) -> None:
        end, other = ends
        end.send(frame(end, 1))
        assert await take(other, 1) == [frame(end, 1)]
        other.send(frame(other, 2))
        assert await take(end, 1) == [frame(other, 2)]

    async def test_nothing_is_pending_once_it_was_taken(self, ends: tuple[Connection, Connection]) -> None:
        end, other = ends
        end.send(frame(end, 1))
        await take(other, 1)
        assert end.pending_bytes == 0

    async def test_the_other_end_has_a_name(self, ends: tuple[Connection, Connection]) -> None:
        assert all(end.peer_name for end in ends)

    # --- the end --------------------------------------------------------------------------------------------------

    async def test_close_sends_what_is_pending_and_ends_both_ends(self, ends: tuple[Connection, Connection]) -> None:
        end, other = ends
        end.send(frame(end, 1))
        await end.close()
        assert [got async for got in other] == [frame(end, 1)]
        assert [got async for got in end] == []

    async def test_close_ends_a_reader_that_waits(self, ends: tuple[Connection, Connection]) -> None:
        end, other = ends
        reading = asyncio.ensure_future(take(end, 1))
        await asyncio.sleep(0)
        await other.close()
        assert await reading == []

    async def test_close_may_be_called_twice_and_by_both(self, ends: tuple[Connection, Connection]) -> None:
        for end in ends * 2:
            await end.close()

    async def test_abort_is_a_lost_connection_for_both_ends(self, ends: tuple[Connection, Connection]) -> None:
        end, other = ends
        end.abort()
        for reader in (other, end):
            with pytest.raises(ConnectionLostError):
                await take(reader, 1)

    async def test_abort_drops_what_is_pending(self, ends: tuple[Connection, Connection]) -> None:
        end, other = ends
        end.send(frame(end, 1))
        end.abort()
        with pytest.raises(ConnectionLostError):
            await take(other, 1)
        assert end.pending_bytes == 0

    async def test_frames_after_the_end_are_dropped(self, ends: tuple[Connection, Connection]) -> None:
        end, other = ends
        await end.close()
        end.send(frame(end, 1))
        other.send(frame(other, 1))
        assert await take(end, 1) == []
        assert await take(other, 1) == []

    # --- connecting -----------------------------------------------------------------------------------------------

    async def test_each_listener_has_its_own_address(self, transport: Transport) -> None:
        async with self.listening(transport) as (one, _), self.listening(transport) as (two, _):
            assert one.url != two.url

    async def test_an_address_can_be_taken_once(self, transport: Transport) -> None:
        async with self.listening(transport) as (listener, _):
            with pytest.raises(ConnectError):
                transport.listen(listener.url, ignore)

    async def test_who_connects_before_it_serves_waits(self, transport: Transport) -> None:
        taken: asyncio.Queue[Connection] = asyncio.Queue()
        listener = transport.listen(self.address, taken.put_nowait)
        connecting = asyncio.ensure_future(transport.connect(listener.url))
        await asyncio.sleep(0)
        await listener.serve()
        end, other = await connecting, await taken.get()
        await end.close()
        await other.close()
        await listener.close()

    async def test_a_listener_that_never_serves_does_not_answer(self, transport: Transport) -> None:
        listener = transport.listen(self.address, ignore)
        with pytest.raises(ConnectError, match="no answer"):
            await transport.connect(listener.url, timeout_s=0.01)
        await listener.close()

    async def test_nobody_answers_at_a_closed_listener(self, transport: Transport) -> None:
        async with self.listening(transport) as (listener, _):
            pass
        with pytest.raises(ConnectError, match="nobody listens there"):
            await transport.connect(listener.url)

    async def test_connections_outlive_their_listener(self, transport: Transport) -> None:
        async with self.listening(transport) as (listener, taken):
            end = await transport.connect(listener.url)
            other = await taken.get()
        end.send(frame(end, 1))
        assert await take(other, 1) == [frame(end, 1)]
        await end.close()
        await other.close()

    async def test_no_task_is_left_behind(self, transport: Transport) -> None:
        async with self.listening(transport) as (listener, taken):
            end = await transport.connect(listener.url)
            other = await taken.get()
        await end.close()
        await other.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait_for(asyncio.gather(*others), 5)


def frame(connection: Connection, number: int) -> Frame | Message:
    """Something that the connection carries; equal for equal numbers."""
    message = Done(str(number))
    return message if connection.carries_objects else codec.encode(message, text=number % 2 == 1)


async def take(connection: Connection, count: int) -> list[Frame | Message]:
    """The next frames, fewer if the connection ends."""
    frames: list[Frame | Message] = []
    async for got in connection:
        frames.append(got)
        if len(frames) == count:
            break
    return frames


def ignore(connection: Connection) -> None:
    """Accept nothing."""


class EngineConformance:
    """The promises of engine.base.

    Attributes:
        soon_s: Seconds in which a function that was sent has surely begun.
    """

    soon_s = 0.01

    async def run(self, functions: Mapping[str, Callable[..., Any]], workflow: Workflow) -> Ran:
        """Run the workflow with these functions, and wait for its end.

        Raises:
            WorkflowError: If the workflow cannot run as it is written.
        """
        raise NotImplementedError

    # --- values ---------------------------------------------------------------------------------------------------

    async def test_results_reach_the_steps_that_refer_to_them(self) -> None:
        ran = await self.run({"add": add}, workflow(Step("a", "add", (1, 2)), Step("b", "add", (Ref("a"), 4))))

        assert ran.results == {"a": 3, "b": 7}
        assert ran.errors == {}
        assert ran.record.status == "done"

    async def test_steps_may_come_in_any_order(self) -> None:
        steps = Step("c", "add", (Ref("a"), Ref("b"))), Step("b", "add", (Ref("a"), 1)), Step("a", "add", (1, 1))

        assert (await self.run({"add": add}, workflow(*steps))).results == {"a": 2, "b": 3, "c": 5}

    async def test_references_stand_at_any_depth_and_go_into_results(self) -> None:
        table = {"rows": [{"n": 1}, {"n": 2}], "size": 3 + 4j}
        deep = Step("deep", "give", ([Ref("t")["rows"][-1]["n"], (Ref("t").attr("size").attr("real"),)],))
        keyword = Step("keyword", "give", (), {"value": {"all": Ref("t")["rows"], "set": {Ref("t")["rows"][0]["n"]}}})
        ran = await self.run({"give": give}, workflow(Step("t", "give", (table,)), deep, keyword))

        assert ran.results["deep"] == [2, (3.0,)]
        assert ran.results["keyword"] == {"all": [{"n": 1}, {"n": 2}], "set": {1}}

    async def test_a_string_is_a_string(self) -> None:
        ran = await self.run({"give": give}, workflow(Step("a", "give", ("b",)), Step("b", "give", ("a",))))

        assert ran.results == {"a": "b", "b": "a"}

    async def test_names_may_be_in_any_script(self) -> None:
        ran = await self.run(
            {"give": give}, workflow(Step("größe", "give", (1,)), Step("合計", "give", (Ref("größe"),)))
        )

        assert ran.results == {"größe": 1, "合計": 1}

    async def test_async_and_sync_functions_may_follow_each_other(self) -> None:
        steps = (
            Step("a", "add", (1, 1)),
            Step("b", "add_async", (Ref("a"), 1)),
            Step("c", "add", (Ref("b"), 1)),
            Step("d", "add_async", (Ref("c"), 1)),
        )
        assert (await self.run({"add": add, "add_async": add_async}, workflow(*steps))).results["d"] == 5

    @pytest.mark.parametrize("shape", ["chain", "fan", "layers"])
    async def test_large_workflows_run(self, shape: str) -> None:
        if shape == "chain":
            steps = [Step("s0", "add", (0, 1)), *(Step(f"s{i}", "add", (Ref(f"s{i - 1}"), 1)) for i in range(1, 2500))]
        elif shape == "fan":
            parts = [Step(f"p{i}", "add", (i, 0)) for i in range(500)]
            steps = [*parts, Step("end", "total", ([Ref(part.name) for part in parts],))]
        else:
            layers = [[Step(f"0-{i}", "add", (i, 1)) for i in range(10)]]
            for depth in range(1, 20):
                above = [Ref(step.name) for step in layers[-1]]
                layers.append([Step(f"{depth}-{i}", "add", (above[i], above[i - 1])) for i in range(10)])
            steps = [step for layer in layers for step in layer]

        functions: dict[str, Callable[..., Any]] = {"add": add, "total": total}
        expected: dict[str, Any] = {}
        for step in steps:
            expected[step.name] = functions[step.function](*(_by_hand(value, expected) for value in step.args))
        assert (await self.run(functions, workflow(*steps))).results == expected

    # --- failures -------------------------------------------------------------------------------------------------

    async def test_what_needs_a_failed_step_is_skipped_and_all_else_runs(self) -> None:
        steps = (
            Step("good", "give", (1,)),
            Step("bad", "fail", ("no",)),
            Step("x", "give", (Ref("bad"),)),
            Step("y", "give", ([Ref("x"), Ref("good")],)),
            Step("z", "give", (Ref("good"),)),
        )
        ran = await self.run({"give": give, "fail": fail}, workflow(*steps))

        assert ran.results == {"good": 1, "z": 1}
        assert [step.name for step in ran.record.failed] == ["bad"]
        assert [(step.name, step.because) for step in ran.record.skipped] == [("x", "bad"), ("y", "bad")]
        assert ran.record.status == "failed"

    async def test_an_exception_keeps_its_type_message_and_notes(self) -> None:
        ran = await self.run({"fail": fail}, workflow(Step("bad", "fail", ("no",))))

        failure = ran.record.failed[0].failure
        error = ran.errors["bad"]
        assert type(error) is ZeroDivisionError
        assert error.args == ("no",)
        assert "a note" in error.__notes__
        assert failure is not None
        assert (failure.type_name, failure.message) == ("ZeroDivisionError", "no")

    async def test_all_failures_are_kept(self) -> None:
        ran = await self.run({"fail": fail}, workflow(*(Step(f"bad{i}", "fail", (i,)) for i in range(5))))

        assert list(ran.errors) == [step.name for step in ran.record.failed] == [f"bad{i}" for i in range(5)]

    async def test_a_long_chain_that_fails_early_ends(self) -> None:
        steps = [Step("s0", "give", (0,)), Step("s1", "fail", (Ref("s0"),))]
        steps += [Step(f"s{i}", "give", (Ref(f"s{i - 1}"),)) for i in range(2, 50)]
        ran = await self.run({"give": give, "fail": fail}, workflow(*steps))

        assert ran.record.count(StepStatus.SKIPPED) == 48

    async def test_a_reference_to_what_is_not_there_fails_the_step_that_wanted_it(self) -> None:
        steps = Step("a", "give", ({"x": 1},)), Step("b", "give", (Ref("a")["y"],)), Step("c", "give", (Ref("b"),))
        ran = await self.run({"give": give}, workflow(*steps))

        assert type(ran.errors["b"]) is ReferenceValueError
        assert (
            str(ran.errors["b"])
            == "the reference a['y'] has no value: a is a dict with 1 key ('x'), it has no item 'y'"
        )
        assert [step.name for step in ran.record.skipped] == ["c"]

    # --- retries and time-outs ------------------------------------------------------------------------------------

    @pytest.mark.parametrize("kind", ["sync", "async"])
    async def test_a_step_is_started_again_until_it_works(self, kind: str) -> None:
        works = works_at(3)

        async def works_async(value: object) -> object:
            return works(value)

        function = works if kind == "sync" else works_async
        ran = await self.run(
            {"works": function, "give": give},
            workflow(Step("a", "works", ("x",), retries=5, backoff_s=0.001), Step("b", "give", (Ref("a"),))),
        )

        assert ran.results == {"a": "x", "b": "x"}
        assert ran.errors == {}
        a = next(iter(ran.record.steps.values()))
        assert a.attempts == 3
        assert [attempt.failure.message for attempt in a.earlier] == ["attempt 1", "attempt 2"]

    async def test_a_step_is_started_once_more_than_it_has_retries(self) -> None:
        works = works_at(99)
        ran = await self.run({"works": works}, workflow(Step("a", "works", (1,), retries=2)))

        assert str(ran.errors["a"]) == "attempt 3"
        assert ran.results == {}

    async def test_an_async_step_that_takes_too_long_is_cancelled(self) -> None:
        cancelled: SimpleQueue[bool] = SimpleQueue()

        async def hang() -> NoReturn:
            try:
                await asyncio.get_running_loop().create_future()
                raise AssertionError("a future that nobody sets")
            except asyncio.CancelledError:
                cancelled.put(True)
                raise

        steps = Step("slow", "hang", (), timeout_s=self.soon_s, retries=1), Step("below", "give", (Ref("slow"),))
        ran = await self.run({"hang": hang, "give": give}, workflow(*steps, Step("other", "give", (1,))))

        assert type(ran.errors["slow"]) is StepTimeoutError
        assert ran.results == {"other": 1}
        assert [step.name for step in ran.record.skipped] == ["below"]
        assert [await asyncio.to_thread(cancelled.get, True, 5) for _ in range(2)] == [True, True]

    # --- what cannot run ------------------------------------------------------------------------------------------

    async def test_a_workflow_that_makes_no_sense_never_begins(self) -> None:
        calls: list[object] = []
        with pytest.raises(EmptyWorkflowError):
            await self.run({"note": calls.append}, workflow())
        steps = Step("free", "note", (1,)), Step("a", "note", (Ref("b"),)), Step("b", "note", (Ref("a"),))
        with pytest.raises(CycleError):
            await self.run({"note": calls.append}, workflow(*steps))
        assert calls == []

    # --- the record -----------------------------------------------------------------------------------------------

    async def test_the_record_has_every_step_in_the_order_of_the_workflow(self) -> None:
        steps = Step("b", "give", (Ref("a"),), resources=()), Step("a", "give", (1,))
        written = Workflow(steps, groups=(Group("both", ("a", "b")),), name="story")
        ran = await self.run({"give": give}, written)

        assert list(ran.record.steps) == ["b", "a"]
        assert (ran.record.groups, ran.record.name) == (written.groups, "story")
        assert [step.plan.needs for step in ran.record.steps.values()] == [("a",), ()]

    async def test_the_times_of_a_step_are_in_order(self) -> None:
        steps = [Step("s0", "give", (0,)), *(Step(f"s{i}", "give", (Ref(f"s{(i - 1) // 2}"),)) for i in range(1, 30))]
        ran = await self.run({"give": give}, workflow(*steps))

        assert ran.record.duration_s is not None
        for step in ran.record.steps.values():
            times = [step.ready_s, step.sent_s, step.started_s, step.ended_s, step.known_s]
            told = [time for time in times if time is not None]
            assert len(told) == 5
            # Halves of ways are estimates: they may be off by what a clock can tell.
            assert all(later >= earlier - 0.001 for earlier, later in pairwise(told)), times
            assert told[0] >= 0.0
            assert told[-1] <= ran.record.duration_s + 0.001


def workflow(*steps: Step) -> Workflow:
    """A workflow of these steps."""
    return Workflow(steps)


def give(value: Any) -> Any:
    """What it is given."""
    return value


def add(left: Any, right: Any) -> Any:
    """The sum."""
    return left + right


async def add_async(left: Any, right: Any) -> Any:
    """The sum, some turns of the loop later."""
    await asyncio.sleep(0)
    return left + right


def total(values: list[Any]) -> Any:
    """The sum of all."""
    return sum(values)


def fail(value: object) -> NoReturn:
    """Raise an error with a note."""
    error = ZeroDivisionError(value)
    error.add_note("a note")
    raise error


def works_at(attempt: int) -> Callable[[Any], Any]:
    """A function that works when it is called for the so-manieth time."""
    calls: list[object] = []

    def works(value: object) -> object:
        calls.append(value)
        if len(calls) < attempt:
            raise ConnectionError(f"attempt {len(calls)}")
        return value

    return works


def _by_hand(value: Any, results: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_by_hand(item, results) for item in value]
    return results[value.step] if isinstance(value, Ref) else value
