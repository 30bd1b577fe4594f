"""A cluster as HTML that stays readable in a saved notebook: no script, no style sheet, no inline SVG."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from mpreg_lab.client.status import ClusterStatus, Life, NodeStatus
from mpreg_lab.types import NodeName

from .cluster_scene import LABEL_PX, SUBLABEL_PX, TEXT_LEFT, TEXT_ROOM, ClusterScene, Spot, cluster_scene, label_spots
from .cluster_words import NODE_MARK, NODE_MARK_PATH, NODE_PALETTE, LinkState, Look, Reading, fault_words
from .format import counted, line, plain
from .graph_svg import data_uri
from .stored import ALONE
from .text_size import shorten

__all__ = ["cluster_html", "cluster_svg", "cluster_text"]

_MARGIN = 12.0
_LISTED = 20
_EDGE = "#8791a0"
_CUT = NODE_PALETTE[Look.DEAD].light.stroke
_STYLE = (
    "text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif}"
    f".l{{font-size:{LABEL_PX:g}px;font-weight:600}}.s{{font-size:{SUBLABEL_PX:g}px;opacity:.85}}"
    ".m{fill:none;stroke-width:2;stroke-linecap:round;stroke-linejoin:round}"
    f".e{{stroke:{_EDGE};stroke-width:1.5}}.gone{{opacity:.35;stroke-dasharray:2 4}}"
    f".cut{{stroke:{_CUT};stroke-width:2;stroke-dasharray:6 5}}"
    f".faulty{{stroke:{NODE_PALETTE[Look.SLOW].light.stroke};stroke-width:2}}"
    ".p{fill:#fff;stroke:#c3c9d1}.w{font-size:11px;text-anchor:middle;fill:#2f353c}"
    + "".join(
        f".{look}{{fill:{c.light.fill};stroke:{c.light.stroke}}}.{look}-t{{fill:{c.light.text}}}"
        f".{look}-m{{stroke:{c.light.stroke}}}"
        for look, c in NODE_PALETTE.items()
    )
    + ".stopped,.silent{stroke-dasharray:4 3}"
)


def cluster_text(status: ClusterStatus) -> str:
    """For a notebook without pictures: `LocalCluster 'lab', 2 nodes: 1 up, 1 dead`."""
    return f"{status.kind} {line(status.name)!r}, {Reading(status).headline}"


def cluster_html(status: ClusterStatus) -> str:
    """The cluster: headline, picture, and folded away its nodes.

    It shows no address, and nothing that comes and goes by itself: what runs, which connections are open.

    Returns:
        One `<div class="mpreg-cluster-static">`.
    """
    reading = Reading(status)
    head = f"<div><b>{escape(status.kind)} {escape(line(status.name))}</b>: {escape(reading.headline)}</div>"
    if not status.running or not status.nodes:
        return f'<div class="mpreg-cluster-static">{head}{ALONE}</div>'
    said = [f"{line(node.name)} {reading.looks[node.name]}" for node in status.nodes[:_LISTED]]
    more = f" and {len(status.nodes) - _LISTED} more" if len(status.nodes) > _LISTED else ""
    alt = escape(f"Cluster: {', '.join(said)}{more}")
    image = f'<div><img alt="{alt}" src="{data_uri(cluster_svg(status))}"></div>'
    return f'<div class="mpreg-cluster-static">{head}{image}{_table(reading)}{_faults(reading)}{ALONE}</div>'


def cluster_svg(status: ClusterStatus) -> str:
    """A standalone SVG document."""
    reading = Reading(status)
    scene = cluster_scene(list(reading.nodes))
    width, height = scene.width + 2 * _MARGIN, scene.height + 2 * _MARGIN
    return "".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" role="img" '
            f'width="{width:g}" height="{height:g}" viewBox="{-_MARGIN:g} {-_MARGIN:g} {width:g} {height:g}">',
            f"<title>{_text(f'Cluster {line(status.name)}')}</title><style>{_STYLE}</style>",
            *_links(reading, scene),
            *(_node(reading, spot) for spot in scene.nodes),
            "</svg>",
        ]
    )


def _links(reading: Reading, scene: ClusterScene) -> Iterable[str]:
    names = list(reading.nodes)
    shown = [_lasting(reading.link_state(names[link.a], names[link.b])) for link in scene.lines]
    words = [
        reading.link_words(names[link.a], names[link.b]) if state in (LinkState.CUT, LinkState.FAULTY) else ""
        for link, state in zip(scene.lines, shown, strict=True)
    ]
    for link, state in zip(scene.lines, shown, strict=True):
        (x, y), (x_, y_) = link.start, link.end
        yield f'<path class="e {state}" d="M{x:.1f} {y:.1f}L{x_:.1f} {y_:.1f}"/>'
    for spot, said in zip(label_spots(scene, words), words, strict=True):
        if said:
            place = f'x="{spot.x:.1f}" y="{spot.y:.1f}" width="{spot.width:.1f}" height="{spot.height:.1f}"'
            middle = spot.x + spot.width / 2, spot.y + 12.5
            yield f'<rect class="p" {place} rx="8"/><text class="w" x="{middle[0]:.1f}" y="{middle[1]:.1f}">'
            yield f"{_text(said)}</text>"


def _lasting(state: LinkState) -> LinkState:
    """Which connections are open differs from one moment to the next: saved outputs shall stay true."""
    return LinkState.CONNECTED if state is LinkState.CLOSED else state


def _node(reading: Reading, spot: Spot) -> str:
    node = reading.nodes[NodeName(spot.name)]
    look, box = reading.looks[node.name], spot.box
    left, middle = box.x + TEXT_LEFT, box.y + box.height / 2
    below = shorten(_lasting_line(reading, node), TEXT_ROOM, SUBLABEL_PX)
    return (
        f'<g><title>{_text(f"{line(node.name)}: {look}")}</title><rect class="{look}" x="{box.x:.1f}" '
        f'y="{box.y:.1f}" width="{box.width:g}" height="{box.height:g}" rx="7"/>'
        f'<path class="m {look}-m" transform="translate({box.x + 8:.1f} {middle - 8:.1f})" d="{NODE_MARK_PATH[look]}"/>'
        f'<text class="l {look}-t" x="{left:.1f}" y="{middle - 3:.1f}">{_text(spot.label)}</text>'
        f'<text class="s {look}-t" x="{left:.1f}" y="{middle + 13:.1f}">{_text(below)}</text></g>'
    )


def _lasting_line(reading: Reading, node: NodeStatus) -> str:
    return str(reading.looks[node.name]) if reading.looks[node.name] is Look.UP else reading.line(node.name)


def _table(reading: Reading) -> str:
    heads = "".join(f'<th style="text-align:left">{head}</th>' for head in ("Node", "State", "Resources", "Functions"))
    rows = "".join(f"<tr>{''.join(_cells(reading, node))}</tr>" for node in reading.nodes.values())
    body = f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    return f"<details><summary>{counted(len(reading.nodes), 'node')}</summary>{body}</details>"


def _cells(reading: Reading, node: NodeStatus) -> Iterable[str]:
    look = reading.looks[node.name]
    elsewhere = ", launched elsewhere" if node.life is Life.ELSEWHERE else ""
    texts = (
        line(node.name),
        f"{NODE_MARK[look]} {look}{elsewhere}",
        _listed(node.resources),
        _listed([function.name for function in node.functions]),
    )
    return (f'<td style="text-align:left">{escape(text)}</td>' for text in texts)


def _faults(reading: Reading) -> str:
    said = [f"{line(f.a)} to {line(f.b)}: {fault_words(f)}" for f in reading.status.faults[:_LISTED]]
    more = len(reading.status.faults) - _LISTED
    if more > 0:
        said.append(f"and {more} more")
    return "".join(f"<div><small>{escape(text)}</small></div>" for text in said)


def _listed(names: Iterable[str]) -> str:
    every = [line(name) for name in names]
    more = f" and {len(every) - _LISTED} more" if len(every) > _LISTED else ""
    return ", ".join(every[:_LISTED]) + more


def _text(text: str) -> str:
    return escape(plain(text))
