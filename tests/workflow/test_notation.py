from __future__ import annotations

import itertools
import re
import string
import textwrap
import unicodedata
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpreg_lab.errors import NotationError, WorkflowError
from mpreg_lab.workflow import model
from mpreg_lab.workflow.notation import format_error, parse, parse_workflow, to_notation

# With plain strings for names, as a person writes them.
untyped: Any = model
Group, Ref, Step, Workflow = untyped.Group, untyped.Ref, untyped.Step, untyped.Workflow

EXAMPLE = """
rows    = parse_csv(text)                         @ "csv-parser"
clean   = clean_rows(rows, drop=["note"])         @ "data-cleaner" | retry(3, backoff=0.2)

# one step for each chunk
scores  = [score(c, summary) @ "gpu" for c in chunks]
summary = aggregate(
    clean,
    by="region",
)           @ "aggregator"   | timeout(5)
report  = format_report(summary, title=f"{year}") @ ("formatter", "x") | on("output")
report, summary
"""


# A busy machine is no failure.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def workflow(text: str, **namespace: object) -> model.Workflow:
    return parse_workflow(textwrap.dedent(text), namespace).workflow


def first_step(text: str, **namespace: object) -> model.Step:
    return workflow(text, **namespace).steps[0]


def refused(text: str, **namespace: object) -> NotationError:
    with pytest.raises(NotationError) as caught:
        parse_workflow(textwrap.dedent(text), namespace)
    return caught.value


def marked(error: NotationError) -> str:
    return error.text[error.column : error.end_column]


# --- what is understood ---


def test_the_example_becomes_the_workflow_that_it_describes():
    script = parse_workflow(EXAMPLE, {"text": "a,b", "chunks": [10, 20], "year": 2025})

    assert script.workflow == Workflow(
        steps=(
            Step("rows", "parse_csv", ("a,b",), resources={"csv-parser"}),
            Step("clean", "clean_rows", (Ref("rows"),), {"drop": ["note"]}, {"data-cleaner"}, retries=3, backoff_s=0.2),
            Step("scores[0]", "score", (10, Ref("summary")), resources={"gpu"}),
            Step("scores[1]", "score", (20, Ref("summary")), resources={"gpu"}),
            Step("summary", "aggregate", (Ref("clean"),), {"by": "region"}, {"aggregator"}, timeout_s=5),
            Step("report", "format_report", (Ref("summary"),), {"title": "2025"}, {"formatter", "x"}, node="output"),
        ),
        returns=("report", "summary"),
        groups=(Group("scores", ("scores[0]", "scores[1]")),),
    )
    assert script.lines == {"rows": 2, "clean": 3, "scores[0]": 6, "scores[1]": 6, "summary": 7, "report": 11}


def test_a_draft_tells_names_and_lines_and_what_the_notebook_must_have():
    draft = parse(EXAMPLE)

    assert draft.names == {"rows": 2, "clean": 3, "scores": 6, "summary": 7, "report": 11}
    assert list(draft.names) == ["rows", "clean", "scores", "summary", "report"]
    assert draft.free_names == {"text", "chunks", "year"}
    assert repr(draft) == "Draft(rows, clean, scores, summary, report)"


def test_free_names_are_those_that_no_loop_and_no_lambda_binds():
    draft = parse("a = [f(c, n, [d for d in ds if d], lambda x, y=z: x + w, sum(xs[i])) for c, e in cs if e]\na[k]")

    assert draft.free_names == {"n", "ds", "z", "w", "sum", "xs", "i", "cs", "k"}


def test_no_text_is_a_workflow_without_steps():
    assert workflow("\n# nothing yet\n") == Workflow(())


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("rows", Ref("rows")),
        ('rows["total"]', Ref("rows")["total"]),
        ("rows[0]", Ref("rows")[0]),
        ("rows[-1]", Ref("rows")[-1]),
        ("rows[i]", Ref("rows")[7]),
        ("rows[names[0:1][0]]", Ref("rows")["k"]),
        ('rows["a" + "b"]', Ref("rows")["ab"]),
        ("rows.total", Ref("rows").attr("total")),
        ("rows.step.path", Ref("rows").attr("step").attr("path")),
        ('rows[0]["x"].y[1]', Ref("rows")[0]["x"].attr("y")[1]),
        ("[rows, 1]", [Ref("rows"), 1]),
        ("(rows,)", (Ref("rows"),)),
        ("{rows, 1}", {Ref("rows"), 1}),
        ('{"k": rows}', {"k": Ref("rows")}),
        ('{"k": [(1, {rows.x})], **{"l": rows}}', {"k": [(1, {Ref("rows").attr("x")})], "l": Ref("rows")}),
        ("[*[rows], *names]", [Ref("rows"), "k"]),
        ("'rows'", "rows"),
        ("f'{i} rows'", "7 rows"),
        ("[rows for rows in names]", ["k"]),
        ("(lambda rows: rows)(i)", 7),
        ("[[rows, c] for rows in names for c in rows]", [["k", "k"]]),
        ("scores", [Ref("scores[0]"), Ref("scores[1]")]),
        ("scores[0]", Ref("scores[0]")),
        ("scores[-1]", Ref("scores[1]")),
        ("scores[i - 6]", Ref("scores[1]")),
        ('scores[0]["x"].y', Ref("scores[0]")["x"].attr("y")),
        ("[scores, 1]", [[Ref("scores[0]"), Ref("scores[1]")], 1]),
        ("[*scores, 1]", [Ref("scores[0]"), Ref("scores[1]"), 1]),
        ("[c.upper() for c in names]", ["K"]),
    ],
)
@pytest.mark.parametrize("steps_first", [True, False])
def test_an_argument_is_a_reference_or_is_evaluated(argument, value, steps_first):
    steps = ["rows = f()", "scores = [g(c) for c in names + names]"]
    call = [f"call = h({argument}, k={argument})"]

    step = workflow("\n".join(steps + call if steps_first else call + steps), i=7, names=["k"]).step("call")

    assert step.args == (value,)
    assert step.kwargs == {"k": value}


