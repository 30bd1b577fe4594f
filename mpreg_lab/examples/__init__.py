"""Worked examples, each a program of its own that sees the public names of mpreg_lab alone.

Every module has `FUNCTIONS`, resource to the functions that run where it is ("" for any node), `nodes()`, as
`LocalCluster` takes them, `workflow()`, and `main()`, which runs the example and prints what it shows:
`python -m mpreg_lab.examples.basic`. `mpreg-lab demo --list` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NamedTuple

from mpreg_lab import LocalCluster

__all__ = ["EXAMPLES", "Example", "Functions", "lacks", "load", "offer"]

Functions = Mapping[str, tuple[Callable[..., Any], ...]]
"""Resource to the functions that run where it is; "" for any node."""


class Example(NamedTuple):
    """One example.

    Attributes:
        summary: What it shows, in one line.
        tells: Whether it is more than one run of `workflow()`: `main()` tells the story then.
        needs: Libraries beyond those of mpreg_lab: `pip install 'mpreg-lab[examples]'`.
    """

    summary: str
    tells: bool = False
    needs: tuple[str, ...] = ()


EXAMPLES: dict[str, Example] = {
    "basic": Example("one function, called in every way: positional, keyword, async", tells=True),
    "workflows": Example("chains, parallel steps, and steps that need several others"),
    "distributed": Example("which node runs a step: resources, a name, whoever is free", tells=True),
    "concurrency": Example("many clients and many calls at once, none lost, none mixed up", tells=True),
    "error-handling": Example("time-outs, retries, skipped steps, and an answer all the same", tells=True),
    "performance": Example("latency and throughput, each beside a floor", tells=True),
    "data-pipeline": Example("a messy CSV file becomes a report on three nodes"),
    "ml-inference": Example(
        "three trained models on three nodes, one answer, explained", tells=True, needs=("sklearn",)
    ),
    "order-processing": Example("orders, stock, money in SQLite: nodes die, nothing is lost", tells=True),
    "monitoring": Example("which node has a leak, is slow, hangs, or is dead?", tells=True, needs=("psutil",)),
}
"""Name to what it shows, the simple ones first."""


def lacks(name: str) -> str | None:
    """What to do about a library that an example needs and that is not installed; None if all are."""
    for library in EXAMPLES[name].needs:
        if find_spec(library) is None:
            return f"{name} needs {library}, which is not here. Install it: pip install 'mpreg-lab[examples]'"
    return None


def load(name: str) -> ModuleType:
    """The module of an example.

    Raises:
        LookupError: If there is no example of that name.
        ModuleNotFoundError: If a library that it needs is not installed.
    """
    if name not in EXAMPLES:
        raise LookupError(f"there is no example {name!r}. Examples: {', '.join(EXAMPLES)}")
    return import_module(f"{__name__}.{name.replace('-', '_')}")


def offer(cluster: LocalCluster, functions: Functions) -> None:
    """Have the nodes of a cluster offer the functions of an example."""
    for resource, offered in functions.items():
        for function in offered:
            cluster.register(function, resources=[resource] if resource else [])
