"""What bad input gets: each row is an input, and all that a person sees of it. Everything goes on after each."""

from __future__ import annotations

import re
import textwrap
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from mpreg_lab.cluster import local
from mpreg_lab.cluster.local import LocalCluster, running_clusters
from mpreg_lab.errors import MpregError
from mpreg_lab.workflow.model import Ref, Step, Workflow

# --- in a cell ----------------------------------------------------------------------------------------------------

SETUP = """import threading
from mpreg_lab import LocalCluster

old = LocalCluster(1, name="old")
old.stop()
cluster = LocalCluster({"ingest": ["csv"], "work": ["gpu"]}, name="lab")
not_a_cluster = 5

@cluster.function(resources="csv")
def parse(text: str, sep: str = ","):
    return text.split(sep)

@cluster.function(resources="gpu")
def train(rows, *, epochs=1):
    if not rows:
        raise ValueError("no rows to train on")
    return len(rows)

@cluster.function(resources="gpu")
def report(rows):
    try:
        return train(rows)
    except ValueError as error:
        raise KeyError("amount") from error

@cluster.function(resources="gpu")
def both():
    raise ExceptionGroup("two things", [ValueError("one"), KeyError("two")])

@cluster.function(resources="gpu")
def leave():
    raise SystemExit(2)

@cluster.function(resources="gpu")
def lock():
    return {"rows": [threading.Lock()]}

@cluster.function(resources="gpu")
def numbers():
    return (x for x in range(3))

@cluster.function(resources="gpu")
async def hang():
    await __import__("asyncio").get_running_loop().create_future()
"""

WITHOUT_CLUSTER = {
    "a workflow": "%%mpreg_workflow\na = echo(1)",
    "its nodes": "%mpreg nodes",
    "its functions": "%mpreg functions",
    "stopping it": "%mpreg stop",
    "its view": "%mpreg view",
    "its runs": "%mpreg compare",
}


def unreadable(line: int, text: str, marks: str, reason: str) -> str:
    return f"""
        NotationError: the workflow cannot be read

        line {line}:
            {text}
            {marks}
        {reason}
    """


