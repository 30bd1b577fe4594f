"""Two runs beside each other as static SVG, and as HTML for saved notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from .compare import Compared, StepPair, comparison_repr
from .format import counted, duration, line
from .graph_svg import data_uri
from .palette import MARK
from .text_size import shorten
from .timeline import ticks

__all__ = ["CHANGE_COLOURS", "change", "comparison_html", "comparison_svg", "shown", "signed"]

CHANGE_COLOURS = {"slower": "#d55e00", "faster": "#0072b2", "same": "#8791a0"}
"""As #rrggbb; also told by the side of the ring on which the dot lies."""
MOST = 40
"""Steps in a picture: those with the greatest differences."""

_WIDTH, _LEFT, _RIGHT = 760, 150, 150
_ROW = 22
_TEXT_PX = 11.0
_INK = "#76808c"  # can be read on light and dark pages
_STYLE = (
    f"text{{font:{_TEXT_PX:g}px system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif;fill:{_INK}}}"
    f".b{{font-weight:600}}.r{{text-anchor:end}}.c{{text-anchor:middle}}.g{{stroke:{_INK};stroke-opacity:.25}}"
    ".o{fill:none;stroke-width:2}"
)


def shown(found: Compared) -> tuple[StepPair, ...]:
    """The steps of a picture: those that ran in both, the most slower first; of many the greatest differences."""
    timed = found.timed
    if len(timed) <= MOST:
        return timed
    greatest = sorted(timed, key=lambda p: -abs(p.difference_s or 0.0))[:MOST]
    return tuple(p for p in timed if p in greatest)


def change(pair: StepPair) -> str:
    """`slower`, `faster` or `same`."""
    if not pair.tells:
        return "same"
    return "slower" if (pair.difference_s or 0.0) > 0 else "faster"


def comparison_svg(found: Compared, *, title: str = "Comparison") -> str:
    """For each step that ran in both runs a ring, where it was in the other run, and a dot, where it is in this one."""
    pairs = shown(found)
    most_s = max((max(p.ran_s or 0.0, p.other_ran_s or 0.0) for p in pairs), default=0.0)
    top, bottom = 26.0, 26.0 + _ROW * len(pairs)
    parts = _legend()
    for tick in ticks(most_s):
        x = _x(tick.at_s, most_s)
        parts.append(f'<path class="g" d="M{x:g} {top:g}V{bottom:g}"/>')
        parts.append(f'<text class="c" x="{x:g}" y="{bottom + 14:g}">{tick.label}</text>')
    for row, pair in enumerate(pairs):
        parts += _row(pair, top + (row + 0.5) * _ROW, most_s)
    height = bottom + 22
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{_WIDTH}" height="{height:g}" '
        f'viewBox="0 0 {_WIDTH} {height:g}"><title>{escape(line(title))}</title><style>{_STYLE}</style>'
        f"{''.join(parts)}</svg>"
    )


def comparison_html(found: Compared) -> str:
    """What differs, as tables and a picture; times are marked, so that a comparison of outputs can leave them out."""
    parts = [f"<div><b>{escape(comparison_repr(found).removeprefix('Comparison(').removesuffix(')'))}</b></div>"]
    parts += [_total("took", found.seconds, found.other_seconds)]
    parts += [_total("functions ran", found.running_s, found.other_running_s)]
    parts += [_named("Only in this run", found.added), _named("Only in the other run", found.gone)]
    if found.changed:
        parts.append(_table(("Step", "State", "In the other run"), map(_states, found.changed)))
    if found.timed:
        picture = data_uri(comparison_svg(found))
        parts.append(f'<div><img class="mpreg-timing" alt="Times of the steps in both runs" src="{picture}"></div>')
        rows = _table(("Step", "Ran", "In the other run", "Difference"), map(_times, found.timed[:200]), timed=True)
        parts.append(f"<details><summary>Steps</summary>{rows}</details>")
    return f'<div class="mpreg-comparison">{"".join(parts)}</div>'


def signed(seconds: float) -> str:
    """`+12.0 ms`, `-1.24 s`."""
    return f"{'-' if seconds < 0 else '+'}{duration(abs(seconds))}"


def _x(seconds: float, most_s: float) -> float:
    return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * (seconds / most_s if most_s > 0 else 0.0), 1)


def _legend() -> list[str]:
    parts = [f'<circle class="o" cx="{_LEFT + 5}" cy="10" r="4" stroke="{_INK}"/>', _at(_LEFT + 15, 14, "other run")]
    for left, word, text in ((95, "slower", "this run, slower"), (215, "faster", "faster"), (275, "same", "as before")):
        parts.append(f'<circle cx="{_LEFT + left}" cy="10" r="5" fill="{CHANGE_COLOURS[word]}"/>')
        parts.append(_at(_LEFT + left + 10, 14, text))
    return parts


def _at(x: float, y: float, text: str) -> str:
    return f'<text x="{x:g}" y="{y:g}">{text}</text>'


def _row(pair: StepPair, y: float, most_s: float) -> list[str]:
    colour = CHANGE_COLOURS[change(pair)]
    here, there = _x(pair.ran_s or 0.0, most_s), _x(pair.other_ran_s or 0.0, most_s)
    name = line(pair.name, 200)
    short = escape(shorten(name, _LEFT - 12, _TEXT_PX))
    return [
        f'<text class="b" x="0" y="{y + 4:g}">{short}<title>{escape(name)}</title></text>',
        f'<path d="M{there:g} {y:g}H{here:g}" stroke="{colour}" stroke-width="3" stroke-opacity=".5"/>',
        f'<circle class="o" cx="{there:g}" cy="{y:g}" r="4" stroke="{_INK}"/>',
        f'<circle cx="{here:g}" cy="{y:g}" r="5" fill="{colour}"/>',
        f'<text class="r" x="{_WIDTH}" y="{y + 4:g}">{signed(pair.difference_s or 0.0)}</text>',
    ]


def _total(what: str, seconds: float | None, other: float | None) -> str:
    if seconds is None or other is None:
        return ""
    told = f"{what} {duration(seconds)}, in the other run {duration(other)}: {signed(seconds - other)}"
    return f'<div><span class="mpreg-timing">{told}</span></div>'


def _named(head: str, pairs: Sequence[StepPair]) -> str:
    if not pairs:
        return ""
    names = ", ".join(line(pair.name, 60) for pair in pairs[:20])
    more = f" and {counted(len(pairs) - 20, 'more step')}" if len(pairs) > 20 else ""
    return f"<div>{head}: {escape(names)}{more}</div>"


def _states(pair: StepPair) -> Iterable[str]:
    yield line(pair.name, 60)
    for status in (pair.status, pair.other_status):
        yield "" if status is None else f"{MARK[status]} {status}"


def _times(pair: StepPair) -> Iterable[str]:
    yield line(pair.name, 60)
    yield from (duration(seconds or 0.0) for seconds in (pair.ran_s, pair.other_ran_s))
    yield signed(pair.difference_s or 0.0)


def _table(columns: Sequence[str], rows: Iterable[Iterable[str]], *, timed: bool = False) -> str:
    """Cells are plain text; if `timed`, all but those of the first column are times."""

    def cell(column: int, text: str) -> str:
        told = f'<span class="mpreg-timing">{escape(text)}</span>' if timed and column else escape(text)
        return f'<td style="text-align:{"right" if timed and column else "left"}">{told}</td>'

    head = "".join(f'<th style="text-align:left">{column}</th>' for column in columns)
    body = "".join(f"<tr>{''.join(cell(i, text) for i, text in enumerate(row))}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