@pytest.mark.parametrize(
    ("call", "args", "kwargs"),
    [
        ("f(*xs)", (1, 2), {}),
        ("f(0, *xs, 3, *xs)", (0, 1, 2, 3, 1, 2), {}),
        ("f(*[rows, 1])", (Ref("rows"), 1), {}),
        ("f(*scores)", (Ref("scores[0]"),), {}),
        ("f(**kw)", (), {"a": 1}),
        ("f(b=rows, **kw)", (), {"a": 1, "b": Ref("rows")}),
        ('f(**{"b": rows}, **kw)', (), {"a": 1, "b": Ref("rows")}),
        ("f(c for c in xs)", None, {}),
    ],
)
def test_arguments_can_be_unpacked(call, args, kwargs):
    step = first_step(f"x = {call}\nrows = g()\nscores = [g(c) for c in [1]]", xs=[1, 2], kw={"a": 1})

    assert step.kwargs == kwargs
    assert args is None or step.args == args


def test_a_notebook_value_is_passed_as_the_same_object():
    value = [1, 2]

    assert first_step("x = f(value)", value=value).args[0] is value


def test_a_step_hides_a_variable_of_the_notebook_of_the_same_name():
    assert workflow("rows = f()\nx = g(rows)", rows=3).step("x").args == (Ref("rows"),)


def test_a_step_may_be_called_like_its_function():
    assert first_step("clean = clean(rows)", rows=1) == Step("clean", "clean", (1,))


def test_a_dotted_function_is_called_by_its_whole_name():
    assert first_step("x = pkg.sub.score(1)").function == "pkg.sub.score"


def test_expressions_are_evaluated_once_in_the_order_of_the_lines():
    seen: list[int] = []

    def note(value: int) -> int:
        seen.append(value)
        return value

    text = """
    x = f(note(1), y[note(2)], k=note(3)) @ str(note(4)) | retry(note(5), backoff=note(6)) | timeout(note(7))
    y = g(note(8))
    z = [h(note(9), c) for c in [note(10)]]
    """
    workflow(text, note=note)

    assert seen == [1, 2, 3, 4, 5, 6, 7, 8, 10, 9]


@pytest.mark.parametrize(
    ("suffix", "fields"),
    [
        ('@ "a"', {"resources": {"a"}}),
        ('@ ("a", "b")', {"resources": {"a", "b"}}),
        ('@ {"a"}', {"resources": {"a"}}),
        ("@ ()", {}),
        ("@ res", {"resources": {"gpu"}}),
        ('@ (res + "1")', {"resources": {"gpu1"}}),
        ("| retry(2)", {"retries": 2}),
        ("| retry(n, backoff=n / 2)", {"retries": 4, "backoff_s": 2.0}),
        ("| timeout(0.5)", {"timeout_s": 0.5}),
        ("| wait_for(2)", {"wait_for_s": 2}),
        ("| timeout(None)", {}),
        ("| cache()", {"cache": True}),
        ("| cache(ttl=n * 15) | retry(1)", {"cache": True, "cache_ttl_s": 60, "retries": 1}),
        ('| on("a")', {"node": "a"}),
        (
            '@ "a" | on("b") | timeout(1) | retry(1)',
            {"resources": {"a"}, "node": "b", "timeout_s": 1, "retries": 1},
        ),
    ],
)
def test_what_follows_the_call_sets_resources_and_options(suffix, fields):
    assert first_step(f"x = f() {suffix}", res="gpu", n=4) == Step("x", "f", **fields)


# --- fan-outs ---


def test_a_fan_out_may_have_several_loops_and_conditions():
    made = workflow("x = [f(a, b, c) for a, (b, *c) in pairs if a for d in range(a) if d]", pairs=[(3, "bc"), (0, "d")])

    assert [step.args for step in made.steps] == [(3, "b", ["c"]), (3, "b", ["c"])]
    assert [step.name for step in made.steps] == ["x[0]", "x[1]"]


def test_options_of_a_fan_out_may_use_its_variables():
    made = workflow(
        "x = [f() @ kind | on(n) | retry(i) for i, (kind, n) in enumerate(cs)]", cs=[("a", "b"), ("c", "d")]
    )

    assert made.steps == (
        Step("x[0]", "f", resources={"a"}, node="b"),
        Step("x[1]", "f", resources={"c"}, node="d", retries=1),
    )


