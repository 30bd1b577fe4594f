"""From a messy file to a report: parse, clean, aggregate, compare, report, over three nodes with different resources.

The file is the raw record of 344 penguins, see data/README.md. `python -m mpreg_lab.examples.data_pipeline` prints the
report. The functions are plain Python and know nothing of clusters.
"""

from __future__ import annotations

import csv
import io
import math
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import resources
from typing import Any

from mpreg_lab import LocalCluster, Ref, Step, Workflow
from mpreg_lab.examples import Functions, offer

__all__ = [
    "FUNCTIONS",
    "SPECIES",
    "Cleaned",
    "Line",
    "Means",
    "aggregate",
    "body_mass_model",
    "clean_rows",
    "format_report",
    "main",
    "nodes",
    "parse_csv",
    "penguins_text",
    "rank_models",
    "strict_mean",
    "workflow",
]

SPECIES = ("Adelie", "Chinstrap", "Gentoo")

Row = dict[str, Any]
"""One penguin: column to value."""


@dataclass(frozen=True)
class Cleaned:
    """Rows that can be computed with.

    Attributes:
        rows: Numbers, dates, True/False and None where the file has text and NA.
        dropped: How many rows were left out because nothing was measured.
    """

    rows: list[Row]
    dropped: int


@dataclass(frozen=True)
class Means:
    """What is typical of one group; penguins without a value do not count in that mean."""

    penguins: int
    body_mass_g: float
    flipper_length_mm: float
    bill_length_mm: float


@dataclass(frozen=True)
class Line:
    """Body mass as a straight line over flipper length, by least squares.

    Attributes:
        penguins: How many penguins it rests on.
        r_squared: Share of the variance of body mass that it explains, 0 to 1.
    """

    species: str
    penguins: int
    slope_g_per_mm: float
    intercept_g: float
    r_squared: float


# --- The functions that run on the nodes --------------------------------------------------------------------------


def parse_csv(text: str) -> list[dict[str, str]]:
    """The rows of a CSV text, every value as it stands there.

    Raises:
        ValueError: If a line has more or fewer values than there are columns; names the line.
    """
    lines = csv.reader(io.StringIO(text, newline=""))
    columns = next(lines, [])
    rows = []
    for values in lines:
        if len(values) != len(columns):
            raise ValueError(f"line {lines.line_num}: {len(values)} values for {len(columns)} columns")
        rows.append(dict(zip(columns, values, strict=True)))
    return rows


def clean_rows(rows: Iterable[Mapping[str, str]], drop: Sequence[str] = ()) -> Cleaned:
    """Rows with usable names and types, without the columns `drop` and without the penguins that were not measured.

    Args:
        rows: As `parse_csv` gives them.
        drop: Columns to leave out, by the names that they have afterwards, such as "comments".

    Raises:
        ValueError: If a column to drop does not exist, or a value is neither what its column holds nor NA.
    """
    columns = [name for name, _ in _COLUMNS.values()]
    if unknown := sorted(set(drop).difference(columns)):
        raise ValueError(f"no column {', '.join(map(repr, unknown))}; there are {', '.join(columns)}")
    kept, dropped = [], 0
    for number, raw in enumerate(rows, start=1):
        row = _clean_row(number, raw)
        if all(row[name] is None for name in _MEASURED):
            dropped += 1
        else:
            kept.append({name: value for name, value in row.items() if name not in drop})
    return Cleaned(kept, dropped)


