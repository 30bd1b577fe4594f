"""What runs in the process of a node. It ends with the process that launched it, whatever the node is doing."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
import threading
from collections.abc import Callable

from mpreg_lab.errors import MpregError

from .opening import dialler, open_node
from .orders import Answer, Join, Order, SetUp, decode_order, encode

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
    dial = dialler(setup.token, setup.tls)
    node, listener = await open_node(
        setup.spec, setup.cluster_id, dial, token=setup.token, guests=setup.guests, tls=setup.tls, url=setup.url
    )
    _say(answers, Answer(node.member))
    while isinstance(order := await given.get(), Join):
        try:
            await node.join(await dial(order.seed))
        except (MpregError, OSError) as error:
            _say(answers, Answer(error=str(error)))
        else:
            _say(answers, Answer(node.member))
    await listener.close()
    await node.stop()


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
