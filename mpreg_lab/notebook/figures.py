"""A run as matplotlib figures, in the positions and colours of the other views. Importing it imports matplotlib."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from functools import cache
from io import BytesIO
from typing import Any

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Polygon
from matplotlib.path import Path
from matplotlib.ticker import FuncFormatter

from mpreg_lab.notebook.view.charts_svg import SHARE_COLOURS, ink_on
from mpreg_lab.notebook.view.compare import Compared
from mpreg_lab.notebook.view.compare_svg import CHANGE_COLOURS, change, shown, signed
from mpreg_lab.notebook.view.faults import OUTAGE_TONE, FaultBand, Outage, fault_rows
from mpreg_lab.notebook.view.format import duration, line
from mpreg_lab.notebook.view.graph_svg import curve, group_status
from mpreg_lab.notebook.view.latency import FunctionLatency
from mpreg_lab.notebook.view.latency import latency as latencies
from mpreg_lab.notebook.view.palette import MARK, PALETTE, function_colours
from mpreg_lab.notebook.view.picture import page_scene
from mpreg_lab.notebook.view.scene import LABEL_PX, SUBLABEL_PX, TEXT_LEFT, Node, members
from mpreg_lab.notebook.view.summary import headline
from mpreg_lab.notebook.view.timeline import Bar
from mpreg_lab.notebook.view.timeline import timeline as timelines
from mpreg_lab.workflow.record import RunRecord, StepStatus

__all__ = ["RunFigure", "comparison", "graph", "latency", "timeline"]

_PX_PER_INCH = 96.0
_WIDEST_INCH = 12.0
# Between the grounds of light and dark pages, so that it can be read on both: figures have no ground of their own.
_INK = _PALE = "#76808c"
_EDGE = "#8791a0"
_FONT = "DejaVu Sans"  # Comes with matplotlib.
_BAR = 0.72
_Look = tuple[tuple[str, Any], ...]
_LEAST_POINTS = 1.6
"""Smaller text is not written: nobody can read it, and it is what takes the time."""


class RunFigure(Figure):
    """A figure that a notebook shows once, with or without `%matplotlib inline`; pyplot does not know it."""

    def __init__(self, title: str, width_inch: float, height_inch: float) -> None:
        super().__init__(figsize=(width_inch, height_inch), dpi=_PX_PER_INCH, facecolor="none")
        FigureCanvasAgg(self)
        self._title = title

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        png = BytesIO()
        # Twice the pixels, shown at half the size: sharp on fine screens.
        self.savefig(png, format="png", dpi=2 * _PX_PER_INCH)
        width, height = (round(inch * _PX_PER_INCH) for inch in self.get_size_inches())
        return png.getvalue(), {"width": width, "height": height}

    def __repr__(self) -> str:
        return f"RunFigure({self._title})"

    __str__ = __repr__


def graph(record: RunRecord) -> RunFigure:
    """The dependency graph, coloured by state."""
    scene = page_scene(record)
    width = max(scene.width, 200.0) + 24
    scale = min(1.0, _WIDEST_INCH * _PX_PER_INCH / width)
    above = 36 / scale  # The headline stays readable, however small the rest.
    height = above + scene.height + 12
    figure = _figure("graph", record, width * scale / _PX_PER_INCH, height * scale / _PX_PER_INCH)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(-12, width - 12)
    axes.set_ylim(height - above, -above)
    _write(axes, 0, -above / 2, headline(record), 12, weight="bold", va="center")
    _draw_edges(axes, [curve(route, scene.direction) for route in scene.edges], scale)
    _draw_nodes(axes, [(node, group_status(_counts(node, record))) for node in scene.nodes], scale)
    return figure


def timeline(record: RunRecord) -> RunFigure:
    """One lane a node, one bar an attempt, coloured by function; above them what befell the cluster."""
    drawn = timelines(record)
    top = fault_rows(drawn.faults)
    rows = top + sum(lane.rows for lane in drawn.lanes)
    figure = _figure("timeline", record, 9.0, 1.4 + min(12.0, 0.26 * max(rows, 1)))
    axes = figure.subplots()
    colours = _colours(record)
    functions = {name: step.plan.function for name, step in record.steps.items()}
    places = [(top - 1) / 2] if top else []
    strokes = _Strokes()
    for band in drawn.faults:
        _draw_fault(axes, band, drawn.end_s)
    if top:
        axes.axhline(top - 0.5, color=_PALE, alpha=0.3, linewidth=0.8)
    for lane in drawn.lanes:
        for outage in lane.outages:
            _draw_outage(axes, outage, top, lane.rows, drawn.end_s)
        for bar in lane.bars:
            _draw_bar(axes, strokes, bar, top + bar.row, colours[functions[bar.step]], drawn.end_s)
        places.append(top + (lane.rows - 1) / 2)
        top += lane.rows
        axes.axhline(top - 0.5, color=_PALE, alpha=0.3, linewidth=0.8)
    strokes.draw(axes)
    _time_axis(axes, drawn.end_s, "time since the run began")
    names = ["no node" if lane.node is None else lane.node for lane in drawn.lanes]
    _name_rows(axes, places, ["faults", *names] if drawn.faults else names)
    axes.set_ylim(max(top, 1) - 0.5, -0.5)
    axes.set_title("Timeline", loc="left", fontsize=11, color=_INK)
    _legend(figure, colours)
    return figure


def latency(record: RunRecord) -> RunFigure:
    """How long each function ran, and which share of its steps' time was waiting, travelling and running."""
    drawn = latencies(record)
    count = max(1, len(drawn.functions))
    figure = _figure("latency", record, 9.0, 2.4 + min(12.0, 0.6 * count))
    above, below = figure.subplots(2, 1)
    colours = _colours(record)
    for row, f in enumerate(drawn.functions):
        colour = colours[f.function]
        above.hlines(row, 0, f.max_s, color=colour, alpha=0.4, linewidth=2)
        above.plot(f.runs_s, [row] * f.count, "o", color=colour, alpha=0.6, markersize=6, markeredgewidth=0)
        if f.count > 1:
            above.plot([f.p50_s], [row], "|", color=colour, markersize=14, markeredgewidth=2.5)
        text = f"  p50 {duration(f.p50_s)}, p90 {duration(f.p90_s)}, p99 {duration(f.p99_s)}"
        _write(above, 1.0, row, text, 8, transform=above.get_yaxis_transform(), va="center", color=_PALE)
    most_s = max((f.max_s for f in drawn.functions), default=0.0)
    _time_axis(above, most_s, "run time of a call")
    _name_rows(above, list(range(len(drawn.functions))), [_function_name(f) for f in drawn.functions])
    above.set_ylim(count - 0.5, -0.5)
    above.set_title("Latency by function: every call, and the median", loc="left", fontsize=11, color=_INK)
    _draw_shares(below, record)
    return figure


