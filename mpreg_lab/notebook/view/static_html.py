"""A run as HTML that stays readable in a saved notebook: no script, no inline SVG, no need of a style sheet.

JupyterLab's sanitizer, which cleans the outputs of notebooks that are not trusted, keeps `img` with a data URI,
`details`, tables, `class` and simple `style`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from itertools import islice

from mpreg_lab.workflow.record import RunRecord, RunStatus, StepRecord, StepStatus

from .charts_svg import latency_svg, timeline_svg
from .events import EventRow, event_rows
from .faults import FAULT_MARK, when
from .format import clip, counted, duration, line, plain
from .graph_svg import data_uri, svg
from .palette import MARK
from .picture import page_scene
from .preview import Preview, result_preview
from .stored import ALONE, unbroken
from .summary import headline, planned

__all__ = ["run_html"]

_RESULTS = 20
_STEPS = 200
_EVENTS = 50
_CHARTED = 2000
"""Steps of which the times are drawn: each is a bar, and a bar is 60 bytes in every copy of the notebook."""
_TEXT = 2000
"""Characters of one result, one traceback, or one step's printed output."""
_MONO = "margin:4px 0;white-space:pre-wrap"


def run_html(record: RunRecord, results: Mapping[str, object], *, begun: bool = True) -> str:
    """The run: headline, graph, errors, results, and folded away the steps, what they printed, and the times.

    Args:
        record: The run; it may still be going on.
        results: Those to show, by name of step or group.
        begun: False: it is the plan of a run that nobody started.

    Returns:
        One `<div class="mpreg-run-static">`. What differs from run to run is in an `<img class="mpreg-timing" …>` or a
        `<span class="mpreg-timing">…</span>`, so that a comparison of outputs can blank it.
    """
    steps = list(record.steps.values())
    parts = [
        f"<div><b>{escape(headline(record) if begun else planned(record))}</b>{_took(record)}</div>",
        _graph(record) if steps else "",
        *(_error(step) for step in record.failed[:_RESULTS]),
        *(_result(name, result_preview(value, _TEXT)) for name, value in islice(results.items(), _RESULTS)),
        _more(len(results) - _RESULTS, "result"),
        _steps_table(steps),
        _printed(steps),
        _faults(record),
        _times(record),
        _events(record) if begun else "",
        ALONE,
    ]
    return unbroken(f'<div class="mpreg-run-static">{"".join(parts)}</div>')


def _took(record: RunRecord) -> str:
    return "" if record.duration_s is None else f" {_timing(duration(record.duration_s))}"


def _timing(text: str) -> str:
    return f'<span class="mpreg-timing">{escape(text)}</span>'


def _graph(record: RunRecord) -> str:
    states = ", ".join(f"{line(name)} {step.status}" for name, step in islice(record.steps.items(), 50))
    more = f" and {counted(len(record.steps) - 50, 'more step')}" if len(record.steps) > 50 else ""
    alt = escape(f"Dependency graph: {states}{more}")
    return f'<div><img alt="{alt}" src="{data_uri(svg(page_scene(record), record))}"></div>'


def _error(step: StepRecord) -> str:
    failure = step.failure
    if failure is None:
        return ""
    head = f"{MARK[StepStatus.FAILED]} {escape(line(step.name))}</b> {escape(line(failure.type_name))}: "
    text = f'<div style="margin-top:8px"><b>{head}{escape(clip(plain(failure.message), _TEXT))}</div>'
    return text + (_folded("Traceback", _pre(plain(failure.traceback)[-_TEXT:])) if failure.traceback else "")


def _result(name: str, preview: Preview) -> str:
    about = ", ".join(filter(None, (preview.type_name, preview.note)))
    head = f'<div style="margin-top:8px"><b>{escape(line(name))}</b> <small>{escape(about)}</small></div>'
    body = _pre(preview.text) if preview.kind == "text" else _preview_table(preview)
    return head + body + ("<small>Only the beginning is shown.</small>" if preview.cut else "")


