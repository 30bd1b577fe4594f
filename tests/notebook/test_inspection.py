"""What Shift-Tab tells: the cursor is at ‸."""

from __future__ import annotations

import re

import pytest

from mpreg_lab.node.functions import describe
from mpreg_lab.notebook.inspection import described
from mpreg_lab.protocol.messages import Member
from mpreg_lab.types import FunctionName, NodeName, Resource


def parse(text: str, sep: str = ",") -> list[str]:
    """Take a text apart.

    Slowly.
    """
    return text.split(sep)


def bare(x): ...


MEMBERS = (
    Member(
        NodeName("a"),
        resources=(Resource("csv"),),
        functions=(describe(parse, FunctionName("parse"), [Resource("csv")]),),
    ),
    Member(NodeName("b"), functions=(describe(bare, FunctionName("bare")),)),
    Member(NodeName("c"), functions=(describe(bare, FunctionName("bare")), describe(bare, FunctionName("retry")))),
)
PARSE = (
    "Signature: parse(text: str, sep: str = ',') -> list[str]\nDocstring:\nTake a text apart.\n\nSlowly.\n"
    "Nodes:     a (csv)\nNeeds:     csv\nType:      function of the cluster"
)
BARE = "Signature: bare(x)\nDocstring: <no docstring>\nNodes:     b, c\nType:      function of the cluster"

PLACES = {
    "a = pa‸rse(text)": PARSE,
    "a = parse(‸text)": PARSE,
    "a = parse(text, ‸": PARSE,
    'a = parse("‸': PARSE,
    "a = [parse(x) f‸or x in xs]": None,
    "a = [pars‸e(x) for x in xs]": PARSE,
    "a = bare(x)‸": None,
    "a = bare‸": BARE,
    "b = bare({'a': ‸": BARE,
    "zebra = ze‸bra(x)": None,
    "a = parse(ba‸re(x))": None,
    "a = parse(te‸xt)": PARSE,
    "a = parse(x)  # bare‸": None,
    "a = parse(x) | on(‸": 'Option:    on("node")\nDocstring: Only this node runs the step.',
    "a = parse(x) | tim‸eout(5)": "Option:    timeout(s)\n"
    "Docstring: One attempt may take s seconds from being sent. Then it has failed.",
    "a = ret‸ry(x)": "Signature: retry(x)\nDocstring: <no docstring>\nNodes:     c\nType:      function of the cluster",
}


@pytest.mark.parametrize("marked", PLACES)
def test_a_place_is_described(marked: str):
    text = described(marked.replace("‸", ""), marked.index("‸"), MEMBERS)

    assert PLACES[marked] == (None if text is None else re.sub(r"\x1b\[[0-9]*m", "", text))


@pytest.mark.parametrize("option", ["retry(3)", "wait_for(3)", "[retry(3)]"])
def test_an_option_is_described_in_its_own_place(option: str):
    marked = (
        f"a = [parse(x) | {option.strip('[]')} for x in y]" if option.startswith("[") else f"a = parse(x) | {option}"
    )
    cursor = marked.index("| ") + 4

    assert "Option:" in (described(marked, cursor, MEMBERS) or "")
