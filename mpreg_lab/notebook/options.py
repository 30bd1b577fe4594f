"""The line of a magic: described as data, from which reading, help, completion and docs/magics.md are made.

Reading is argparse's, but a mistake is one clear error and never ends the kernel.
"""

from __future__ import annotations

import argparse
import difflib
import keyword
import shlex
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn

from mpreg_lab.errors import MagicError

__all__ = [
    "Argument",
    "Kind",
    "Syntax",
    "delay",
    "identifier",
    "in_columns",
    "names",
    "number",
    "one_of",
    "seconds",
    "share",
    "whole",
]

_WIDTH = 80
_COLUMN = 26


class Kind(StrEnum):
    """What can stand in the place of an argument: completion offers these."""

    ANYTHING = "anything"
    CLUSTER = "cluster"
    NODE = "node"
    END = "end"
    """Of a link: a node, or the client."""
    RESOURCES = "resources"
    """With commas between them."""
    VARIABLE = "variable"
    SETTING = "setting"
    VALUE = "value"
    """Of the setting before it."""
    NODES = "nodes"
    """With commas between them."""
    COMMAND = "command"
    RUN = "run"
    """A variable that holds one."""
    STEP = "step"
    """Of the newest run; or a fan-out."""
    FUNCTION = "function"
    """Of the cluster."""
    EXAMPLE = "example"
    SAVED = "saved"
    """A file that may hold a run."""


@dataclass(frozen=True)
class Argument:
    """An option of a magic, or a positional argument.

    Attributes:
        flags: `("-o", "--out")`, or `("nodes",)` for a positional one.
        text: What it does, as a phrase.
        value: How its value is called in help, such as `SECONDS`; empty for an option that takes none.
        read: Makes a value of the word; raises argparse.ArgumentTypeError.
        count: How many words a positional one takes: "" for one, "?" for at most one, "*" or "+" for several.
        choices: All words that are allowed; empty if any is.
    """

    flags: tuple[str, ...]
    text: str
    value: str = ""
    kind: Kind = Kind.ANYTHING
    read: Callable[[str], Any] = str
    count: str = ""
    default: Any = None
    choices: tuple[str, ...] = ()

    @property
    def positional(self) -> bool:
        """Whether it has no flag."""
        return not self.flags[0].startswith("-")

    @property
    def written(self) -> str:
        """How help writes it: `-o, --out NAME`."""
        if not self.positional:
            return ", ".join(self.flags) + (f" {self.value}" if self.value else "")
        return {"": self.value, "?": f"[{self.value}]", "*": f"[{self.value} ...]", "+": f"{self.value} ..."}[
            self.count
        ]


_HELP = Argument(("--help",), "show this help")


@dataclass(frozen=True)
class Syntax:
    """How the line of one magic, or of one command of %mpreg, is written.

    Attributes:
        magic: `%%mpreg_workflow`, `%mpreg start`.
        does: What it does, in one sentence.
        examples: Whole lines, each with what it does.
        more: Paragraphs for the end of the help.
    """

    magic: str
    does: str
    arguments: tuple[Argument, ...] = ()
    examples: tuple[tuple[str, str], ...] = ()
    more: str = ""

    @property
    def options(self) -> tuple[Argument, ...]:
        """Its options, `--help` last."""
        return (*(a for a in self.arguments if not a.positional), _HELP)

    @property
    def positionals(self) -> tuple[Argument, ...]:
        """Its positional arguments."""
        return tuple(a for a in self.arguments if a.positional)

    @property
    def usage(self) -> str:
        """One line: the magic and its positional arguments."""
        options = ("[options]",) if len(self.options) > 1 else ()
        return " ".join([self.magic, *(a.written for a in self.positionals), *options])

    def read(self, line: str) -> argparse.Namespace:
        """The arguments on a line; those of `--help` alone, if it asks for help.

        Raises:
            MagicError: If one is wrong; says which, and how to get help.
        """
        words = words_of(self.magic, line)
        if "--help" in words:
            return argparse.Namespace(help=True)
        parser = _Parser(self)
        for argument in self.arguments:
            parser.take(argument)
        return parser.parse_args(words, argparse.Namespace(help=False))

    def help(self) -> str:
        """All of it as text of 80 columns."""
        return "\n".join(self._help())

    def _help(self) -> Iterator[str]:
        yield self.usage
        yield ""
        yield from textwrap.wrap(self.does, _WIDTH)
        yield ""
        for argument in (*self.positionals, *self.options):
            yield from in_columns(argument.written, _with_default(argument))
        if self.examples:
            yield ""
            for example, what in self.examples:
                yield from in_columns(example, what, 42)
        if self.more:
            yield ""
            yield self.more


