"""The functions of enhanced_server do what they say."""

from __future__ import annotations

import pytest

from mpreg_lab import RPCCommand
from mpreg_lab.testing.functions import analyze, data_processing, format_results, ml_inference


@pytest.mark.parametrize(
    ("data", "items", "dropped"),
    [
        ([" a ", "", None, 3], ["a", 3], 2),
        ({"x": 1, "y": " z"}, [1, "z"], 0),
        ("text ", ["text"], 0),
        (5, [5], 0),
        ([], [], 0),
    ],
)
def test_data_is_cleaned(data, items, dropped):
    assert data_processing(data) == {"items": items, "dropped": dropped}


def test_data_is_described_with_and_without_numbers():
    assert analyze([1, 2.0, True, "x", 6]) == {"count": 5, "least": 1, "most": 6, "mean": 3.0}
    assert analyze(data_processing(["x"])) == {"count": 1, "least": None, "most": None, "mean": None}


def test_numbers_are_scored_by_a_logistic_model():
    assert ml_inference([0.0]) == {"score": 0.5, "label": True}
    assert ml_inference({"items": [1.0, 2.0]}, weights=[2.0, -3.0], bias=1.0)["score"] == pytest.approx(0.0474258731)
    assert ml_inference([-1e6])["score"] == 0.0
    with pytest.raises(ValueError, match="shorter"):
        ml_inference([1.0, 2.0], weights=[1.0])


def test_results_become_text():
    assert format_results({"a": 1, "b": [2]}, title="T") == "T\n- a: 1\n- b: [2]"
    assert format_results([1, "x"]) == "Results\n- 1\n- x"


async def test_they_are_on_the_enhanced_server(enhanced_server, client_factory):
    client = await client_factory(enhanced_server)
    answer = await client.request(
        [
            RPCCommand("clean", "data_processing", ([[" 1 "], 2, None],)),
            RPCCommand("score", "ml_inference", ("clean",), {"bias": -2.0}),
            RPCCommand("text", "format_results", ("score",), {"title": "Score"}),
        ]
    )
    assert answer == {"text": "Score\n- score: 0.5\n- label: True"}
