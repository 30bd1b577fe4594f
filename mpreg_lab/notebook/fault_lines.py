"""`%mpreg faults kill b; cut a b; heal`: actions in a line, in the words of `cluster.faults`. Pure: text to actions."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

from mpreg_lab.cluster.faults import (
    CLIENT,
    Action,
    Cut,
    Delay,
    Drop,
    Duplicate,
    Heal,
    Kill,
    Pause,
    Reorder,
    Restart,
    Resume,
)
from mpreg_lab.errors import MagicError
from mpreg_lab.workflow.plan import did_you_mean

from .options import Argument, Kind, Syntax, delay, names, share

__all__ = ["FAULTS", "Fault", "Planned", "planned", "written"]


class Planned(NamedTuple):
    """What a line asks for: what to do at once, or what to do when, in seconds from now."""

    actions: tuple[tuple[float | None, Action], ...]

    @property
    def script(self) -> bool:
        """Whether any of it has a time."""
        return any(at_s is not None for at_s, _ in self.actions)


class Fault(NamedTuple):
    """One word of the line.

    Attributes:
        actions: What it stands for; nodes are those that there are.
    """

    syntax: Syntax
    actions: Callable[[argparse.Namespace, list[str]], list[Action]]


_NODE = Argument(("node",), "its name", "NODE", Kind.NODE)
_A = Argument(("a",), "one end: a node, or client", "A", Kind.END)
_B = Argument(("b",), "the other end", "B", Kind.END)
_SHARE = Argument(("share",), "between 0 and 1; 0 ends it", "SHARE", read=share)


def _fault(
    word: str,
    does: str,
    arguments: tuple[Argument, ...],
    actions: Callable[[argparse.Namespace, list[str]], list[Action]],
) -> tuple[str, Fault]:
    return word, Fault(Syntax(f"%mpreg faults {word}", does, arguments), actions)


FAULTS: dict[str, Fault] = dict(
    (
        _fault(
            "cut",
            "Break the connections between two nodes, and let none be opened.",
            (_A, _B, Argument(("--silent",), "frames vanish, and nobody is told")),
            lambda o, _: [Cut(o.a, o.b, o.silent)],
        ),
        _fault(
            "delay",
            "Have every frame between two nodes take longer, each way.",
            (
                _A,
                _B,
                Argument(("delay_s",), "so much longer; 0 ends it", "SECONDS", read=delay),
                Argument(("--jitter",), "at most so much more, by chance", "SECONDS", read=delay, default=0.0),
            ),
            lambda o, _: [Delay(o.a, o.b, o.delay_s, o.jitter)],
        ),
        _fault(
            "slow",
            "Have every frame from and to a node take longer.",
            (_NODE, Argument(("delay_s",), "so much longer; 0 ends it", "SECONDS", read=delay)),
            lambda o, nodes: [Delay(o.node, end, o.delay_s) for end in (*nodes, CLIENT) if end != o.node],
        ),
        _fault(
            "drop",
            "Lose a share of the frames between two nodes.",
            (_A, _B, _SHARE),
            lambda o, _: [Drop(o.a, o.b, o.share)],
        ),
        _fault(
            "duplicate",
            "Deliver a share of the frames between two nodes twice.",
            (_A, _B, _SHARE),
            lambda o, _: [Duplicate(o.a, o.b, o.share)],
        ),
        _fault(
            "reorder",
            "Have a share of the frames between two nodes overtaken by later ones.",
            (
                _A,
                _B,
                _SHARE,
                Argument(("--by",), "so long they are held back", "SECONDS", read=delay, default=0.05),
            ),
            lambda o, _: [Reorder(o.a, o.b, o.share, o.by)],
        ),
        _fault(
            "partition",
            "Cut all links between nodes of different sides, silently.",
            (Argument(("sides",), "nodes with commas between them", "A,B", Kind.NODES, names, "+"),),
            lambda o, _: [
                Cut(a, b, silent=True) for one, other in combinations(o.sides, 2) for a in one for b in other
            ],
        ),
        _fault(
            "heal",
            "End whatever was done to a link, to all links of a node, or to all.",
            (
                Argument(("a",), "only the links of this node", "A", Kind.END, count="?", default=""),
                Argument(("b",), "only the link between the two", "B", Kind.END, count="?", default=""),
            ),
            lambda o, _: [Heal(o.a, o.b)],
        ),
        _fault("kill", "End a node as a crash would.", (_NODE,), lambda o, _: [Kill(o.node)]),
        _fault("restart", "Launch a node again.", (_NODE,), lambda o, _: [Restart(o.node)]),
        _fault("pause", "Halt a node that has a process of its own.", (_NODE,), lambda o, _: [Pause(o.node)]),
        _fault("resume", "Have a paused node go on.", (_NODE,), lambda o, _: [Resume(o.node)]),
    )
)


def planned(line: str, nodes: list[str]) -> Planned:
    """What a line asks for.

    Args:
        nodes: Those of the cluster.

    Raises:
        MagicError: If a part is wrong; says which.
    """
    actions: list[tuple[float | None, Action]] = []
    for part in line.split(";"):
        if part.strip():
            at_s, text = _time(part.split())
            actions += [(at_s, action) for action in _actions(text, nodes)]
    return Planned(tuple(actions))


def written(action: Action) -> str:
    """An action as a line has it: `delay a b 0.2`."""
    fields, defaults = action.__struct_fields__, action.__struct_defaults__
    usual = dict(zip(reversed(fields), reversed(defaults), strict=False))
    values = (value for field in fields if (value := getattr(action, field)) != usual.get(field))
    words = ("--silent" if value is True else f"{value:g}" if isinstance(value, float) else value for value in values)
    return " ".join([type(action).__name__.lower(), *words])


def _time(words: list[str]) -> tuple[float | None, list[str]]:
    if words[0] != "at":
        return None, words
    try:
        return delay(words[1]), words[2:]
    except (IndexError, argparse.ArgumentTypeError) as exc:
        raise MagicError("%mpreg faults at: expected seconds from now, and a fault: at 0.5 kill b") from exc


def _actions(words: list[str], nodes: list[str]) -> list[Action]:
    word = words[0] if words else ""
    if word not in FAULTS:
        hint = did_you_mean(word, FAULTS, "It has: ") if word else f"It has: {', '.join(FAULTS)}"
        raise MagicError(f"%mpreg faults has no {word!r}. {hint}")
    fault = FAULTS[word]
    return fault.actions(fault.syntax.read(" ".join(words[1:])), nodes)
