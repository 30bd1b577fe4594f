"""The solutions of the tutorials' exercises do what the tutorials say they do."""

from __future__ import annotations

import pytest

from scripts.notebooks import read
from tests.docs.exercises import Solution, run, solutions, unlike
from tests.docs.pages import ROOT

TUTORIALS = sorted((ROOT / "notebooks").glob("*.ipynb"))

NOT_NEEDED = {
    "04": ("Again, but not all of it", "Taking it with you"),
    "05": ("Again", "Too slow", "Several at once"),
    "06": (
        "Functions go as code",
        "What is printed",
        "Big arrays",
        "Copies, and no copies",
        "In pieces",
        "More than one machine: Dask",
    ),
    "07": ("1. A data pipeline", "2. Three models, one answer"),
    "10": ("Where did the time go?", "Against a floor", "To look at elsewhere"),
}
"""Sections that the exercises can do without, and that take their time. Nbval runs them."""


@pytest.mark.slow
@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_the_solutions_do_what_they_say(path):
    ran = run(path, NOT_NEEDED.get(path.stem[:2], ()))

    assert ran
    assert [told for told in (unlike(solution, shown) for solution, shown in ran) if told] == []


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_sections_that_are_left_out_are_there(path):
    headings = {
        line.removeprefix("## ") for cell in read(path).cells for line in cell.source.split("\n") if line[:3] == "## "
    }

    assert set(NOT_NEEDED.get(path.stem[:2], ())) <= headings


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_every_tutorial_has_a_solution_that_can_be_checked(path):
    assert any(solution.gives for solution in solutions(read(path)))


def test_a_solution_that_lies_is_found():
    honest = Solution("run", "NodeLostError: ... (attempt 1):  it may")

    assert unlike(honest, "E NodeLostError: node 'a' went away (attempt 1):\nit may or may not") == ""
    assert "gave\n\nConnectionLostError" in unlike(honest, "ConnectionLostError: gone")
