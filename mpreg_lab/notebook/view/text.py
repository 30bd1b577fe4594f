"""A run for a terminal: graph, results, errors, steps and latencies in plain text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from mpreg_lab.workflow.record import RunRecord, StepRecord, StepStatus

from .faults import FAULT_MARK, blamed, when
from .folding import folds
from .format import clip, counted, duration, line, plain
from .graph_svg import group_status
from .latency import latency
from .palette import MARK
from .preview import Preview, result_preview
from .scene import Scene, members, scene
from .summary import headline, run_repr
from .text_graph import graph_rows

__all__ = ["graph_text", "run_repr", "run_text"]

Paint = Callable[[str, str], str]
_FOLD_ABOVE = 12
"""Steps; in a larger run a fan-out is one line."""
_ANSI = {
    StepStatus.WAITING: "2",
    StepStatus.QUEUED: "36",
    StepStatus.RUNNING: "34",
    StepStatus.RETRYING: "33",
    StepStatus.DONE: "32",
    StepStatus.REUSED: "32",
    StepStatus.CACHED: "32",
    StepStatus.FAILED: "31",
    StepStatus.SKIPPED: "2",
    StepStatus.CANCELLED: "35",
}
_FAULTS = 30
_BLOCKS = " ▏▎▍▌▋▊▉█"


def run_text(
    record: RunRecord, results: Mapping[str, object], width: int = 80, *, colour: bool = False, timings: bool = True
) -> str:
    """All of a run, in lines of at most `width` characters; no line ends in a line feed.

    Args:
        record: The run.
        results: Those to show, by name of step or group.
        width: Characters; 60 is the least.
        colour: Whether to use terminal colours.
        timings: Whether to show how long things took; without them, equal runs give equal texts.
    """
    width = max(60, width)
    paint = _painted if colour else _unpainted
    took = f" in {duration(record.duration_s)}" if timings and record.duration_s is not None else ""
    sections = [
        [headline(record) + took],
        graph_text(record, width, colour=colour),
        *(_error(record, step, width, paint) for step in record.failed),
        *(_result(name, result_preview(value), width, paint) for name, value in islice(results.items(), 20)),
    ]
    if timings:
        sections += [_faults(record, width, paint), _steps(record, width, paint), _latencies(record, width, paint)]
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def graph_text(record: RunRecord, width: int = 80, *, colour: bool = False) -> list[str]:
    """The dependency graph as lines: each step below all that it needs, as `git log --graph` draws commits."""
    many = len(record.steps) > _FOLD_ABOVE
    drawn = scene(record, folded={fold.name for fold in folds(record)} if many else ())
    names = [node.name for node in drawn.nodes]
    steps = {node.name: members(node, record) for node in drawn.nodes}
    rows = graph_rows(names, [(route.source, route.target) for route in drawn.edges])
    paint = _painted if colour else _unpainted
    if rows is None:
        return _list_rows(drawn, steps, width, paint)
    room = max((len(row.lanes) for row in rows), default=0)
    labels = {name: _label(name, steps[name]) for name in names}
    name_width = min(28, max((len(label[0]) for label in labels.values()), default=0))
    function_width = min(20, max((len(label[1]) for label in labels.values()), default=0))
    lines = []
    for row in rows:
        if row.name is None:
            lines.append(row.lanes)
            continue
        name, function, where = labels[row.name]
        status = _status(steps[row.name])
        lanes = row.lanes.replace("*", paint(MARK[status], _ANSI[status]))
        gap = " " * (room - len(row.lanes) + 2)
        text = f"{clip(name, name_width):{name_width}}  {clip(function, function_width):{function_width}}  {where}"
        lines.append(lanes + gap + clip(text, width - room - 2).rstrip())
    return lines


def _label(name: str, steps: Sequence[StepRecord]) -> tuple[str, str, str]:
    """Name, function, and where it runs or ran."""
    functions = ", ".join(dict.fromkeys(line(step.plan.function) for step in steps))
    if len(steps) == 1:
        (step,) = steps
        resources = ", ".join(step.plan.resources)
        return line(name), functions, line(f"@ {resources}" if resources else "")
    counts = ", ".join(f"{n} {s}" for s in StepStatus if (n := sum(step.status is s for step in steps)))
    return line(f"{name} ({len(steps)})"), functions, counts


def _status(steps: Sequence[StepRecord]) -> StepStatus:
    return group_status(Counter(step.status for step in steps))


def _list_rows(drawn: Scene, steps: Mapping[str, Sequence[StepRecord]], width: int, paint: Paint) -> list[str]:
    """For graphs too wide to draw: each step with what it needs."""
    needs: dict[str, list[str]] = {}
    for route in drawn.edges:
        needs.setdefault(route.target, []).append(line(route.source, 24))
    lines = []
    for node in sorted(drawn.nodes, key=lambda node: node.box.layer):
        status = _status(steps[node.name])
        name, function, _ = _label(node.name, steps[node.name])
        sources = needs.get(node.name, [])
        arrow = f"  ← {', '.join(sources[:4])}" + (f" and {len(sources) - 4} more" if len(sources) > 4 else "")
        text = clip(f"{name}  {function}{arrow if sources else ''}", width - 2)
        lines.append(f"{paint(MARK[status], _ANSI[status])} {text}")
    return lines


def _faults(record: RunRecord, width: int, paint: Paint) -> list[str]:
    if not record.faults:
        return []
    shown = record.faults[:_FAULTS]
    whens = [when(fault.now_s) for fault in shown]
    room = max(map(len, whens))
    lines = [f"  {at:>{room}}  {FAULT_MARK[f.kind]} {line(f.text)}" for at, f in zip(whens, shown, strict=True)]
    more = [f"  and {len(record.faults) - _FAULTS} more"] if len(record.faults) > _FAULTS else []
    return [paint("Faults", "2"), *(clip(text, width) for text in lines), *more]


def _error(record: RunRecord, step: StepRecord, width: int, paint: Paint) -> list[str]:
    if step.failure is None:
        return []
    kind, where = line(step.failure.type_name), "" if step.node is None else f" on {line(step.node)}"
    head = paint(f"{MARK[StepStatus.FAILED]} {line(step.name)} failed{where}", _ANSI[StepStatus.FAILED])
    head += f", after {blame}" if (blame := blamed(record, step)) else ""
    trace = plain(step.failure.traceback).rstrip().splitlines()
    message = plain(f"{kind}: {step.failure.message}").splitlines()
    return [head, *(f"  {clip(text, width - 2)}" for text in (trace[-20:] if trace else message[:20]))]


def _result(name: str, preview: Preview, width: int, paint: Paint) -> list[str]:
    about = ", ".join(filter(None, (preview.type_name, preview.note)))
    head = f"{paint(line(name, 40), '1')}  {about}"
    body = preview.text.rstrip().splitlines()[:20] if preview.kind == "text" else _preview_table(preview, width - 2)
    return [head, *(f"  {clip(text.expandtabs(4), width - 2)}" for text in body), *(["  …"] if preview.cut else [])]


def _preview_table(preview: Preview, width: int) -> list[str]:
    return _table([preview.columns, *preview.rows], preview.numeric, width)


def _table(rows: Sequence[Sequence[str]], numeric: Sequence[bool], width: int) -> list[str]:
    """Columns in line; the widest give way until all fit."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(numeric))]
    while sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > 6:
        widths[widths.index(max(widths))] -= 1
    lines = []
    for row in rows:
        cells = (clip(text, w) for text, w in zip(row, widths, strict=True))
        padded = (f"{t:>{w}}" if n else f"{t:{w}}" for t, w, n in zip(cells, widths, numeric, strict=True))
        lines.append(clip("  ".join(padded).rstrip(), width))
    return lines


