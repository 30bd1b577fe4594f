"""What goes on while a cell waits: a real kernel, spoken to as a notebook does."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

pytestmark = [pytest.mark.slow]

WAIT_S = 30

Message = dict[str, Any]

SETUP = """
    %load_ext mpreg_lab
    import asyncio, signal, threading
    from ipywidgets import Button
    from mpreg_lab import LocalCluster, Step, Workflow
    cluster = LocalCluster(1)
    begun, stopped = threading.Event(), threading.Event()

    @cluster.function
    async def forever():
        begun.set()
        try: await asyncio.Event().wait()
        finally: stopped.set()

    endless = Workflow([Step("a", "forever")])
    order, ticks = [], 0

    async def tick():
        global ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)

    async def say_that_tasks_go_on():
        while not begun.is_set(): await asyncio.sleep(0.001)
        before = ticks
        while ticks < before + 20: await asyncio.sleep(0.001)
        print("others go on")

    ticking = asyncio.create_task(tick())
"""

WORKFLOW = "%%mpreg_workflow -o run\na = forever()"
BLOCKING = {
    "workflow": WORKFLOW,
    "run": "cluster.run(endless)",
    "wait": "cluster.submit(endless).wait()",
    "wait in an async cell": "await asyncio.sleep(0)\ncluster.submit(endless).wait()",
}
UNTIL_MAIN_THREAD_WAITS = """
    import sys, traceback
    def stack(): return traceback.format_stack(sys._current_frames()[threading.main_thread().ident])
    while "in plain_wait" not in "".join(stack()): pass
