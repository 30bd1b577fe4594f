"""What people get: the wheel, built from the sdist, in an environment with nothing else, far from the repository."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.testing.projects import SAMPLES, run_pytest

ROOT = Path(__file__).parents[2]

SMOKE = """
import pathlib, sys
import mpreg_lab
from mpreg_lab import Client, LocalCluster, Ref, Step, Workflow
from mpreg_lab.errors import MpregError

assert sys.prefix in mpreg_lab.__file__, mpreg_lab.__file__
with LocalCluster({"a": [], "b": ["gpu"]}) as cluster:
    cluster.register(sum, name="total", resources=["gpu"])
    run = cluster.run(Workflow([Step("x", "total", ([1, 2],)), Step("y", "total", ([Ref("x"), 3],))]))
    assert run.results == {"y": 6}, run.results
    assert len(run.frame()) == 2
    assert "<svg" in run.to_svg()
    with Client(cluster.url) as client:
        assert client.call("echo", 1) == 1
"""


def said(*command: object, cwd: Path) -> str:
    """What the command printed; fails if the command does."""
    # Nothing of this environment may help it along.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)  # it fetches and installs all that a user has
def test_the_wheel_works_for_a_stranger(tmp_path: Path):
    dist, home, project = tmp_path / "dist", tmp_path / "env", tmp_path / "project"
    project.mkdir()
    said(sys.executable, "-m", "build", "--no-isolation", "--outdir", dist, ROOT, cwd=tmp_path)
    (wheel,) = dist.glob("*.whl")
    (sdist,) = dist.glob("*.tar.gz")
    assert files_of_the_package() <= set(zipfile.ZipFile(wheel).namelist())
    assert {"LICENSE", "mpreg_lab/examples/data/orange_juice.LICENSE.txt"} == licences_in(wheel)
    with tarfile.open(sdist) as archive:
        assert {"tests/testing/test_plugin.py", "pyproject.toml"} <= {
            name.partition("/")[2] for name in archive.getnames()
        }

    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    said(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"{wheel}[test]", cwd=tmp_path)

    said(python, "-c", SMOKE, cwd=project)
    assert "report" in said(home / "bin" / "mpreg-lab", "demo", cwd=project)
    (project / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
    )
    (project / "test_samples.py").write_text(SAMPLES.format(mark=""))
    outcome = run_pytest(project, plugins=(), python=python)
    assert outcome.counts == {"passed": 5}, outcome.text


def licences_in(wheel: Path) -> set[str]:
    """The texts that stand behind the licence field, which names more than one licence because of the data."""
    return {name.partition("/licenses/")[2] for name in zipfile.ZipFile(wheel).namelist() if "/licenses/" in name}


def files_of_the_package() -> set[str]:
    """All that git keeps below the package: also scripts, styles, data and py.typed."""
    listed = said("git", "ls-files", "mpreg_lab", cwd=ROOT).splitlines()
    assert "mpreg_lab/py.typed" in listed
    return {name for name in listed if (ROOT / name).exists()}