def test_an_empty_fan_out_is_an_empty_list():
    made = workflow("x = [f(c) for c in ()]\ny = g(x, *x)\nx")

    assert made == Workflow((Step("y", "g", ([],)),), ("x",), (Group("x", ()),))


def test_a_fan_out_may_run_through_another_one_below_it():
    made = workflow("y = [g(s, s.a, s['b']) for s in x]\nx = [f(c) for c in [1, 2]]")

    assert [step.name for step in made.steps] == ["y[0]", "y[1]", "x[0]", "x[1]"]
    assert made.steps[1].args == (Ref("x[1]"), Ref("x[1]").attr("a"), Ref("x[1]")["b"])
    assert [group.name for group in made.groups] == ["y", "x"]


def test_functions_in_a_fan_out_keep_the_variables_of_their_member():
    made = workflow("x = [f(lambda: c, (c for _ in [1])) for c in [1, 2]]")

    assert [step.args[0]() for step in made.steps] == [1, 2]
    assert [next(step.args[1]) for step in made.steps] == [1, 2]


def test_notebook_names_are_seen_in_nested_functions():
    assert first_step("x = f([a + b for a in [1]], (lambda: [b for _ in [1]])())", b=2).args == ([3], [2])


def test_variables_of_a_fan_out_hide_steps():
    assert workflow("c = f(1)\nx = [g(c, c + 1) for c in [5]]").step("x[0]").args == (5, 6)


def test_members_do_not_share_lists_of_references():
    made = workflow("x = [f(c) for c in [1]]\ny = g(x)\nz = g(x)")

    assert made.step("y").args == made.step("z").args
    assert made.step("y").args[0] is not made.step("z").args[0]


def test_an_endless_fan_out_is_an_error():
    error = refused("x = [f(c) for c in itertools.count()]", itertools=itertools)

    assert str(error) == "'x' would have more than 100,000 steps. Give each step more to do"


# --- the last line ---


@pytest.mark.parametrize(
    ("last", "returns"),
    [
        ("", None),
        ("a", ("a",)),
        ("a, b", ("a", "b")),
        ("[b, a]", ("b", "a")),
        ("b,", ("b",)),
        ("a, a", ("a",)),
        ("()", ()),
        ("s", ("s",)),
        ("s[0], s[-1], s[i]", ("s[0]", "s[2]", "s[1]")),
    ],
)
def test_the_last_line_names_the_results_to_return(last, returns):
    assert workflow(f"a = f()\nb = f()\ns = [f(c) for c in 'xyz']\n{last}", i=1).returns == returns


# --- what is refused ---

NO_VALUE = "'a' is a step: its result exists only when the workflow runs"
OWN_STEP = f"{NO_VALUE}. Make this expression a step of its own: a function that takes 'a'"
KNOWN_BEFORE = f"{NO_VALUE}, but this must be known before"
COUNT_BEFORE = f"{NO_VALUE}, but the number of steps must be known before"
ITSELF = "step 'x' would wait for itself: here 'x' is this step, not a variable of the notebook. Rename one of them"
NO_CALL = "expected a call, such as function(...). Assign other values in a cell of their own"
NO_FUNCTION = "expected the name of a function, such as score(...) or pkg.score(...)"
NO_STEP = "expected a step. Write name = function(...)"
NO_LAST = "only the last line can name the results to return. Write name = function(...)"
IMPORT = "an import cannot stand here. Put it in a cell of its own"
FUNCTION = "a function cannot be defined here. Put it in a cell of its own"
LOOP = "a loop cannot stand here. For several calls of one function write name = [function(x) for x in xs]"
MAGIC = "magics, shell commands and ? cannot stand in a workflow. Put this in a cell of its own"
OPTIONS = 'retry(n, backoff=s), timeout(s), wait_for(s), cache() or on("node")'
BRACKETS = "@ and | belong to the call, inside the brackets: [function(x) @ ... for x in xs]"
OPERATOR = "only @ and | can follow the call. Put what has another operator in parentheses"