CELLS: dict[str, tuple[str, str]] = {
    # --- what cannot be read
    "a syntax error": (
        "a = echo(1",
        unreadable(2, "a = echo(1", "        ^", "not valid Python: '(' was never closed"),
    ),
    "a statement that is no step": (
        "a = echo(1)\nimport os",
        unreadable(3, "import os", "^^^^^^^^^", "an import cannot stand here. Put it in a cell of its own"),
    ),
    "a loop": (
        "for x in [1]:\n    a = echo(x)",
        unreadable(
            2,
            "for x in [1]:",
            "^^^^^^^^^^^^^",
            "a loop cannot stand here. For several calls of one function write name = [function(x) for x in xs]",
        ),
    ),
    "a call without a name": (
        "echo(1)",
        unreadable(2, "echo(1)", "^^^^^^^", "this step has no name. Write name = echo(1)"),
    ),
    "a value that is no call": (
        "a = 1 + 2",
        unreadable(
            2,
            "a = 1 + 2",
            "    ^^^^^",
            "expected a call, such as function(...). Assign other values in a cell of their own",
        ),
    ),
    "a step twice": (
        "a = echo(1)\na = echo(2)",
        unreadable(3, "a = echo(2)", "^", "'a' is a step already, on line 2. Rename one of them"),
    ),
    "a step that refers to itself": (
        "a = echo(a)",
        unreadable(
            2,
            "a = echo(a)",
            "         ^",
            "step 'a' would wait for itself: here 'a' is this step, not a variable of the notebook. Rename one of them",
        ),
    ),
    "an unknown name": (
        "n = train(zebra)",
        unreadable(2, "n = train(zebra)", "          ^^^^^", "this raised NameError: name 'zebra' is not defined"),
    ),
    "a mistyped name": (
        "rows = parse('a,b')\nn = train(row)",
        unreadable(
            3,
            "n = train(row)",
            "          ^^^",
            "this raised NameError: name 'row' is not defined. Did you mean the step 'rows'?",
        ),
    ),
    "a function of the cluster inside an argument": (
        "a = echo([echo( 1 ), 2]) | retry(2)",
        unreadable(
            2,
            "a = echo([echo( 1 ), 2]) | retry(2)",
            "          ^^^^",
            "'echo' is a function of the cluster, but what stands inside an argument runs in the notebook, which has "
            "no such name. Make it a step of its own:\n            echo_1 = echo( 1 )"
            "\n            a = echo([echo_1, 2]) | retry(2)",
        ),
    ),
    "an expression that raises": (
        "a = echo(1 / 0)",
        unreadable(2, "a = echo(1 / 0)", "         ^^^^^", "this raised ZeroDivisionError: division by zero"),
    ),
    "a result that is used too early": (
        "a = echo([1])\nb = echo(a + 1)",
        unreadable(
            3,
            "b = echo(a + 1)",
            "         ^^^^^",
            "'a' is a step: its result exists only when the workflow runs. Make this expression a step of its own: "
            "a function that takes 'a'",
        ),
    ),
    "an unknown option of a step": (
        "a = echo(1) | retyr(3)",
        unreadable(
            2, "a = echo(1) | retyr(3)", "              ^^^^^", "there is no option 'retyr'. Did you mean 'retry'?"
        ),
    ),
    "an impossible option of a step": (
        "a = echo(1) | timeout(0)",
        unreadable(
            2,
            "a = echo(1) | timeout(0)",
            "                      ^",
            "step 'a': timeout(s) takes seconds, more than 0, not 0",
        ),
    ),
    "an unknown result": ("a = echo(1)\nb, a", unreadable(3, "b, a", "^", "'b' is no step. Steps: a")),
    "no steps": (
        "# to do",
        "EmptyWorkflowError: the cell has no steps. Write at least one, such as: hello = echo('hi')",
    ),
    "a cycle": (
        "a = echo(c)\nb = echo(a)\nc = echo(b)",
        """
        CycleError: steps wait for each other: 'a' needs 'c' needs 'b' needs 'a'. Remove one of these references
          line 2: a = echo(c)
        """,
    ),
    # --- what no node can run
    "a mistyped function": (
        "rows = parze('a')",
        """
        UnknownFunctionError: step 'rows': no node has a function 'parze'. Did you mean 'parse'?
          line 2: rows = parze('a')
        """,
    ),
    "an unknown function": (
        "rows = zebra('a')",
        "UnknownFunctionError: step 'rows': no node has a function 'zebra'. Functions: echo, echos, parse, train, "
        "report, both, leave, lock and 2 more. Register it: @cluster.function\n  line 2: rows = zebra('a')",
    ),
    "a resource that nobody has": (
        "rows = parse('a') @ 'quantum'",
        "RoutingError: step 'rows': no node can run function 'parse' with resource ['quantum']. Nodes with 'parse': "
        "ingest. Nodes with 'quantum': none. Add a node: cluster.add('my-node', ['csv', 'quantum'])\n"
        "  line 2: rows = parse('a') @ 'quantum'",
    ),
    "a resource of another node": (
        "rows = parse('a') @ 'gpu'",
        "RoutingError: step 'rows': no node can run function 'parse' with resource ['gpu']. Nodes with 'parse': "
        "ingest. Nodes with 'gpu': work. Move it there: cluster.register(parse, resources=['gpu'])\n"
        "  line 2: rows = parse('a') @ 'gpu'",
    ),
    "an unknown node": (
        "rows = parse('a') | on('wrk')",
        "RoutingError: step 'rows' should run on node 'wrk', which is not in the cluster. Did you mean 'work'?\n"
        "  line 2: rows = parse('a') | on('wrk')",
    ),
    "too many arguments": (
        "rows = parse('a', ',', 3)",
        "ArgumentsError: step 'rows' cannot call parse(text: str, sep: str = ','): 3 positional arguments given, "
        "it takes 2\n  line 2: rows = parse('a', ',', 3)",
    ),
    "too few arguments": (
        "rows = parse()",
        "ArgumentsError: step 'rows' cannot call parse(text: str, sep: str = ','): nothing is given for 'text'\n"
        "  line 2: rows = parse()",
    ),
    "a wrong keyword": (
        "rows = parse('a', separator=';')",
        "ArgumentsError: step 'rows' cannot call parse(text: str, sep: str = ','): it has no parameter 'separator'\n"
        "  line 2: rows = parse('a', separator=';')",
    ),
    "an argument that cannot travel": (
        "a = echo({'x': [threading.Lock()]})",
        "UnserialisableArgumentError: step 'a': argument 1['x'][0] of echo is a lock (_thread.lock), which cannot "
        "travel to another node. Pass plain data\n  line 2: a = echo({'x': [threading.Lock()]})",
    ),
    # --- what fails while it runs
    "a function that raises": (
        "rows = echo([])\nn = train(rows)\nafter = echo(n)\nother = echo(1)",
        """
        Run(4 steps: 2 done, 1 failed, 1 skipped)
        ValueError in step n on node work
          line 3: n = train(rows)

        Traceback (most recent call last):
          File "notebook cell", line 16, in train
            raise ValueError("no rows to train on")
        ValueError: no rows to train on

        Skipped because of that: after
        What succeeded is kept in the run: rows, other
        """,
    ),
    "a function that raises from another error": (
        "a = report([])",
        """
        Run(1 step: 1 failed)
        KeyError in step a on node work
          line 2: a = report([])

        Traceback (most recent call last):
          File "notebook cell", line 22, in report
            return train(rows)
                   ^^^^^^^^^^^
          File "notebook cell", line 16, in train
            raise ValueError("no rows to train on")
        ValueError: no rows to train on

        The above exception was the direct cause of the following exception:

        Traceback (most recent call last):
          File "notebook cell", line 24, in report
            raise KeyError("amount") from error
        KeyError: 'amount'

        No step had succeeded before.
        """,
    ),
    "a function that raises a group": (
        "a = both()",
        """
        Run(1 step: 1 failed)
        ExceptionGroup in step a on node work
          line 2: a = both()

          + Exception Group Traceback (most recent call last):
          |   File "notebook cell", line 28, in both
          |     raise ExceptionGroup("two things", [ValueError("one"), KeyError("two")])
          | ExceptionGroup: two things (2 sub-exceptions)
          +-+---------------- 1 ----------------
            | ValueError: one
            +---------------- 2 ----------------
            | KeyError: 'two'
            +------------------------------------

        No step had succeeded before.
        """,
    ),
    "several functions that raise": (
        "a = train([]) | retry(1)\nb = leave()\nc = echos(a, b)",
        """
        Run(3 steps: 2 failed, 1 skipped)
        2 steps failed: a, b

        ValueError in step a on node work, attempt 2
          line 2: a = train([]) | retry(1)

        Traceback (most recent call last):
          File "notebook cell", line 16, in train
            raise ValueError("no rows to train on")
        ValueError: no rows to train on

        SystemExit in step b on node work
          line 3: b = leave()

        Traceback (most recent call last):
          File "notebook cell", line 32, in leave
            raise SystemExit(2)
        SystemExit: 2

        Skipped because of that: c
        No step had succeeded before.
        """,
    ),
    "a result that cannot travel": (
        "a = lock()\nb = echo(a)",
        "Run(2 steps: 1 failed, 1 skipped)\nUnserialisableResultError in step a on node work\n  line 2: a = lock()\n\n"
        "UnserialisableResultError: step 'a': lock returned what cannot travel to another node: its result['rows'][0] "
        "is a lock (_thread.lock). Return plain data\n\nSkipped because of that: b\nNo step had succeeded before.",
    ),
    "a generator as result": (
        "a = numbers()",
        "Run(1 step: 1 failed)\nUnserialisableResultError in step a on node work\n  line 2: a = numbers()\n\n"
        "UnserialisableResultError: step 'a': numbers returned what cannot travel to another node: its result is a "
        "generator. Return plain data\n\nNo step had succeeded before.",
    ),
    "a reference to what is not there": (
        "a = echo({'x': 1}) | on('work')\nb = echo(a['y']) | on('ingest')",
        """
        Run(2 steps: 1 done, 1 failed)
        ReferenceValueError in step b on node ingest
          line 3: b = echo(a['y']) | on('ingest')

        ReferenceValueError: the reference a['y'] has no value: a is a dict with 1 key ('x'), it has no item 'y'

        What succeeded is kept in the run: a
        """,
    ),
    "a step that takes too long": (
        "a = hang() | timeout(0.5)",
        """
        Run(1 step: 1 failed)
        StepTimeoutError in step a on node work
          line 2: a = hang() | timeout(0.5)

        StepTimeoutError: step 'a' (hang) on node 'work' took longer than 0.5 s; it was running

        No step had succeeded before.
        """,
    ),
}

