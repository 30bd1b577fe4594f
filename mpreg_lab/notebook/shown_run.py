"""A run that is shown while it goes on: what is saved of it is brought up to date when it has ended."""

from __future__ import annotations

import contextvars
import threading

from mpreg_lab.client.run import Run

__all__ = ["show_run"]


def show_run(run: Run) -> bool:
    """Show the run as it is now, in the cell that runs; at its end that output becomes what the run is then.

    Returns:
        False in a terminal, where what was written stays: then nothing was.
    """
    from IPython.core.getipython import get_ipython
    from IPython.display import display

    if getattr(get_ipython(), "kernel", None) is None:
        return False
    shown = run._repr_mimebundle_()
    handle = display(shown, raw=True, display_id=True)  # type: ignore[no-untyped-call]  # IPython has no hints here
    # In the context of the cell: by it the kernel knows to which cell an output belongs.
    here = contextvars.copy_context()

    def finish() -> None:
        ended = run._repr_mimebundle_()
        if ended == shown:
            return
        try:
            # As a word of the cell that runs by then: who executes a notebook without a page hears no other.
            handle.update(ended, raw=True)
        except LookupError:
            # ipykernel 7.0 knows of no cell but by the context.
            here.run(handle.update, ended, raw=True)

    def finish_soon() -> None:
        # Not on the cluster's loop: drawing would hold it up, and results are fetched over it.
        threading.Thread(target=contextvars.Context().run, args=(finish,), name="mpreg-shown", daemon=True).start()

    run.on_end(finish_soon)
    return True
