"""Tab and Shift-Tab in a workflow cell, in a real JupyterLab."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from .lab import Lab, notebook_of

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CELLS = [
    """%load_ext mpreg_lab
%mpreg start ingest=csv work=gpu;""",
    """%%mpreg_functions -r csv
def parse_csv(text: str, sep: str = ",") -> list:
    "Take a text apart."
    return text.split(sep)""",
    "%%mpreg_workflow\nrows = ",
]


def test_tab_offers_functions_keywords_and_resources_and_shift_tab_tells_of_them(lab: Lab):
    lab.open("hints.ipynb", notebook_of(CELLS))
    assert lab.run_cell(0)
    assert lab.run_cell(1)
    keyboard = lab.page.keyboard
    items = lab.page.locator(".jp-Completer-item .jp-Completer-match, .jp-Completer-item code")

    lab.cell(2).locator(".cm-content").click()
    keyboard.press("Control+End")
    keyboard.press("Tab")
    expect(items.filter(has_text="parse_csv").first).to_be_visible()
    lab.screenshot("hints_functions", of=lab.page.locator("#main"))
    keyboard.press("Escape")

    keyboard.type("par")
    keyboard.press("Tab")
    expect(items.filter(has_text="parse_csv").first).to_be_visible()
    keyboard.press("Enter")
    expect(lab.cell(2).locator(".cm-content")).to_contain_text("rows = parse_csv")

    keyboard.type("(")
    keyboard.press("Shift+Tab")
    tooltip = lab.page.locator(".jp-Tooltip")
    expect(tooltip).to_contain_text("parse_csv(text: str, sep: str = ',') -> list")
    expect(tooltip).to_contain_text("Take a text apart.")
    lab.screenshot("hints_signature", of=lab.page.locator("#main"))
    keyboard.press("Escape")
