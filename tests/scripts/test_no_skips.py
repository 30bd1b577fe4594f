"""Where everything is installed, nothing is skipped."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

SKIPS = """
import pytest

def test_skips_itself():
    pytest.skip("no browser")

@pytest.mark.skip
def test_is_marked(): ...

@pytest.mark.xfail(reason="known")
def test_is_known():
    assert False

def test_passes(): ...
"""


def test_every_kind_of_skip_is_a_failure_and_nothing_else_is(tmp_path: Path):
    (tmp_path / "test_skips.py").write_text(SKIPS)
    (tmp_path / "test_module.py").write_text("import pytest\npytest.importorskip('no_such_library')")
    options = ["-p", "tests.no_skips", "-p", "no:cacheprovider", "-c", "/dev/null", "--continue-on-collection-errors"]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    # Skipped in the body: failed. By a mark: an error while it is set up. As a module: an error while it is collected.
    assert "1 failed, 1 passed, 1 xfailed, 2 errors" in done.stdout.splitlines()[-1]
    assert "was skipped" in done.stdout
