"""The pytest plugin: fixtures for who tests functions and workflows of their own. See docs/testing.md.

Every pytest of an environment with mpreg_lab loads this module: what only a fixture needs is imported in the fixture.
No fixture is async, and nothing lives on the loop of a test: so all of them work with pytest-asyncio in both modes,
with anyio on asyncio, with any scope of loops, and in tests that are not async at all.
"""

from __future__ import annotations

import inspect
import secrets
import warnings
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mpreg_lab.cluster.faults import Faults
    from mpreg_lab.cluster.local import LocalCluster

    from .clients import ServerClient
    from .clock import VirtualClock
    from .context import AsyncTestContext
    from .leaks import Watch
    from .recorder import Recorder
    from .servers import Server

__all__ = [
    "client_factory",
    "cluster_2_servers",
    "cluster_3_servers",
    "enhanced_server",
    "faults",
    "lab_cluster",
    "no_leaks",
    "pytest_addoption",
    "pytest_configure",
    "pytest_runtest_call",
    "recorder",
    "server_factory",
    "single_server",
    "test_context",
    "virtual_clock",
]

LEVELS = ("error", "warn", "off")

_watch: pytest.StashKey[Watch] = pytest.StashKey()
_context: pytest.StashKey[AsyncTestContext] = pytest.StashKey()


# --- hooks ----------------------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option `mpreg_leaks` of pytest's ini file."""
    text = "what happens to a test that uses a fixture of mpreg_lab and leaves something behind: error, warn or off"
    parser.addini("mpreg_leaks", text, default="error")


def pytest_configure(config: pytest.Config) -> None:
    """The marker `mpreg_leaks`."""
    config.addinivalue_line(
        "markers", "mpreg_leaks(level): 'error', 'warn' or 'off': what happens if this test leaves something behind"
    )
    _check_level(config.getini("mpreg_leaks"))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Have an async test end what its context owns on its own loop, and note the tasks that it leaves there."""
    watch = item.stash.get(_watch, None)
    if watch is None:
        return (yield)
    with _watching(item, watch):
        try:
            return (yield)
        except (KeyboardInterrupt, pytest.exit.Exception):
            # What was interrupted has no time to end, and who did it knows why.
            del item.stash[_watch]
            raise


# --- fixtures -------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """The test fails if it leaves a server, client, task, thread or socket behind. All other fixtures here use it."""
    from .leaks import LeakWarning, Watch

    marker = request.node.get_closest_marker("mpreg_leaks")
    level = marker.args[0] if marker is not None and marker.args else request.config.getini("mpreg_leaks")
    _check_level(level)
    # Without complaints it still has contexts ended on the loop of the test.
    watch = request.node.stash[_watch] = Watch()
    yield
    complains = level != "off" and _watch in request.node.stash
    left = watch.left() if complains else []
    if left:
        message = "the test left behind:\n" + "\n".join(f"- {line}" for line in left)
        if level == "error":
            pytest.fail(message, pytrace=False)
        warnings.warn(LeakWarning(f"{request.node.nodeid}: {message}"), stacklevel=1)


@pytest.fixture
def server_factory(no_leaks: None) -> Iterator[Callable[..., Server]]:
    """Gives started servers for fields of ServerSettings, such as `resources={"gpu"}, peers=[other.url]`.

    Servers of one test are of one cluster id, unless told otherwise. They are stopped when the test is over.
    """
    from .servers import Server, ServerSettings

    cluster_id = f"test-{secrets.token_hex(4)}"
    with ExitStack() as stack:

        def start(**fields: Any) -> Server:
            settings = ServerSettings(**{"cluster_id": cluster_id} | fields)
            return stack.enter_context(Server(settings))

        yield start


@pytest.fixture
def single_server(server_factory: Callable[..., Server]) -> Server:
    """A server, `server-1`, which holds `model-a` and `dataset-1`."""
    return server_factory(name="server-1", resources=_held(1))


@pytest.fixture
def cluster_2_servers(server_factory: Callable[..., Server]) -> tuple[Server, Server]:
    """Two servers of one cluster: `server-1` holds `model-a` and `dataset-1`, `server-2` `model-b` and `dataset-2`."""
    first, second = _cluster(server_factory, 2)
    return first, second


@pytest.fixture
def cluster_3_servers(server_factory: Callable[..., Server]) -> tuple[Server, Server, Server]:
    """Three servers of one cluster: as `cluster_2_servers`, and `server-3` holds `model-c` and `dataset-3`."""
    first, second, third = _cluster(server_factory, 3)
    return first, second, third


@pytest.fixture
def enhanced_server(server_factory: Callable[..., Server]) -> Server:
    """A server with the functions of `mpreg_lab.testing.functions`, among them `data_processing` and `ml_inference`."""
    from .functions import ENHANCED

    server = server_factory(name="server-1", resources=_held(1))
    for name, function in ENHANCED.items():
        server.register_command(name, function)
    return server


@pytest.fixture
def client_factory(no_leaks: None) -> Iterator[Callable[..., Awaitable[ServerClient]]]:
    """Gives connected clients for a server, its port or its address; to be awaited."""
    from .clients import ServerClient

    with ExitStack() as stack:

        async def connect(where: Server | str | int, *, token: str | None = None) -> ServerClient:
            __tracebackhide__ = True
            client = ServerClient(where, token=token)
            stack.callback(client.close)
            return await client.connect()

        yield connect


@pytest.fixture
def test_context(request: pytest.FixtureRequest, no_leaks: None) -> Iterator[AsyncTestContext]:
    """An AsyncTestContext. What it owns is ended as soon as the test itself is over, on the test's own loop."""
    from mpreg_lab.loop_thread import LoopThread

    from .context import AsyncTestContext

    context = request.node.stash[_context] = AsyncTestContext()
    yield context
    if not context.empty:
        # The test is not async, or fixtures have added something since.
        loop = LoopThread("mpreg-teardown")
        try:
            loop.call(context.close())
        finally:
            loop.stop()


