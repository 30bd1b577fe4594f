"""What runs in the process of a node. It ends with the process that launched it, whatever the node is doing."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial

from mpreg_lab.errors import MpregError
from mpreg_lab.node.links import Dial
from mpreg_lab.node.server import Node
from mpreg_lab.protocol.messages import Member
from mpreg_lab.transport.base import Connection
from mpreg_lab.transport.faulty import Network

from .opening import dialler, open_node
from .orders import Answer, Befell, Join, Leave, Order, Rewire, SetUp, decode_order, encode

__all__ = ["main"]

_PARENT_CHECK_S = 0.5
_STDIN, _STDOUT, _STDERR = 0, 1, 2


def main() -> None:
    """Take orders on stdin and answer on stdout until told to leave."""
    orders, answers = _take_pipes()
    asyncio.run(_live(orders, answers))


def _take_pipes() -> tuple[int, int]:
    """Keep stdin and stdout for us: what steps print goes to stderr, what they read is empty."""
    orders, answers = os.dup(_STDIN), os.dup(_STDOUT)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, _STDIN)
    os.close(nothing)
    os.dup2(_STDERR, _STDOUT)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a pipe, hence a TextIOWrapper
    return orders, answers


async def _live(orders: int, answers: int) -> None:
    given: asyncio.Queue[Order] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def take(line: bytes) -> None:
        loop.call_soon_threadsafe(given.put_nowait, decode_order(line))

    threading.Thread(target=_watch, args=(orders, take), name="mpreg-orders", daemon=True).start()
    setup = await given.get()
    assert isinstance(setup, SetUp), setup
    network = Network()
    network.rewire(setup.wiring)
    dial = partial(_dial, network, setup.spec.name, dialler(setup.token, setup.tls))
    node, listener = await open_node(
        setup.spec, setup.cluster_id, dial, token=setup.token, guests=setup.guests, tls=setup.tls, url=setup.url
    )
    _say(answers, Answer(node.member))
    answering: asyncio.Future[None] | None = None
    while not isinstance(order := await given.get(), Leave):
        # At once, also while an earlier one takes its time: what heals a link may be what that one waits for.
        done = loop.create_task(_done(order, node, network, dial))
        answering = loop.create_task(_answer(answers, done, answering))
    await listener.close()
    await node.stop()


async def _dial(network: Network, ours: str, dial: Dial, member: Member) -> Connection:
    return await network.dial(ours, member.name, partial(dial, member))


async def _done(order: Order, node: Node, network: Network, dial: Dial) -> Answer:
    try:
        match order:
            case Join():
                await node.join(await dial(order.seed))
            case Befell():
                node.befell(order.fault)
            case Rewire():
                network.rewire(order.wiring)
                await network.settled()
    except (MpregError, OSError) as error:
        return Answer(error=str(error))
    return Answer(node.member)


async def _answer(answers: int, done: asyncio.Task[Answer], before: asyncio.Future[None] | None) -> None:
    if before is not None:
        await before
    _say(answers, await done)


def _say(answers: int, answer: Answer) -> None:
    os.write(answers, encode(answer))


def _watch(orders: int, take: Callable[[bytes], object]) -> None:
    """Hand over each line; when there will be no more, end this process and what it started.

    That is so when the pipe's other end is closed, by whatever ended the process that launched us. A fork of it may
    hold the pipe open, so we look at who our parent is as well.
    """
    parent = os.getppid()
    rest = b""
    while os.getppid() == parent:
        if not select.select([orders], [], [], _PARENT_CHECK_S)[0]:
            continue
        chunk = os.read(orders, 65536)
        if not chunk:
            break
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            take(line)
    # The loop may be busy, a step may hang: nothing of this process is asked, only the system.
    os.killpg(os.getpgrp(), signal.SIGKILL)
