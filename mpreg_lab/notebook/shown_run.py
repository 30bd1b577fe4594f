"""A run that is shown while it goes on: what is saved of it is brought up to date when it has ended."""

from __future__ import annotations

import contextvars
import threading
from functools import partial
from html import escape
from typing import Any

from mpreg_lab.client.run import Run

__all__ = ["ShownRun", "show_run"]


def show_run(run: Run) -> bool:
    """Show the run as it is now, in the cell that runs; at its end that output becomes what the run is then.

    Returns:
        False in a terminal, where what was written stays: then nothing was.
    """
    return ShownRun().show(run)


class ShownRun:
    """An output of the cell that runs now. It shows a run, or later another one in its place."""

    def __init__(self) -> None:
        # By it the kernel knows to which cell an output belongs.
        self._cell = contextvars.copy_context()
        self._handle: Any = None
        self._run: Run | None = None

    def show(self, run: Run, said: str = "") -> bool:
        """Show the run as it is now, and at its end what it is then. From any thread, but one at a time.

        Args:
            said: What stands above it.

        Returns:
            False in a terminal: nothing was shown.
        """
        from IPython.core.getipython import get_ipython
        from IPython.display import display

        if getattr(get_ipython(), "kernel", None) is None:
            return False
        self._run, shown = run, _bundle(run, said)
        if self._handle is None:
            self._handle = self._cell.copy().run(partial(display, shown, raw=True, display_id=True))
        else:
            self._update(shown)

        def finish_soon() -> None:
            # Not on the cluster's loop: drawing would hold it up, and results are fetched over it.
            finish = partial(contextvars.Context().run, self._finish, run, said, shown)
            threading.Thread(target=finish, name="mpreg-shown", daemon=True).start()

        run.on_end(finish_soon)
        return True

    def _finish(self, run: Run, said: str, shown: dict[str, str]) -> None:
        ended = _bundle(run, said)
        if ended != shown and self._run is run:
            self._update(ended)

    def _update(self, bundle: dict[str, str]) -> None:
        try:
            # As a word of the cell that runs by then: who executes a notebook without a page hears no other.
            self._handle.update(bundle, raw=True)
        except LookupError:
            # ipykernel 7.0 knows of no cell but by the context.
            self._cell.copy().run(self._handle.update, bundle, raw=True)


def _bundle(run: Run, said: str) -> dict[str, str]:
    bundle = run._repr_mimebundle_()
    if not said:
        return bundle
    # By its class a live view knows that it is its own, and hides it.
    head = f'<div style="margin-top:8px">{escape(said)}</div>'
    html = f'<div class="mpreg-run-again">{head}{bundle.get("text/html", "")}</div>'
    return {"text/plain": f"{said}: {bundle['text/plain']}", "text/html": html}
