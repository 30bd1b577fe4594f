"""What a command of %mpreg is, and what commands share: how they name a cluster or a run, and what is at hand."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mpreg_lab.client.history import Runs
from mpreg_lab.client.run import Run
from mpreg_lab.client.saved import SavedRun
from mpreg_lab.cluster.dask import DaskCluster
from mpreg_lab.errors import MagicError
from mpreg_lab.workflow.plan import did_you_mean

from . import settings
from .clusters import any_cluster
from .options import Argument, Kind, Syntax, identifier
from .watched import watched

__all__ = ["CLUSTER", "OUT", "WHICH", "Command", "Notebook", "history", "run_argument"]

WHICH = Argument(("cluster",), "a variable, or a name; else the newest", "CLUSTER", Kind.CLUSTER, count="?")
CLUSTER = Argument(("-c", "--cluster"), "of this cluster: a variable, or a name", "CLUSTER", Kind.CLUSTER)
OUT = Argument(("-o", "--out"), "keep the run in this variable", "VARIABLE", Kind.VARIABLE, identifier)


class Notebook(NamedTuple):
    """What commands need of the notebook."""

    names: dict[str, Any]
    """Its variables."""
    say: Callable[[str], object]
    """Prints."""
    plain: bool = True
    """Whether runs are shown as text alone."""
    silent: bool = False
    """Whether nothing is shown of them."""

    def run_called(self, word: str, cluster: str | None) -> SavedRun:
        """The run that a word names: a variable, or a number in the history of a cluster.

        Raises:
            MagicError: If there is none.
        """
        if word.removeprefix("-").isdecimal():
            try:
                return history(self.names, cluster)[int(word)]
            except IndexError as exc:
                raise MagicError(f"{exc}. %mpreg runs lists them") from exc
        held = self.names.get(word)
        if isinstance(held, SavedRun):
            return held
        if held is not None:
            raise MagicError(f"{word} is no run, but a value of type {type(held).__name__}")
        known = [name for name, value in self.names.items() if isinstance(value, SavedRun) and name.isidentifier()]
        near = did_you_mean(word, [name for name in known if not name.startswith("_")], "Variables that hold one: ")
        raise MagicError(f"there is no run {word!r}. Name a variable, or its number in %mpreg runs. {near}".rstrip())

    def watch(self, run: Run, out: str | None, *, detach: bool = False) -> Run | None:
        """Show a run that has begun, wait for its end, and keep it in a variable; None if nothing is to be shown.

        Raises:
            Exception: What went wrong.
        """
        keep = out or settings.current().variable
        watched(run, self.names, keep, plain=self.plain, silent=self.silent, detach=detach)
        return None if settings.current().view == "none" else run


class Command(NamedTuple):
    """One command of %mpreg.

    Attributes:
        words: The words that its line may begin with, each with a syntax of its own, and how such a line is read.
    """

    syntax: Syntax
    act: Callable[[Notebook, argparse.Namespace], Any]
    words: Mapping[str, Syntax] = {}
    reader: Callable[[str], argparse.Namespace] | None = None

    @property
    def name(self) -> str:
        """Its word."""
        return self.syntax.magic.removeprefix("%mpreg ")

    def read(self, line: str) -> argparse.Namespace:
        """The arguments on a line.

        Raises:
            MagicError: If one is wrong.
        """
        return self.syntax.read(line) if self.reader is None else self.reader(line)

    def help(self, line: str) -> str:
        """All about it, or about the word that the line begins with."""
        return self.words.get(line.split(maxsplit=1)[0], self.syntax).help()


def run_argument(name: str, text: str) -> Argument:
    """A positional argument that names a run, or is left out."""
    return Argument((name,), text, name.upper(), Kind.RUN, count="?")


def history(names: Mapping[str, object], wanted: str | None) -> Runs:
    """The last runs of a cluster.

    Args:
        names: The variables of the notebook.

    Raises:
        MpregError: If there is no such cluster, or it keeps none.
    """
    cluster = any_cluster(names, wanted)
    if isinstance(cluster, DaskCluster):
        raise MagicError("a DaskCluster does not list its runs. Keep those you want: %%mpreg_workflow -o run")
    return cluster.runs
