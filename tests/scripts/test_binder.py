"""What Binder is told, without Binder: versions are pinned, fit the package, and the package is all that is missing."""

import os
import re
import subprocess
import sys
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.browser.lab import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = {
    canonicalize_name(name): version
    for name, version in (
        line.split("==")
        for line in (ROOT / "binder" / "requirements.txt").read_text().splitlines()
        if not line.startswith("#")
    )
}


TUTORIALS_NEED = ("dask", "examples", "test")
"""Who has read the first tutorial on Binder goes on to the others there."""


def test_every_dependency_of_the_package_and_the_tutorials_is_pinned_to_a_version_that_fits():
    extras = PROJECT["optional-dependencies"]
    for text in (*PROJECT["dependencies"], *(text for extra in TUTORIALS_NEED for text in extras[extra])):
        needed = Requirement(text)

        assert canonicalize_name(needed.name) in PINS, f"{needed.name} is not in binder/requirements.txt"
        assert PINS[canonicalize_name(needed.name)] in needed.specifier


def test_python_and_jupyter_are_pinned():
    version = (ROOT / "binder" / "runtime.txt").read_text().strip()

    assert re.fullmatch(r"python-3\.\d+", version)
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(version.removeprefix("python-"))
    assert {"jupyterlab", "notebook", "ipykernel"} <= PINS.keys()


def test_post_build_can_be_run_and_is_good_bash():
    script = ROOT / "binder" / "postBuild"

    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0


RENDER = """
from repo2docker.app import Repo2Docker

app = Repo2Docker()
pack = next(pack for pack in (kind(app.base_image) for kind in app.buildpacks) if pack.detect())
pack.platform = "linux/amd64"
print(type(pack).__name__, pack.python_version)
print(pack.render({}))
"""


def test_repo2docker_finds_all_that_it_needs():
    # In a process of its own: importing it warns of a library that it uses.
    command = [sys.executable, "-W", "ignore", "-c", RENDER]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    first, recipe = said.split("\n", 1)

    assert first == f"PythonBuildPack {(ROOT / 'binder' / 'runtime.txt').read_text().strip().removeprefix('python-')}"
    assert "binder/requirements.txt" in recipe
    assert "binder/postBuild" in recipe
