"""A cluster as text and as HTML: nodes, resources, functions; no addresses, so that stored outputs stay true."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from html import escape
from itertools import zip_longest

from mpreg_lab.node.functions import BUILTINS
from mpreg_lab.protocol.messages import Described, Member
from mpreg_lab.workflow.legible import plain

__all__ = ["cluster_html", "cluster_text", "status_text"]

_BUILTIN_NAMES = frozenset(function.__name__ for function in BUILTINS)
_LISTED = 12


def cluster_text(kind: str, name: str, members: Sequence[Member] | None) -> str:
    """One line for the cluster, one for each node. `members` None: it was stopped."""
    if members is None:
        return f"{kind}({name!r}, stopped)"
    lines = [f"{kind}({name!r}, {_count(len(members), 'node')})"]
    names = [_line(member.name) for member in members]
    width = max(map(len, names), default=0)
    for shown, member in zip(names, members, strict=True):
        held = ", ".join(map(_line, member.resources)) or "-"
        own = ", ".join(map(_line, _own(member))) or "-"
        lines.append(f"  {shown:<{width}}  resources: {held}  functions: {own}")
    return "\n".join(lines)


def cluster_html(kind: str, name: str, members: Sequence[Member] | None) -> str:
    """A table with a row for each node."""
    title = f"<strong>{escape(kind)}</strong> {escape(_line(name))}"
    if members is None:
        return f"<div>{title}: stopped</div>"
    rows = "".join(
        f"<tr><td><strong>{escape(_line(member.name))}</strong></td><td>{_tags(member.resources)}</td>"
        f"<td>{_tags(_own(member))}</td><td>{member.slots}</td></tr>"
        for member in members
    )
    heads = "".join(f'<th style="text-align: left">{head}</th>' for head in ("node", "resources", "functions", "slots"))
    common = ", ".join(f"<code>{escape(builtin)}</code>" for builtin in sorted(_BUILTIN_NAMES))
    return (
        f"<div>{title}: {_count(len(members), 'node')}</div>"
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
        f"<div>Every node also has {common}.</div>"
    )


def status_text(described: Described, width: int = 80) -> str:
    """A cluster for a terminal: one row for each node, texts wrapped to the width."""
    members = described.members
    names = max(4, *(len(_line(member.name)) for member in members))
    widths = (min(names, width // 4), 5)
    left = width - sum(widths) - 6
    columns = (*widths, left * 2 // 5, left - left * 2 // 5)
    rows: list[tuple[str, ...]] = [("node", "slots", "resources", "functions")]
    rows += [
        (_line(m.name), str(m.slots), _line(", ".join(m.resources)) or "-", _line(", ".join(_own(m))) or "-")
        for m in members
    ]
    title = f"cluster {_line(described.cluster_id)}: {_count(len(members), 'node')}"
    return "\n".join([textwrap.shorten(title, width), *(line for row in rows for line in _row(row, columns))])


def _row(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    wrapped = [textwrap.wrap(cell, width) or [""] for cell, width in zip(cells, widths, strict=True)]
    lines = zip_longest(*wrapped, fillvalue="")
    return ["  ".join(f"{part:<{width}}" for part, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _own(member: Member) -> list[str]:
    return [info.name for info in member.functions if info.name not in _BUILTIN_NAMES]


def _tags(names: Sequence[str]) -> str:
    shown = " ".join(f"<code>{escape(_line(name))}</code>" for name in names[:_LISTED])
    return shown + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "") or "&ndash;"


def _line(text: str) -> str:
    return " ".join(plain(text).split())


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
