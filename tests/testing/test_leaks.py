"""A test that leaves something behind fails, and says what: by really leaving it."""

from __future__ import annotations

from pathlib import Path

from tests.testing.projects import OURS, Outcome, run_pytest

LEAKING = """
import asyncio, socket, threading
import pytest
from mpreg_lab import AsyncClient, Client, LocalCluster
from mpreg_lab.testing import Server, ServerClient

kept = []

async def test_task(no_leaks):
    kept.append(asyncio.create_task(asyncio.Event().wait(), name="lost"))

def test_thread(no_leaks):
    threading.Thread(target=threading.Event().wait, name="stray", daemon=True).start()

def test_socket(no_leaks):
    kept.append(socket.create_server(("127.0.0.1", 0)))

async def test_connection(single_server):
    kept.append(await asyncio.open_connection("127.0.0.1", single_server.settings.port))

async def test_client(single_server):
    await ServerClient(single_server).connect()

def test_server(no_leaks):
    Server().start()

def test_cluster(no_leaks):
    kept.append(LocalCluster(1, name="left"))

def test_blocking_client(single_server):
    kept.append(Client(single_server.url))
    kept[-1].call("echo", 1)

async def test_async_client(single_server):
    kept.append(AsyncClient(single_server.url))
    await kept[-1].connect()

async def test_that_fails_too(no_leaks):
    kept.append(asyncio.create_task(asyncio.Event().wait(), name="lost too"))
    raise AssertionError("its own error")
"""


def run(folder: Path, tests: str, ini: str = "", *arguments: str) -> Outcome:
    head = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
    (folder / "pytest.ini").write_text(head + ini)
    (folder / "test_it.py").write_text(tests)
    # What is left is found again at the end, by Python and by pytest.
    unclosed = ("-Wignore::ResourceWarning", "-Wignore::pytest.PytestUnraisableExceptionWarning")
    return run_pytest(folder, *unclosed, *arguments)


def test_what_is_left_is_named(tmp_path: Path):
    outcome = run(tmp_path, LEAKING)

    assert outcome.counts == {"passed": 9, "failed": 1, "error": 10}, outcome.text
    for line in (
        "task 'lost' (Event.wait) has not ended at ",
        "thread 'stray' runs: ",
        "socket tcp 127.0.0.1:",
        " -> 127.0.0.1:",
        "client of ws://127.0.0.1:",
        "running) was never stopped: await server.stop(), or append it to test_context.servers",
        "cluster 'left' was never stopped",
        "- a Client is connected: client.close()",
        "- AsyncClient of ws://127.0.0.1:",
        "AssertionError: its own error",
        "task 'lost too'",
    ):
        assert line in outcome.text, line


def test_a_leak_can_be_a_warning(tmp_path: Path):
    outcome = run(tmp_path, LEAKING, "mpreg_leaks = warn\n", "-W", "default::mpreg_lab.testing.LeakWarning")

    assert outcome.counts == {"passed": 9, "failed": 1, "warnings": 10}, outcome.text
    assert "LeakWarning: test_it.py::test_thread: the test left behind:" in outcome.text


def test_nobody_need_look(tmp_path: Path):
    (tmp_path / "off").mkdir()
    (tmp_path / "marked").mkdir()

    assert run(tmp_path / "off", LEAKING, "mpreg_leaks = off\n").counts == {"passed": 9, "failed": 1}
    marked = LEAKING.replace("kept = []", "kept = []\npytestmark = pytest.mark.mpreg_leaks('off')")
    assert run(tmp_path / "marked", marked).counts == {"passed": 9, "failed": 1}


def test_a_level_that_there_is_not_is_refused(tmp_path: Path):
    outcome = run(tmp_path, "", "mpreg_leaks = loud\n")

    assert "mpreg_leaks must be 'error', 'warn' or 'off', not 'loud'" in outcome.text


INNOCENT = """
import asyncio, threading
import pytest
from concurrent.futures import ThreadPoolExecutor
from mpreg_lab.testing import Server, ServerClient, ServerSettings

@pytest.fixture(scope="session")
def pool():
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        yield pool

async def test_a_task_that_is_cancelled_and_not_awaited(no_leaks):
    task = asyncio.create_task(asyncio.Event().wait())
    await asyncio.sleep(0)
    task.cancel()

@pytest.mark.parametrize("told", ["shutdown", "cancel"])
async def test_a_server_that_was_told_to_end_and_is_not_awaited(no_leaks, told):
    server = Server()
    task = asyncio.create_task(server.server())
    await server.ready()
    server.shutdown() if told == "shutdown" else task.cancel()

async def test_the_threads_of_the_loop(no_leaks):
    await asyncio.to_thread(int)

def test_a_thread_that_ends(no_leaks):
    threading.Thread(target=int).start()

async def test_what_the_context_owns(test_context):
    test_context.tasks.append(asyncio.create_task(asyncio.Event().wait()))
    test_context.servers.append(await Server().__aenter__())
    test_context.clients.append(await ServerClient(await test_context.serve()).connect())

async def test_a_socket_that_is_closed(single_server):
    _, writer = await asyncio.open_connection("127.0.0.1", single_server.settings.port)
    writer.close()

@pytest.fixture(scope="module")
def trainer():
    with Server() as server:
        yield server

async def test_the_threads_and_links_of_a_wider_server(trainer, no_leaks):
    with Server(ServerSettings(peers=[trainer.url])):
        async with ServerClient(trainer) as client:
            await client.call("echo", 1)

def test_a_thread_of_the_session(pool, no_leaks):
    pool.submit(int).result()
"""


def test_what_ends_by_itself_or_is_owned_is_no_leak(tmp_path: Path):
    outcome = run(tmp_path, INNOCENT)

    assert outcome.counts == {"passed": 9}, outcome.text


INTERRUPTED = """
import threading
from mpreg_lab import Step, Workflow

async def test_it(lab_cluster, recorder):
    def hang():
        threading.Event().wait()

    lab_cluster.register(recorder.wrap(hang))
    lab_cluster.submit(Workflow([Step("a", "hang")]))
    await recorder.started("hang")
    raise KeyboardInterrupt
"""


def test_who_interrupts_hears_no_complaint(tmp_path: Path):
    outcome = run(tmp_path, INTERRUPTED)

    assert "!! KeyboardInterrupt !!" in outcome.text
    assert "left behind" not in outcome.text


STUCK = """
import asyncio
import pytest

async def never():
    await asyncio.Event().wait()

@pytest.mark.timeout(5)
async def test_stuck(single_server):
    await never()
"""


def test_who_is_too_slow_hears_where_it_waits(tmp_path: Path):
    head = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
    (tmp_path / "pytest.ini").write_text(head)
    (tmp_path / "test_it.py").write_text(STUCK)

    outcome = run_pytest(tmp_path, plugins=(OURS, "pytest_asyncio.plugin", "pytest_timeout"))

    assert outcome.counts == {"failed": 1}, outcome.text
    assert "Timeout (>5.0s)" in outcome.text
    assert f"the test awaits at {tmp_path / 'test_it.py'}:6, in never" in outcome.text
