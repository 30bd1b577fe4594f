"""One %%mpreg_functions cell: what it defines is defined in the notebook, and offered by nodes."""

from __future__ import annotations

import ast
import traceback
from collections.abc import Callable, Sequence
from types import CodeType
from typing import TYPE_CHECKING, Any

from mpreg_lab.cluster.local import LocalCluster
from mpreg_lab.engine.failures import failure
from mpreg_lab.errors import MagicError

from .cell_errors import plainly, told

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["FunctionsCell"]

_FIRST_LINE = 2
"""Where the text stands in its cell: below the line of the magic."""


class FunctionsCell:
    """One execution of a cell.

    Args:
        text: The cell without its first line.
    """

    def __init__(self, shell: InteractiveShell, text: str) -> None:
        self._shell = shell
        self._text = text

    def run(self, cluster: LocalCluster, nodes: Sequence[str], resources: Sequence[str]) -> str:
        """Define all, give the public functions to nodes; what was done, as text.

        Args:
            nodes: Which; those that are not there are added, and hold the resources. None named: all that hold them.

        Raises:
            MagicError: If the cell defines no function, or a node does not hold the resources.
            Exception: What the cell raised; shown with its line, and none of our frames.
        """
        code, names = self._read()
        added = self._check(cluster, nodes, resources)
        self._execute(code)
        functions: dict[str, Callable[..., Any]] = {name: self._shell.user_ns[name] for name in names}
        for node in added:
            cluster.add(node, resources)
        for name, function in functions.items():
            cluster.register(function, name=name, resources=resources, nodes=nodes or None)
        return _done(cluster, list(functions), added)

    # --- helpers ---

    def _read(self) -> tuple[CodeType, list[str]]:
        """The cell's code, and the names of its public functions."""
        text: str = self._shell.transform_cell(self._text)  # type: ignore[no-untyped-call]  # IPython has no hints here
        # The notebook counts lines from the magic, and so do errors; IPython has dropped empty lines at the top.
        dropped = len(self._text) - len(self._text.lstrip("\n"))
        source = "\n" * (_FIRST_LINE - 1 + dropped) + text
        filename = self._shell.compile.cache(source, self._shell.execution_count, raw_code=source)
        try:
            tree = ast.parse(source, filename)
            code = compile(tree, filename, "exec")
        except SyntaxError as error:
            raise plainly(error, self._unreadable(error)) from None
        defined = (node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
        names = list(dict.fromkeys(name for name in defined if not name.startswith("_")))
        if not names:
            raise _told(MagicError("the cell defines no function. Write at least one: def double(x): return 2 * x"))
        return code, names

    def _unreadable(self, error: SyntaxError) -> list[str]:
        place = f"line {error.lineno}:" if error.lineno else ""
        text = "".join(traceback.format_exception_only(error)).rstrip("\n").split("\n")[1:]
        return [place, *text, "", "Nothing was registered."]

    def _check(self, cluster: LocalCluster, nodes: Sequence[str], resources: Sequence[str]) -> list[str]:
        """The nodes that are not there yet."""
        there = cluster.nodes
        for node in nodes:
            missing = set(resources) - set(there[node].resources) if node in there else ()
            if missing:
                raise _told(
                    MagicError(
                        f"node {node!r} is there and does not hold {', '.join(sorted(missing))}. What a node holds is "
                        "said when it is launched: leave --resources out, or name a new node"
                    )
                )
        return [node for node in dict.fromkeys(nodes) if node not in there]

    def _execute(self, code: CodeType) -> None:
        try:
            # The user's own cell, in their own notebook.
            exec(code, self._shell.user_global_ns, self._shell.user_ns)  # noqa: S102
        except BaseException as error:  # noqa: BLE001  # a user's cell, which may raise anything, SystemExit too
            error = error.with_traceback(error.__traceback__.tb_next if error.__traceback__ else None)
            frames = failure(error).traceback.rstrip("\n").split("\n")
            raise plainly(error, [*frames, "", "Nothing was registered."]) from None


def _told(error: MagicError) -> BaseException:
    return plainly(error, told(error))


def _done(cluster: LocalCluster, functions: list[str], added: list[str]) -> str:
    members = cluster.nodes.values()
    lines = [f"added node {', '.join(added)}"] if added else []
    for name in functions:
        infos = {m.name: info for m in members for info in m.functions if info.name == name}
        signature = next(iter(infos.values())).signature if infos else "(...)"
        lines.append(f"{name}{signature} on {', '.join(infos)}")
    return "\n".join(lines)