def comparison(found: Compared) -> RunFigure:
    """For each step that ran in both runs a ring, where it was in the other run, and a dot, where it is in this one."""
    pairs = shown(found)
    figure = RunFigure(f"comparison, {len(found.pairs)} steps", 9.0, 1.4 + 0.28 * max(1, len(pairs)))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    for row, pair in enumerate(pairs):
        colour, here_s, there_s = CHANGE_COLOURS[change(pair)], pair.ran_s or 0.0, pair.other_ran_s or 0.0
        axes.hlines(row, there_s, here_s, color=colour, alpha=0.5, linewidth=3)
        axes.plot([there_s], [row], "o", markerfacecolor="none", markeredgecolor=_PALE, markersize=8)
        axes.plot([here_s], [row], "o", color=colour, markersize=8, markeredgewidth=0)
        text = f"  {signed(here_s - there_s)}"
        _write(axes, 1.0, row, text, 8, transform=axes.get_yaxis_transform(), va="center", color=_PALE)
    _time_axis(axes, max((max(p.ran_s or 0.0, p.other_ran_s or 0.0) for p in pairs), default=0.0), "run time of a step")
    _name_rows(axes, list(range(len(pairs))), [pair.name for pair in pairs])
    axes.set_ylim(max(1, len(pairs)) - 0.5, -0.5)
    axes.set_title(
        "Ring: the other run. Dot: this run, orange if slower, blue if faster", loc="left", fontsize=10, color=_INK
    )
    return figure