"""
AWAITING = {
    "run_async": "await cluster.run_async(endless)",
    "await": "run = cluster.submit(endless)\nawait run",
}


class Notebook:
    """A kernel and what it said."""

    def __init__(self, manager: KernelManager) -> None:
        self.manager = manager
        self.client = manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=WAIT_S)
        self.said: list[Message] = []

    def send(self, code: str, subshell: str | None = None, *, stop_on_error: bool = False) -> str:
        """Ask for a cell to be run; its id. With `stop_on_error`, cells behind it are given up if it fails."""
        content = {"code": textwrap.dedent(code), "silent": False, "stop_on_error": stop_on_error}
        return self._send("execute_request", content, subshell)

    def start(self, code: str, *, stop_on_error: bool = False) -> str:
        """Have a cell run `forever`, and come back when the kernel turns its loop meanwhile; its id."""
        self.run("saying = asyncio.create_task(say_that_tasks_go_on())")
        cell = self.send(code, stop_on_error=stop_on_error)
        self.until(says("others go on"))
        return cell

    def run(self, code: str, subshell: str | None = None) -> str:
        """What the cell prints; it must not fail."""
        cell = self.send(code, subshell)
        assert self.reply(cell)["status"] == "ok", self.said
        self.until(is_idle(cell))
        return self.printed(cell)

    def until(self, wanted: Callable[[Message], object]) -> Message:
        """Wait for a message that the kernel publishes, or has published."""
        for message in self.said:
            if wanted(message):
                return message
        while True:
            message = self.client.get_iopub_msg(timeout=WAIT_S)
            self.said.append(message)
            if wanted(message):
                return message

    def reply(self, cell: str) -> Message:
        """Wait for the answer to a cell, which must be the next to be answered."""
        message = self.client.get_shell_msg(timeout=WAIT_S)
        while message["msg_type"] != "execute_reply":
            message = self.client.get_shell_msg(timeout=WAIT_S)
        assert message["parent_header"]["msg_id"] == cell
        content: Message = message["content"]
        return content

    def printed(self, request: str) -> str:
        return "".join(m["content"]["text"] for m in self.said if of(m, request, "stream"))

    def statuses(self, request: str) -> list[str]:
        return [m["content"]["execution_state"] for m in self.said if of(m, request, "status")]

    def opened(self, cell: str, trait: str, value: object = None) -> str:
        """Wait for the widget with this trait, and value if it is given; its id."""

        def is_it(message: Message) -> bool:
            state: Message = message["content"]["data"]["state"] if of(message, cell, "comm_open") else {}
            return trait in state and value in (None, state[trait])

        return str(self.until(is_it)["content"]["comm_id"])

    def shown(self, cell: str) -> str:
        """Wait for the view of a run, as nobody clicks before they see it; its id."""
        self.until(lambda m: of(m, cell, "display_data"))
        return self.opened(cell, "scene")

    def click(self, widget: str, content: Message, subshell: str | None = None) -> str:
        """As a widget does in the page; the id of the message."""
        return self._send("comm_msg", {"comm_id": widget, "data": {"method": "custom", "content": content}}, subshell)

    def subshell(self) -> str:
        """Open a subshell, as JupyterLab does for widgets."""
        self.client.control_channel.send(self.client.session.msg("create_subshell_request"))
        return str(self._control_reply("create_subshell_reply")["subshell_id"])

    def interrupt(self, how: str) -> None:
        """As JupyterLab does: by a signal; or by a message, as kernels elsewhere are."""
        if how == "signal":
            self.manager.interrupt_kernel()
        else:
            self.client.control_channel.send(self.client.session.msg("interrupt_request"))
            self._control_reply("interrupt_reply")

    def _send(self, kind: str, content: Message, subshell: str | None) -> str:
        message = self.client.session.msg(kind, content)
        if subshell is not None:
            message["header"]["subshell_id"] = subshell
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def _control_reply(self, kind: str) -> Message:
        reply = self.client.get_control_msg(timeout=WAIT_S)
        assert reply["msg_type"] == kind
        content: Message = reply["content"]
        return content


def of(message: Message, request: str, kind: str) -> bool:
    return (message["msg_type"], message["parent_header"].get("msg_id")) == (kind, request)


def is_idle(request: str) -> Callable[[Message], bool]:
    return lambda m: of(m, request, "status") and m["content"]["execution_state"] == "idle"


def says(text: str) -> Callable[[Message], bool]:
    return lambda m: m["msg_type"] == "stream" and text in m["content"]["text"]


@contextlib.contextmanager
def started() -> Iterator[Notebook]:
    manager = KernelManager()
    manager.start_kernel()
    try:
        notebook = Notebook(manager)
        notebook.run(SETUP)
        yield notebook
        notebook.client.stop_channels()
    finally:
        manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def kernel() -> Iterator[Notebook]:
    with started() as notebook:
        yield notebook


@pytest.fixture
def notebook(kernel: Notebook) -> Notebook:
    kernel.run("order.clear(), begun.clear(), stopped.clear()")
    kernel.said.clear()
    return kernel


@pytest.fixture(params=[False, True], ids=["comms in the main shell", "comms over a subshell"])
def subshell(request: pytest.FixtureRequest, kernel: Notebook) -> str | None:
    return kernel.subshell() if request.param else None


def test_cancel_is_heard_while_the_cell_waits(notebook: Notebook, subshell: str | None):
    cell = notebook.send(WORKFLOW)
    view = notebook.shown(cell)

    click = notebook.click(view, {"kind": "cancel"}, subshell)

    assert notebook.reply(cell)["ename"] == "RunCancelledError"
    notebook.until(is_idle(cell))
    assert notebook.statuses(click) == ["busy", "idle"]
    assert notebook.run("print(run.status, cluster.call('echo', 'alive'))") == "cancelled alive\n"


def test_widgets_and_tasks_go_on_and_queued_cells_run_afterwards_in_order(notebook: Notebook, subshell: str | None):
    notebook.run("saying = asyncio.create_task(say_that_tasks_go_on())")
    waits = notebook.send(
        """
        button, run = Button(), cluster.submit(endless)
        button.on_click(lambda _: (order.append("click"), run.cancel()))
        run.join()
        order.append("cell")
        """
    )
    early = [notebook.send(f"order.append({n})") for n in range(3)]
    button = notebook.opened(waits, "description")
    notebook.until(says("others go on"))
    late = [notebook.send(f"order.append({n})") for n in range(3, 6)]

    click = notebook.click(button, {"event": "click"}, subshell)

    for cell in (waits, *early, *late):
        assert notebook.reply(cell)["status"] == "ok"
        notebook.until(is_idle(cell))
    assert notebook.statuses(click) == ["busy", "idle"]
    assert all(notebook.statuses(cell) == ["busy", "idle"] for cell in (*early, *late))
    assert notebook.run("print(order)") == "['click', 'cell', 0, 1, 2, 3, 4, 5]\n"


@pytest.mark.parametrize("how", ["signal", "message"])
@pytest.mark.parametrize("code", BLOCKING.values(), ids=BLOCKING)
def test_an_interrupt_cancels_the_run_and_the_cluster_lives_on(notebook: Notebook, code: str, how: str):
    handler = notebook.run("print(signal.getsignal(signal.SIGINT))")
    cell = notebook.start(code)

    notebook.interrupt(how)

    assert notebook.reply(cell)["ename"] == "KeyboardInterrupt"
    assert notebook.run("print(stopped.wait(30), cluster.call('echo', 'alive'))") == "True alive\n"
    assert notebook.run("print(signal.getsignal(signal.SIGINT))") == handler
    assert notebook.run("print(ticking.done())") == "False\n"


@pytest.mark.parametrize("code", AWAITING.values(), ids=AWAITING)
def test_an_interrupt_cancels_a_run_that_is_awaited(notebook: Notebook, code: str):
    cell = notebook.start(code)

    notebook.interrupt("signal")

    reply = notebook.reply(cell)
    assert reply["ename"] == "CancelledError"
    assert "stopped while it awaited a run; the run was cancelled" in reply["traceback"][0]
    assert not any("File" in line for line in reply["traceback"])
    assert notebook.run("print(stopped.wait(30), cluster.call('echo', 'alive'))") == "True alive\n"


def test_cells_that_are_queued_behind_an_interrupted_one_are_given_up_like_behind_any_other(notebook: Notebook):
    cell = notebook.start("cluster.run(endless)", stop_on_error=True)
    queued = notebook.send("order.append('queued')")
    notebook.run("pass", notebook.subshell())  # the message before has come in, too

    notebook.interrupt("signal")

    assert notebook.reply(cell)["ename"] == "KeyboardInterrupt"
    assert notebook.reply(queued)["status"] == "aborted"


def test_a_second_interrupt_ends_a_callback_that_hangs(notebook: Notebook):
    cell = notebook.send(
        """
        async def hang():
            begun.wait()
            print("hangs", flush=True)
            while True: pass

        hanging = asyncio.create_task(hang())
        cluster.run(endless)
        """
    )
    notebook.until(says("hangs"))

    notebook.interrupt("signal")
    assert notebook.run("print(stopped.wait(30))", notebook.subshell()) == "True\n"  # although the first goes on
    notebook.interrupt("signal")

    assert notebook.reply(cell)["ename"] == "KeyboardInterrupt"
    assert notebook.run("print(ticking.done())") == "False\n"


def test_a_callback_may_wait_for_another_run_meanwhile(notebook: Notebook):
    cell = notebook.send(
        """
        wait, stop = Button(tooltip="wait"), Button(tooltip="stop")
        inner, run = cluster.submit(endless), cluster.submit(endless)
        wait.on_click(lambda _: (inner.join(), order.append("inner")))
        stop.on_click(lambda _: (run.cancel(), inner.cancel()))
        run.join()
        """
    )
    queued = notebook.send("order.append('queued')")

    click = notebook.click(notebook.opened(cell, "tooltip", "wait"), {"event": "click"})
    notebook.until(lambda m: of(m, click, "status"))
    notebook.click(notebook.opened(cell, "tooltip", "stop"), {"event": "click"})

    assert [notebook.reply(cell)["status"], notebook.reply(queued)["status"]] == ["ok", "ok"]
    assert notebook.run("print(order)") == "['inner', 'queued']\n"


def test_what_a_widget_prints_is_not_the_cells_and_one_that_fails_does_no_harm(notebook: Notebook):
    cell = notebook.send(
        """
        bad, good, run = Button(tooltip="bad"), Button(tooltip="good"), cluster.submit(endless)
        bad.on_click(lambda _: 1 / 0)
        good.on_click(lambda _: (print("from the widget"), run.cancel()))
        run.join()
        print("from the cell")
        """
    )

    notebook.click(notebook.opened(cell, "tooltip", "bad"), {"event": "click"})
    click = notebook.click(notebook.opened(cell, "tooltip", "good"), {"event": "click"})

    assert notebook.reply(cell)["status"] == "ok"
    notebook.until(is_idle(cell))
    assert notebook.printed(click) == "from the widget\n"
    assert notebook.printed(cell) == "from the cell\n"


def test_a_time_out_ends_the_wait_and_not_the_run(notebook: Notebook):
    said = notebook.run(
        """
        run = cluster.submit(endless)
        try: run.wait(0.1)
        except TimeoutError: print(run.status)
        run.cancel(), run.join(), print(run.status)
        """
    )

    assert said == "running\ncancelled\n"


def test_nothing_of_asyncio_or_the_kernel_is_changed_for_good(notebook: Notebook):
    look = """
        loop, manager = asyncio.get_running_loop(), get_ipython().kernel.shell_channel_thread.manager
        print(asyncio.Task, asyncio.Future, asyncio.tasks.Task, asyncio.run, asyncio.get_event_loop,
              asyncio.get_event_loop_policy().get_event_loop.__module__, cluster._loop.loop._run_once.__module__,
              manager._shell_channel_to_main.to_stream._recv_callback, signal.getsignal(signal.SIGINT))
    """
    before = notebook.run(look)

    notebook.run("run = cluster.submit(endless)\nrun.join(0.1), run.cancel(), run.join()")

    assert notebook.run(look) == before
    assert "_asyncio.Task" in before
    assert "nest" not in before


def test_a_detached_run_is_there_at_once_and_its_view_goes_on(notebook: Notebook, subshell: str | None):
    cell = notebook.send(f"{WORKFLOW.replace('run', 'run --detach', 1)}")
    assert notebook.reply(cell)["status"] == "ok"
    view = notebook.shown(cell)
    assert notebook.run("print(run.status)") == "running\n"

    notebook.click(view, {"kind": "cancel"}, subshell)

    notebook.until(lambda m: m["msg_type"] == "comm_msg" and "1 cancelled" in str(m["content"]["data"]))
    assert notebook.run("print(run.status)") == "cancelled\n"


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        ("del get_ipython().kernel._parent_ident", "this kernel has no _parent_ident"),
        (
            "asyncio.get_running_loop()._nest_patched = True",
            "the archived nest_asyncio was applied to its loop; use nest_asyncio2",
        ),
    ],
    ids=["a part is missing", "archived nest_asyncio"],
)
def test_a_kernel_that_is_not_as_expected_waits_plainly_and_says_so_once(odd: str, reason: str):
    said = f"mpreg_lab: While a cell waits for a run, Cancel and asyncio tasks wait too: {reason}. Stop works.\n"
    with started() as notebook:
        notebook.run(odd)
        assert notebook.run("run = cluster.submit(endless)\nrun.join(0.1)") == said
        cell = notebook.send("run.join()")
        notebook.run(UNTIL_MAIN_THREAD_WAITS, notebook.subshell())

        notebook.interrupt("signal")

        assert notebook.reply(cell)["ename"] == "KeyboardInterrupt"
        notebook.until(is_idle(cell))
        assert notebook.printed(cell) == ""


def test_a_kernel_that_is_shut_down_does_not_wait_for_the_cell():
    with started() as notebook:
        notebook.start("cluster.run(endless)")

        notebook.client.shutdown()

        notebook.manager.provisioner.process.wait()  # type: ignore[union-attr]