LINES: dict[str, tuple[str, str]] = {
    "a run that takes too long": (
        "%%mpreg_workflow --timeout 0.5\na = echo(1)\nb = hang()",
        """
        Run(2 steps: 1 done, 1 cancelled)
        RunTimeoutError: the run took longer than 0.5 s. Under way: b

        What succeeded is kept in the run: a
        """,
    ),
    "an unknown option": (
        "%%mpreg_workflow --fast\na = echo(1)",
        "MagicError: %%mpreg_workflow: unrecognized arguments: --fast. %%mpreg_workflow --help lists the options",
    ),
    "a second name": (
        "%%mpreg_workflow a b\na = echo(1)",
        "MagicError: %%mpreg_workflow: unrecognized arguments: b. %%mpreg_workflow --help lists the options",
    ),
    "a time-out in words": (
        "%%mpreg_workflow --timeout soon\na = echo(1)",
        "MagicError: %%mpreg_workflow: argument --timeout: 'soon' is not a number of seconds. "
        "%%mpreg_workflow --help lists the options",
    ),
    "no time at all": (
        "%%mpreg_workflow --timeout 0\na = echo(1)",
        "MagicError: %%mpreg_workflow: argument --timeout: '0' is not a number of seconds. "
        "%%mpreg_workflow --help lists the options",
    ),
    "an option without its value": (
        "%%mpreg_workflow --out\na = echo(1)",
        "MagicError: %%mpreg_workflow: argument -o/--out: expected one argument. "
        "%%mpreg_workflow --help lists the options",
    ),
    "an impossible variable": (
        "%%mpreg_workflow -o 1st\na = echo(1)",
        "MagicError: %%mpreg_workflow: argument -o/--out: '1st' is not a name for a variable. "
        "%%mpreg_workflow --help lists the options",
    ),
    "an open quotation": (
        "%%mpreg_workflow 'story\na = echo(1)",
        "MagicError: %%mpreg_workflow: no closing quotation. Close the quotation mark",
    ),
    "an unknown cluster": (
        "%%mpreg_workflow -c nowhere\na = echo(1)",
        "NoClusterError: there is no running cluster 'nowhere'. Running: lab",
    ),
    "a variable that is no cluster": (
        "%%mpreg_workflow -c not_a_cluster\na = echo(1)",
        "MagicError: not_a_cluster is no cluster, but a value of type int",
    ),
    "a stopped cluster": (
        "%%mpreg_workflow -c old\na = echo(1)",
        "ClusterStoppedError: cluster 'old' was stopped. Launch another: LocalCluster(1)",
    ),
    "a dry run of nothing": (
        "%%mpreg_workflow --dry-run\n# to do",
        "EmptyWorkflowError: the cell has no steps. Write at least one, such as: hello = echo('hi')",
    ),
    "a dry run of what makes no sense": (
        "%%mpreg_workflow --dry-run\na = echo(b)\nb = echo(a)",
        "CycleError: steps wait for each other: 'a' needs 'b' needs 'a'. Remove one of these references\n"
        "  line 2: a = echo(b)",
    ),
    "an unknown verb": (
        "%mpreg strat 3",
        "MagicError: %mpreg has no 'strat'. Did you mean 'start'?",
    ),
    "no nodes": ("%mpreg start 0", "ClusterSpecError: a local cluster has 1 to 200 nodes, not 0"),
    "a number among nodes": (
        "%mpreg start ingest=csv 3",
        "MagicError: %mpreg start: '3' is no node. Write a number, or name=resource,resource for each",
    ),
    "a number below 1": (
        "%mpreg start -1",
        "MagicError: %mpreg start: '-1' is no node. Write a number, or name=resource,resource for each",
    ),
    "slots in words": (
        "%mpreg start 3 --slots many",
        "MagicError: %mpreg start: argument --slots: 'many' is not a whole number, 0 or more. "
        "%mpreg start --help lists the options",
    ),
    "an unknown transport": (
        "%mpreg start 3 --transport pigeon",
        "MagicError: %mpreg start: argument --transport: 'pigeon' is none of memory, ws. "
        "%mpreg start --help lists the options",
    ),
    "stopping an unknown cluster": (
        "%mpreg stop nowhere",
        "NoClusterError: there is no running cluster 'nowhere'. Running: lab",
    ),
    "a status of something": (
        "%mpreg status lab",
        "MagicError: %mpreg status: unrecognized arguments: lab. %mpreg status --help lists the options",
    ),
    "comparing what has not run": (
        "%mpreg compare",
        "MagicError: %mpreg compare: there are not two runs yet. Run the workflow once more: %mpreg rerun",
    ),
    "comparing with what is no run": (
        "%mpreg compare not_a_cluster",
        "MagicError: not_a_cluster is no run, but a value of type int",
    ),
    "a variable that is not there": (
        "%mpreg wait nothing",
        "MagicError: there is no run 'nothing'. Name a variable, or its number in %mpreg runs. "
        "Variables that hold one: none",
    ),
    "running nothing again": (
        "%mpreg rerun",
        "MagicError: there is no run -1: nothing has run yet. %mpreg runs lists them",
    ),
    "a part that runs do not have": (
        "%mpreg run --only picture",
        "MagicError: %mpreg run: argument --only: 'picture' is none of graph, timeline, latency, frame, events, "
        "faults. %mpreg run --help lists the options",
    ),
    "a file of an unknown form": (
        "%mpreg export run.txt",
        "MagicError: %mpreg export: the name 'run.txt' does not tell in which form to write. End it with one of "
        ".svg .mmd .mermaid .dot .gv .trace.json .json .py, or say --format svg|mermaid|dot|trace|json|python",
    ),
    "a form that there is not": (
        "%mpreg export run --format png",
        "MagicError: %mpreg export: argument --format: 'png' is none of svg, mermaid, dot, trace, json, python. "
        "%mpreg export --help lists the options",
    ),
    "a file that is not there": (
        "%mpreg open nowhere.json",
        "MagicError: %mpreg open: nowhere.json cannot be read: No such file or directory",
    ),
    "taking away what is not there": (
        "%mpreg unregister trian",
        "MagicError: %mpreg unregister: the cluster has no function 'trian'. Did you mean 'train'?",
    ),
    "an unknown example": (
        "%mpreg demo workflos",
        "MagicError: %mpreg demo: there is no example 'workflos'. Did you mean 'workflows'?",
    ),
    "an example in the place of something else": (
        "%mpreg demo workflows --as not_a_cluster",
        "MagicError: the variable 'not_a_cluster' holds a value of type int. Choose another for the cluster: "
        "%mpreg demo workflows --as my_cluster",
    ),
    "the view of a stopped cluster": (
        "%mpreg view nowhere",
        "NoClusterError: there is no running cluster 'nowhere'. Running: lab",
    ),
}


