"""One function, called in every way: arguments by position and by keyword, any number of them, sync and async.

`python -m mpreg_lab.examples.basic` makes each call by itself; `workflow()` has the same calls as steps. The functions
are plain Python: what can be called here can be called there.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from mpreg_lab import LocalCluster, Step, Workflow
from mpreg_lab.examples import Functions, offer

__all__ = ["CALLS", "FUNCTIONS", "Call", "Parcel", "join", "main", "nodes", "price", "relay", "weigh", "workflow"]


@dataclass(frozen=True)
class Parcel:
    """A value of a class of ours: it arrives as what it was."""

    contents: str
    weight_g: int


@dataclass(frozen=True)
class Call:
    """A function by name, and what it is called with."""

    name: str
    function: str
    args: tuple[Any, ...] = ()
    kwargs: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        given = [*map(repr, self.args), *(f"{name}={value!r}" for name, value in self.kwargs)]
        return f"{self.function}({', '.join(given)})"


# --- The functions that run on the nodes --------------------------------------------------------------------------


def join(*words: str, between: str = " ") -> str:
    """Any number of words as one text."""
    return between.join(words)


def price(net: float, *, tax: float = 0.19, currency: str = "EUR") -> str:
    """What it costs with tax; tax and currency are given by name alone."""
    return f"{net * (1 + tax):.2f} {currency}"


def weigh(parcel: Parcel, *, wrapping_g: int = 20) -> Parcel:
    """The same parcel, wrapped."""
    return Parcel(parcel.contents, parcel.weight_g + wrapping_g)


async def relay(message: str, *, times: int = 3) -> list[str]:
    """An async function: it waits on the node's loop and takes no thread meanwhile."""
    heard = []
    for time in range(times):
        await asyncio.sleep(0)
        heard.append(f"{message} {time + 1}")
    return heard


# --- The cluster and the workflow ---------------------------------------------------------------------------------

FUNCTIONS: Functions = {"": (join, price, weigh, relay)}
"""Resource to the functions that run where it is; here on every node."""

CALLS = (
    Call("echoed", "echo", ("hello",)),
    Call("listed", "echos", (1, 2.5, "three", None, [4, 5])),
    Call("joined", "join", ("any", "number", "of", "words")),
    Call("dashed", "join", ("by", "name"), (("between", "-"),)),
    Call("usual", "price", (100.0,)),
    Call("abroad", "price", (100.0,), (("tax", 0.077), ("currency", "CHF"))),
    Call("wrapped", "weigh", (Parcel("book", 480),), (("wrapping_g", 35),)),
    Call("relayed", "relay", ("ping",), (("times", 2),)),
)
"""`echo` and `echos` are on every node of every cluster."""


def nodes() -> dict[str, list[str]]:
    """Node to its resources, as `LocalCluster` takes them."""
    return {"one": [], "two": []}


def workflow() -> Workflow:
    """All calls as steps that need nothing of each other."""
    return Workflow(Step(call.name, call.function, call.args, dict(call.kwargs)) for call in CALLS)


def main() -> None:
    """Make the calls one by one and print what came back."""
    with LocalCluster(nodes()) as cluster:
        offer(cluster, FUNCTIONS)
        for call in CALLS:
            print(call)
            print(f"  → {cluster.call(call.function, *call.args, **dict(call.kwargs))!r}")


if __name__ == "__main__":
    main()
