"""Projects of strangers, in folders of their own: their tests are run by a pytest of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["OURS", "SAMPLES", "Outcome", "run_pytest"]

SAMPLES = """
from mpreg_lab import RPCCommand

data = [" 3", 4, None, 8]


{mark}
async def test_my_feature(single_server, client_factory):
    client = await client_factory(single_server.settings.port)
    assert await client.call("echo", "test_data") == "test_data"


{mark}
async def test_distributed_feature(cluster_2_servers, client_factory):
    server1, server2 = cluster_2_servers
    client = await client_factory(server1.settings.port)
    server2.register_command("there", lambda: "second", ["model-b"])
    assert await client.call("there", locs=frozenset(["model-b"])) == "second"


{mark}
async def test_workflow(enhanced_server, client_factory):
    client = await client_factory(enhanced_server.settings.port)
    result = await client._client.request([
        RPCCommand(name="step1", fun="process_data", args=(data,)),
        RPCCommand(name="step2", fun="analyze", args=("step1",)),
        RPCCommand(name="final", fun="format", args=("step2",)),
    ])
    assert result == {{"final": "Results\\n- count: 3\\n- least: 4\\n- most: 8\\n- mean: 6.0"}}


{mark}
async def test_context(test_context, cluster_3_servers):
    first = cluster_3_servers[0]
    server = await test_context.serve(peers=[first.url], cluster_id=first.settings.cluster_id)
    client = await test_context.connect(server)
    test_context.spawn(client.call("echo", 1))
    assert len(server.nodes) == 4


def test_without_a_loop(single_server, recorder, virtual_clock):
    from mpreg_lab import Client

    single_server.register_command("f", recorder.wrap(lambda x: x, name="f"))
    with Client(single_server.url) as client:
        assert client.call("f", 2) == 2
    assert [(call.args, call.node) for call in recorder.calls] == [((2,), "server-1")]
"""
"""The samples of the documentation, word for word, and some more; `mark` is what an async test needs."""


class Outcome(NamedTuple):
    """How a run of pytest ended: counts such as {"passed": 3, "errors": 1}, and all that it said."""

    counts: Mapping[str, int]
    text: str


OURS = "mpreg_lab.testing.plugin"


def run_pytest(
    folder: Path,
    *arguments: str,
    plugins: Sequence[str] = (OURS, "pytest_asyncio.plugin"),
    python: Path | str = sys.executable,
) -> Outcome:
    """Run the tests in a folder, in a process of their own, with warnings as errors.

    Args:
        plugins: What is loaded, and nothing else: that is quicker. Empty: what has entry points, as for strangers.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    load = [f"-p{name}" for name in plugins]
    done = subprocess.run(
        [str(python), "-m", "pytest", "-q", "-rA", "-W", "error", "-pno:cacheprovider", *load, *arguments, "."],
        cwd=folder,
        env=environment | ({"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} if plugins else {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    text = done.stdout + done.stderr
    last = text.strip().splitlines()[-1] if text.strip() else ""
    counts = {
        word.removesuffix("s") if word == "errors" else word: int(n) for n, word in re.findall(r"(\d+) (\w+)", last)
    }
    return Outcome({name: n for name, n in counts.items() if name in ("passed", "failed", "error", "warnings")}, text)