@pytest.fixture(scope="module")
def bare_shell() -> Iterator[InteractiveShell]:
    shell = InteractiveShell()
    shell.run_cell("%load_ext mpreg_lab")
    yield shell
    assert shell.history_manager is not None
    shell.history_manager.end_session()
    InteractiveShell.clear_instance()


@pytest.fixture
def shell(bare_shell: InteractiveShell) -> Iterator[InteractiveShell]:
    bare_shell.run_cell(SETUP).raise_error()
    known = set(bare_shell.user_ns)
    yield bare_shell
    for cluster in running_clusters():
        cluster.stop()
    for name in set(bare_shell.user_ns) - known:
        if not name.startswith("_"):
            del bare_shell.user_ns[name]


def shown(shell: InteractiveShell, cell: str) -> str:
    """All that a person sees of a cell that fails."""
    with capture_output() as captured:
        done = shell.run_cell(cell)
    assert not done.success
    return re.sub(r"\x1b\[[0-9;]*m", "", captured.stdout + captured.stderr).strip()


def whole(message: str) -> str:
    return textwrap.dedent(message).strip()


@pytest.mark.parametrize("cell", WITHOUT_CLUSTER.values(), ids=WITHOUT_CLUSTER)
def test_without_a_cluster_a_magic_says_how_to_start_one(bare_shell: InteractiveShell, cell: str):
    with LocalCluster(1, name="gone"):
        pass
    after = shown(bare_shell, cell)
    local._newest.clear()
    never = shown(bare_shell, cell)

    start = "Start one: cluster = LocalCluster(3), or %mpreg start 3"
    assert after == f"NoClusterError: no cluster runs any more, 'gone' has ended. {start}"
    assert never == f"NoClusterError: there is no cluster yet. {start}"


