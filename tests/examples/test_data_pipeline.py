"""The functions of the data pipeline, against figures that pandas and numpy computed from the same file."""

import datetime
import importlib
import inspect
import math
from importlib import resources

import numpy as np
import pandas as pd
import pytest

from mpreg_lab.examples.data_pipeline import (
    FUNCTIONS,
    SPECIES,
    Line,
    Means,
    aggregate,
    body_mass_model,
    clean_rows,
    format_report,
    nodes,
    parse_csv,
    penguins_text,
    rank_models,
    strict_mean,
    workflow,
)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    return parse_csv(penguins_text())


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    with resources.files("mpreg_lab.examples").joinpath("data/penguins_raw.csv").open(encoding="utf-8") as file:
        frame = pd.read_csv(file)
    return frame.assign(Species=frame["Species"].str.split().str[0])


def test_parsing_keeps_every_value_as_it_stands(rows):
    assert len(rows) == 344
    assert rows[0]["Stage"] == "Adult, 1 Egg Stage"
    assert rows[3]["Body Mass (g)"] == "NA"
    assert {len(row) for row in rows} == {17}


def test_a_value_may_contain_a_line_break():
    assert parse_csv('a,b\n"1\n2",3\n') == [{"a": "1\n2", "b": "3"}]


@pytest.mark.parametrize("text", ["", "a,b\n"])
def test_a_text_without_rows_has_no_rows(text: str):
    assert parse_csv(text) == []


def test_a_line_of_another_length_is_named():
    with pytest.raises(ValueError, match=r"^line 3: 1 values for 2 columns$"):
        parse_csv("a,b\n1,2\n3\n")


def test_cleaning_gives_types_and_drops_what_was_not_measured(rows):
    clean = clean_rows(rows, drop=["comments", "stage"])

    assert (len(clean.rows), clean.dropped) == (342, 2)
    assert clean.rows[1] == {
        "study": "PAL0708",
        "sample": 2,
        "species": "Adelie",
        "region": "Anvers",
        "island": "Torgersen",
        "individual": "N1A2",
        "clutch_complete": True,
        "egg_date": datetime.date(2007, 11, 11),
        "bill_length_mm": 39.5,
        "bill_depth_mm": 17.4,
        "flipper_length_mm": 186.0,
        "body_mass_g": 3800.0,
        "sex": "female",
        "delta_15_n": 8.94956,
        "delta_13_c": -24.69454,
    }
    assert clean.rows[0]["delta_15_n"] is None
    assert {row["species"] for row in clean.rows} == set(SPECIES)
    assert [sum(row["sex"] == sex for row in clean.rows) for sex in ("male", "female", None)] == [168, 165, 9]


def test_cleaning_names_what_it_cannot_read(rows):
    with pytest.raises(ValueError, match=r"^row 2: Sex cannot be '\?'$"):
        clean_rows([rows[0], rows[1] | {"Sex": "?"}])
    with pytest.raises(ValueError, match=r"^row 1: Body Mass \(g\) cannot be 'inf'$"):
        clean_rows([rows[0] | {"Body Mass (g)": "inf"}])
    with pytest.raises(ValueError, match=r"^row 1: there is no column 'studyName'$"):
        clean_rows([{"a": "1"}])
    with pytest.raises(ValueError, match=r"^no column 'note'; there are study, sample, "):
        clean_rows(rows, drop=["note"])


@pytest.mark.parametrize(("by", "column"), [("species", "Species"), ("island", "Island")])
def test_means_are_those_of_pandas(rows, frame, by, column):
    measured = frame.dropna(subset=["Body Mass (g)"])
    expected = measured.groupby(column)[["Body Mass (g)", "Flipper Length (mm)", "Culmen Length (mm)"]].mean()

    summary = aggregate(clean_rows(rows).rows, by=by)

    assert list(summary) == list(expected.index)
    assert [m.penguins for m in summary.values()] == measured.groupby(column).size().tolist()
    means = [[m.body_mass_g, m.flipper_length_mm, m.bill_length_mm] for m in summary.values()]
    assert np.allclose(means, expected.to_numpy(), rtol=1e-12)


