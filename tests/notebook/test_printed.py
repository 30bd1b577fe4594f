"""Where it is seen what steps print, in a real kernel: with their step and in the cell of their run, in no other."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import pytest
from jupyter_client.blocking.client import BlockingKernelClient

from tests.notebook.real_kernel import WAIT_S, real_kernel, run_cell

pytestmark = [pytest.mark.slow]

# Logging is set up before anything of ours is there: its handler keeps the stream that it finds.
SETUP = """
    import logging, sys, threading, warnings
    logging.basicConfig(level="INFO", format="%(message)s")
    %load_ext mpreg_lab
"""
CLUSTER = """
    %mpreg start 2;
    go = threading.Event()

    @cluster.function
    def noisy(x):
        print("printed", x)
        print("to stderr", x, file=sys.stderr)
        warnings.warn(f"warned {x}")
        logging.getLogger("mine").info("logged %s", x)
        return x

    @cluster.function
    def late(x):
        go.wait()
        print("late", x)
        logging.warning("late too %s", x)
"""
NOISE = (
    "printed {0}\nto stderr {0}\nnotebook cell:8: UserWarning: warned {0}\n"
    '  warnings.warn(f"warned {{x}}")\nlogged {0}\n'
)


@pytest.fixture(scope="module")
def kernel() -> Iterator[BlockingKernelClient]:
    with real_kernel(SETUP) as kernel:
        run_cell(kernel, CLUSTER)
        yield kernel


def run(kernel: BlockingKernelClient, code: str) -> str:
    """What is printed while the cell runs, which must not fail; with a note if it belongs to another cell."""
    cell = kernel.execute(textwrap.dedent(code))
    printed = ""
    while True:
        message = kernel.get_iopub_msg(timeout=WAIT_S)
        kind, content = message["msg_type"], message["content"]
        own = message["parent_header"].get("msg_id") == cell
        assert kind != "error", content["traceback"]
        if kind == "stream":
            printed += content["text"] if own else f"IN ANOTHER CELL: {content['text']}"
        if kind == "status" and own and content["execution_state"] == "idle":
            return printed


def test_it_is_with_the_step_and_nowhere_else(kernel: BlockingKernelClient):
    assert run(kernel, "%%mpreg_workflow -o one\na = noisy(1)") == ""
    assert run(kernel, "print(one.record.steps['a'].printed, end='')") == NOISE.format(1)


def test_what_a_single_call_prints_is_printed_by_its_cell(kernel: BlockingKernelClient):
    assert run(kernel, "cluster.call('noisy', 2);") == NOISE.format(2)
    assert run(kernel, "await cluster.call_async('noisy', 3);") == NOISE.format(3)


def test_two_detached_runs_at_once_have_each_its_own_and_the_cell_that_runs_has_none(kernel: BlockingKernelClient):
    assert run(kernel, "%%mpreg_workflow --detach -o first\na = late('one') | on('node-1')") == ""
    assert run(kernel, "%%mpreg_workflow --detach -o second\na = late('two') | on('node-2')") == ""

    text = run(kernel, "go.set(); first.wait(); second.wait(); print('mine')")

    assert text == "mine\n"
    assert run(kernel, "print(first.record.steps['a'].printed, second.record.steps['a'].printed, end='')") == (
        "late one\nlate too one\n late two\nlate too two\n"
    )


def test_runs_of_two_threads_at_once(kernel: BlockingKernelClient):
    text = run(
        kernel,
        """
        from mpreg_lab import Step, Workflow
        runs = {}
        def begin(x): runs[x] = cluster.run(Workflow([Step("a", "noisy", (x,))]))
        threads = [threading.Thread(target=begin, args=(x,)) for x in "xy"]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads];
        """,
    )

    assert text == ""
    for x in "xy":
        assert f"printed {x}\nto stderr {x}\n" in run(kernel, f"print(runs['{x}'].record.steps['a'].printed)")


def test_the_streams_are_given_back_when_the_last_cluster_ends(kernel: BlockingKernelClient):
    run(kernel, "%mpreg stop")

    assert run(kernel, "print(type(sys.stdout).__name__, type(logging.root.handlers[0].stream).__name__)") == (
        "OutStream OutStream\n"
    )
    assert run(kernel, "logging.info('mine')") == "mine\n"
    run_cell(kernel, CLUSTER)