# Each text has the place that the error must mark between « and ».
REFUSED = [
    # statements
    ("«import os»", IMPORT),
    ("«from os import path»", IMPORT),
    ("«def f(): pass»", FUNCTION),
    ("«async def f(): pass»", FUNCTION),
    ("«class A: pass»", "a class cannot be defined here. Put it in a cell of its own"),
    ("«for c in [1]: pass»", LOOP),
    ("«if True: pass»", NO_STEP),
    ("«pass»", NO_STEP),
    ("«del b»", NO_STEP),
    ("«x += f()»", "a step is bound once, with =. Write name = function(...)"),
    ("«x: int = f()»", "a step takes no annotation. Write name = function(...)"),
    ("x = «y» = f()", "a step has one name. Write name = function(...)"),
    ("«x, y» = f()", "a step has one name. Refer to parts of its result with name[0], name[1]"),
    ("«x.y» = f()", "the name of a step is a plain name. Write name = function(...)"),
    ("«x[0]» = f()", "the name of a step is a plain name. Write name = function(...)"),
    ("«a» = f()", "'a' is a step already, on line 1. Rename one of them"),
    ("«f(1)»", "this step has no name. Write name = f(1)"),
    ('«f(1) @ "gpu" | retry(2)»', 'this step has no name. Write name = f(1) @ "gpu" | retry(2)'),
    ("«[f(c) for c in ones]»", "this step has no name. Write name = [f(c) for c in ones]"),
    ("«a»\nx = f()", NO_LAST),
    ("«'a text'»\nx = f()", NO_LAST),
    # the right side
    ("x = «3»", NO_CALL),
    ("x = «ones»", NO_CALL),
    ("x = «[f(1), f(2)]»", NO_CALL),
    ("x = «f(1) if ones else f(2)»", NO_CALL),
    ("x = [«c» for c in ones]", NO_CALL),
    ("x = «f(1)[2]»", "a step is a whole call. Take a part of its result where it is used: x[0]"),
    ("x = «a»", "'x' would be a second name for step 'a'. Use 'a' itself"),
    ('x = «a["k"].l»', 'a part of a result is no step. Write a["k"].l where it is used'),
    ("x = «a + 1»", f"{NO_VALUE}. Write a function for this: x = function(a)"),
    ("x = «[a]»", f"{NO_VALUE}. Write a function for this: x = function(a)"),
    ("x = «a.upper»()", "'a' is a step, its methods cannot be called. Write a function that takes it"),
    ("x = «a[0].upper»()", NO_FUNCTION),
    ("x = «f(1)»()", NO_FUNCTION),
    ("x = «ones[0]»()", NO_FUNCTION),
    ("x = [«c»(1) for c in ones]", "'c' is the variable of the loop. Write the name of a function"),
    ("x = [«c.run»(1) for c in ones]", "'c' is the variable of the loop. Write the name of a function"),
    # references
    ("x = f(«x»)", ITSELF),
    ("x = f(«x»[0])", ITSELF),
    ("x = f(len(«x»))", ITSELF),
    ("x = [f(c) for c in «x»]", ITSELF),
    ("x = [f(«x», c) for c in ones]", ITSELF),
    ("x = f(1, «a + 1»)", OWN_STEP),
    ("x = f(k=«len(a)»)", OWN_STEP),
    ("x = f([1, «-a»])", OWN_STEP),
    ("x = f(«f'{a}'»)", OWN_STEP),
    ("x = f(«[r for r in a]»)", OWN_STEP),
    ("x = f(«[a for r in ones]»)", OWN_STEP),
    ("x = f(«a.upper()»)", OWN_STEP),
    ("x = f(«lambda: a»)", OWN_STEP),
    ("x = f(«lambda b=a: b»)", OWN_STEP),
    ("x = f(«a if ones else 1»)", OWN_STEP),
    ("x = f(«ones[a]»)", OWN_STEP),
    ("x = f(*«a»)", f"{NO_VALUE}, so it cannot be unpacked"),
    ("x = f(*«a.k»)", f"{NO_VALUE}, so it cannot be unpacked"),
    ("x = f([*«a»])", f"{NO_VALUE}, so it cannot be unpacked"),
    ("x = f(**«a»)", f"{NO_VALUE}, so it cannot be unpacked"),
    ("x = f({«a»: 1})", "'a' is a step: its result cannot be the key of a dict"),
    ("x = f(«a[0:2]»)", "expected one key or index in [ ], not a slice. Make this a step of its own"),
    ("x = f(a[«a»])", KNOWN_BEFORE),
    ("x = f(«a[None]»)", "this raised TypeError: a reference takes a string or an integer in [ ], not NoneType"),
    ("x = f(«s[2]»)", "this raised IndexError: 's' has 2 steps, none is 2"),
    ("x = f(«s[-3]»)", "this raised IndexError: 's' has 2 steps, none is -3"),
    ("x = f(«s['k']»)", "this raised TypeError: 's' is a list of steps, [ ] takes a whole number, not str"),
    ("x = f(«s.k»)", "'s' is a list of steps. Take a field of one: s[0].k"),
    ("x = f(k=1, k=«2»)", "the argument 'k' is given twice"),
    ("x = «f(k=1, **{'k': 2})»", "the argument 'k' is given twice"),
    ("x = «f(**{1: 2})»", "step 'x': kwargs must be a dict with string keys, not {1: 2}"),
    ("x = f(1 + («y := 2»))", ":= cannot stand here. Assign the value in a cell of its own"),
    ("x = f(«await y»)", "await cannot stand here. Await it in a cell of its own"),
    ("x = f([c async for c in «y»])", "await cannot stand here. Await it in a cell of its own"),
    ("x = f(lambda: («yield»))", "yield cannot stand here"),
    ("x = f(f'''\n{«await y»}''')", "await cannot stand here. Await it in a cell of its own"),
    ("«x = f(lambda c, c: 1)»", "not valid Python: duplicate argument 'c' in function definition"),
    # resources and options
    ('x = f() | «retry(2) @ "gpu"»', '@ binds tighter than |. Write the resources first: @ "gpu" | retry(2)'),
    ('x = f() @ "b" @ «"c"»', 'a second @. Write all resources in one: @ ("a", "b")'),
    ("x = f() @ «a»", KNOWN_BEFORE),
    ("x = f() @ «3»", "step 'x': @ takes names of resources, not 3"),
    ("x = f() | timeout(«a»)", KNOWN_BEFORE),
    ("x = f() | retry(1, backoff=«a»)", KNOWN_BEFORE),
    ('x = «f() @ "b" + "c"»', OPERATOR),
    ("x = «f() - 1»", OPERATOR),
    ('x = «f() @ "b" - ones»', OPERATOR),
    ("x = «f() @ ones - 1»", OPERATOR),
    ("x = «f() - ones»", OPERATOR),
    ("x = «f() @ csv-parser»", 'the name of a resource is a string. Write @ "csv-parser"'),
    ("x = «f() @ very-big-memory | retry(2)»", 'the name of a resource is a string. Write @ "very-big-memory"'),
    ("x = [«f(c) @ csv-parser» for c in ones]", 'the name of a resource is a string. Write @ "csv-parser"'),
    ('x = f() | «"gpu"»', f"expected an option after |: {OPTIONS}"),
    ("x = f() | «retry»", f"expected an option after |: {OPTIONS}"),
    ("x = f() | «retyr»(2)", "there is no option 'retyr'. Did you mean 'retry'?"),
    ("x = f() | «nice»(2)", f"there is no option 'nice'. Write {OPTIONS}"),
    ("x = f() | retry(2) | «retry(3)»", "the option 'retry' is given twice"),
    ("x = f() | «retry()»", "expected retry(n, backoff=s)"),
    ("x = f() | «retry(2, 3)»", "expected retry(n, backoff=s)"),
    ("x = f() | «retry(*ones)»", "expected retry(n, backoff=s)"),
    ("x = f() | «retry(2, wait=3)»", "expected retry(n, backoff=s)"),
    ("x = f() | «retry(2, backoff=3, backoff=4)»", "expected retry(n, backoff=s)"),
    ("x = f() | «timeout(2, backoff=3)»", "expected timeout(s)"),
    ("x = f() | «on()»", 'expected on("node")'),
    ("x = f() | retry(«-1»)", "step 'x': retry(n) takes a whole number, 0 or more, not -1"),
    ("x = f() | retry(2, backoff=«'s'»)", "step 'x': backoff= takes seconds, 0 or more, not 's'"),
    ("x = f() | timeout(«0»)", "step 'x': timeout(s) takes seconds, more than 0, not 0"),
    ("x = f() | on(«1»)", "step 'x': on(\"node\") takes the name of a node, not 1"),
    # fan-outs
    ("x = [f(r) for r in «a»]", COUNT_BEFORE),
    ("x = [f(r) for r in «a.rows»]", COUNT_BEFORE),
    ("x = [f(r) for c in ones for r in «range(a)»]", COUNT_BEFORE),
    ("x = [f(r) for r in ones if «a»]", KNOWN_BEFORE),
    ("x = [f(«r + 1») for r in s]", OWN_STEP.replace("'a'", "'r'")),
    ("x = «[f(c) for c in ones] @ 'gpu'»", BRACKETS),
    ("x = «(f(c) for c in ones)»", "a fan-out is a list. Write x = [function(x) for x in xs]"),
    ("x = «{f(c) for c in ones}»", "a fan-out is a list. Write x = [function(x) for x in xs]"),
    ("x = [«[f(c) for c in d]» for d in ones]", "expected one list. Write [function(x, y) for y in ys for x in xs]"),
    ("x = [f(1) for «c.d» in ones]", "expected a plain name as the loop variable"),
    ("x = [f(c) for «c, d» in s]", "a step of 's' is one thing. Write one loop variable"),
    ("«x = [f(y[0]) for c in ones]»\ny = [f(x[0]) for c in ones]",
     "fan-outs wait for each other: 'x' needs 'y' needs 'x'. Remove one of these references"),
    ("x = [f() | retry(«c») for c in [1, 'b']]",
     "step 'x[1]': retry(n) takes a whole number, 0 or more, not 'b'"),
    # the last line
    ("x = f()\n«reprot»", "'reprot' is no step. Steps: a, s, x"),
    ("report = f()\na, «reprot»", "'reprot' is no step. Did you mean 'report'?"),
    ("a, «'x'»", "expected names of steps whose results to return, such as report, summary"),
    ("«a < 1»", "expected names of steps whose results to return, such as report, summary"),
    ("«a[0]»", "only whole results can be returned. Write the name of a step"),
    ("«s[0].x»", "only whole results can be returned. Write the name of a step"),
    ("«s[2]»", "this raised IndexError: 's' has 2 steps, none is 2"),
    ("s[«a»]", KNOWN_BEFORE),
    # what the notebook raises
    ("x = f(1, «one»)", "this raised NameError: name 'one' is not defined. Did you mean 'ones'?"),
    ("report = f(a)\nx = f(«reports»)",
     "this raised NameError: name 'reports' is not defined. Did you mean the step 'report'?"),
    ("x = f() @ «gpu»", "this raised NameError: name 'gpu' is not defined. A resource is a string: \"gpu\""),
    ("x = f() @ ('a', «one»)",
     "this raised NameError: name 'one' is not defined. Did you mean 'ones'? A resource is a string: \"one\""),
    ("x = [f() @ «gpu» for a in ones]",
     "this raised NameError: name 'gpu' is not defined. A resource is a string: \"gpu\""),
    ("x = f() | on(«worker»)", "this raised NameError: name 'worker' is not defined. A node is a string: \"worker\""),
    ("x = f() @ «knid»[0]", "this raised NameError: name 'knid' is not defined"),
    ("x = f(«qqqqq»)", "this raised NameError: name 'qqqqq' is not defined"),
    ("x = f('é漢', [1, «1 / 0»])", "this raised ZeroDivisionError: division by zero"),
    ("x = [f(lambda: 1, «ones[c]») for c in [0, 5]]", "this raised IndexError: list index out of range"),
    ("x = f(sorted(ones, key=lambda c: «c.k»))", "this raised AttributeError: 'int' object has no attribute 'k'"),
    ("x = f(\n  1,\n  «{}['k']»,\n)", "this raised KeyError: 'k'"),
    ("x = f() @ «ones.k»", "this raised AttributeError: 'list' object has no attribute 'k'"),
    ("x = «f(*3)»", "this raised TypeError: Value after * must be an iterable, not int"),
    ("x = f(«fail()»)", "this raised RuntimeError: two lines"),
    # Python
    ("x = f«(»", "not valid Python: '(' was never closed"),
    ("x = f(«1 2»)", "not valid Python: invalid syntax. Perhaps you forgot a comma?"),
    ("x = f(«é é»)", "not valid Python: invalid syntax. Perhaps you forgot a comma?"),
    ("x = f(1)\n«%time x»", MAGIC),
    ("«!ls»", MAGIC),
    ("«x = !ls»", MAGIC),
    ("«x?»", MAGIC),
    ("x = f('«\0»')", "not valid Python: the character '\\x00' cannot stand in code"),
    ("x = f('«\ud800»')", "not valid Python: the character '\\ud800' cannot stand in code"),
]  # fmt: skip


