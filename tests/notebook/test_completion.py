"""What Tab offers: the cursor is at ‸."""

from __future__ import annotations

import pytest

from mpreg_lab.node.functions import describe
from mpreg_lab.notebook.commands import COMMANDS
from mpreg_lab.notebook.completion import Line, Offers, complete_cell, complete_line
from mpreg_lab.notebook.fault_lines import FAULTS
from mpreg_lab.notebook.magics import FUNCTIONS, WORKFLOW
from mpreg_lab.notebook.options import Syntax
from mpreg_lab.types import FunctionName


def parse(text: str, sep: str = ",", *, skip: int = 0): ...
def score(rows, /, weight=1, *rest, **more): ...


OFFERS = Offers(
    functions={f.__name__: describe(f, FunctionName(f.__name__)) for f in (parse, score)}
    | {"pkg.load": describe(len, FunctionName("pkg.load"))},
    resources=("csv", "gpu", "gpu-large"),
    nodes=("ingest", "work"),
    dead=("old",),
    names=("text", "chunks"),
    clusters=("cluster", "lab"),
    runs=("run",),
    steps=("scores", "report"),
    examples=("basic", "data-pipeline"),
    saved=("run.json",),
    commands=tuple(COMMANDS),
    settings={"view": ("live", "plain"), "timeout": ()},
)

OPTIONS = "retry timeout wait_for on"
QUOTED = '"csv" "gpu" "gpu-large"'
NODES = '"ingest" "work"'

CELLS: dict[str, str | None] = {
    # functions
    "a = ‸": "parse pkg.load score",
    "a = p‸": "parse pkg.load",
    "a = pkg.‸": "pkg.load",
    "a = parse‸": "parse",
    "a = zebra‸": "",
    "a = [‸": "parse pkg.load score",
    "a = [sc‸ for c in chunks]": "score",
    "a = parse() ‸": "",
    # arguments
    "a = parse(‸": "text= sep= skip= text chunks",
    "a = parse(te‸": "text= text",
    "a = parse(x, ‸": "sep= skip= text chunks",
    "a = parse(x, sep=';', ‸": "skip= text chunks",
    "a = parse(x, sep=‸": "sep= skip= text chunks",
    "a = parse(f(1, 2), ‸": "sep= skip= text chunks",
    "a = score(‸": "weight= text chunks",
    "a = score([‸": "text chunks",
    "a = zebra(‸": "text chunks",
    "rows = parse(text)\nb = score(‸": "weight= rows text chunks",
    "b = score(‸\nlater = parse(text)": "weight= later text chunks",
    "rows = parse(text)\nb = score(ro‸)": "rows",
    "b = score({'all': ‸": "text chunks",
    "b = score(rows.‸\nrows = parse(text)": "",
    "b = score(text.up‸": None,
    "a = [score(c, ‸ for c in chunks]": "weight= c text chunks",
    "a = [score(c) for c in ‸": "c text chunks",
    "a = [score(c) for ‸": "",
    "rows = parse(text)\na = [score(c) for c in ‸]": "rows c text chunks",
    # resources
    "a = parse(text) @ ‸": QUOTED,
    "a = parse(text) @ gp‸": '"gpu" "gpu-large"',
    'a = parse(text) @ "‸': 'csv" gpu" gpu-large"',
    'a = parse(text) @ "g‸"': "gpu gpu-large",
    "a = parse(text) @ 'g‸": "gpu' gpu-large'",
    'a = parse(text) @ ("csv", ‸': QUOTED,
    'a = parse(text) @ ("csv", "‸': 'csv" gpu" gpu-large"',
    'a = [score(c) @ "g‸" for c in chunks]': "gpu gpu-large",
    "a = [score(c) @ ‸": QUOTED,
    'a = parse(text) @ "csv" ‸': "",
    # options
    "a = parse(text) | ‸": OPTIONS,
    'a = parse(text) @ "gpu" | re‸': "retry",
    "a = parse(text) | retry(3) | t‸": "timeout",
    "a = [score(c) | ‸ for c in chunks]": OPTIONS,
    "a = parse(text) | retry(‸": "text chunks",
    "a = parse(text) | retry(3, ‸": "backoff=",
    "a = parse(text) | retry(3, b‸)": "backoff=",
    "a = parse(text) | on(‸": f"{NODES} text chunks",
    'a = parse(text) | on("‸': 'ingest" work"',
    'a = [score(c) | on("w‸") for c in chunks]': "work",
    # the last line
    "rows = parse(text)\n‸": "rows",
    "rows = parse(text)\nb = score(rows)\nrows, ‸": "rows b",
    # no nonsense
    "# a = p‸": "",
    "a = parse(text)  # @ ‸": "",
    'a = parse("p‸': "",
    "a = parse('it # is ‸": "",
    'a = parse(f"{te‸}")': "",
    'a = parse(text["k‸': None,
    'rows = parse(text)\nb = score(rows["k‸': "",
    # text that goes wrong elsewhere does not matter
    "a = parse('\nb = ‸": "parse pkg.load score",
    "a = parse(text))\nb = ‸": "parse pkg.load score",
    'a = parse("""one\n# two""", ‸': "sep= skip= text chunks",
    "a = parse('é', ‸": "sep= skip= text chunks",
}