def test_the_mean_of_nothing_is_nan():
    row = {"species": "x", "body_mass_g": 2.0, "flipper_length_mm": None, "bill_length_mm": 4.0}

    assert math.isnan(aggregate([row])["x"].flipper_length_mm)


@pytest.mark.parametrize("species", SPECIES)
def test_the_line_is_that_of_numpy(rows, frame, species):
    pairs = frame[frame["Species"] == species][["Flipper Length (mm)", "Body Mass (g)"]].dropna().to_numpy()
    slope, intercept = np.polyfit(pairs[:, 0], pairs[:, 1], 1)
    r = np.corrcoef(pairs[:, 0], pairs[:, 1])[0, 1]

    line = body_mass_model(clean_rows(rows).rows, species)

    assert line.penguins == len(pairs)
    assert np.allclose([line.slope_g_per_mm, line.intercept_g, line.r_squared], [slope, intercept, r**2], rtol=1e-9)


def test_a_line_needs_two_penguins(rows):
    with pytest.raises(ValueError, match=r"^0 penguins of species 'Emperor' were measured; a line needs at least 2$"):
        body_mass_model(clean_rows(rows).rows, "Emperor")


def test_the_best_model_comes_first():
    worse, better, equal = Line("b", 9, 1, 1, 0.2), Line("c", 9, 1, 1, 0.4), Line("a", 9, 1, 1, 0.2)

    assert rank_models([worse, better, equal]) == [better, equal, worse]


def test_a_strict_mean_fails_at_the_first_value_that_is_none(rows):
    assert strict_mean(rows[:3], "Body Mass (g)") == 3600.0
    with pytest.raises(ValueError, match=r"^row 4: Body Mass \(g\) is 'NA', not a number$"):
        strict_mean(rows, "Body Mass (g)")


def test_the_report_is_exact(rows):
    clean = clean_rows(rows)
    ranking = rank_models([body_mass_model(clean.rows, species) for species in SPECIES])

    report = format_report(aggregate(clean.rows), title="Penguins", ranking=ranking, dropped=clean.dropped)

    assert report == (
        "# Penguins\n"
        "\n"
        "| group     | penguins | body mass (g) | flipper (mm) | bill (mm) |\n"
        "|:----------|---------:|--------------:|-------------:|----------:|\n"
        "| Adelie    |      151 |          3701 |        190.0 |      38.8 |\n"
        "| Chinstrap |       68 |          3733 |        195.8 |      48.8 |\n"
        "| Gentoo    |      123 |          5076 |        217.2 |      47.5 |\n"
        "\n"
        "What flipper length tells about body mass:\n"
        "\n"
        "- Gentoo: 54.6 g for each mm, r² = 0.49\n"
        "- Chinstrap: 34.6 g for each mm, r² = 0.41\n"
        "- Adelie: 32.8 g for each mm, r² = 0.22\n"
        "\n"
        "2 penguins were left out: nothing was measured."
    )


def test_a_report_can_be_a_table_alone():
    report = format_report({"a": Means(1, 2.0, 3.0, 4.0)}, title="T")

    assert report.splitlines()[-1] == "| a     |        1 |             2 |          3.0 |       4.0 |"


def test_every_step_finds_a_node_with_its_function_and_fits_its_parameters():
    resources_of_nodes = [set(names) for names in nodes().values()]
    places = {
        function.__name__: (function, {where}) for where, functions in FUNCTIONS.items() for function in functions
    }

    for step in workflow("text").steps:
        function, where = places[step.function]
        assert step.resources == where
        assert any(where <= names for names in resources_of_nodes)
        inspect.signature(function).bind(*step.args, **step.kwargs)


def test_the_program_prints_the_report(capsys: pytest.CaptureFixture[str]):
    importlib.import_module("mpreg_lab.examples.data_pipeline").main()

    assert capsys.readouterr().out.startswith("# Penguins of the Palmer Archipelago\n\n| group")
