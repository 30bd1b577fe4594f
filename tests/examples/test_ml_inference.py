"""The figures of the example, against scikit-learn's own pipeline on what pandas reads from the same file."""

import io

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mpreg_lab import LocalCluster, Run
from mpreg_lab.examples import offer
from mpreg_lab.examples.data_pipeline import SPECIES, penguins_text
from mpreg_lab.examples.ml_inference import FUNCTIONS, NAMES, homes, nodes, workflow

SEED = 2007


@pytest.fixture(scope="module")
def run() -> Run:
    return run_it()


def run_it(seed: int = SEED, where: dict[str, list[str]] | None = None, *, processes: bool = False) -> Run:
    with LocalCluster(where or nodes(), processes=processes) as cluster:
        offer(cluster, FUNCTIONS)
        run = cluster.run(workflow(seed=seed))
        for step in run.workflow.steps:
            run[step.name]  # fetched while the nodes are there
        return run


@pytest.fixture(scope="module")
def parts() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    frame = pd.read_csv(io.StringIO(penguins_text())).dropna(subset=["Sex", "Body Mass (g)"])
    columns = ["Culmen Length (mm)", "Culmen Depth (mm)", "Flipper Length (mm)", "Body Mass (g)"]
    species = pd.concat([frame["Species"].str.startswith(name).astype(float) for name in SPECIES], axis=1)
    values = np.hstack([frame[columns].to_numpy(float), species.to_numpy()])
    female = (frame["Sex"] == "FEMALE").to_numpy()
    train, test, train_female, test_female = train_test_split(
        values, female, test_size=0.3, random_state=SEED, stratify=female
    )
    return train, test, train_female, test_female


def classifiers() -> dict[str, object]:
    return {
        "linear": LogisticRegression(),
        "forest": RandomForestClassifier(200, random_state=SEED),
        "neighbours": KNeighborsClassifier(9),
    }


def test_each_model_and_the_ensemble_are_as_good_as_scikit_learn_says(run: Run, parts):
    train, test, train_female, test_female = parts
    for name, classifier in classifiers().items():
        alone = make_pipeline(StandardScaler(), classifier).fit(train, train_female)
        assert run[f"{name}_says"].accuracy == pytest.approx(alone.score(test, test_female))
        np.testing.assert_allclose(run[f"{name}_says"].female, alone.predict_proba(test)[:, 1])
    together = make_pipeline(StandardScaler(), VotingClassifier(list(classifiers().items()), voting="soft"))
    assert run["answer"].accuracy == pytest.approx(together.fit(train, train_female).score(test, test_female))
    assert [run[f"{name}_says"].accuracy for name in classifiers()] == [0.94, 0.94, 0.94]
    assert run["answer"].accuracy == 0.95


def test_the_test_was_not_looked_at(run: Run, parts):
    train, test, *_ = parts
    scaled = run["scaled"]

    assert (len(scaled.train), len(scaled.test)) == (233, 100)
    np.testing.assert_allclose(scaled.train.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(scaled.test, (test - train.mean(axis=0)) / train.std(axis=0))
    assert not {tuple(row) for row in run["parts"].train} & {tuple(row) for row in run["parts"].test}


def test_importance_is_what_shuffling_costs(run: Run, parts):
    train, test, train_female, test_female = parts
    alone = make_pipeline(StandardScaler(), LogisticRegression()).fit(train, train_female)
    found = permutation_importance(alone, test, test_female, n_repeats=10, random_state=SEED)

    assert run["linear_needs"] == pytest.approx(dict(zip(NAMES, found.importances_mean, strict=True)))
    worth = dict(run["worth"])
    assert [name for name, _ in run["worth"][:3]] == ["body_mass_g", "bill_depth_mm", "bill_length_mm"]
    for name in NAMES:
        assert worth[name] == pytest.approx(np.mean([run[f"{model}_needs"][name] for model in classifiers()]))


def test_base_and_contributions_add_up_to_the_answer(run: Run):
    example = run["example"]
    log_odds = example.base + sum(example.contributions.values())

    assert 1 / (1 + np.exp(-log_odds)) == pytest.approx(example.probability)
    assert run["linear_says"].female[example.row] == pytest.approx(example.probability)
    assert example.female == run["parts"].test_female[example.row]


def test_each_model_is_held_by_a_node_of_its_own(run: Run):
    assert homes(run) == {"linear": "model-1", "forest": "model-2", "neighbours": "model-3"}
    for model, node in homes(run).items():
        steps = [model, f"{model}_says", f"{model}_needs"]
        assert {run.record.steps[step].node for step in steps} == {node}  # type: ignore[index]  # names are plain


@pytest.mark.slow
def test_the_same_seed_gives_the_same_report_in_processes_too(run: Run):
    where = {"data": ["penguins", "ensemble"], "models": ["linear-model", "forest-model", "neighbour-model"]}

    assert run_it(where=where, processes=True)["report"] == run["report"]


def test_another_seed_gives_another_split(run: Run):
    assert run_it(seed=1)["report"] != run["report"]
