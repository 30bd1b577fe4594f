from __future__ import annotations

import asyncio

import pytest

from mpreg_lab.errors import ConnectError
from mpreg_lab.protocol.messages import Done
from mpreg_lab.transport.memory import MemoryConnection, MemoryTransport

transport = MemoryTransport()


async def test_messages_go_by_reference():
    one, other = MemoryConnection.pair()
    message = Done("1")
    one.send(message)
    await one.close()
    (got,) = [got async for got in other]
    assert got is message


async def test_the_ends_of_a_pair_have_each_others_names():
    one, other = MemoryConnection.pair("one", "other")
    assert (one.peer_name, other.peer_name) == ("other", "one")


async def test_a_reader_is_woken_once_for_all_messages_of_a_tick():
    one, other = MemoryConnection.pair()
    woken: list[str] = []

    async def read() -> None:
        tick = asyncio.get_running_loop().call_soon
        async for _ in other:
            if not woken:
                tick(woken.append, "next tick")
            woken.append("message")

    reading = asyncio.ensure_future(read())
    await asyncio.sleep(0)
    for n in range(3):
        one.send(Done(str(n)))
    await asyncio.sleep(0)
    assert woken == ["message"] * 3
    await one.close()
    await reading


async def test_a_listener_may_have_a_name():
    listener = transport.listen("memory://a", lambda _: None)
    assert listener.url == "memory://a"
    with pytest.raises(ConnectError, match="cannot listen on memory://a: someone else does"):
        transport.listen("memory://a", lambda _: None)
    await listener.close()


async def test_another_loop_is_told_to_use_a_socket():
    listener = transport.listen("memory://", lambda _: None)
    await listener.serve()
    with pytest.raises(ConnectError, match="another event loop, use a ws:// address"):
        await asyncio.to_thread(asyncio.run, transport.connect(listener.url))
    await listener.close()
