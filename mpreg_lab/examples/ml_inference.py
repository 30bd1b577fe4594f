"""Three models on three nodes, one answer, and why: which of the penguins are female, from four measurements?

Features are taken from the raw file, split and normalised; three models of scikit-learn are trained, each on the node
that holds its resource, where it stays: predictions travel, models do not. Their probabilities are averaged, and the
answer is explained: what each feature is worth (how much worse the models get when it is shuffled), and what spoke for
the answer on one penguin. All accuracies are on penguins that no model has seen. The same seed gives the same figures.

It needs scikit-learn: `pip install 'mpreg-lab[examples]'`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from mpreg_lab import LocalCluster, Ref, Run, Step, Workflow
from mpreg_lab.examples import Functions, offer
from mpreg_lab.examples.data_pipeline import SPECIES, Cleaned, Row, clean_rows, parse_csv, penguins_text

__all__ = [
    "FUNCTIONS",
    "MODELS",
    "NAMES",
    "Evidence",
    "Features",
    "Forecast",
    "Model",
    "Split",
    "ensemble",
    "evidence",
    "extract_features",
    "format_report",
    "homes",
    "importance",
    "main",
    "mean_importance",
    "nodes",
    "normalise",
    "predict",
    "split",
    "train_forest",
    "train_linear",
    "train_neighbours",
    "workflow",
]

MEASURES = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")
NAMES = (*MEASURES, *(f"is_{species.lower()}" for species in SPECIES))
"""The features of a penguin, in order."""

SHUFFLES = 10


@dataclass(frozen=True)
class Features:
    """What models see.

    Attributes:
        values: One row a penguin, columns as in NAMES.
        female: Whether it is: what is to be told.
        left_out: Penguins whose sex was not noted, or that were not measured.
    """

    values: np.ndarray
    female: np.ndarray
    left_out: int


@dataclass(frozen=True)
class Split:
    """Penguins to learn from, and others to be judged by."""

    train: np.ndarray
    train_female: np.ndarray
    test: np.ndarray
    test_female: np.ndarray


@dataclass(frozen=True)
class Model:
    """A trained model, and what it is called."""

    name: str
    classifier: Any


@dataclass(frozen=True)
class Forecast:
    """For each penguin of the test the probability that it is female, and how often the likelier answer is right."""

    name: str
    female: np.ndarray
    accuracy: float


@dataclass(frozen=True)
class Evidence:
    """One penguin: the answer, and what each feature adds to the linear model's log-odds for female.

    Attributes:
        row: Which penguin of the test; it is the one that the linear model is least sure of.
        base: The log-odds of a penguin that is average in everything. Base and contributions add up to the log-odds.
    """

    row: int
    probability: float
    female: bool
    base: float
    contributions: dict[str, float]


# --- The functions that run on the nodes --------------------------------------------------------------------------


def extract_features(rows: Sequence[Row]) -> Features:
    """Numbers out of cleaned rows; the species becomes three columns of 0 and 1."""
    known = [row for row in rows if row["sex"] is not None]
    values = [
        [*(row[measure] for measure in MEASURES), *(float(row["species"] == species) for species in SPECIES)]
        for row in known
    ]
    return Features(
        np.array(values, float), np.array([row["sex"] == "female" for row in known]), len(rows) - len(known)
    )


def split(features: Features, *, seed: int, test_share: float = 0.3) -> Split:
    """Penguins to learn from and others for the test, with as many females among both."""
    train, test, train_female, test_female = train_test_split(
        features.values, features.female, test_size=test_share, random_state=seed, stratify=features.female
    )
    return Split(train, train_female, test, test_female)


def normalise(parts: Split) -> Split:
    """The same, each feature with mean 0 and deviation 1: of those to learn from, the test must not be looked at."""
    scaler = StandardScaler().fit(parts.train)
    return replace(parts, train=scaler.transform(parts.train), test=scaler.transform(parts.test))


def train_linear(parts: Split) -> Model:
    """Logistic regression: a straight border, with a weight for each feature."""
    return Model("linear", LogisticRegression().fit(parts.train, parts.train_female))


def train_forest(parts: Split, *, seed: int) -> Model:
    """A random forest: 200 decision trees that vote."""
    return Model("forest", RandomForestClassifier(200, random_state=seed).fit(parts.train, parts.train_female))


def train_neighbours(parts: Split) -> Model:
    """The nine most similar penguins."""
    return Model("neighbours", KNeighborsClassifier(9).fit(parts.train, parts.train_female))


def predict(model: Model, parts: Split) -> Forecast:
    """What a model says of the penguins of the test."""
    return _forecast(model.name, model.classifier.predict_proba(parts.test)[:, 1], parts)


def importance(model: Model, parts: Split, *, seed: int) -> dict[str, float]:
    """How much accuracy on the test is lost when a feature is shuffled, by feature; the mean of ten shuffles."""
    found = permutation_importance(
        model.classifier, parts.test, parts.test_female, n_repeats=SHUFFLES, random_state=seed
    )
    return dict(zip(NAMES, map(float, found.importances_mean), strict=True))


def evidence(model: Model, parts: Split) -> Evidence:
    """What speaks for and against, for the penguin that a linear model is least sure of."""
    probabilities = model.classifier.predict_proba(parts.test)[:, 1]
    row = int(np.argmin(abs(probabilities - 0.5)))
    contributions = model.classifier.coef_[0] * parts.test[row]
    return Evidence(
        row,
        float(probabilities[row]),
        bool(parts.test_female[row]),
        float(model.classifier.intercept_[0]),
        dict(zip(NAMES, map(float, contributions), strict=True)),
    )


def ensemble(forecasts: Sequence[Forecast], parts: Split) -> Forecast:
    """The mean of all probabilities."""
    return _forecast("ensemble", np.mean([forecast.female for forecast in forecasts], axis=0), parts)


def mean_importance(found: Sequence[Mapping[str, float]]) -> list[tuple[str, float]]:
    """What each feature is worth to the models on average, the most important first."""
    means = {name: sum(one[name] for one in found) / len(found) for name in NAMES}
    return sorted(means.items(), key=lambda item: -item[1])


def format_report(
    clean: Cleaned,
    features: Features,
    parts: Split,
    forecasts: Sequence[Forecast],
    worth: Sequence[tuple[str, float]],
    example: Evidence,
) -> str:
    """All of it in plain text, the same for the same figures."""
    unused = features.left_out + clean.dropped
    lines = [
        f"{len(parts.train)} penguins to learn from, {len(parts.test)} for the test, {unused} left out (sex not noted)",
        "",
        f"Right on the penguins of the test; with so few, chance is worth {_chance(forecasts[-1], parts):.1%}:",
        *(f"  {f.name:18} {f.accuracy:6.1%}  {_bar(f.accuracy, 40)}" for f in forecasts),
        f"  {'always the same':18} {_majority(parts):6.1%}  {_bar(_majority(parts), 40)}",
        "",
        f"Accuracy lost when a feature is shuffled, mean of {len(forecasts) - 1} models:",
        *(f"  {name:18} {lost:6.1%}  {_bar(lost, 80)}".rstrip() for name, lost in worth),
        "",
        f"The hardest penguin of the linear model, number {example.row} of the test: female with "
        f"{example.probability:.0%}",
        f"and in truth {'female' if example.female else 'male'}. What spoke for (+) and against (-), in log-odds:",
        *(f"  {name:18} {value:+6.2f}" for name, value in sorted(example.contributions.items(), key=_strength)),
        f"  {'average penguin':18} {example.base:+6.2f}",
    ]
    return "\n".join(lines)


# --- The cluster and the workflow ---------------------------------------------------------------------------------

FUNCTIONS: Functions = {
    "penguins": (parse_csv, clean_rows, extract_features, split, normalise),
    "linear-model": (train_linear, evidence),
    "forest-model": (train_forest,),
    "neighbour-model": (train_neighbours,),
    "": (predict, importance),
    "ensemble": (ensemble, mean_importance, format_report),
}
"""Resource to the functions that run where it is. `predict` and `importance` run where their model is."""

MODELS = {"linear": "linear-model", "forest": "forest-model", "neighbours": "neighbour-model"}
"""Model to the resource that it is held with."""


def nodes() -> dict[str, list[str]]:
    """Node to its resources, as `LocalCluster` takes them: the data, each model, and who puts it together."""
    return {
        "data": ["penguins"],
        "model-1": ["linear-model"],
        "model-2": ["forest-model"],
        "model-3": ["neighbour-model"],
        "front": ["ensemble"],
    }


def workflow(text: str | None = None, *, seed: int = 2007) -> Workflow:
    """From the raw file to the report; `text` None stands for the penguins that come with the package."""
    training: dict[str, tuple[Callable[..., Model], dict[str, int]]] = {
        "linear": (train_linear, {}),
        "forest": (train_forest, {"seed": seed}),
        "neighbours": (train_neighbours, {}),
    }
    scaled = Ref("scaled")
    steps = [
        _step("rows", parse_csv, penguins_text() if text is None else text, at="penguins"),
        _step("clean", clean_rows, Ref("rows"), at="penguins"),
        _step("features", extract_features, Ref("clean").attr("rows"), at="penguins"),
        _step("parts", split, Ref("features"), seed=seed, at="penguins"),
        _step("scaled", normalise, Ref("parts"), at="penguins"),
    ]
    for name, held in MODELS.items():
        train, options = training[name]
        steps += [
            _step(name, train, scaled, at=held, **options),
            _step(f"{name}_says", predict, Ref(name), scaled, at=held),
            _step(f"{name}_needs", importance, Ref(name), scaled, seed=seed, at=held),
        ]
    says = [Ref(f"{name}_says") for name in MODELS]
    shown = (Ref("clean"), Ref("features"), scaled, [*says, Ref("answer")], Ref("worth"), Ref("example"))
    steps += [
        _step("example", evidence, Ref("linear"), scaled, at="linear-model"),
        _step("answer", ensemble, says, scaled, at="ensemble"),
        _step("worth", mean_importance, [Ref(f"{name}_needs") for name in MODELS], at="ensemble"),
        _step("report", format_report, *shown, at="ensemble"),
    ]
    return Workflow(steps)


def homes(run: Run) -> dict[str, str]:
    """Model to the node that trained it and was asked for its predictions."""
    ran_on = {str(name): step.node for name, step in run.record.steps.items()}
    return {name: str(ran_on[f"{name}_says"]) for name in MODELS}


def main() -> None:
    """Run the workflow on five nodes and print the report, and where the models were."""
    with LocalCluster(nodes()) as cluster:
        offer(cluster, FUNCTIONS)
        run = cluster.run(workflow())
    print(run["report"])
    print("\nModels:", ", ".join(f"{name} on {node}" for name, node in homes(run).items()))


# --- Helpers ------------------------------------------------------------------------------------------------------


def _step(name: str, function: Callable[..., Any], *args: Any, at: str, **kwargs: Any) -> Step:
    # These functions change nothing and give the same each time: they may be started again.
    return Step(name, function.__name__, args, kwargs, resources=[at], retries=2)


def _forecast(name: str, female: np.ndarray, parts: Split) -> Forecast:
    return Forecast(name, female, float(accuracy_score(parts.test_female, female > 0.5)))


def _majority(parts: Split) -> float:
    """How often the answer is right that is right most often."""
    share = float(parts.test_female.mean())
    return max(share, 1 - share)


def _chance(forecast: Forecast, parts: Split) -> float:
    """The standard error of an accuracy: with other penguins in the test it would differ by about as much."""
    return math.sqrt(forecast.accuracy * (1 - forecast.accuracy) / len(parts.test))


def _bar(share: float, width: int) -> str:
    return "█" * round(max(0.0, share) * width)


def _strength(item: tuple[str, float]) -> float:
    return -abs(item[1])


if __name__ == "__main__":
    main()
