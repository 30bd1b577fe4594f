"""What all examples have in common, and what each prints."""

import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

from mpreg_lab import LocalCluster, examples
from mpreg_lab.cli import main
from mpreg_lab.examples import EXAMPLES, load, offer

SAYS = {
    "basic": "price(100.0, tax=0.077, currency='CHF')\n  → '107.70 CHF'",
    "workflows": "54 notes: 'clutch' is the commonest word (36 times), 'received' the longest.",
    "distributed": "two_resources  archive, photographs     museum",
    "concurrency": "200 steps waited for each other: all were inside at once",
    "error-handling": "The typical penguin weighs 4202 g, says unsteady.",
    "performance": "another thread and back",
    "data-pipeline": "2 penguins were left out: nothing was measured.",
    "ml-inference": "Models: linear on model-1, forest on model-2, neighbours on model-3",
    "order-processing": "The books balance: nothing lost, nothing done twice.",
    "monitoring": "3 of 5 nodes answered. Degraded: search, images. Hanging: cache. Dead: mail.",
}
"""A line that each prints."""


def test_every_example_is_listed():
    modules = {m.name for m in pkgutil.iter_modules(examples.__path__) if not m.name.startswith("_")}

    assert {name.replace("-", "_") for name in EXAMPLES} == modules


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_has_the_same_parts(name: str):
    example = load(name)

    assert inspect.getdoc(example)
    assert {"FUNCTIONS", "main", "nodes", "workflow"} <= set(example.__all__)
    held = {resource for resources in example.nodes().values() for resource in resources}
    assert set(example.FUNCTIONS) <= held | {""}
    for functions in example.FUNCTIONS.values():
        for function in functions:
            assert function.__name__ in example.__all__ or function.__module__ != example.__name__


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_shows_itself_in_80_columns(name: str, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")

    assert main(["demo", name]) == 0

    printed = capsys.readouterr()
    assert SAYS[name] in printed.out
    assert max(map(len, printed.out.splitlines())) <= 80
    assert printed.err == ""


def test_an_example_runs_as_a_program_of_its_own():
    done = subprocess.run(
        [sys.executable, "-m", "mpreg_lab.examples.workflows"], capture_output=True, text=True, timeout=60
    )

    assert done.stdout == f"{SAYS['workflows']}\n", done.stderr


def test_an_unknown_example_is_named():
    with pytest.raises(LookupError, match=r"^there is no example 'bassic'\. Examples: basic, workflows, "):
        load("bassic")


def test_the_list_needs_none_of_the_libraries():
    code = "import sys, mpreg_lab.examples\nsys.exit(any(m in sys.modules for m in ('sklearn', 'psutil', 'numpy')))"

    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_offering_puts_functions_where_their_resources_are():
    data_pipeline = importlib.import_module("mpreg_lab.examples.data_pipeline")
    with LocalCluster(data_pipeline.nodes()) as cluster:
        offer(cluster, data_pipeline.FUNCTIONS)
        where = {
            str(info.name): node
            for node, member in cluster.nodes.items()
            for info in member.functions
            if info.resources
        }

    assert where["parse_csv"] == "ingest"
    assert where["clean_rows"] == where["aggregate"] == "process"
    assert where["format_report"] == "output"
