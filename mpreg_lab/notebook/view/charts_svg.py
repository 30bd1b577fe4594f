"""Timeline and latencies as static SVG, for saved notebooks and files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from mpreg_lab.workflow.record import RunRecord, StepStatus

from .faults import OUTAGE_TONE, FaultBand, Outage, fault_rows
from .format import duration, line
from .latency import FunctionLatency, Share, latency
from .palette import MARK_PATH, PALETTE, function_colours
from .text_size import shorten, text_width
from .timeline import Bar, Lane, Tick, timeline

__all__ = ["SHARE_COLOURS", "ink_on", "latency_svg", "timeline_svg"]

SHARE_COLOURS = {"waiting": "#a9b2bd", "travelling": "#e69f00", "running": "#0072b2"}
"""Where time goes, as #rrggbb; from the same set as the palette's."""

_WIDTH = 760
_LEFT = 132
_RIGHT = 16
_ROW = 22
_FAULT_ROW = 18
_BAR = 16
_TEXT_PX = 11.0
# Between the grounds of light and dark pages, so that it can be read on both.
_INK = "#76808c"
_DARK, _LIGHT = "#1b1f24", "#ffffff"
_STYLE = (
    f"text{{font:{_TEXT_PX:g}px system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif;fill:{_INK}}}"
    f".g{{stroke:{_INK};stroke-opacity:.25}}.b{{font-weight:600}}.r{{text-anchor:end}}.c{{text-anchor:middle}}"
    f".w{{stroke:{_INK};stroke-opacity:.6;stroke-dasharray:2 3}}.t{{stroke-width:4;stroke-opacity:.55}}"
    f".p{{stroke-width:{_BAR}}}.k{{stroke:{_INK};stroke-width:2}}.d{{fill:{_DARK}}}.i{{fill:{_LIGHT}}}"
    ".e{text-anchor:end}.o{font-size:10px}.m{fill:none;stroke-width:2;stroke-linecap:round;stroke-linejoin:round}"
)
_MARKED = (StepStatus.FAILED, StepStatus.RETRYING, StepStatus.CANCELLED)


def timeline_svg(record: RunRecord, *, title: str = "Timeline") -> str:
    """One lane a node, one bar an attempt, coloured by function; above them what befell the cluster."""
    drawn, colours = timeline(record), _colours(record)
    of_step: dict[str, str] = {name: colours[step.plan.function] for name, step in record.steps.items()}
    parts: list[str] = []
    top = 4.0
    if drawn.faults:
        parts += _fault_lane(drawn.faults, top, drawn.end_s)
        top += fault_rows(drawn.faults) * _FAULT_ROW + 12
    for lane in drawn.lanes:
        parts += _lane(lane, top, drawn.end_s, of_step)
        top += lane.rows * _ROW + 8
    axis = _axis(drawn.ticks, drawn.end_s, 0, top, _WIDTH - _RIGHT)
    return _document(top + 48, title, [*axis, *parts, *_legend(colours, top + 40)])


def latency_svg(record: RunRecord, *, title: str = "Latency") -> str:
    """How long each function ran, call by call, and where the time of its steps went."""
    drawn, colours = latency(record), _colours(record)
    most_s = max((f.max_s for f in drawn.functions), default=0.0)
    right = _WIDTH - 236
    parts = _percentile_heads(right)
    top = 22.0
    for f in drawn.functions:
        parts += _function(f, top, most_s, right, colours[f.function])
        top += _ROW
    axis = _axis(drawn.ticks, most_s, 18, top, right)
    top += 48
    parts += [f'<text class="b" x="0" y="{top:g}">Where the time went</text>', *_share_legend(top)]
    longest_s = max((share.total_s for share in drawn.by_function), default=0.0)
    for i, share in enumerate(drawn.by_function):
        parts += _share(share, top + 10 + i * _ROW, longest_s, right)
    return _document(top + 14 + len(drawn.by_function) * _ROW, title, [*axis, *parts])


def _colours(record: RunRecord) -> dict[str, str]:
    return function_colours(step.plan.function for step in record.steps.values())


