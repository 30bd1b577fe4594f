"""What %load_ext mpreg_lab does, and undoes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["load", "unload"]

_MAGICS = (("cell", "mpreg_workflow"), ("line", "mpreg"))


def load(shell: InteractiveShell) -> None:
    """Add the magics."""
    from .magics import MpregMagics

    shell.register_magics(MpregMagics)


def unload(shell: InteractiveShell) -> None:
    """Take the magics away; clusters live on."""
    for kind, name in _MAGICS:
        shell.magics_manager.magics[kind].pop(name, None)
