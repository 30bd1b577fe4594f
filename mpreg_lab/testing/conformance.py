"""What every member of a seam must do, as test classes: subclass one, say what is tested, and pytest does the rest.

```python
class TestMemory(TransportConformance):
    address = "memory://"
```
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from mpreg_lab.errors import ConnectError, ConnectionLostError
from mpreg_lab.protocol import codec
from mpreg_lab.protocol.messages import Done, Message
from mpreg_lab.transport.base import Connection, Listener, Transport
from mpreg_lab.transport.registry import transport_for
from mpreg_lab.types import Frame

__all__ = ["TransportConformance"]


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