def _figure(kind: str, record: RunRecord, width_inch: float, height_inch: float) -> RunFigure:
    title = f"{kind}, {headline(record)}"
    figure = RunFigure(title, width_inch, height_inch)
    if kind != "graph":
        figure.set_layout_engine("constrained")
    return figure


def _colours(record: RunRecord) -> dict[str, str]:
    return function_colours(step.plan.function for step in record.steps.values())


def _counts(node: Node, record: RunRecord) -> Counter[StepStatus]:
    return Counter(step.status for step in members(node, record))


def _function_name(f: FunctionLatency) -> str:
    return f"{line(f.function, 24)} ({f.count})" if f.count > 1 else f.function


def _draw_edges(axes: Axes, paths: list[str], scale: float) -> None:
    # One collection, not one patch each: ten times as fast.
    drawn = [_points(path) for path in paths]
    shapes = [Path(points, kinds) for points, kinds in drawn]
    axes.add_collection(PathCollection(shapes, facecolors="none", edgecolors=_EDGE, linewidths=1.1 * scale))
    tips = [_tip(points[-1], points[-2]) for points, _ in drawn]
    axes.add_collection(PolyCollection(tips, facecolors=_EDGE, edgecolors="none"))


def _points(path: str) -> tuple[list[tuple[float, float]], list[Any]]:
    codes = {"M": Path.MOVETO, "L": Path.LINETO, "Q": Path.CURVE3, "C": Path.CURVE4}
    points: list[tuple[float, float]] = []
    kinds: list[Any] = []
    for letter, numbers in re.findall(r"([MLQC])([^MLQC]+)", path):
        values = [float(n) for n in numbers.split()]
        pairs = list(zip(values[::2], values[1::2], strict=True))
        points += pairs
        kinds += [codes[letter]] * len(pairs)
    return points, kinds


def _tip(end: tuple[float, float], before: tuple[float, float]) -> list[tuple[float, float]]:
    (x, y), (x_, y_) = end, before
    across, along = (abs(y - y_) > abs(x - x_), 1 if (x - x_) + (y - y_) > 0 else -1)
    if across:
        return [(x, y), (x - 4, y - 7 * along), (x + 4, y - 7 * along)]
    return [(x, y), (x - 7 * along, y - 4), (x - 7 * along, y + 4)]


def _draw_nodes(axes: Axes, nodes: list[tuple[Node, StepStatus]], scale: float) -> None:
    shapes, fills, strokes = [], [], []
    for node, status in nodes:
        box, shade = node.box, PALETTE[status].light
        for shift in (4, 0) if node.size > 1 else (0,):
            shapes.append(_rounded(box.x + shift, box.y + shift, box.width, box.height))
            fills.append(shade.fill)
            strokes.append(shade.stroke)
    style: dict[str, Any] = {"facecolors": fills, "edgecolors": strokes, "linewidths": 0.9 * scale}
    axes.add_collection(PathCollection(shapes, **style))
    points = 72 / _PX_PER_INCH * scale
    if points * SUBLABEL_PX >= _LEAST_POINTS:
        for node, status in nodes:
            _write_node(axes, node, status, points)


def _rounded(x: float, y: float, width: float, height: float) -> Path:
    return FancyBboxPatch((x + 7, y + 7), width - 14, height - 14, boxstyle="round,pad=7").get_path()


