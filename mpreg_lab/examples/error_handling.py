"""When things fail: time-outs, retries, branches that end, others that go on, and an answer all the same.

Four ways to the typical body mass of penguins are tried in one run. One fails on the data as they are (a real `NA` in a
real file), one fails twice and then works, one never ends and is stopped, one works. What needed a failed step is
skipped; the rest goes on. `answer` takes the best of what came, and says what is missing.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from mpreg_lab import LocalCluster, Ref, Run, Step, StepStatus, Workflow, current_step
from mpreg_lab.examples import Functions, offer
from mpreg_lab.examples.data_pipeline import Row, clean_rows, parse_csv, penguins_text, strict_mean

__all__ = [
    "FUNCTIONS",
    "PREFERRED",
    "Answer",
    "Outcome",
    "answer",
    "grams",
    "main",
    "mean_mass",
    "most_typical_group",
    "nodes",
    "outcomes",
    "unsteady_mean",
    "workflow",
]

PREFERRED = ("exact_text", "searched", "unsteady", "cleaned")
"""The steps that may have the answer, the one that is believed most first."""

TIMEOUT_S = 0.2


@dataclass(frozen=True)
class Outcome:
    """What became of a step: its state, how often it was started, and why it has no result."""

    step: str
    state: str
    attempts: int
    why: str


@dataclass(frozen=True)
class Answer:
    """The best that could be had.

    Attributes:
        source: The step that it is from; "" if none has one.
        missing: The steps that would have been believed more.
    """

    text: str
    source: str
    missing: tuple[str, ...]


# --- The functions that run on the nodes --------------------------------------------------------------------------


def mean_mass(rows: Sequence[Row]) -> float:
    """The mean body mass of those that were weighed, in g."""
    return statistics.fmean(_masses(rows))


def unsteady_mean(rows: Sequence[Row]) -> float:
    """As `mean_mass`, over a connection that breaks the first two times.

    Raises:
        ConnectionResetError: In the first two attempts.
    """
    attempt = current_step().attempt
    if attempt < 3:
        raise ConnectionResetError(f"the connection broke in attempt {attempt}")
    return mean_mass(rows)


async def most_typical_group(rows: Sequence[Row]) -> float:
    """The mean mass of the group of penguins whose mean is closest to their median, in g.

    It tries all groups, of which 342 penguins have 2 to the power of 342, and will not end. Now and then it lets others
    have the loop: there a time-out stops it.
    """
    masses = _masses(rows)
    best = math.inf
    for size in range(1, len(masses) + 1):
        for tried, group in enumerate(combinations(masses, size)):
            middle = statistics.median(group)
            best = min(best, statistics.fmean(group), key=lambda mean: abs(mean - middle))
            if tried % 100 == 0:
                await asyncio.sleep(0)
    return best


def grams(mass_g: float) -> str:
    """A mass for people."""
    return f"{mass_g:.0f} g"


# --- The cluster and the workflow ---------------------------------------------------------------------------------

FUNCTIONS: Functions = {"": (parse_csv, clean_rows, strict_mean, mean_mass, unsteady_mean, most_typical_group, grams)}
"""Resource to the functions that run where it is; here on every node."""


def nodes() -> dict[str, list[str]]:
    """Node to its resources, as `LocalCluster` takes them."""
    return {"one": [], "two": []}


def workflow(text: str | None = None) -> Workflow:
    """Four ways to one figure; `text` None stands for the penguins that come with the package."""
    rows = Ref("clean").attr("rows")
    return Workflow(
        (
            Step("rows", "parse_csv", (penguins_text() if text is None else text,)),
            # Fails: two penguins were never weighed, and the file says NA.
            Step("exact", "strict_mean", (Ref("rows"), "Body Mass (g)")),
            Step("exact_text", "grams", (Ref("exact"),)),  # skipped: it needs a step that failed
            Step("clean", "clean_rows", (Ref("rows"),)),
            # Works in the third attempt; pauses of 10 and 20 ms before the second and third.
            Step("unsteady_mass", "unsteady_mean", (rows,), retries=3, backoff_s=0.01),
            Step("unsteady", "grams", (Ref("unsteady_mass"),)),
            # Is stopped.
            Step("search", "most_typical_group", (rows,), timeout_s=TIMEOUT_S),
            Step("searched", "grams", (Ref("search"),)),
            Step("mass", "mean_mass", (rows,)),
            Step("cleaned", "grams", (Ref("mass"),)),
        )
    )


def outcomes(run: Run) -> list[Outcome]:
    """What became of each step of a run that has ended."""
    found = []
    for name, step in run.record.steps.items():
        why = ""
        if name in run.errors:
            error = run.errors[name]
            why = f"{type(error).__name__}: {error}"
        elif step.status is StepStatus.SKIPPED:
            why = f"needs {step.because}"
        found.append(Outcome(name, str(step.status), step.attempts, why))
    return found


def answer(run: Run) -> Answer:
    """The best of what a run that has ended came to; never an exception."""
    missing: list[str] = []
    for name in PREFERRED:
        if name in run.results:
            return Answer(run.results[name], name, tuple(missing))
        missing.append(name)
    return Answer("not known", "", tuple(missing))


def main() -> None:
    """Run it without raising what failed, and print what became of each step and of the question."""
    with LocalCluster(nodes()) as cluster:
        offer(cluster, FUNCTIONS)
        run = cluster.run(workflow(), check=False)
    print(f"{'step':14} {'state':9} started  why")
    for found in outcomes(run):
        line = f"{found.step:14} {found.state:9} {found.attempts:7}  {found.why}"
        print(textwrap.fill(line, 79, subsequent_indent=" " * 34, drop_whitespace=True, replace_whitespace=False))
    best = answer(run)
    print(f"\nThe typical penguin weighs {best.text}, says {best.source}.")
    print(f"Asked before, without an answer: {', '.join(best.missing)}.")


# --- Helpers ------------------------------------------------------------------------------------------------------


def _masses(rows: Sequence[Row]) -> list[float]:
    return [row["body_mass_g"] for row in rows if row["body_mass_g"] is not None]


if __name__ == "__main__":
    main()