def _steps(record: RunRecord, width: int, paint: Paint) -> list[str]:
    if not record.steps:
        return []
    head = ("", "Step", "Node", "State", "Attempts", "Waited", "Ran")
    shown = list(islice(record.steps.values(), 50))
    rows = [
        (
            MARK[s.status],
            line(s.name),
            line(s.node or ""),
            str(s.status),
            str(s.attempts or ""),
            *map(_known, (s.queued_s, s.ran_s)),
        )
        for s in shown
    ]
    numeric = (False, False, False, False, True, True, True)
    first, *lines = _table([head, *rows], numeric, width)
    coloured = (paint(text[0], _ANSI[s.status]) + text[1:] for text, s in zip(lines, shown, strict=True))
    more = [f"  and {counted(len(record.steps) - 50, 'more step')}"] if len(record.steps) > 50 else []
    return [paint(first, "2"), *coloured, *more]


def _known(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)


def _latencies(record: RunRecord, width: int, paint: Paint) -> list[str]:
    functions = latency(record).functions
    if not functions:
        return []
    most_s = max(f.max_s for f in functions)
    names = [f"{line(f.function, 24)} ({f.count})" if f.count > 1 else line(f.function, 24) for f in functions]
    room = max(map(len, names))
    bars = max(10, width - room - 4 - 3 * 10)
    head = f"{'Latency':{room}}  {'':{bars}}{'p50':>10}{'p90':>10}{'max':>10}"
    lines = []
    for name, f in zip(names, functions, strict=True):
        numbers = "".join(f"{duration(seconds):>10}" for seconds in (f.p50_s, f.p90_s, f.max_s))
        lines.append(f"{name:{room}}  {paint(f'{_bar(f.p50_s, most_s, bars):{bars}}', '34')}{numbers}")
    return [paint(head.rstrip(), "2"), *lines]


def _bar(value: float, most: float, width: int) -> str:
    eighths = round(8 * width * value / most) if most > 0 else 0
    return "█" * (eighths // 8) + _BLOCKS[eighths % 8].strip()


def _painted(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m"


def _unpainted(text: str, _code: str) -> str:
    return text