def _write_node(axes: Axes, node: Node, status: StepStatus, points: float) -> None:
    shade, box = PALETTE[status].light, node.box
    middle = box.y + box.height / 2
    _write(axes, box.x + 16, middle, MARK[status], 13 * points, color=shade.stroke, va="center", ha="center")
    # This font is wider than those of the page.
    left = box.x + TEXT_LEFT
    _write(axes, left, middle - 8, node.label, LABEL_PX * 0.88 * points, color=shade.text, weight="bold", va="center")
    _write(axes, left, middle + 9, node.sublabel, SUBLABEL_PX * 0.88 * points, color=shade.text, va="center")


class _Strokes:
    """Boxes and lines along the time axis; those that look alike become one artist.

    Matplotlib takes some milliseconds for each artist: a run of a thousand steps would take ten seconds to draw.
    """

    def __init__(self) -> None:
        self._boxes: defaultdict[_Look, list[list[tuple[float, float]]]] = defaultdict(list)
        self._lines: defaultdict[_Look, list[list[tuple[float, float]]]] = defaultdict(list)

    def box(self, row: float, height: float, start_s: float, end_s: float, **look: Any) -> None:
        above, below = row - height / 2, row + height / 2
        corners = [(start_s, above), (end_s, above), (end_s, below), (start_s, below)]
        self._boxes[tuple(look.items())].append(corners)

    def line(self, row: float, start_s: float, end_s: float, **look: Any) -> None:
        self._lines[tuple(look.items())].append([(start_s, row), (end_s, row)])

    def draw(self, axes: Axes) -> None:
        for look, boxes in self._boxes.items():
            axes.add_collection(PolyCollection(boxes, **dict(look)))
        for look, lines in self._lines.items():
            axes.add_collection(LineCollection(lines, **dict(look)))


def _draw_bar(axes: Axes, strokes: _Strokes, bar: Bar, row: int, colour: str, end_s: float) -> None:
    broken = bar.status in (StepStatus.FAILED, StepStatus.RETRYING, StepStatus.CANCELLED)
    for span in bar.spans:
        width = span.end_s - span.start_s
        if span.kind == "waiting":
            dots = {"color": _PALE, "alpha": 0.7, "linewidth": 0.9, "linestyle": "dotted", "zorder": 1}
            strokes.line(row, span.start_s, span.end_s, **dots)
        elif span.kind == "travelling":
            strokes.box(row, 0.2, span.start_s, span.end_s, facecolor=colour, alpha=0.55, linewidth=0, zorder=2)
        else:
            shade = PALETTE[bar.status].light
            fill, edge, line_width = (shade.fill, shade.stroke, 1.0) if broken else (colour, "white", 0.5)
            seen_s = span.start_s + max(width, end_s / 600)
            look = {"facecolor": fill, "edgecolor": edge, "linewidth": line_width, "zorder": 3}
            strokes.box(row, _BAR, span.start_s, seen_s, **look)
            mark = f"{MARK[bar.status]} " if broken else ""
            text = mark + line(bar.step, 40)
            if end_s and width / end_s * 78 > len(text):
                ink = shade.text if broken else ink_on(colour)
                _write(axes, span.start_s + end_s * 0.006, row, text, 8, color=ink, va="center", zorder=4)
            if bar.critical:
                below = row + _BAR / 2 + 0.05
                strokes.line(below, span.start_s, span.end_s, color=_INK, linewidth=1.4, zorder=4)


def _draw_fault(axes: Axes, band: FaultBand, end_s: float) -> None:
    stroke, width = PALETTE[band.tone].light.stroke, max(band.end_s - band.start_s, end_s / 400)
    axes.barh(band.row, width, _BAR, band.start_s, color=stroke, alpha=0.22, zorder=2)
    axes.vlines(band.start_s, band.row - _BAR / 2, band.row + _BAR / 2, color=stroke, linewidth=2, zorder=3)
    aside, align = (-1, "right") if band.before else (1, "left")
    text = f"{band.mark} {band.text}"
    _write(axes, band.start_s + aside * end_s * 0.006, band.row, text, 8, va="center", ha=align, zorder=4)