@pytest.fixture
def lab_cluster(no_leaks: None) -> Iterator[LocalCluster]:
    """A LocalCluster of the nodes `a`, `b` and `c`; `b` and `c` hold `gpu`."""
    from mpreg_lab.cluster.local import LocalCluster

    with LocalCluster({"a": [], "b": ["gpu"], "c": ["gpu"]}) as cluster:
        yield cluster


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> Iterator[Faults]:
    """Faults of the servers that the test asks for, or else of `lab_cluster`; every link is healed afterwards."""
    for name in ("cluster_3_servers", "cluster_2_servers", "single_server", "enhanced_server"):
        if name in request.fixturenames:
            found = request.getfixturevalue(name)
            server: Server = found[0] if isinstance(found, tuple) else found
            faults = server.faults
            break
    else:
        faults = request.getfixturevalue("lab_cluster").faults
    yield faults
    faults.heal()


@pytest.fixture
def recorder(no_leaks: None) -> Recorder:
    """A Recorder of calls: `server.register_command("f", recorder.wrap(f))`, then `recorder.count("f")`."""
    from .recorder import Recorder

    return Recorder()


@pytest.fixture
def virtual_clock() -> VirtualClock:
    """A VirtualClock: workflows whose waits take no time."""
    from .clock import VirtualClock

    return VirtualClock()


# --- helpers --------------------------------------------------------------------------------------------------------


@contextmanager
def _watching(item: pytest.Item, watch: Watch) -> Iterator[None]:
    """Have an async test note what it leaves on its loop."""
    if not isinstance(item, pytest.Function) or not inspect.iscoroutinefunction(item.obj):
        yield
        return
    test = item.obj
    owned = item.stash[_context] if _context in item.stash else nullcontext()
    item.obj = watch.watching(test, owned)
    try:
        yield
    finally:
        item.obj = test


def _cluster(start: Callable[..., Server], count: int) -> list[Server]:
    servers: list[Server] = []
    for number in range(1, count + 1):
        peers = [server.url for server in servers[:1]]
        servers.append(start(name=f"server-{number}", resources=_held(number), peers=peers))
    return servers


def _held(number: int) -> set[str]:
    return {f"model-{'abc'[number - 1]}", f"dataset-{number}"}


def _check_level(level: object) -> None:
    if level not in LEVELS:
        raise pytest.UsageError(f"mpreg_leaks must be 'error', 'warn' or 'off', not {level!r}")