def words_of(magic: str, line: str) -> list[str]:
    """The words of a line, as a shell splits it.

    Raises:
        MagicError: If a quotation mark is open.
    """
    try:
        return shlex.split(line)
    except ValueError as exc:
        raise MagicError(f"{magic}: {str(exc).lower()}. Close the quotation mark") from exc


class _Parser(argparse.ArgumentParser):
    def __init__(self, syntax: Syntax) -> None:
        super().__init__(prog=syntax.magic, add_help=False, allow_abbrev=False)
        self._syntax = syntax

    def take(self, argument: Argument) -> None:
        if not argument.positional and not argument.value:
            self.add_argument(*argument.flags, action="store_true")
            return
        how: dict[str, Any] = {"type": argument.read, "default": argument.default}
        if argument.positional and argument.count:
            how["nargs"] = argument.count
        if argument.positional:
            how["metavar"] = argument.value
        if argument.choices:
            how["type"] = one_of(*argument.choices)
        self.add_argument(*argument.flags, **how)

    def error(self, message: str) -> NoReturn:
        """What argparse calls for a mistake."""
        magic = self._syntax.magic
        raise MagicError(f"{magic}: {message}{self._near(message)} {magic} --help lists the options")

    def _near(self, message: str) -> str:
        unknown = message.removeprefix("unrecognized arguments: ").split()
        flags = [flag for option in self._syntax.options for flag in option.flags]
        near = difflib.get_close_matches(unknown[0], flags, 1) if unknown and unknown[0].startswith("-") else []
        return f". Did you mean {near[0]}?" if near else "."


def in_columns(left: str, right: str, column: int = _COLUMN) -> Iterator[str]:
    """Lines of 80 columns: what it is, and from the given column on what it does."""
    lines = textwrap.wrap(right, _WIDTH - column)
    if len(left) + 4 > column:
        yield f"  {left}"
    else:
        yield f"  {left:<{column - 2}}{lines.pop(0) if lines else ''}".rstrip()
    for line in lines:
        yield " " * column + line


def _with_default(argument: Argument) -> str:
    choices = f": {' or '.join(argument.choices)}" if argument.choices else ""
    return argument.text + choices + (f" (default: {argument.default})" if argument.default else "")


# --- what a word may be -------------------------------------------------------------------------------------------


def identifier(text: str) -> str:
    """A name for a variable."""
    if not text.isidentifier() or keyword.iskeyword(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a name for a variable")
    return text


def seconds(text: str) -> float:
    """More than 0 of them."""
    value = _number(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def delay(text: str) -> float:
    """Seconds, 0 or more."""
    value = _number(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 0 or more")
    return value


def share(text: str) -> float:
    """Between 0 and 1."""
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share between 0 and 1")
    return value


def whole(text: str) -> int:
    """A whole number, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 0 or more")
    return int(text)


def number(text: str) -> int:
    """A whole number."""
    if not text.removeprefix("-").isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def names(text: str) -> list[str]:
    """Names with commas between them."""
    return [name for name in text.split(",") if name]


def one_of(*words: str) -> Callable[[str], str]:
    """One of these words."""

    def read(text: str) -> str:
        if text not in words:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(words)}")
        return text

    return read


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1.0
