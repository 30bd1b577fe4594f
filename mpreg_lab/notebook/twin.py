"""The output of a cell that is saved, where what it shows may still change: it is brought up to date in its place."""

from __future__ import annotations

import contextvars
import threading
from typing import Any

from mpreg_lab.client.run import Run

__all__ = ["Twin", "show_run"]


class Twin:
    """One output, written once and then anew."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._shown: dict[str, str] = {}

    @property
    def there(self) -> bool:
        """Whether it was written."""
        return self._handle is not None

    def show(self, bundle: dict[str, str]) -> None:
        """Write it in the cell that runs: texts by MIME type."""
        from IPython.display import display

        self._shown = bundle
        self._handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]

    def update(self, bundle: dict[str, str]) -> None:
        """Write it anew where it stands, if it is there and it differs. In the context of its cell, from any thread."""
        if not self.there or bundle == self._shown:
            return
        self._shown = bundle
        try:
            # As a word of the cell that runs by now: who executes a notebook without a page hears no other.
            contextvars.Context().run(self._handle.update, bundle, raw=True)
        except LookupError:
            # ipykernel 7.0 knows of no cell but by the context.
            self._handle.update(bundle, raw=True)


def show_run(run: Run) -> None:
    """Show a run that goes on as it is now; at its end the output becomes what the run is then."""
    twin = Twin()
    twin.show(run._repr_mimebundle_())
    # In the context of the cell: by it the kernel knows to which cell the output belongs.
    here = contextvars.copy_context().run

    def finish() -> None:
        twin.update(run._repr_mimebundle_())

    def finish_soon() -> None:
        # Not on the cluster's loop: drawing would hold it up, and results are fetched over it.
        threading.Thread(target=here, args=(finish,), name="mpreg-twin", daemon=True).start()

    run.on_end(finish_soon)
