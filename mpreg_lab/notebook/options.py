"""Reading the line of a magic: argparse, but a mistake is one clear error and never ends the kernel."""

from __future__ import annotations

import argparse
import shlex
from typing import NoReturn

from mpreg_lab.errors import MagicError

__all__ = ["LineParser"]


class LineParser(argparse.ArgumentParser):
    """The options of one magic.

    Args:
        help_by: The line that lists them. None: the magic with --help.
    """

    def __init__(self, magic: str, *, help_by: str | None = None) -> None:
        super().__init__(prog=magic, add_help=False, allow_abbrev=False)
        self._magic = magic
        self._help_by = help_by or f"{magic} --help"

    def read(self, line: str) -> argparse.Namespace:
        """The options on a line.

        Raises:
            MagicError: If one is wrong; says which, and how to get help.
        """
        try:
            words = shlex.split(line)
        except ValueError as exc:
            raise MagicError(f"{self._magic}: {str(exc).lower()}. Close the quotation mark") from exc
        return self.parse_args(words)

    def error(self, message: str) -> NoReturn:
        """What argparse calls for a mistake."""
        raise MagicError(f"{self._magic}: {message}. {self._help_by} lists the options")
