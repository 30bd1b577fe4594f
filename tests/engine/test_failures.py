from __future__ import annotations

import traceback

from mpreg_lab.engine.failures import LIMIT, MESSAGE_LIMIT, failure
from mpreg_lab.workflow.model import Ref
from mpreg_lab.workflow.references import substitute


def caught(function, *args):
    try:
        function(*args)
    except Exception as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError("it raised nothing")


def parse(text):
    return float(text)


def parse_row(text):
    try:
        return parse(text)
    except ValueError as error:
        raise KeyError("amount") from error


def test_a_failure_has_class_message_and_frames():
    told = failure(caught(parse, "n/a"))

    assert (told.type_name, told.message) == ("ValueError", "could not convert string to float: 'n/a'")
    assert told.traceback.startswith("Traceback (most recent call last):\n")
    assert "    return float(text)\n" in told.traceback
    assert told.traceback.endswith("ValueError: could not convert string to float: 'n/a'\n")


def test_causes_and_groups_are_told_too():
    cause = failure(caught(parse_row, "n/a")).traceback
    assert "ValueError: could not convert" in cause
    assert "The above exception was the direct cause of the following exception:" in cause

    group = ExceptionGroup("two", [ValueError("one"), caught(parse_row, "x")])
    told = failure(group)
    assert told.message == "two (2 sub-exceptions)"
    assert "ValueError: one" in told.traceback
    assert "KeyError: 'amount'" in told.traceback


def test_our_own_frames_are_left_out():
    def missing(step):
        raise LookupError(step)

    error = caught(substitute, [Ref("a")], missing)
    assert "references.py" in "".join(traceback.format_exception(error))
    told = failure(error).traceback

    assert "references.py" not in told
    assert "raise LookupError(step)" in told


def test_file_names_of_cells_are_made_readable():
    code = compile("def f():\n    1 / 0", "/tmp/ipykernel_123/456.py", "exec")
    namespace: dict = {}
    exec(code, namespace)

    assert '  File "notebook cell", line 2, in f\n' in failure(caught(namespace["f"])).traceback


def test_a_class_that_cannot_tell_its_message_is_no_problem():
    class MuteError(Exception):
        def __str__(self):
            raise RuntimeError("no")

    told = failure(MuteError())
    assert told.type_name == "MuteError"
    assert told.message == "<its __str__ raised RuntimeError>"
    assert "MuteError" in told.traceback


def test_long_texts_keep_beginning_and_end():
    told = failure(ValueError("a" * 50_000 + "z" * 50_000))

    assert told.message.startswith("aaa")
    assert told.message.endswith("zzz")
    assert f"[... {100_000 - MESSAGE_LIMIT:,} characters cut ...]" in told.message
    assert len(told.traceback) < LIMIT + 100


def test_endless_recursion_is_told_by_its_end():
    def again(depth):
        return again(depth + 1)

    told = failure(caught(again, 0))
    assert told.type_name == "RecursionError"
    assert told.traceback.count("in again") < 50


def test_the_cause_of_an_error_of_ours_is_left_out():
    error = caught(substitute, [Ref("a")["x"]], lambda name: {})
    error.__traceback__ = error.__traceback__.tb_next  # without the frame of `caught`

    assert failure(error).traceback == (
        "mpreg_lab.errors.ReferenceValueError: the reference a['x'] has no value: a is a dict with no keys, "
        "it has no item 'x'\n"
    )
