"""A dependency graph in characters, the way `git log --graph` draws commits: one column for each arrow under way."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

__all__ = ["GraphRow", "graph_rows"]

_MOST_LANES = 12


class GraphRow(msgspec.Struct, frozen=True):
    """One line: of a node, whose place in `lanes` is a `*`, or of arrows alone, if `name` is None."""

    lanes: str
    name: str | None = None


def graph_rows(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> list[GraphRow] | None:
    """The lines of an acyclic graph; every node is below all that it needs. None if it would be too wide to read."""
    targets: dict[str, list[str]] = {name: [] for name in names}
    missing = dict.fromkeys(names, 0)
    for source, target in edges:
        targets[source].append(target)
        missing[target] += 1
    lanes: list[str | None] = []
    rows: list[GraphRow] = []
    left = dict.fromkeys(names)
    while left:
        name = _next(left, lanes, missing)
        del left[name]
        column = _enter(name, lanes, rows)
        if len(lanes) > _MOST_LANES:
            return None
        lanes[column] = name
        rows.append(GraphRow(_drawn(lanes, {column: "*"}), name))
        _leave(column, targets[name], lanes, rows)
        for target in targets[name]:
            missing[target] -= 1
    return rows


def _next(left: Collection[str], lanes: Sequence[str | None], missing: dict[str, int]) -> str:
    """Whose arrows are all there, the leftmost first, so that a chain stays together; else the first without needs."""
    for lane in lanes:
        if lane is not None and not missing[lane]:
            return lane
    return next(name for name in left if not missing[name])


def _enter(name: str, lanes: list[str | None], rows: list[GraphRow]) -> int:
    """Bring the arrows to a node together; which column it has."""
    columns = [i for i, lane in enumerate(lanes) if lane == name]
    if len(columns) > 1:
        rows.append(GraphRow(_joined(lanes, columns, ("├", "┴", "╯"))))
        for column in columns[1:]:
            lanes[column] = None
        _trim(lanes)
    elif rows and rows[-1].name is not None:
        rows.append(GraphRow(_drawn(lanes)))
    return columns[0] if columns else _free(lanes)


def _leave(column: int, targets: Sequence[str], lanes: list[str | None], rows: list[GraphRow]) -> None:
    """Give each arrow from a node its column, the first one the node's own."""
    lanes[column] = targets[0] if targets else None
    columns = [column]
    for target in targets[1:]:
        columns.append(_free(lanes, column + 1))
        lanes[columns[-1]] = target
    if len(columns) > 1:
        rows.append(GraphRow(_joined(lanes, columns, ("├", "┬", "╮"))))
    _trim(lanes)


def _free(lanes: list[str | None], start: int = 0) -> int:
    for column in range(start, len(lanes)):
        if lanes[column] is None:
            return column
    lanes.append(None)
    return len(lanes) - 1


def _trim(lanes: list[str | None]) -> None:
    while lanes and lanes[-1] is None:
        lanes.pop()


def _drawn(lanes: Sequence[str | None], special: dict[int, str] | None = None) -> str:
    marks = special or {}
    return " ".join(marks.get(i, " " if lane is None else "│") for i, lane in enumerate(lanes)).rstrip()


def _joined(lanes: Sequence[str | None], columns: Sequence[int], ends: tuple[str, str, str]) -> str:
    """A horizontal line through those columns; it crosses the others."""
    first, middle, last = ends
    cells = []
    for i, lane in enumerate(lanes):
        inside = columns[0] < i < columns[-1]
        if i == columns[0]:
            cell = first
        elif i == columns[-1]:
            cell = last
        elif i in columns:
            cell = middle
        elif inside:
            cell = "─" if lane is None else "┼"
        else:
            cell = " " if lane is None else "│"
        cells.append(cell + ("─" if columns[0] <= i < columns[-1] else " "))
    return "".join(cells).rstrip()