def fail() -> None:
    raise RuntimeError("two\nlines")


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[ascii(text) for text, _ in REFUSED])
def test_what_is_not_in_the_notation_is_refused_at_its_place(text, message):
    text = f"a = f(); s = [f(c) for c in ones + ones]\n{text}"
    before, place, _ = re.split("[«»]", text)

    error = refused(text.translate({ord("«"): None, ord("»"): None}), ones=[1], fail=fail)

    assert str(error) == message
    assert error.line == before.count("\n") + 1
    assert error.column == len(before.rpartition("\n")[2])
    assert error.end_column is None or marked(error) == place
    assert error.text.startswith(before.rpartition("\n")[2])


def test_resources_that_have_no_hash_are_refused():
    assert marked(refused("x = f() @ [['a']]")) == "[['a']]"


def test_an_error_of_the_notebook_keeps_its_cause():
    error = refused("x = f(1 / 0)")

    assert isinstance(error.__cause__, ZeroDivisionError)


def test_an_error_knows_its_step():
    assert refused("x = f(x)").step == "x"
    assert refused("x = [f() | retry(c) for c in [0, -1]]").step == "x[1]"


def test_an_interrupt_is_not_an_error_of_the_notation():
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        parse_workflow("x = f(interrupt())", {"interrupt": interrupt})