def _draw_outage(axes: Axes, outage: Outage, top: int, rows: int, end_s: float) -> None:
    stroke = PALETTE[OUTAGE_TONE[outage.kind]].light.stroke
    width = max(outage.end_s - outage.start_s, end_s / 400)
    axes.barh(top + (rows - 1) / 2, width, rows, outage.start_s, color=stroke, alpha=0.16, zorder=0)
    axes.vlines(outage.start_s, top - 0.5, top + rows - 0.5, color=stroke, linewidth=1.6, zorder=1)
    if outage.word and width / end_s * 78 > len(outage.word):
        right, bottom = outage.end_s - end_s * 0.006, top + rows - 0.62
        _write(axes, right, bottom, outage.word, 7, color=_PALE, va="bottom", ha="right", zorder=1)


def _draw_shares(axes: Axes, record: RunRecord) -> None:
    shares = latencies(record).by_function
    rows = list(range(len(shares)))
    lefts = [0.0] * len(shares)
    for kind, colour in SHARE_COLOURS.items():
        widths = [getattr(share, f"{kind}_s") for share in shares]
        axes.barh(rows, widths, 0.6, lefts, color=colour, label=kind)
        lefts = [a + b for a, b in zip(lefts, widths, strict=True)]
    for row, share in enumerate(shares):
        text = f"  {share.fractions[2]:.0%} running"
        _write(axes, 1.0, row, text, 8, transform=axes.get_yaxis_transform(), va="center", color=_PALE)
    _time_axis(axes, max(lefts, default=0.0), "time of all steps of the function")
    _name_rows(axes, rows, [share.name for share in shares])
    axes.set_ylim(max(1, len(shares)) - 0.5, -0.5)
    axes.set_title("Where the time went", loc="left", fontsize=11, color=_INK)
    if shares:
        axes.legend(
            loc="lower right",
            bbox_to_anchor=(1, 1),
            ncols=3,
            frameon=False,
            fontsize=8,
            borderaxespad=0,
            labelcolor=_INK,
        )


def _time_axis(axes: Axes, end_s: float, label: str) -> None:
    unit, factor = next(((u, f) for u, f, least in _UNITS if end_s >= least), _UNITS[-1][:2])
    axes.set_xlim(0, end_s * 1.02 or 1.0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds * factor:.4g}"))
    axes.set_xlabel(f"{label} ({unit})", fontsize=9, color=_PALE)
    axes.set_facecolor("none")
    axes.tick_params(labelsize=8, colors=_PALE, length=0)
    axes.grid(axis="x", color=_PALE, alpha=0.2)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)


_UNITS = (("min", 1 / 60, 120.0), ("s", 1.0, 1.0), ("ms", 1e3, 1e-3), ("µs", 1e6, 0.0))


def _name_rows(axes: Axes, places: list[float] | list[int], names: list[str]) -> None:
    texts = [_legible(line(name, 28)) for name in names]
    axes.set_yticks(places, texts, fontsize=8, color=_INK, parse_math=False, family=_FONT)


def _legend(figure: Figure, colours: dict[str, str]) -> None:
    shown = list(colours.items())[:8]
    patches = [Polygon([(0, 0)], facecolor=colour, label=_legible(line(name, 28))) for name, colour in shown]
    if patches:
        legend = figure.legend(
            handles=patches, loc="outside lower center", ncols=4, frameon=False, fontsize=8, labelcolor=_INK
        )
        for text in legend.get_texts():
            text.set_parse_math(False)


def _write(axes: Axes, x: float, y: float, text: str, size: float, *, color: str = _INK, **style: Any) -> None:
    # `$` in a name is not mathematics.
    axes.text(x, y, _legible(text), fontsize=size, color=color, family=_FONT, parse_math=False, **style)


def _legible(text: str) -> str:
    """The text with a box for what the font does not have: matplotlib would warn for each of them."""
    return "".join(char if char in " \n" or ord(char) in _glyphs() else "□" for char in text)


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(font_manager.get_font(font_manager.findfont(_FONT)).get_charmap())
