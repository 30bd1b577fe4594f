"""The page about magics says what they read."""

from pathlib import Path

from mpreg_lab.notebook.reference import reference


def test_the_page_is_what_the_code_says():
    page = Path(__file__).parents[2] / "docs" / "magics.md"

    assert page.read_text(encoding="utf-8") == reference(), "python scripts/magics.py --write"