def split(text: str) -> tuple[str, int]:
    return text.replace("‸", ""), text.index("‸")


@pytest.mark.parametrize("marked", CELLS)
def test_in_a_workflow_cell(marked: str):
    text, cursor = split(marked)

    offered = complete_cell(text, cursor, OFFERS)

    expected = CELLS[marked]
    assert expected == (None if offered is None else " ".join(word.text for word in offered.words))


@pytest.mark.parametrize(
    ("marked", "start"),
    [("a = par‸", 4), ("a = pkg.l‸", 4), ('a = f() @ "g‸"', 11), ("a = f() @ gp‸", 10), ("a = f(x, ro‸)", 9)],
)
def test_what_is_replaced_begins_where_the_word_does(marked: str, start: int):
    text, cursor = split(marked)

    assert complete_cell(text, cursor, OFFERS)[0] == start  # type: ignore[index]


@pytest.mark.parametrize("marked", CELLS)
def test_every_place_of_every_text_has_an_answer(marked: str):
    text, _ = split(marked)

    for cursor in range(len(text) + 1):
        offered = complete_cell(text, cursor, OFFERS)
        assert offered is None or 0 <= offered.start <= cursor


FLAGS = "--cluster --out --timeout --detach --dry-run --plain --help"
CELL = Line(WORKFLOW)
FUNCTION_CELL = Line(FUNCTIONS)
MPREG = Line(
    Syntax("%mpreg", ""),
    {
        name: Line(c.syntax, {word: Line(syntax) for word, syntax in c.words.items()}, ";")
        for name, c in COMMANDS.items()
    },
)

LINES: dict[str, tuple[Line, str]] = {
    "‸": (CELL, FLAGS),
    "--d‸": (CELL, "--detach --dry-run"),
    "-o ‸": (CELL, "run"),
    "-c ‸": (CELL, "cluster lab"),
    "--cluster l‸": (CELL, "lab"),
    "--timeout ‸": (CELL, ""),
    "name -o run ‸": (CELL, FLAGS.replace("--out ", "")),
    "w‸": (FUNCTION_CELL, "work"),
    "work ‸": (FUNCTION_CELL, "ingest old --resources --cluster --help"),
    "work -r ‸": (FUNCTION_CELL, "csv gpu gpu-large"),
    "work -r csv,g‸": (FUNCTION_CELL, "gpu gpu-large"),
    "  st‸": (MPREG, "start stop status stop-node"),
    "stop ‸": (MPREG, "cluster lab --all --help"),
    "start 3 --transport ‸": (MPREG, "memory ws"),
    "kill work ‸": (MPREG, "ingest old --cluster --help"),
    "kill -c lab w‸": (MPREG, "work"),
    "help fa‸": (MPREG, "faults"),
    "compare ‸": (MPREG, "run --cluster --help"),
    "compare run r‸": (MPREG, "run"),
    "cancel ‸": (MPREG, "run --cluster --help"),
    "run run --only ‸": (MPREG, "graph timeline latency frame events faults"),
    "rerun run --from ‸": (MPREG, "scores report"),
    "rerun --from sc‸": (MPREG, "scores"),
    "export run.svg r‸": (MPREG, "run"),
    "export run --format p‸": (MPREG, "python"),
    "open ‸": (MPREG, "run.json --out --help"),
    "demo d‸": (MPREG, "data-pipeline"),
    "unregister p‸": (MPREG, "parse pkg.load"),
    "view l‸": (MPREG, "lab"),
    "config ‸": (MPREG, "view timeout --reset --help"),
    "config view ‸": (MPREG, "live plain --reset --help"),
    "config view p‸": (MPREG, "plain"),
    "faults ‸": (MPREG, " ".join([*FAULTS, "--cluster", "--help"])),
    "faults cut i‸": (MPREG, "ingest"),
    "faults cut ingest ‸": (MPREG, "ingest work old client --silent --help"),
    "faults kill work; re‸": (MPREG, "reorder restart resume"),
    "faults kill work; restart o‸": (MPREG, "old"),
    "faults partition ingest,w‸": (MPREG, "work"),
    "faults drop ingest work ‸": (MPREG, "--help"),
}


@pytest.mark.parametrize("marked", LINES)
def test_on_the_line_of_a_magic(marked: str):
    line, expected = LINES[marked]
    text, cursor = split(marked)

    offered = complete_line(text, cursor, line, OFFERS)

    assert " ".join(word.text for word in offered.words) == expected
