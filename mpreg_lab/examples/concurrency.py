"""Many clients and many calls at once: none is lost, none gets the answer of another, and they do run together.

`stress` has clients on websockets of their own call at the same time and compares every answer with its question.
`workflow` is a meeting: each of its steps waits inside its function until all the others are inside theirs, so it ends
only if all of them run at the same time.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from mpreg_lab import AsyncClient, LocalCluster, Step, Workflow, current_step
from mpreg_lab.examples import Functions, offer

__all__ = ["FUNCTIONS", "GUESTS", "Load", "main", "meet", "nodes", "stress", "tag", "workflow"]

GUESTS = 200
MEETING_S = 20.0


@dataclass(frozen=True)
class Load:
    """What clients asked and got.

    Attributes:
        wrong: Answers to another question than the one that was asked.
        took_s: From the first call to the last answer; all were connected before.
    """

    clients: int
    asked: int
    answered: int
    wrong: int
    took_s: float

    @property
    def calls_per_s(self) -> float:
        """Answers in a second, over all clients."""
        return self.answered / self.took_s


# --- The functions that run on the nodes --------------------------------------------------------------------------


def tag(client: int, call: int) -> tuple[int, int, str]:
    """The question, and the node that was asked."""
    return client, call, current_step().node


class _Room:
    """Where the steps of one run wait for each other."""

    def __init__(self) -> None:
        self.inside = 0
        self.full = asyncio.Event()


_rooms: dict[str, _Room] = {}


async def meet(guests: int) -> int:
    """Come in and wait until so many are inside; whether one was the first, second, ... to come.

    All steps that meet run on one node. They are async: a waiting one takes no thread.
    """
    run = current_step().run
    room = _rooms.setdefault(run, _Room())
    room.inside += 1
    place = room.inside
    if place == guests:
        room.full.set()
    try:
        await room.full.wait()
    finally:
        room.inside -= 1
        if not room.inside:
            del _rooms[run]
    return place


# --- The cluster and the workflow ---------------------------------------------------------------------------------

FUNCTIONS: Functions = {"": (tag,), "meeting-room": (meet,)}
"""Resource to the functions that run where it is; "" on every node."""


def nodes() -> dict[str, list[str]]:
    """Node to its resources, as `LocalCluster` takes them."""
    return {"one": [], "two": [], "three": ["meeting-room"]}


def workflow(guests: int = GUESTS) -> Workflow:
    """A meeting of so many steps; each waits for all others."""
    return Workflow(
        Step(f"guest-{number}", "meet", (guests,), resources=["meeting-room"], timeout_s=MEETING_S)
        for number in range(guests)
    )


async def stress(url: str, *, clients: int = 16, calls: int = 50, token: str | None = None) -> Load:
    """Have many clients, each with a connection of its own, make all their calls at the same time."""
    async with AsyncExitStack() as connected:
        asking = [await connected.enter_async_context(AsyncClient(url, token=token)) for _ in range(clients)]
        began_s = time.perf_counter()
        answers = await asyncio.gather(*(_ask(client, number, calls) for number, client in enumerate(asking)))
        took_s = time.perf_counter() - began_s
    wrong = sum(
        answer[:2] != (client, call) for client, heard in enumerate(answers) for call, answer in enumerate(heard)
    )
    return Load(clients, clients * calls, sum(map(len, answers)), wrong, took_s)


async def _ask(client: AsyncClient, number: int, calls: int) -> list[tuple[int, int, str]]:
    return list(await asyncio.gather(*(client.call("tag", number, call) for call in range(calls))))


def main() -> None:
    """Many clients, one client with many calls, and a meeting."""
    with LocalCluster(nodes()) as cluster:
        offer(cluster, FUNCTIONS)
        print("clients  calls each   asked  answered  mixed up  calls in 1 s")
        for clients, calls in ((1, 1000), (16, 64), (64, 16)):
            load = asyncio.run(stress(cluster.url, clients=clients, calls=calls))
            print(
                f"{clients:7}  {calls:10}  {load.asked:6}  {load.answered:8}  {load.wrong:8}  {load.calls_per_s:12,.0f}"
            )
        places = sorted(cluster.run(workflow()).results.values())
        together = places == list(range(1, GUESTS + 1))
        print(f"\n{GUESTS} steps waited for each other: {'all were inside at once' if together else places}")


if __name__ == "__main__":
    main()
