"""What is read of the line of a magic, and what its help says."""

import argparse

import pytest

from mpreg_lab.errors import MagicError
from mpreg_lab.notebook.commands import COMMANDS, overview
from mpreg_lab.notebook.fault_lines import FAULTS
from mpreg_lab.notebook.magics import FUNCTIONS, WORKFLOW
from mpreg_lab.notebook.options import Syntax, delay, identifier, number, seconds, share, whole

ALL: list[Syntax] = [
    WORKFLOW,
    FUNCTIONS,
    *(command.syntax for command in COMMANDS.values()),
    *(fault.syntax for fault in FAULTS.values()),
]


@pytest.mark.parametrize("syntax", ALL, ids=lambda syntax: syntax.magic)
def test_help_names_every_argument_in_80_columns(syntax: Syntax):
    text = syntax.help()

    assert max(map(len, text.splitlines())) <= 80
    for argument in (*syntax.positionals, *syntax.options):
        assert argument.written in text
    assert syntax.read("anything --help").help


@pytest.mark.parametrize("syntax", [s for s in ALL if s.examples and s.magic != "%mpreg faults"], ids=lambda s: s.magic)
def test_examples_of_the_help_can_be_read(syntax: Syntax):
    for example, _ in syntax.examples:
        assert example.startswith(syntax.magic)
        assert not syntax.read(example.removeprefix(syntax.magic)).help


def test_the_overview_names_every_command_in_80_columns():
    lines = overview().splitlines()

    assert max(map(len, lines)) <= 80
    assert all(any(line.startswith(f"  {name}") for line in lines) for name in COMMANDS)


def test_a_mistyped_option_gets_a_hint():
    with pytest.raises(MagicError, match=r"unrecognized arguments: --timout\. Did you mean --timeout\? "):
        WORKFLOW.read("--timout 3")


@pytest.mark.parametrize(
    ("read", "good", "value", "bad"),
    [
        (seconds, "1.5", 1.5, ["0", "-1", "inf", "nan", "soon", ""]),
        (delay, "0", 0.0, ["-1", "inf", "nan", "soon"]),
        (share, "0.25", 0.25, ["-0.1", "1.1", "nan", "half"]),
        (whole, "3", 3, ["-1", "1.5", "three", ""]),
        (number, "-1", -1, ["1.5", "--1", "three", ""]),
        (identifier, "run", "run", ["1st", "a b", "class", ""]),
    ],
)
def test_words_are_values_or_refused(read, good, value, bad):
    assert read(good) == value
    for word in bad:
        with pytest.raises(argparse.ArgumentTypeError):
            read(word)
