import pytest

from mpreg_lab import LocalCluster, Run, RunFailedError
from mpreg_lab.examples import offer
from mpreg_lab.examples.data_pipeline import penguins_text
from mpreg_lab.examples.error_handling import FUNCTIONS, Answer, Outcome, answer, nodes, outcomes, workflow


def run_on(text: str | None = None, *, processes: bool = False) -> Run:
    with LocalCluster(nodes(), processes=processes) as cluster:
        offer(cluster, FUNCTIONS)
        return cluster.run(workflow(text), check=False)


@pytest.mark.parametrize("processes", [False, True])
def test_each_branch_ends_in_its_own_way(processes: bool):
    run = run_on(processes=processes)
    found = {outcome.step: outcome for outcome in outcomes(run)}

    assert {name: (o.state, o.attempts) for name, o in found.items()} == {
        "rows": ("done", 1),
        "exact": ("failed", 1),
        "exact_text": ("skipped", 0),
        "clean": ("done", 1),
        "unsteady_mass": ("done", 3),
        "unsteady": ("done", 1),
        "search": ("failed", 1),
        "searched": ("skipped", 0),
        "mass": ("done", 1),
        "cleaned": ("done", 1),
    }
    assert found["exact"].why == "ValueError: row 4: Body Mass (g) is 'NA', not a number"
    assert found["search"].why.startswith("StepTimeoutError: step 'search' (most_typical_group) on node ")
    assert found["searched"] == Outcome("searched", "skipped", 0, "needs search")
    assert isinstance(run.exception, RunFailedError)


def test_the_answer_is_the_best_that_came():
    assert answer(run_on()) == Answer("4202 g", "unsteady", ("exact_text", "searched"))


def test_with_good_data_the_first_choice_answers():
    lines = penguins_text().splitlines(keepends=True)
    complete = "".join(line for line in lines if "Adult not sampled" not in line and ",NA,NA,NA,NA," not in line)

    assert answer(run_on(complete)) == Answer("4202 g", "exact_text", ())


def test_without_any_data_there_is_an_answer_all_the_same():
    run = run_on("not,the,columns\n1,2,3\n")

    assert answer(run) == Answer("not known", "", ("exact_text", "searched", "unsteady", "cleaned"))
    assert run.errors["exact"].args == ("Body Mass (g)",)
