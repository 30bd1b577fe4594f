"""A cluster as plain JSON for a widget: where everything is, what is said of it, and what can be done to it."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import msgspec

from mpreg_lab.client.status import ClusterStatus, Life, NodeStatus

from .cluster_scene import SUBLABEL_PX, TEXT_LEFT, TEXT_ROOM, arrow, cluster_scene, label_spots
from .cluster_words import NODE_MARK_PATH, NODE_PALETTE, LinkState, Look, Reading, doubt_words, load_words
from .format import line
from .palette import Colours
from .text_size import shorten

__all__ = ["ClusterDetail", "ClusterPicture", "ClusterState", "detail", "link_picture", "picture", "state"]

_SLOW_S = 0.2


class Deed(msgspec.Struct, frozen=True):
    """Something that can be done: the verb that the widget sends back, and how it is offered."""

    verb: str
    label: str
    title: str


class PictureNode(msgspec.Struct, frozen=True):
    """A box. `key` is the name, `name` how it is written in full, `label` in the box."""

    key: str
    name: str
    label: str
    x: float
    y: float
    width: float
    height: float


class PictureLine(msgspec.Struct, frozen=True):
    """A link between two nodes, given by their positions: the `d` of its SVG path."""

    a: int
    b: int
    path: str


class ClusterPicture(msgspec.Struct, frozen=True):
    """What stays the same as long as the same nodes are there."""

    width: float
    height: float
    text_left: float
    nodes: list[PictureNode]
    lines: list[PictureLine]
    marks: dict[Look, str]
    palette: dict[Look, Colours]


class StateNode(msgspec.Struct, frozen=True):
    """How a node is.

    Attributes:
        line: For its box. words: For who hears and does not see.
        share: How much of its slots is taken, between 0 and 1.
        steps: What it does and did, for its panel.
        doubters: Who thinks that it is gone, or may be.
        doubts: What it thinks itself: whom it suspects and has given up.
    """

    look: Look
    line: str
    words: str
    share: float
    steps: str
    doubters: str
    doubts: str
    deeds: list[Deed]


class Doubt(msgspec.Struct, frozen=True):
    """That one node doubts another: an arrow, or only words where nodes stand in rows."""

    a: int
    b: int
    look: Look
    path: str
    words: str


class ClusterState(msgspec.Struct, frozen=True):
    """What changes as the cluster lives."""

    running: bool
    headline: str
    work: str
    nodes: list[StateNode]
    doubts: list[Doubt]


class LinkPicture(msgspec.Struct, frozen=True):
    """How a link is; `label` stands on it, in a box of that place."""

    a: int
    b: int
    state: LinkState
    words: str
    label: str = ""
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0


class Links(msgspec.Struct, frozen=True):
    """All links that are drawn, or those that are not simply connected if none are; and what can be done to one."""

    links: list[LinkPicture]
    deeds: list[Deed]
    heal: Deed | None


class DetailNode(msgspec.Struct, frozen=True):
    """What seldom changes about a node."""

    slots: int
    resources: list[str]
    functions: list[str]
    elsewhere: bool


class ClusterDetail(msgspec.Struct, frozen=True):
    """What is shown of a node when it is opened, and what can be done to the cluster."""

    title: str
    kind: str
    nodes: list[DetailNode]
    can_add: bool


def picture(status: ClusterStatus) -> dict[str, Any]:
    """A ClusterPicture, as plain JSON."""
    scene = cluster_scene([node.name for node in status.nodes])
    return _plain(
        ClusterPicture(
            width=scene.width,
            height=scene.height,
            text_left=TEXT_LEFT,
            nodes=[
                PictureNode(
                    spot.name, line(spot.name, 200), spot.label, spot.box.x, spot.box.y, spot.box.width, spot.box.height
                )
                for spot in scene.nodes
            ],
            lines=[PictureLine(link.a, link.b, _straight(link.start, link.end)) for link in scene.lines],
            marks=NODE_MARK_PATH,
            palette=NODE_PALETTE,
        )
    )


def state(status: ClusterStatus) -> dict[str, Any]:
    """A ClusterState, as plain JSON."""
    reading = Reading(status)
    scene = cluster_scene(list(reading.nodes))
    at = {name: i for i, name in enumerate(reading.nodes)}
    doubts = [
        Doubt(
            at[a],
            at[b],
            Look.SUSPECTED if belief == "suspected" else Look.LOST,
            arrow(scene.nodes[at[a]], scene.nodes[at[b]]) if scene.lines else "",
            doubt_words(a, b, belief),
        )
        for a, b, belief in reading.doubts
        if b in at
    ]
    nodes = [_node(reading, node) for node in status.nodes]
    return _plain(ClusterState(status.running, reading.headline, reading.work, nodes, doubts))


def link_picture(status: ClusterStatus) -> dict[str, Any]:
    """Links, as plain JSON."""
    reading = Reading(status)
    names = list(reading.nodes)
    scene = cluster_scene(names)
    pairs = list(combinations(range(len(names)), 2))
    states = [reading.link_state(names[a], names[b]) for a, b in pairs]
    words = [reading.link_words(names[a], names[b]) for a, b in pairs]
    if scene.lines:
        shown = (LinkState.CUT, LinkState.FAULTY)
        labels = [said if state in shown else "" for state, said in zip(states, words, strict=True)]
        spots = label_spots(scene, labels)
        links = [
            LinkPicture(a, b, state, said, label, spot.x, spot.y, spot.width)
            for (a, b), state, said, label, spot in zip(pairs, states, words, labels, spots, strict=True)
        ]
    else:
        links = [
            LinkPicture(a, b, state, said)
            for (a, b), state, said in zip(pairs, states, words, strict=True)
            if state is not LinkState.CONNECTED
        ]
    able = status.can_fault
    return _plain(Links(links, list(_LINK_DEEDS) if able else [], _HEAL_ALL if able and status.faults else None))


def detail(status: ClusterStatus) -> dict[str, Any]:
    """A ClusterDetail, as plain JSON."""
    nodes = [
        DetailNode(
            node.slots,
            [line(resource, 200) for resource in node.resources],
            [line(f"{function.name}{function.signature}", 300) for function in node.functions],
            node.life is Life.ELSEWHERE,
        )
        for node in status.nodes
    ]
    return _plain(ClusterDetail(line(status.name, 120), status.kind, nodes, status.can_change))


def _node(reading: Reading, node: NodeStatus) -> StateNode:
    said = reading.line(node.name)
    ended = f"{node.ended:,} ended" + (f", {node.late:,} late" if node.late else "")
    return StateNode(
        look=reading.looks[node.name],
        line=shorten(said, TEXT_ROOM, SUBLABEL_PX),
        words=reading.words(node.name),
        share=min(1.0, node.running / node.slots),
        steps=f"{load_words(node)}, {ended}" if node.heard else "",
        doubters="" if reading.is_gone(node.name) else reading.doubters(node.name),
        doubts=reading.doubts_of(node.name),
        deeds=list(_deeds(reading, node)),
    )


_KILL = Deed("kill", "Kill", "End it as a crash would")
_STOP = Deed("stop", "Stop", "End it politely: it says goodbye")
_RESTART = Deed("restart", "Restart", "Stop it, and launch it again")
_START = Deed("restart", "Start", "Launch it again")
_PAUSE = Deed("pause", "Pause", "Halt its process: it is alive, and does not answer")
_RESUME = Deed("resume", "Resume", "Let its process go on")
_SLOW = Deed("slow", "Slow down", f"Everything it sends or is sent takes {_SLOW_S * 1000:.0f} ms longer")
_QUICK = Deed("quick", "Full speed", "End the delay of its links")
_HEAL_ALL = Deed("heal_all", "Heal all links", "End whatever was done to links")
_LINK_DEEDS = (
    Deed("cut", "Cut", "Connections break, and none can be opened"),
    Deed("cut_silently", "Cut silently", "What is sent vanishes, and nobody is told"),
    Deed("delay", "Delay", "Everything takes 200 ms longer, each way"),
    Deed("drop", "Drop", "One frame of ten is lost"),
    Deed("heal", "Heal", "End whatever was done to it"),
)


def _deeds(reading: Reading, node: NodeStatus) -> tuple[Deed, ...]:
    status = reading.status
    if not status.can_change or node.life is Life.ELSEWHERE:
        return ()
    if reading.is_gone(node.name):
        return (_START,)
    if node.life is Life.PAUSED:
        return (_RESUME, _KILL, _RESTART)
    pause = (_PAUSE,) if status.can_pause else ()
    slow = ((_QUICK if reading.slowed_s(node.name) else _SLOW),) if status.can_fault else ()
    return (_KILL, _STOP, _RESTART, *pause, *slow)


def _straight(start: tuple[float, float], end: tuple[float, float]) -> str:
    return f"M{start[0]:.1f} {start[1]:.1f}L{end[0]:.1f} {end[1]:.1f}"


def _plain(value: msgspec.Struct) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(value)
    return plain
