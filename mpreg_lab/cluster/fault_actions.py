"""What can be done to links and nodes, in values: what it changes in a network, and the words for it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from mpreg_lab.errors import ClusterSpecError
from mpreg_lab.transport.faulty import Cable, LinkFaults, Network
from mpreg_lab.types import NodeName
from mpreg_lab.workflow.record import FaultKind, FaultNote

__all__ = [
    "CLIENT",
    "Action",
    "Cut",
    "Delay",
    "Drop",
    "Duplicate",
    "Heal",
    "Kill",
    "OnLink",
    "Pause",
    "Reorder",
    "Restart",
    "Resume",
    "Script",
    "change",
    "check",
    "note",
]

CLIENT = "client"
"""The name, at the end of a link, of the client that is in the cluster object itself."""


class _OnLink(msgspec.Struct, frozen=True):
    """Something done to the link between two nodes, in both directions. `b` may be "client"."""

    a: str
    b: str


class Cut(_OnLink, frozen=True):
    """Let nothing through.

    Attributes:
        silent: Whether frames vanish and nobody is told. Else connections break at once, and none can be opened.
    """

    silent: bool = False


class Delay(_OnLink, frozen=True):
    """Have every frame take longer, each way; the order stays. 0 ends it."""

    delay_s: float
    jitter_s: float = 0.0
    """At most so much more, by chance."""


class Drop(_OnLink, frozen=True):
    """Lose a share of the frames, between 0 and 1, but never the first of a connection. 0 ends it."""

    share: float


class Duplicate(_OnLink, frozen=True):
    """Deliver a share of the frames twice. 0 ends it."""

    share: float


class Reorder(_OnLink, frozen=True):
    """Hold back a share of the frames for a while, so that later ones overtake them. 0 ends it."""

    share: float
    by_s: float = 0.05


class Heal(msgspec.Struct, frozen=True):
    """End whatever was done to a link; without `b` to all links of `a`, without either to all."""

    a: str = ""
    b: str = ""


class _OnNode(msgspec.Struct, frozen=True):
    node: str


class Kill(_OnNode, frozen=True):
    """End a node as a crash would."""


class Restart(_OnNode, frozen=True):
    """Launch a node again."""


class Pause(_OnNode, frozen=True):
    """Halt a node that has a process of its own."""


class Resume(_OnNode, frozen=True):
    """Have a paused node go on."""


OnLink = Cut | Delay | Drop | Duplicate | Reorder
Action = OnLink | Heal | Kill | Restart | Pause | Resume
Script = Iterable[tuple[float, Action]]
"""What to do when: seconds from the beginning of the script, and an action."""


def note(action: Action, at_s: float) -> FaultNote:
    """The action as a run's record has it."""
    kind = FaultKind(type(action).__name__.lower())
    return FaultNote(at_s, kind, _words(action), tuple(map(NodeName, _whom(action))), _is_over(action))


def _whom(action: Action) -> tuple[str, ...]:
    if isinstance(action, (Kill, Restart, Pause, Resume)):
        return (action.node,)
    return tuple(end for end in (action.a, action.b) if end)


def _is_over(action: Action) -> bool:
    if isinstance(action, Delay):
        return not (action.delay_s or action.jitter_s)
    return isinstance(action, (Drop, Duplicate, Reorder)) and not action.share


def _words(action: Action) -> str:
    link = "-".join(_whom(action))
    if _is_over(action):
        return f"{link}: no {type(action).__name__.lower()} any more"
    match action:
        case Cut():
            return f"{link} cut{' silently' if action.silent else ''}"
        case Delay():
            return f"{link} delayed by {_seconds(action.delay_s, action.jitter_s)}"
        case Drop():
            return f"{link} drops {100 * action.share:.3g} % of the frames"
        case Duplicate():
            return f"{link} doubles {100 * action.share:.3g} % of the frames"
        case Reorder():
            return f"{link} disorders {100 * action.share:.3g} % of the frames"
        case Heal():
            return f"{link or 'all links'} healed"
        case Kill():
            return f"{link} killed"
        case Restart():
            return f"{link} restarted"
        case Pause():
            return f"{link} paused"
        case Resume():
            return f"{link} resumed"


def _seconds(least_s: float, more_s: float) -> str:
    return f"{least_s:.3g}" + (f" to {least_s + more_s:.3g}" if more_s else "") + " s"


def check(action: OnLink) -> None:
    """Whether it makes sense.

    Raises:
        ClusterSpecError: If a link has one end twice, a share is not between 0 and 1, or a time negative.
    """
    if action.a == action.b:
        raise ClusterSpecError(f"a link has two ends, not {action.a!r} twice")
    for field, least, most in (
        ("share", 0.0, 1.0),
        ("delay_s", 0.0, 3600.0),
        ("jitter_s", 0.0, 3600.0),
        ("by_s", 0.0, 3600.0),
    ):
        value = getattr(action, field, 0.0)
        if not least <= value <= most:
            raise ClusterSpecError(
                f"{field} of {type(action).__name__} is between {least:g} and {most:g}, not {value!r}"
            )


def change(network: Network, action: OnLink | Heal) -> None:
    """Do it to the links of a network."""
    if isinstance(action, Heal):
        network.heal(action.a, action.b)
        return
    changes: dict[str, object]
    if isinstance(action, Cut):
        changes = {"cable": Cable.DEAD if action.silent else Cable.BROKEN}
    elif isinstance(action, Delay):
        changes = {"delay_s": action.delay_s, "jitter_s": action.jitter_s}
    elif isinstance(action, Drop):
        changes = {"drop": action.share}
    elif isinstance(action, Duplicate):
        changes = {"duplicate": action.share}
    else:
        changes = {"reorder": action.share, "reorder_s": action.by_s if action.share else LinkFaults().reorder_s}
    for source, target in ((action.a, action.b), (action.b, action.a)):
        network.change(source, target, msgspec.structs.replace(network.faults(source, target), **changes))
