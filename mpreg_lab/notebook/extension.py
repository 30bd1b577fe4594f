"""What %load_ext mpreg_lab does, and undoes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from .hints import Hints
    from .rebinding import Rebinding

__all__ = ["load", "unload"]

_MAGICS = (("cell", "mpreg_workflow"), ("cell", "mpreg_functions"), ("line", "mpreg"))
_CELLS = tuple(f"%%{name}" for kind, name in _MAGICS if kind == "cell")


class _Hooks(NamedTuple):
    hints: Hints
    rebinding: Rebinding


_installed: WeakKeyDictionary[InteractiveShell, _Hooks] = WeakKeyDictionary()


def load(shell: InteractiveShell) -> None:
    """Add the magics, what Tab and Shift-Tab know of them, and what stops replaced clusters; once."""
    from .hints import Hints
    from .magics import MpregMagics
    from .rebinding import Rebinding

    shell.register_magics(MpregMagics)
    if _give_body not in shell.input_transformers_cleanup:
        shell.input_transformers_cleanup.append(_give_body)
    if shell not in _installed:
        hooks = _installed[shell] = _Hooks(Hints(shell), Rebinding(shell))
        for hook in hooks:
            hook.install()


def unload(shell: InteractiveShell) -> None:
    """Take all of it away; clusters live on."""
    from .settings import reset

    for kind, name in _MAGICS:
        shell.magics_manager.magics[kind].pop(name, None)
    if _give_body in shell.input_transformers_cleanup:
        shell.input_transformers_cleanup.remove(_give_body)
    for hook in _installed.pop(shell, ()):
        hook.remove()
    reset()


def _give_body(lines: list[str]) -> list[str]:
    """Give `%%mpreg_workflow --help` an empty line below: IPython refuses a cell magic without a body by itself."""
    if lines and lines[0].split(" ", 1)[0].strip() in _CELLS and not "".join(lines[1:]):
        return [lines[0].rstrip("\n") + "\n", "\n"]
    return lines