def test_an_error_in_an_f_string_stays_on_its_line():
    error = refused("x = f(1)\ny = f(2,\n  f'{nope!r:>3} and {x} more')")

    assert (error.line, error.text) == (3, "  f'{nope!r:>3} and {x} more')")


def test_a_syntax_error_in_an_f_string_is_on_its_line():
    error = refused("x = f(1)\n\ny = f(f'{a b}')")

    assert error.line == 3
    assert str(error).startswith("not valid Python: f-string: invalid syntax")


@pytest.mark.parametrize("text", ["x = f(" + "-" * 100_000 + "1)", "x = f(" + "+".join(["1"] * 100_000) + ")"])
def test_text_on_which_the_parser_gives_up_is_refused(text):
    assert str(refused(text)) == "this is nested too deep for Python to read. Take it apart"


def test_lines_may_end_in_any_way_that_python_knows():
    error = refused("x = f('\f\u2028')\r\ny = f(1)\r\rz = nope")

    assert (error.line, error.text) == (4, "z = nope")


# --- how errors are shown ---


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "x = f(1, nope)",
            """
            line 1:
                x = f(1, nope)
                         ^^^^
            this raised NameError: name 'nope' is not defined""",
        ),
        (
            "x = f('漢字e\u0301',\tnope)",
            """
            line 1:
                x = f('漢字e\u0301', nope)
                               ^^^^
            this raised NameError: name 'nope' is not defined""",
        ),
        (
            "x = f(nope, '" + "b" * 100 + "')",
            """
            line 1:
                x = f(nope, 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb…
                      ^^^^
            this raised NameError: name 'nope' is not defined""",
        ),
        (
            "x = f('" + "a" * 100 + "', nope, '" + "b" * 100 + "')",
            """
            line 1:
                …aaaaaaaaaaaaaaaaaaaaa', nope, 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb…
                                         ^^^^
            this raised NameError: name 'nope' is not defined""",
        ),
        (
            "x = f('" + "a" * 100 + "', nope)",
            """
            line 1:
                …aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', nope)
                                                                                      ^^^^
            this raised NameError: name 'nope' is not defined""",
        ),
    ],
)
def test_an_error_is_shown_with_its_line_and_carets_below_the_place(text, shown):
    assert format_error(refused(text)) == textwrap.dedent(shown).strip("\n")


