"""%mpreg demo: the worked examples, in a notebook. They stand above this package, so they are handed in from there."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, Protocol

from mpreg_lab.client.run import Run
from mpreg_lab.cluster.local import LocalCluster
from mpreg_lab.errors import MagicError
from mpreg_lab.workflow.plan import did_you_mean

from .command import OUT, Command, Notebook
from .options import Argument, Kind, Syntax, identifier, in_columns
from .started import start

__all__ = ["DEMO", "Example", "Examples", "example_names", "install_examples"]

_GOODBYE_S = 5.0


class Example(Protocol):
    """What is known of an example before it is loaded."""

    @property
    def summary(self) -> str:
        """What it shows, in one line."""

    @property
    def tells(self) -> bool:
        """Whether it is more than one run of its workflow: a story that it prints."""


class Examples(Protocol):
    """Where examples come from."""

    @property
    def EXAMPLES(self) -> Mapping[str, Example]:  # noqa: N802  # the name that the package has
        """By name, the simple ones first."""

    def lacks(self, name: str) -> str | None:
        """What to do about a library that the example needs and that is not here."""

    def load(self, name: str) -> Any:
        """Its module: nodes(), workflow() and FUNCTIONS."""

    def offer(self, cluster: LocalCluster, functions: Any) -> None:
        """Have the nodes offer its functions."""


_load: Callable[[], Examples] | None = None


def install_examples(load: Callable[[], Examples]) -> None:
    """Say where examples come from; `load` is called when one is asked for."""
    global _load
    _load = load


def example_names() -> tuple[str, ...]:
    """Those that there are; none if none were handed in."""
    return () if _load is None else tuple(_load().EXAMPLES)


def _examples() -> Examples:
    if _load is None:
        raise MagicError("nothing here has examples: load the extension with %load_ext mpreg_lab")
    return _load()


def _demo(notebook: Notebook, options: argparse.Namespace) -> Run | None:
    examples, name = _examples(), options.name
    if name is None:
        known = examples.EXAMPLES.items()
        notebook.say("\n".join(text for word, example in known for text in in_columns(word, example.summary, 20)))
        return None
    if name not in examples.EXAMPLES:
        near = did_you_mean(name, examples.EXAMPLES, "Examples: ")
        raise MagicError(f"%mpreg demo: there is no example {name!r}. {near}")
    if (lacking := examples.lacks(name)) is not None:
        raise MagicError(f"%mpreg demo: {lacking}")
    if examples.EXAMPLES[name].tells:
        _tell(notebook, name)
        return None
    example = examples.load(name)
    variable = vars(options)["as"]
    cluster = start(notebook, f"%mpreg demo {name}", variable, "demo", nodes=example.nodes())
    examples.offer(cluster, example.FUNCTIONS)
    notebook.say(f"The variable {variable} holds its cluster, which lives until %mpreg stop demo.")
    return notebook.watch(cluster.submit(example.workflow()), options.out)


def _tell(notebook: Notebook, name: str) -> None:
    """The story of an example, line by line: in a process of its own, which a kernel's event loop does not hinder.

    Raises:
        MagicError: If it did not end well.
    """
    # A session of its own: the Stop button of a notebook interrupts all processes of the kernel's, and then we do.
    with (
        subprocess.Popen(
            [sys.executable, "-u", "-X", "utf8", "-m", "mpreg_lab", "demo", name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            start_new_session=True,
        ) as story,
        ExitStack() as unless_it_is_told,
    ):
        unless_it_is_told.callback(_interrupt, story)
        assert story.stdout is not None
        for line in story.stdout:
            notebook.say(line.rstrip("\n"))
        unless_it_is_told.pop_all()
    if story.returncode:
        raise MagicError(f"%mpreg demo: the example {name!r} has failed; what it printed stands above")


def _interrupt(story: subprocess.Popen[str]) -> None:
    story.send_signal(signal.SIGINT)
    try:
        story.wait(_GOODBYE_S)
    except subprocess.TimeoutExpired:
        story.kill()


DEMO = Command(
    Syntax(
        "%mpreg demo",
        "Run a worked example. Without a name, list them.",
        (
            Argument(("name",), "which", "EXAMPLE", Kind.EXAMPLE, count="?"),
            Argument(
                ("--as",),
                "the variable that holds the cluster of an example that is one workflow; others print what they do",
                "VARIABLE",
                Kind.VARIABLE,
                identifier,
                default="demo",
            ),
            OUT,
        ),
        (
            ("%mpreg demo data-pipeline", "on the cluster `demo`, which stays: try %mpreg view demo"),
            ("%mpreg demo order-processing", "a story that it tells line by line"),
        ),
    ),
    _demo,
)
