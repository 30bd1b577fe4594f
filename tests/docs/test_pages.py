"""Every code block of the guide runs, or says why not; the guide is built without a warning."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mpreg_lab.errors
import mpreg_lab.testing
from tests.docs.pages import PAGES, ROOT, blocks

BLOCKS = [block for page in PAGES for block in blocks(page)]
PAGES_WITH_CODE = sorted({block.page for block in BLOCKS if block.language == "python" and block.mark is None})


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=lambda page: page.stem)
def test_a_reader_can_run_the_page(page: Path, tmp_path: Path):
    command = [sys.executable, "-W", "error", "-m", "tests.docs.pages", str(page.relative_to(ROOT))]
    # Some write files: not into the repository.
    inside = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=tmp_path, env=inside, capture_output=True, text=True, timeout=55, check=False)

    assert ran.returncode == 0, ran.stderr[-3000:] + ran.stdout[-1000:]


@pytest.mark.parametrize(
    "block",
    [block for block in BLOCKS if block.language != "python" or block.mark is not None],
    ids=lambda block: f"{block.page.stem}-{block.line}",
)
def test_what_is_not_run_there_says_why(block):
    assert block.mark is not None, f"{block.page.name}:{block.line}: say who runs it, or why nobody does"
    kind, text = block.mark
    if kind == "run by":
        assert (ROOT / text).is_file()
    elif kind == "command":
        assert f"readme_command {text}" in (ROOT / ".ci" / "run").read_text()


def test_a_block_that_lies_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 1\nx + 1  # 3\n```\n")
    run = f"from pathlib import Path; from tests.docs.pages import run_page; run_page(Path({str(page)!r}))"
    ran = subprocess.run([sys.executable, "-c", run], cwd=ROOT, capture_output=True, text=True, check=False)

    assert ran.returncode == 1
    assert "page.md:1: x + 1  # 3\ngave 2" in ran.stderr


def test_every_public_name_is_in_the_reference():
    hooks = {"load_ipython_extension", "unload_ipython_extension"}
    errors = set(mpreg_lab.errors.__all__)  # of a module that is there as a whole
    told = set(re.findall(r"^\.\. auto\w+:: (\w+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE))

    assert told == {*mpreg_lab.__all__, *mpreg_lab.testing.__all__} - hooks - errors


def test_the_repository_is_named_in_one_place():
    repository = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
    owner = re.fullmatch(r"https://github.com/([^/]+)/mpreg_lab", repository)

    assert owner
    found = re.findall(r"mybinder\.org/v2/gh/([^/]+)/mpreg_lab", (ROOT / "README.md").read_text())
    assert found
    assert set(found) == {owner[1]}, "change [project.urls] in pyproject.toml, and the badge in the README with it"


@pytest.mark.slow
def test_the_guide_is_built_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "docs", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert built.returncode == 0, built.stderr
    first = (tmp_path / "tutorials" / "01_first_workflow.html").read_text()
    assert "data:image/svg+xml;base64," in first, "a page has no kernel: it shows the picture that was stored"