@pytest.mark.parametrize(
    ("cell", "message"),
    [*((f"%%mpreg_workflow\n{cell}", message) for cell, message in CELLS.values()), *LINES.values()],
    ids=[*CELLS, *LINES],
)
def test_a_cell_says_what_is_wrong_and_all_goes_on(shell: InteractiveShell, cell: str, message: str):
    text = shown(shell, cell)

    assert text == whole(message)
    assert "mpreg_lab/" not in text
    assert "interactiveshell.py" not in text

    with capture_output():
        good = shell.run_cell("%%mpreg_workflow\nrows = parse('a,b')\nn = train(rows)")
    good.raise_error()
    assert good.result.results == {"n": 2}


def test_a_failed_cell_leaves_its_run_where_it_was_asked_for(shell: InteractiveShell):
    shown(shell, "%%mpreg_workflow -o kept\nrows = parse('a,b')\nn = train([])")
    kept = shell.user_ns["kept"]

    assert kept.results == {"rows": ["a", "b"]}
    assert [step.name for step in kept.record.failed] == ["n"]


# --- in Python ----------------------------------------------------------------------------------------------------


def one(function: str, *args: Any, **options: Any) -> Workflow:
    return Workflow([Step("s", function, args, **options)])


CALLS: dict[str, tuple[Callable[[LocalCluster], object], str]] = {
    "no steps": (
        lambda cluster: cluster.run(Workflow([])),
        "EmptyWorkflowError: the workflow has no steps. Give it at least one, such as "
        "Step('hello', 'echo', args=('hi',))",
    ),
    "a cycle": (
        lambda cluster: cluster.run(Workflow([Step("a", "echo", (Ref("b"),)), Step("b", "echo", (Ref("a"),))])),
        "CycleError: steps wait for each other: 'a' needs 'b' needs 'a'. Remove one of these references",
    ),
    "a step twice": (
        lambda cluster: cluster.run(Workflow([Step("a", "echo", (1,)), Step("a", "echo", (2,))])),
        "DuplicateStepError: two steps are called 'a'. Rename one of them",
    ),
    "an unknown name": (
        lambda cluster: cluster.run(Workflow([Step("rows", "echo", (1,)), Step("n", "echo", (Ref("row"),))])),
        "UnknownStepError: step 'n' refers to 'row', which is no step of this workflow. Did you mean 'rows'?",
    ),
    "an unknown result": (
        lambda cluster: cluster.run(Workflow([Step("rows", "echo", (1,))], returns=["row"])),
        "UnknownStepError: the workflow should return 'row', which is none of its steps. Did you mean 'rows'?",
    ),
    "an unknown function": (
        lambda cluster: cluster.call("ecko", 1),
        "UnknownFunctionError: step 'ecko': no node has a function 'ecko'. Did you mean 'echo'?",
    ),
    "a missing resource": (
        lambda cluster: cluster.run(one("echo", 1, resources="gpu")),
        "RoutingError: step 's': no node can run function 'echo' with resource ['gpu']. "
        "Nodes with 'echo': node-1, node-2. Nodes with 'gpu': none. Add a node: cluster.add('my-node', ['gpu'])",
    ),
    "a wrong argument count": (
        lambda cluster: cluster.call("echo", 1, 2),
        "ArgumentsError: step 'echo' cannot call echo(value: Any) -> Any: 2 positional arguments given, it takes 1",
    ),
    "a wrong keyword": (
        lambda cluster: cluster.call("echo", values=1),
        "ArgumentsError: step 'echo' cannot call echo(value: Any) -> Any: it has no parameter 'values'",
    ),
    "an argument that cannot travel": (
        lambda cluster: cluster.call("echo", threading.Lock()),
        "UnserialisableArgumentError: step 'echo': argument 1 of echo is a lock (_thread.lock), which cannot travel to "
        "another node. Pass plain data",
    ),
    "a wrong step": (
        lambda cluster: one("echo", 1, retries=-1),
        "InvalidStepError: step 's': retries must be a whole number, 0 or more, not -1",
    ),
    "a bad time-out": (
        lambda cluster: cluster.run(one("echo", 1), timeout=0),
        "WorkflowError: timeout must be seconds, more than 0, not 0",
    ),
    "a time-out in words": (
        lambda cluster: cluster.submit(one("echo", 1), timeout="soon"),  # type: ignore[arg-type]
        "WorkflowError: timeout must be seconds, more than 0, not 'soon'",
    ),
    "an unknown step of a run": (
        lambda cluster: cluster.run(one("echo", 1))["t"],
        "UnknownStepError: the run has no step 't'. Its steps: s",
    ),
    "a function that is none": (
        lambda cluster: cluster.register("echo"),  # type: ignore[arg-type]
        "FunctionError: only something that can be called can be registered, not 'echo'",
    ),
    "resources that no node has": (
        lambda cluster: cluster.register(len, resources=["gpu"]),
        "FunctionError: no node holds the resources of function 'len': 'gpu'. They hold: node-1: none; node-2: none. "
        "Add a node: cluster.add('my-node', ['gpu'])",
    ),
    "half a character in the name of a node": (
        lambda cluster: LocalCluster({"a\ud800": []}),
        "ClusterSpecError: the name of a node cannot have half a character in it, as 'a\\ud800' has. Leave it out",
    ),
    "half a character in the name of a resource": (
        lambda cluster: cluster.add("more", ["b\udfff"]),
        "ClusterSpecError: the name of a resource cannot have half a character in it, as 'b\\udfff' has. Leave it out",
    ),
    "half a character in the name of a cluster": (
        lambda cluster: LocalCluster(1, name="\udc00"),
        "ClusterSpecError: the name of a cluster cannot have half a character in it, as '\\udc00' has. Leave it out",
    ),
    "half a character in the name of a function": (
        lambda cluster: cluster.register(print, name="p\ud800"),
        "FunctionError: the name of a function cannot have half a character in it, as 'p\\ud800' has",
    ),
    "no nodes": (lambda cluster: LocalCluster(0), "ClusterSpecError: a local cluster has 1 to 200 nodes, not 0"),
    "nodes in a list": (
        lambda cluster: LocalCluster(["a", "b"]),  # type: ignore[arg-type]
        "ClusterSpecError: a cluster is described by a number of nodes, or by a dict of names and resources such as "
        "{'worker': ['gpu']}, not by ['a', 'b']",
    ),
    "an unknown transport": (
        lambda cluster: LocalCluster(1, transport="pigeon"),  # type: ignore[arg-type]
        "ClusterSpecError: transport must be 'memory' or 'ws', not 'pigeon'",
    ),
    "a node twice": (
        lambda cluster: cluster.add("node-1"),
        "ClusterSpecError: there is a node 'node-1' already. A dead one: cluster.restart('node-1')",
    ),
}


@pytest.fixture(params=["memory", "ws"])
def cluster(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    with LocalCluster(2, transport=request.param) as cluster:
        yield cluster


@pytest.mark.parametrize(("use", "message"), CALLS.values(), ids=CALLS)
def test_a_verb_says_what_is_wrong_and_all_goes_on(
    cluster: LocalCluster, use: Callable[[LocalCluster], object], message: str
):
    with pytest.raises(MpregError) as caught:
        use(cluster)

    assert f"{type(caught.value).__name__}: {caught.value}" == message
    assert cluster.call("echo", 1) == 1