def test_an_error_without_a_place_is_shown_too():
    assert format_error(NotationError("it is wrong", line=3)) == "line 3:\nit is wrong"
    assert format_error(NotationError("it is wrong", line=3, column=9, text="x =")) == (
        "line 3:\n    x =\n       ^\nit is wrong"
    )


@unhurried
@given(st.text(max_size=300), st.integers(0, 300), st.none() | st.integers(0, 300))
def test_a_shown_error_fits_80_columns(text, column, end_column):
    shown = format_error(NotationError("message", column=column, end_column=end_column, text=text))

    # A combining mark takes no column of its own.
    assert all(sum(not unicodedata.combining(c) for c in line) <= 80 for line in shown.split("\n"))
    assert shown.endswith("\nmessage")


# --- any text, and the way back ---

TOKENS = re.split(
    " ",
    "a b scores x = ( ) [ ] { } , . : @ | * ** + -1 'a' f'{a}' 0 for in if lambda retry(1) on('n') f( [f(c)for c in "
    "xs] await yield := == ; \n ? % ! # \\ import def é 漢 ''' \t",
)


@unhurried
@given(st.text() | st.text(string.printable) | st.lists(st.sampled_from(TOKENS), max_size=25).map(" ".join))
def test_any_text_is_read_or_refused_at_a_place_in_it(text):
    try:
        parse(text)
        return
    except NotationError as exc:
        error = exc
    assert 1 <= error.line <= text.count("\n") + text.count("\r") + 1
    assert 0 <= error.column <= len(error.text)
    assert error.end_column is None or error.column <= error.end_column <= len(error.text)
    assert format_error(error).endswith(str(error))


NAMES = ("a", "b", "rows", "set", "float", "x0", "é", "_")
KEYS = st.text(max_size=3) | st.integers() | st.none()


def values(refs: list[model.Ref]) -> st.SearchStrategy[object]:
    plain = KEYS | st.booleans() | st.floats(allow_nan=False) | st.binary(max_size=3)
    leaves = plain | st.sampled_from(refs) if refs else plain
    return leaves | containers(leaves, leaves | containers(leaves, leaves))