def aggregate(rows: Iterable[Row], by: str = "species") -> dict[str, Means]:
    """The means of each group of rows with one value in the column `by`, sorted by that value.

    Raises:
        KeyError: If there is no such column.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[by], []).append(row)
    return {
        name: Means(
            len(group), *(_mean(group, column) for column in ("body_mass_g", "flipper_length_mm", "bill_length_mm"))
        )
        for name, group in sorted(groups.items())
    }


def body_mass_model(rows: Iterable[Row], species: str) -> Line:
    """How body mass grows with flipper length in one species.

    Raises:
        ValueError: If fewer than two penguins of that species have both measurements.
    """
    pairs = [(row["flipper_length_mm"], row["body_mass_g"]) for row in rows if row["species"] == species]
    pairs = [(flipper, mass) for flipper, mass in pairs if flipper is not None and mass is not None]
    if len(pairs) < 2:
        raise ValueError(f"{len(pairs)} penguins of species {species!r} were measured; a line needs at least 2")
    flippers, masses = zip(*pairs, strict=True)
    slope, intercept = statistics.linear_regression(flippers, masses)
    return Line(species, len(pairs), slope, intercept, statistics.correlation(flippers, masses) ** 2)


def rank_models(models: Iterable[Line]) -> list[Line]:
    """The models, the one that explains most first."""
    return sorted(models, key=lambda model: (-model.r_squared, model.species))


def format_report(summary: Mapping[str, Means], title: str, ranking: Sequence[Line] = (), dropped: int = 0) -> str:
    """A report in Markdown, the same for the same numbers."""
    lines = [f"# {title}", "", *_table(summary)]
    if ranking:
        lines += ["", "What flipper length tells about body mass:", ""]
        lines += [f"- {m.species}: {m.slope_g_per_mm:.1f} g for each mm, r² = {m.r_squared:.2f}" for m in ranking]
    if dropped:
        lines += ["", f"{dropped} penguin{' was' if dropped == 1 else 's were'} left out: nothing was measured."]
    return "\n".join(lines)


def strict_mean(rows: Iterable[Mapping[str, str]], column: str) -> float:
    """The mean of a column, for rows that have not been cleaned and do not need it.

    Raises:
        ValueError: At the first value that is not a number; names its row, counted from 1.
    """
    numbers = []
    for number, row in enumerate(rows, start=1):
        try:
            numbers.append(float(row[column]))
        except ValueError as exc:
            raise ValueError(f"row {number}: {column} is {row[column]!r}, not a number") from exc
    return statistics.fmean(numbers)


# --- The cluster and the workflow ---------------------------------------------------------------------------------

FUNCTIONS: Functions = {
    "csv-parser": (parse_csv,),
    "data-cleaner": (clean_rows,),
    "aggregator": (aggregate, body_mass_model, rank_models, strict_mean),
    "formatter": (format_report,),
}
"""Resource to the functions that run where it is."""


def nodes() -> dict[str, list[str]]:
    """Node to its resources, as `LocalCluster` takes them."""
    return {"ingest": ["csv-parser"], "process": ["data-cleaner", "aggregator"], "output": ["formatter"]}


def workflow(text: str | None = None) -> Workflow:
    """The whole story over a CSV text; None stands for the penguins that come with the package."""
    clean = Ref("clean")
    models = [
        _step(species.lower(), body_mass_model, clean.attr("rows"), species=species, at="aggregator")
        for species in SPECIES
    ]
    return Workflow(
        (
            _step("rows", parse_csv, penguins_text() if text is None else text, at="csv-parser"),
            _step("clean", clean_rows, Ref("rows"), drop=["comments"], at="data-cleaner"),
            _step("summary", aggregate, clean.attr("rows"), by="species", at="aggregator"),
            *models,
            _step("ranking", rank_models, [Ref(model.name) for model in models], at="aggregator"),
            _step(
                "report",
                format_report,
                Ref("summary"),
                title="Penguins of the Palmer Archipelago",
                ranking=Ref("ranking"),
                dropped=clean.attr("dropped"),
                at="formatter",
            ),
        )
    )


def penguins_text() -> str:
    """The raw data that come with the package; data/README.md says where they are from."""
    return resources.files("mpreg_lab.examples").joinpath("data/penguins_raw.csv").read_text(encoding="utf-8")


def main() -> None:
    """Run the workflow on a cluster of three nodes and print the report."""
    with LocalCluster(nodes()) as cluster:
        offer(cluster, FUNCTIONS)
        print(cluster.run(workflow())["report"])


# --- Helpers ------------------------------------------------------------------------------------------------------


def _step(name: str, function: Callable[..., Any], *args: Any, at: str, **kwargs: Any) -> Step:
    return Step(name, function.__name__, args=args, kwargs=kwargs, resources=frozenset({at}))


def _text(value: str) -> str:
    return value


def _number(value: str) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _species(value: str) -> str:
    """'Adelie' of 'Adelie Penguin (Pygoscelis adeliae)'; the file also writes 'penguin'."""
    if (match := re.fullmatch(r"(\w+) penguin \(.*\)", value, re.IGNORECASE)) is None:
        raise ValueError(value)
    return match[1]


def _sex(value: str) -> str:
    return {"male": "male", "female": "female"}[value.lower()]


def _yes(value: str) -> bool:
    return {"yes": True, "no": False}[value.lower()]


_COLUMNS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "studyName": ("study", _text),
    "Sample Number": ("sample", int),
    "Species": ("species", _species),
    "Region": ("region", _text),
    "Island": ("island", _text),
    "Stage": ("stage", _text),
    "Individual ID": ("individual", _text),
    "Clutch Completion": ("clutch_complete", _yes),
    "Date Egg": ("egg_date", date.fromisoformat),
    "Culmen Length (mm)": ("bill_length_mm", _number),
    "Culmen Depth (mm)": ("bill_depth_mm", _number),
    "Flipper Length (mm)": ("flipper_length_mm", _number),
    "Body Mass (g)": ("body_mass_g", _number),
    "Sex": ("sex", _sex),
    "Delta 15 N (o/oo)": ("delta_15_n", _number),
    "Delta 13 C (o/oo)": ("delta_13_c", _number),
    "Comments": ("comments", _text),
}
"""A column of the file -> its name afterwards, and how its values are read."""

_MEASURED = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")


def _clean_row(number: int, raw: Mapping[str, str]) -> Row:
    row: Row = {}
    for column, (name, read) in _COLUMNS.items():
        if column not in raw:
            raise ValueError(f"row {number}: there is no column {column!r}")
        value = raw[column].strip()
        try:
            row[name] = None if value in ("", "NA") else read(value)
        except (KeyError, ValueError) as exc:
            raise ValueError(f"row {number}: {column} cannot be {value!r}") from exc
    return row


def _mean(rows: Iterable[Row], column: str) -> float:
    """The mean over the rows that have a value; nan if none has."""
    values = [row[column] for row in rows if row[column] is not None]
    return statistics.fmean(values) if values else math.nan


def _table(summary: Mapping[str, Means]) -> list[str]:
    width = max([len("group"), *map(len, summary)])
    lines = [
        f"| {'group':<{width}} | penguins | body mass (g) | flipper (mm) | bill (mm) |",
        f"|:{'-' * width}-|---------:|--------------:|-------------:|----------:|",
    ]
    lines += [
        f"| {name:<{width}} | {m.penguins:>8} | {m.body_mass_g:>13.0f} | {m.flipper_length_mm:>12.1f} "
        f"| {m.bill_length_mm:>9.1f} |"
        for name, m in summary.items()
    ]
    return lines


if __name__ == "__main__":
    main()
