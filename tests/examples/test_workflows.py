import io
import re
from collections import Counter

import pandas as pd
import pytest

from mpreg_lab import LocalCluster, levels
from mpreg_lab.examples import offer
from mpreg_lab.examples.data_pipeline import penguins_text
from mpreg_lab.examples.workflows import FUNCTIONS, nodes, workflow


@pytest.fixture(scope="module")
def counted() -> Counter[str]:
    """The words of the notes, counted in another way."""
    notes = pd.read_csv(io.StringIO(penguins_text()))["Comments"].dropna().str.lower()
    return Counter(notes.str.findall("[a-z]+").explode())


@pytest.mark.parametrize("processes", [False, True])
def test_parts_that_were_counted_in_parallel_add_up(processes: bool, counted: Counter[str]):
    with LocalCluster(nodes(), processes=processes) as cluster:
        offer(cluster, FUNCTIONS)
        run = cluster.run(workflow(parts=7))

        assert run["total"] == counted
        assert len(run["counts"]) == 7
        assert sum(sum(part.values()) for part in run["counts"]) == counted.total()


def test_the_sentence_takes_items_out_of_results(counted: Counter[str]):
    with LocalCluster(nodes()) as cluster:
        offer(cluster, FUNCTIONS)
        run = cluster.run(workflow())

    times, word = max(counted.values()), min(w for w, n in counted.items() if n == max(counted.values()))
    longest = max(counted, key=lambda word: (len(word), word))
    told = re.fullmatch(
        r"(\d+) notes: '(\w+)' is the commonest word \((\d+) times\), '(\w+)' the longest\.", run["told"]
    )
    assert told is not None
    assert told.groups() == ("54", word, str(times), longest)


def test_the_shapes_are_a_chain_a_fan_and_a_diamond():
    assert levels(workflow(parts=2)) == (
        ("rows",),
        ("notes",),
        ("words", "notes_read"),
        ("counts[0]", "counts[1]"),
        ("total",),
        ("top", "longest"),
        ("told",),
    )