def containers(leaves: st.SearchStrategy[object], items: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    lists = st.lists(items, max_size=3)
    return lists | lists.map(tuple) | st.sets(leaves, max_size=3) | st.dictionaries(KEYS, items, max_size=3)


@st.composite
def steps(draw, name, refs):
    return Step(
        name,
        draw(st.sampled_from(["f", "x0", "pkg.f", name.partition("[")[0]])),
        tuple(draw(st.lists(values(refs), max_size=3))),
        draw(st.dictionaries(st.sampled_from(["k", "class", "not a name", "x0"]), values(refs), max_size=2)),
        draw(st.frozensets(st.sampled_from(["gpu", "b'c"]))),
        draw(st.integers(0, 3)),
        draw(st.floats(0, 10)),
        draw(st.none() | st.floats(0.5, 10)),
        draw(st.none() | st.text(min_size=1, max_size=3)),
        draw(st.none() | st.floats(0.5, 10)),
    )


@st.composite
def workflows(draw):
    """Steps that refer to any others, and fan-outs that refer to those above them."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=5))
    parts = st.sampled_from([(), ("k",), (-1, model.Attr("x")), (model.Attr("step"), 0, "x y")])
    made: list[model.Step] = []
    groups: list[model.Group] = []
    for name in names:
        above = [step.name for step in made]
        refs = [Ref(step, draw(parts)) for step in above]
        if draw(st.booleans()):
            made.append(draw(steps(name, refs)))
            continue
        first = draw(steps(f"{name}[0]", refs))
        through = draw(st.sampled_from(groups)) if groups and draw(st.booleans()) else None
        if through:
            part = draw(parts)
            members = [member(first, name, i, Ref(s, part), first.retries) for i, s in enumerate(through.steps)]
        else:
            columns = draw(st.lists(st.tuples(values([]), st.integers(0, 2)), max_size=3))
            members = [member(first, name, i, *column) for i, column in enumerate(columns)]
        made += members
        groups.append(Group(name, tuple(step.name for step in members)))
    results = [step.name for step in made] + [group.name for group in groups]
    wanted = draw(st.none() | st.lists(st.sampled_from(results), unique=True)) if results else None
    return Workflow(tuple(made), wanted, tuple(groups))


def member(first, name, i, value, retries):
    return Step(
        f"{name}[{i}]",
        first.function,
        (*first.args, value),
        first.kwargs,
        first.resources,
        retries,
        first.backoff_s,
        first.timeout_s,
        first.node,
        first.wait_for_s,
        first.cache,
        first.cache_ttl_s,
    )


@unhurried
@given(workflows())
def test_a_workflow_written_in_the_notation_is_read_as_the_same_workflow(made):
    assert parse_workflow(to_notation(made), {}).workflow == made


@unhurried
@given(workflows(), st.randoms())
def test_the_order_of_the_lines_does_not_change_the_steps(made, random):
    lines = to_notation(Workflow(made.steps, None, made.groups)).splitlines()
    random.shuffle(lines)

    shuffled = parse_workflow("\n".join(lines), {}).workflow

    assert {step.name: step for step in shuffled.steps} == {step.name: step for step in made.steps}
    assert set(shuffled.groups) == set(made.groups)


def test_a_workflow_is_written_as_a_person_would():
    made = Workflow(
        (
            Step("rows", "parse_csv", ("a,b",), resources={"csv"}, retries=3, backoff_s=0.2),
            Step("scores[0]", "score", (1, Ref("rows")["k"]), {"by": "x"}, {"gpu", "b"}, timeout_s=5, node="n"),
            Step("scores[1]", "score", (2, Ref("rows")["k"]), {"by": "x"}, {"gpu", "b"}, timeout_s=5, node="n"),
            Step("best[0]", "best", (Ref("scores[0]").attr("k"),)),
            Step("best[1]", "best", (Ref("scores[1]").attr("k"),)),
            Step("pings[0]", "ping"),
            Step("pings[1]", "ping"),
            Step("total", "total", ([Ref("best[0]"), Ref("best[1]")],)),
        ),
        ("total", "scores[0]", "best"),
        tuple(Group(name, (f"{name}[0]", f"{name}[1]")) for name in ("scores", "best", "pings")),
    )
    text = """\
    rows = parse_csv('a,b') @ 'csv' | retry(3, backoff=0.2)
    scores = [score(x0, rows['k'], by='x') @ ('b', 'gpu') | timeout(5) | on('n') for x0 in [1, 2]]
    best = [best(x0.k) for x0 in scores]
    pings = [ping() for _ in [None] * 2]
    total = total([best[0], best[1]])
    total, scores[0], best
    """

    assert to_notation(made) == textwrap.dedent(text)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            Workflow((Step("x y", "f"),)),
            "the notation needs plain names, and 'x y' is none. Rename it",
        ),
        (
            Workflow((Step("x", "f", (Ref("y").attr("a b"),)),)),
            "the notation needs plain names, and 'a b' is none. Rename it",
        ),
        (
            Workflow((Step("x", "f-g"),)),
            "the notation cannot call 'f-g': it is no plain or dotted name",
        ),
        (
            Workflow((Step("x", "f", (object(),)),)),
            "a object cannot be written in the notation. Pass it in a variable",
        ),
        (
            Workflow((Step("x[0]", "f"), Step("x[1]", "g")), groups=(Group("x", ("x[0]", "x[1]")),)),
            "the fan-out 'x' cannot be written as one line: 'x[1]' is not like its first step",
        ),
        (
            Workflow((Step("x[0]", "f", (1,)), Step("x[1]", "f", (Ref("y"),))), groups=(Group("x", ("x[0]", "x[1]")),)),
            "the fan-out 'x' cannot be written as one line: 'x[1]' is not like its first step",
        ),
    ],
)
def test_what_the_notation_has_no_words_for_is_refused(made, message):
    with pytest.raises(WorkflowError) as caught:
        to_notation(made)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("x = f(g(1))", [("g_1 = g(1)", "x = f(g_1)")]),
        ("x = f(a.g(1), k=[h()]) @ 'r' | retry(2)",
         [("g_1 = a.g(1)", "x = f(g_1, k=[h()]) @ 'r' | retry(2)"),
          ("h_1 = h()", "x = f(a.g(1), k=[h_1]) @ 'r' | retry(2)")]),
        ("g_1 = f()\nx = f(\n  fg(1),\n  g(1))",
         [("fg_1 = fg(1)", "x = f( fg_1, g(1))"), ("g_2 = g(1)", "x = f( fg(1), g_2)")]),
        ("x = f(g(1) + 1)", [("g_1 = g(1)",)]),
        ("x = [f(g(c, h())) for c in cs if c]",
         [("g_1 = [g(c, h()) for c in cs if c]",), ("h_1 = h()",)]),
        ("x = [f(c, g(1)) for c in cs]", [("g_1 = g(1)", "x = [f(c, g_1) for c in cs]")]),
        ("x = f(lambda g: g(1), lambda: g(1), [g(1) for g in gs]) @ r() | on(n())", []),
    ],
)  # fmt: skip
def test_calls_inside_arguments_are_known_and_how_they_become_steps(text, advice):
    draft = parse(text)

    assert [nested.advice for nested in draft.nested()] == advice
    for lines in advice:
        parse("\n".join(lines))
