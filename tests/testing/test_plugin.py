"""The plugin in projects of strangers: every way of running async tests, in parallel, in any order, again and again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.testing.projects import OURS, SAMPLES, run_pytest

HEAVY = {
    "asyncio",
    "websockets",
    "pytest_asyncio",
    "IPython",
    "pandas",
    "matplotlib",
    "numpy",
}

AUTO = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
STRICT = "[pytest]\nasyncio_mode = strict\nasyncio_default_fixture_loop_scope = function\n"
SESSION = AUTO.replace("= function", "= session") + "asyncio_default_test_loop_scope = session\n"
ANYIO = "import pytest\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"


def project(folder: Path, ini: str, *, mark: str = "", conftest: str = "") -> Path:
    """A project with the samples as its tests."""
    (folder / "pytest.ini").write_text(ini)
    (folder / "conftest.py").write_text(conftest)
    (folder / "test_samples.py").write_text("import pytest\n" + SAMPLES.format(mark=mark))
    return folder


@pytest.mark.parametrize(
    ("ini", "mark", "conftest", "plugins"),
    [
        pytest.param(AUTO, "", "", (OURS, "pytest_asyncio.plugin"), id="auto"),
        pytest.param(STRICT, "@pytest.mark.asyncio", "", (OURS, "pytest_asyncio.plugin"), id="strict"),
        pytest.param(SESSION, "", "", (OURS, "pytest_asyncio.plugin"), id="one loop for all"),
        pytest.param(
            STRICT,
            "@pytest.mark.asyncio(loop_scope='module')",
            "",
            (OURS, "pytest_asyncio.plugin"),
            id="a loop for the module",
        ),
        pytest.param("[pytest]\n", "@pytest.mark.anyio", ANYIO, (OURS, "anyio.pytest_plugin"), id="anyio alone"),
        pytest.param(
            STRICT,
            "@pytest.mark.anyio",
            ANYIO,
            (OURS, "anyio.pytest_plugin", "pytest_asyncio.plugin"),
            id="anyio beside pytest-asyncio",
        ),
    ],
)
def test_the_samples_run_as_written(tmp_path: Path, ini: str, mark: str, conftest: str, plugins: tuple[str, ...]):
    outcome = run_pytest(project(tmp_path, ini, mark=mark, conftest=conftest), plugins=plugins)

    assert outcome.counts == {"passed": 5}, outcome.text


@pytest.mark.slow
def test_the_samples_run_in_parallel_in_any_order_and_again(tmp_path: Path):
    folder = project(tmp_path, AUTO)
    for number in range(3):
        (folder / f"test_again_{number}.py").write_text((folder / "test_samples.py").read_text())

    outcome = run_pytest(folder, "-n4", "--random-order", plugins=("mpreg_lab", "asyncio", "xdist", "random_order"))

    assert outcome.counts == {"passed": 20}, outcome.text


def test_pytest_without_a_plugin_for_async_tests_loads_it_too(tmp_path: Path):
    (tmp_path / "test_sync.py").write_text("def test_it(single_server):\n    assert single_server.running\n")

    outcome = run_pytest(tmp_path, plugins=(OURS,))

    assert outcome.counts == {"passed": 1}, outcome.text


def test_a_loop_that_is_not_asyncios_is_told_so(tmp_path: Path):
    (tmp_path / "test_trio.py").write_text(
        "import pytest\n\n@pytest.fixture\ndef anyio_backend():\n    return 'trio'\n\n"
        "@pytest.mark.anyio\nasync def test_it(single_server, client_factory):\n"
        "    await client_factory(single_server)\n"
    )

    outcome = run_pytest(tmp_path, plugins=(OURS, "anyio.pytest_plugin"))

    assert outcome.counts == {"failed": 1}, outcome.text
    assert "MpregError: servers and clients are awaited on a loop of asyncio" in outcome.text


def test_the_plugin_is_found_by_its_entry_point_and_listed(tmp_path: Path):
    (tmp_path / "pytest.ini").write_text(AUTO)

    text = run_pytest(tmp_path, "--fixtures", plugins=()).text

    for name in (
        "single_server",
        "cluster_2_servers",
        "client_factory",
        "test_context",
        "lab_cluster",
        "virtual_clock",
    ):
        assert f"{name} -- " in text


def test_loading_the_plugin_loads_nothing_that_only_fixtures_need():
    code = (
        "import sys, pytest; before = set(sys.modules); import mpreg_lab.testing.plugin; "
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())

    assert "mpreg_lab.testing.plugin" in loaded
    assert loaded & HEAVY == set()
    assert {name for name in loaded if name.startswith("mpreg_lab.testing.")} == {"mpreg_lab.testing.plugin"}


def test_a_plugin_that_loads_more_would_be_seen():
    code = "import sys, pytest; import mpreg_lab.testing.servers; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert set(done.stdout.split()) & HEAVY >= {"asyncio"}


def test_faults_are_those_of_the_servers_that_a_test_asks_for(tmp_path: Path):
    (tmp_path / "pytest.ini").write_text(AUTO)
    (tmp_path / "test_faults.py").write_text(
        """
import pytest
from mpreg_lab.errors import NodeLostError, RoutingError
from mpreg_lab.testing.faults import Cut, Kill

async def test_servers(cluster_2_servers, faults, client_factory):
    first, second = cluster_2_servers
    second.register_command("f", lambda: "here")
    client = await client_factory(first)
    faults.kill("server-2")
    with pytest.raises((RoutingError, NodeLostError)):
        await client.call("f")
    faults.restart("server-2")
    assert await client.call("f") == "here"
    faults.delay("server-1", "server-2", 0.001)
    assert await client.call("f") == "here"
    assert [type(done.action).__name__ for done in faults.log] == ["Kill", "Restart", "Delay"]

def test_cluster(lab_cluster, faults):
    faults.cut("a", "b")
    assert lab_cluster.call("echo", 1) == 1
    assert [done.action for done in faults.log] == [Cut("a", "b")]

def test_cluster_that_is_not_asked_for(faults, lab_cluster):
    faults.kill("b")
    assert [done.action for done in lab_cluster.faults.log] == [Kill("b")]
"""
    )

    outcome = run_pytest(tmp_path)

    assert outcome.counts == {"passed": 3}, outcome.text
