"""The client of docs/javascript.md, as it stands there, against the cluster that stands there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mpreg_lab import LocalCluster

DOCS = Path(__file__).parents[1] / "docs"

pytestmark = [
    pytest.mark.skipif(
        shutil.which("node") is None or shutil.which("npm") is None,
        reason="needs Node.js and npm: apt-get install nodejs npm",
    )
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, with what it needs from npm."""
    folder = tmp_path_factory.mktemp("javascript")
    for name in ("package.json", "workflow.mjs"):
        shutil.copy(DOCS / "examples" / name, folder)
    npm = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
    subprocess.run(npm, cwd=folder, check=True, capture_output=True, timeout=150)
    return folder


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    """The cluster that the text makes."""
    [program] = re.findall(r"^```python\n(.*?)^```$", (DOCS / "javascript.md").read_text("utf-8"), re.M | re.S)
    names: dict[str, Any] = {"print": lambda url: None}
    exec(program, names)
    with names["cluster"] as cluster:
        yield cluster


def node(folder: Path, url: str, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["node", "workflow.mjs", url, text],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        env=os.environ | environment,
    )


def test_the_example_prints_what_the_text_says(folder: Path, cluster: LocalCluster):
    ran = node(folder, cluster.url, "3,4,5")

    assert ran.stderr == ""
    assert ran.stdout.strip() in (DOCS / "javascript.md").read_text("utf-8")
    assert json.loads(ran.stdout) == {"report": {"title": "Sum", "total": 12}}


def test_an_error_arrives_as_one(folder: Path, cluster: LocalCluster):
    ran = node(folder, cluster.url, "3,x")

    assert ran.returncode == 1
    assert "step 'numbers': ValueError: invalid literal for int()" in ran.stderr


def test_the_example_has_about_thirty_lines():
    assert len((DOCS / "examples" / "workflow.mjs").read_text("utf-8").splitlines()) <= 35


def test_a_cluster_with_a_token_takes_who_shows_it(folder: Path):
    with LocalCluster({"one": ["csv-parser", "aggregator"]}) as cluster:
        cluster.register(lambda text: [len(text)], name="parse", resources=["csv-parser"])
        cluster.register(lambda numbers, title: numbers, name="aggregate", resources=["aggregator"])
        assert cluster.token is not None

        shown = node(folder, cluster.url, "abc", MPREG_TOKEN=cluster.token)
        hidden = node(folder, cluster.url, "abc")

    assert json.loads(shown.stdout) == {"report": [3]}
    assert hidden.returncode == 1
    assert "401" in hidden.stderr
