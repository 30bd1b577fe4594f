"""A traceback in parts: frames of a person's own code, and frames of libraries."""

import pytest

from mpreg_lab.notebook.view.tracebacks import trace_parts

OWN = '  File "notebook cell", line 3, in clean\n    return frame.loc[key]\n           ~~~~~~^^^^^\n'
PANDAS = (
    '  File "/home/me/.venv/lib/python3.12/site-packages/pandas/core/indexing.py", line 1191, in __getitem__\n    x\n'
)
JSON = '  File "/usr/lib/python3.12/json/decoder.py", line 9, in decode\n    x\n'
HEAD, END = "Traceback (most recent call last):\n", "KeyError: 'mass'\n"


def test_frames_of_libraries_are_named_and_set_apart():
    parts = trace_parts(HEAD + OWN + PANDAS + PANDAS + JSON + END)

    assert [part.library for part in parts] == [None, "3 frames in pandas, json", None]
    assert parts[0].text == HEAD + OWN
    assert parts[2].text == END


@pytest.mark.parametrize(
    "traceback",
    [
        "",
        HEAD + PANDAS + END,
        HEAD + OWN + END,
        HEAD + "  + Exception Group Traceback (most recent call last):\n  | " + PANDAS + OWN + END,
        HEAD + OWN.replace("notebook cell", "/x/lib/python3.12/site-packages/mpreg_lab/examples/data.py") + END,
    ],
    ids=["nothing", "all of libraries", "all own", "several exceptions", "our examples"],
)
def test_nothing_is_folded_where_that_would_hide_what_matters(traceback: str):
    assert all(part.library is None for part in trace_parts(traceback))


def test_the_parts_together_are_the_whole_also_with_causes():
    cause = "\nThe above exception was the direct cause of the following exception:\n\n"
    whole = HEAD + PANDAS + OWN + "KeyError: 1\n" + cause + HEAD + OWN + JSON + PANDAS + 'File "odd\n' + END

    assert "".join(part.text for part in trace_parts(whole)) == whole
    assert [part.library for part in trace_parts(whole)] == [
        None,
        "1 frame in pandas",
        None,
        "2 frames in json, pandas",
        None,
    ]
