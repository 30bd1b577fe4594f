"""Every example of docs/testing.md, and that of the README, runs as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import PAGES, blocks
from tests.testing.projects import run_pytest

TEXT = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
OURS = ("run by", "tests/testing/test_docs.py")
EXAMPLES = [b.text for page in PAGES for b in blocks(page) if b.language == "python" and b.mark == OURS]


def test_every_example_runs(tmp_path: Path):
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
    )
    for number, example in enumerate(EXAMPLES):
        (tmp_path / f"test_example_{number:02}.py").write_text(f"import asyncio\n{example}\n")

    outcome = run_pytest(tmp_path)

    assert outcome.counts == {"passed": sum(example.count("def test_") for example in EXAMPLES)}, outcome.text


def test_every_fixture_and_every_public_name_is_documented():
    from mpreg_lab import testing
    from mpreg_lab.testing import plugin

    fixtures = {name for name in plugin.__all__ if not name.startswith("pytest_")}
    assert {name for name in fixtures if f"| `{name}` |" not in TEXT} == set()
    told_elsewhere = {"LeakWarning", "Ran", "Recorded", "Recorder", "VirtualClock"}  # by their fixtures
    assert {name for name in testing.__all__ if name not in TEXT} <= told_elsewhere


@pytest.mark.parametrize("word", ["TODO", "sleep(0."])
def test_no_example_has_to_wait(word: str):
    assert word not in TEXT