def _preview_table(preview: Preview) -> str:
    align = ["right" if number else "left" for number in preview.numeric]
    return _table(preview.columns, ([escape(cell) for cell in row] for row in preview.rows), align)


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]], align: list[str]) -> str:
    """Cells are HTML already, names of columns are not."""

    def cells(tag: str, texts: Iterable[str]) -> str:
        row = (f'<{tag} style="text-align:{a}">{text}</{tag}>' for text, a in zip(texts, align, strict=True))
        return f"<tr>{''.join(row)}</tr>"

    head = cells("th", map(escape, columns))
    return f"<table><thead>{head}</thead><tbody>{''.join(cells('td', row) for row in rows)}</tbody></table>"


def _pre(text: str) -> str:
    return f'<pre style="{_MONO}">{escape(text.rstrip())}</pre>'


def _folded(summary: str, body: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def _more(count: int, noun: str) -> str:
    return f"<div><small>and {counted(count, f'more {noun}')}</small></div>" if count > 0 else ""


def _steps_table(steps: list[StepRecord]) -> str:
    columns = ("Step", "State", "Function", "Resources", "Node", "Attempts")
    align = ["left", "left", "left", "left", "left", "right"]
    table = _table(columns, map(_step_row, steps[:_STEPS]), align)
    return _folded("Steps", table + _more(len(steps) - _STEPS, "step")) if steps else ""


def _step_row(step: StepRecord) -> Iterable[str]:
    state = f"{MARK[step.status]} {step.status}"
    texts = (line(step.name), state, line(step.plan.function), line(", ".join(step.plan.resources)))
    # Which of several nodes took a step depends on who was free.
    node = "" if step.node is None else _timing(line(step.node))
    return (*map(escape, texts), node, str(step.attempts or ""))


def _printed(steps: list[StepRecord]) -> str:
    shown = [step for step in steps if step.printed][:_RESULTS]
    texts = (f"<div><b>{escape(line(s.name))}</b></div>{_pre(clip(plain(s.printed), _TEXT))}" for s in shown)
    return _folded("Printed", "".join(texts)) if shown else ""


def _faults(record: RunRecord) -> str:
    shown = record.faults[:_STEPS]
    rows = ((_timing(when(fault.now_s)), escape(f"{FAULT_MARK[fault.kind]} {line(fault.text)}")) for fault in shown)
    table = _table(("At", "Fault"), rows, ["right", "left"])
    return _folded("Faults", table + _more(len(record.faults) - _STEPS, "fault")) if shown else ""


def _events(record: RunRecord) -> str:
    """As text in columns: all of it differs from run to run."""
    rows = event_rows(record)
    shown = [_event_texts(row) for row in rows[-_EVENTS:]]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    told = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in shown)
    cut = f"(the last {_EVENTS} of {len(rows):,}: run.events() has all)\n" if len(rows) > _EVENTS else ""
    return _folded("Events", f'<pre style="margin:4px 0">{_timing(cut + chr(10).join(told))}</pre>')


def _event_texts(row: EventRow) -> tuple[str, ...]:
    step, node = (line(text, 40) if text else "" for text in (row.step, row.node))
    return duration(row.at_s), row.what, step, node, line(row.text, 120)


def _times(record: RunRecord) -> str:
    if record.status is RunStatus.RUNNING or not any(step.ran_s is not None for step in record.steps.values()):
        return ""
    if len(record.steps) > _CHARTED:
        told = (
            f"{len(record.steps):,} steps are too many for pictures in a saved notebook: run.frame() has their times."
        )
        return f'<div style="margin-top:8px">{told}</div>'
    charts = (("Timeline", timeline_svg(record)), ("Latency", latency_svg(record)))
    return "".join(
        _folded(name, f'<img class="mpreg-timing" alt="{name} of the steps" src="{data_uri(chart)}">')
        for name, chart in charts
    )