def ink_on(colour: str) -> str:
    """Black or white, whichever can be read on that #rrggbb."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return _DARK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else _LIGHT


def _document(height: float, title: str, parts: Iterable[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{_WIDTH}" height="{height:g}" '
        f'viewBox="0 0 {_WIDTH} {height:g}"><title>{escape(line(title))}</title><style>{_STYLE}</style>'
        f"{''.join(parts)}</svg>"
    )


def _x(at_s: float, end_s: float, right: float) -> float:
    return round(_LEFT + (right - _LEFT) * (at_s / end_s if end_s > 0 else 0.0), 1)


def _axis(ticks: Sequence[Tick], end_s: float, top: float, bottom: float, right: float) -> list[str]:
    parts = []
    for tick in ticks:
        x = _x(tick.at_s, end_s, right)
        parts.append(f'<path class="g" d="M{x:g} {top:g}V{bottom:g}"/>')
        parts.append(f'<text class="c" x="{x:g}" y="{bottom + 14:g}">{tick.label}</text>')
    return parts


def _lane(lane: Lane, top: float, end_s: float, colours: dict[str, str]) -> list[str]:
    name = "no node" if lane.node is None else line(lane.node)
    strokes: dict[str, list[str]] = {}
    marked: list[str] = []
    for bar in lane.bars:
        y = top + bar.row * _ROW + 3 + _BAR / 2
        for span in bar.spans:
            x, right = (_x(s, end_s, _WIDTH - _RIGHT) for s in (span.start_s, span.end_s))
            # One px of ground between bars that touch.
            width = max(2.0, right - x - 1) if span.kind == "running" else right - x
            if width > 0:
                style = _SPAN[span.kind].format(colours[bar.step])
                strokes.setdefault(style, []).append(f"M{x:g} {y:g}h{width:.4g}")
            if span.kind == "running":
                marked += _on_bar(bar, x, width, y - _BAR / 2, colours[bar.step])
                if bar.critical:
                    strokes.setdefault(_CRITICAL, []).append(f"M{x:g} {y + 10:g}h{width:.4g}")
    # One path a style keeps the file small. Waiting comes first: a bar of the same row may lie on it.
    first = f'<path class="g" d="M0 {top + lane.rows * _ROW + 2:g}H{_WIDTH}"/>'
    paths = (f'<path {style} d="{"".join(pieces)}"/>' for style, pieces in sorted(strokes.items(), reverse=True))
    shades = [_outage(outage, top, lane.rows * _ROW + 2, end_s) for outage in lane.outages]
    return [_label(name, top), first, *shades, *paths, *marked]


def _fault_lane(bands: Sequence[FaultBand], top: float, end_s: float) -> list[str]:
    parts = [_label("faults", top)]
    for band in bands:
        y, stroke = top + band.row * _FAULT_ROW, PALETTE[band.tone].light.stroke
        x, right = (_x(s, end_s, _WIDTH - _RIGHT) for s in (band.start_s, band.end_s))
        words = escape(f"{band.mark} {band.text}")
        place = f'class="e" x="{x - 4:g}"' if band.before else f'x="{x + 5:g}"'
        parts.append(
            f'<rect x="{x:g}" y="{y + 2:g}" width="{max(2.0, right - x):g}" height="15" fill="{stroke}" '
            f'fill-opacity=".2"/><path d="M{x:g} {y + 2:g}v15" stroke="{stroke}" stroke-width="2.5"/>'
            f'<text {place} y="{y + 13:g}">{words}</text>'
        )
    bottom = top + fault_rows(bands) * _FAULT_ROW + 6
    return [*parts, f'<path class="g" d="M0 {bottom:g}H{_WIDTH}"/>']


def _outage(outage: Outage, top: float, height: float, end_s: float) -> str:
    """Behind the bars, from edge to edge of the lane."""
    stroke = PALETTE[OUTAGE_TONE[outage.kind]].light.stroke
    x, right = (_x(s, end_s, _WIDTH - _RIGHT) for s in (outage.start_s, outage.end_s))
    word = outage.word if text_width(outage.word, _TEXT_PX) < right - x - 8 else ""
    return (
        f'<rect x="{x:g}" y="{top:g}" width="{max(2.0, right - x):g}" height="{height:g}" fill="{stroke}" '
        f'fill-opacity=".16"><title>{outage.kind}</title></rect>'
        f'<path d="M{x:g} {top:g}v{height:g}" stroke="{stroke}" stroke-width="2"/>'
        f'<text class="e o" x="{right - 4:g}" y="{top + height - 3:g}">{word}</text>'
    )


_SPAN = {"waiting": 'class="w"', "travelling": 'class="t" stroke="{}"', "running": 'class="p" stroke="{}"'}
_CRITICAL = 'class="k"'


def _label(text: str, top: float) -> str:
    short = escape(shorten(text, _LEFT - 12, _TEXT_PX))
    return f'<text class="b" x="0" y="{top + 14:g}">{short}<title>{escape(text)}</title></text>'


def _on_bar(bar: Bar, x: float, width: float, top: float, colour: str) -> list[str]:
    parts = []
    left = x + 5
    if bar.status in _MARKED:
        shade = PALETTE[bar.status].light
        parts.append(
            f'<rect x="{x:g}" y="{top:g}" width="{max(_BAR, width):g}" height="{_BAR}" rx="2" fill="{shade.fill}" '
            f'stroke="{shade.stroke}"/><path class="m" d="{MARK_PATH[bar.status]}" stroke="{shade.stroke}" '
            f'transform="translate({x + 2:g} {top + 2:g}) scale(.75)"/>'
        )
        left, colour = x + _BAR + 2, shade.fill
    name = line(bar.step)
    if text_width(name, _TEXT_PX) < x + width - left - 3:
        ink = "d" if ink_on(colour) == _DARK else "i"
        parts.append(f'<text class="{ink}" x="{left:g}" y="{top + 12:g}">{escape(name)}</text>')
    return parts


def _legend(colours: dict[str, str], y: float) -> list[str]:
    parts, x = [], float(_LEFT)
    for function, colour in list(colours.items())[:6]:
        name = shorten(line(function), 110, _TEXT_PX)
        parts.append(f'<rect x="{x:g}" y="{y - 9:g}" width="10" height="10" rx="2" fill="{colour}"/>')
        parts.append(f'<text x="{x + 15:g}" y="{y:g}">{escape(name)}</text>')
        x += 32 + text_width(name, _TEXT_PX)
    return parts


def _percentile_heads(right: float) -> list[str]:
    names = ("p50", "p90", "p99", "max")
    return [f'<text class="r" x="{right + 68 + 56 * i:g}" y="12">{name}</text>' for i, name in enumerate(names)]


def _function(f: FunctionLatency, top: float, most_s: float, right: float, colour: str) -> list[str]:
    middle = top + _ROW / 2
    to_x, median = _x(f.max_s, most_s, right), _x(f.p50_s, most_s, right)
    shown = f.runs_s[:: max(1, f.count // 100)]
    dots = "".join(f"M{_x(s, most_s, right):g} {middle:g}h0" for s in shown)
    values = (f.p50_s, f.p90_s, f.p99_s, f.max_s)
    return [
        _label(f"{line(f.function)} ({f.count})" if f.count > 1 else line(f.function), top + 1),
        f'<path d="M{_LEFT} {middle:g}H{to_x:g}" stroke="{colour}" stroke-opacity=".4" stroke-width="2"/>',
        f'<path d="{dots}" stroke="{colour}" stroke-opacity=".6" stroke-width="8" stroke-linecap="round"/>',
        f'<path d="M{median:g} {middle - 8:g}v16" stroke="{colour}" stroke-width="2.5"/>' if f.count > 1 else "",
        *(
            f'<text class="r" x="{right + 68 + 56 * i:g}" y="{top + 15:g}">{duration(value)}</text>'
            for i, value in enumerate(values)
        ),
    ]


def _share_legend(y: float) -> list[str]:
    parts = []
    for i, (kind, colour) in enumerate(SHARE_COLOURS.items()):
        x = _LEFT + 24 + 90 * i
        parts.append(f'<rect x="{x}" y="{y - 9:g}" width="10" height="10" rx="2" fill="{colour}"/>')
        parts.append(f'<text x="{x + 15}" y="{y:g}">{kind}</text>')
    return parts


def _share(share: Share, top: float, longest_s: float, right: float) -> list[str]:
    parts, at_s = [_label(line(share.name), top)], 0.0
    for colour, part_s in zip(
        SHARE_COLOURS.values(), (share.waiting_s, share.travelling_s, share.running_s), strict=True
    ):
        x, end = _x(at_s, longest_s, right), _x(at_s + part_s, longest_s, right)
        parts.append(f'<rect x="{x:g}" y="{top + 4:g}" width="{max(0.0, end - x):g}" height="14" fill="{colour}"/>')
        at_s += part_s
    parts.append(f'<text x="{right + 12:g}" y="{top + 15:g}">{duration(at_s)}, {share.fractions[2]:.0%} running</text>')
    return parts
