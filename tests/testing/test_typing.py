"""People who type-check their tests get types: mypy --strict on a project of a stranger."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = """
from collections.abc import Awaitable, Callable

import pytest

from mpreg_lab import RPCCommand, Step, Workflow
from mpreg_lab.testing import (
    AsyncTestContext,
    Recorder,
    Server,
    ServerClient,
    ServerSettings,
    VirtualClock,
    assert_steps_ran,
    record_snapshot,
)


async def test_it(
    cluster_2_servers: tuple[Server, Server],
    client_factory: Callable[..., Awaitable[ServerClient]],
    test_context: AsyncTestContext,
    recorder: Recorder,
) -> None:
    first, _ = cluster_2_servers
    first.register_command("double", recorder.wrap(double), ["gpu"])
    client = await client_factory(first.settings.port)
    results: dict[str, object] = await client.request([RPCCommand(name="a", fun="double", args=(1,), locs={"gpu"})])
    assert results == {"a": 2}
    server = await test_context.serve(ServerSettings(port=0, resources=["gpu"]))
    reveal_type(server.settings.port)
    reveal_type(recorder.wrap(double))
    run = await client.run(Workflow([Step("a", "double", (1,))]))
    assert_steps_ran(run, "a", attempts={"a": 1})


def double(x: int) -> int:
    return 2 * x


def test_time(virtual_clock: VirtualClock) -> None:
    ran = virtual_clock.run(Workflow([Step("a", "double", (1,))]), {"double": double})
    assert_steps_ran(ran, "a")
    reveal_type(record_snapshot(ran))
    ServerSettings(port="9001")
"""


@pytest.mark.slow
def test_a_project_that_uses_the_plugin_is_checked_strictly(tmp_path: Path):
    (tmp_path / "test_typed.py").write_text(PROJECT)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "test_typed.py"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert [line.partition("note: ")[2].replace("builtins.", "") for line in done.stdout.splitlines()] == [
        'Revealed type is "int"',
        'Revealed type is "def (x: int) -> int"',
        'Revealed type is "dict[str, Any]"',
        "",
    ], done.stdout + done.stderr
    assert 'Argument "port" to "ServerSettings" has incompatible type "str"' in done.stdout
