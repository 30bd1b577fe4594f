"""A cell that is run again does not leave a second cluster beside the first.

`cluster = LocalCluster(3)` lets go of the cluster that `cluster` held, and a cluster that nobody holds stops by itself.
But a notebook also holds whatever it has shown (`Out[5]`, `_5`, `_`): that is undone here, and told in a line. A
cluster that something else of the user's holds, such as a list, goes on.
"""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mpreg_lab.cluster.local import LocalCluster, running_clusters

if TYPE_CHECKING:
    from IPython.core.interactiveshell import ExecutionInfo, ExecutionResult, InteractiveShell

__all__ = ["Rebinding"]

_LATEST = ("_", "__", "___")


class Rebinding:
    """Watches the cells of one shell.

    Args:
        shell: It is changed by `install`, and `remove` undoes that.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._named: list[weakref.ref[LocalCluster]] = []
        self._running: frozenset[int] = frozenset()
        self._made: dict[str, list[weakref.ref[LocalCluster]]] = {}  # by cell

    def install(self) -> None:
        """Begin."""
        self._shell.events.register("pre_run_cell", self._before)
        self._shell.events.register("post_run_cell", self._after)

    def remove(self) -> None:
        """End."""
        self._shell.events.unregister("pre_run_cell", self._before)
        self._shell.events.unregister("post_run_cell", self._after)

    def _before(self, info: ExecutionInfo) -> None:
        self._named = [weakref.ref(cluster) for cluster in self._in_variables()]
        self._running = frozenset(id(cluster) for cluster in running_clusters())

    def _after(self, result: ExecutionResult | None) -> None:
        cell = getattr(getattr(result, "info", None), "cell_id", None)
        made = [cluster for cluster in running_clusters() if id(cluster) not in self._running]
        before = self._made.get(cell, []) if cell and made else []
        for held in (*self._named, *before):
            self._let_go(held, {id(cluster) for cluster in (*self._in_variables(), *made)})
        if cell and made:
            self._made[cell] = [weakref.ref(cluster) for cluster in made]

    def _let_go(self, held: weakref.ref[LocalCluster], wanted: set[int]) -> None:
        cluster = held()
        if cluster is None or not cluster.running or id(cluster) in wanted:
            return
        name = cluster.name
        self._forget_output(cluster)
        del cluster
        if held() is not None:
            # Exceptions and widgets make circles.
            gc.collect()
        if held() is None:
            sys.stdout.write(f"The cluster {name!r} was stopped: no variable holds it any more.\n")

    def _in_variables(self) -> Iterable[LocalCluster]:
        names = self._shell.user_ns
        return [value for name, value in names.items() if not name.startswith("_") and isinstance(value, LocalCluster)]

    def _forget_output(self, cluster: LocalCluster) -> None:
        """Take it out of the history of outputs."""
        names, hidden = self._shell.user_ns, self._shell.user_ns_hidden
        outputs: dict[int, Any] = names.get("_oh", {})
        for number in [number for number, value in outputs.items() if value is cluster]:
            del outputs[number]
        for known in (names, hidden):
            for name in [name for name, value in known.items() if name.startswith("_") and value is cluster]:
                del known[name]
                if name in _LATEST:
                    # There must be something, the same as the hook has: else they are a variable of the user's.
                    names[name] = ""
                    setattr(self._shell.displayhook, name, "")
