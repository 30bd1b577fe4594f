"""Notebook 7: what works in JupyterLab works there."""

from playwright.sync_api import expect

from tests.browser.lab import Notebook7, notebook_of
from tests.browser.test_cancel import AFTER, SETUP, WHAT_IS_LEFT, WORKFLOW


def test_a_run_is_shown_looked_into_and_cancelled_while_its_cell_is_blocked(notebook_7: Notebook7):
    notebook_7.open("seven.ipynb", notebook_of([SETUP, WORKFLOW, AFTER, "cluster"]))
    view = notebook_7.output(1).locator(".mpreg-run")
    notebook_7.start_all()
    expect(view.locator(".mpreg-headline")).to_contain_text("1 running")

    view.get_by_role("button", name="rows").first.click()
    expect(view.locator(".mpreg-panel")).to_contain_text("ingest")
    view.locator(".mpreg-panel").get_by_role("button", name="Show", exact=True).click()
    expect(view.locator(".mpreg-panel")).to_contain_text("[0, 1, 2, 3, 4]")
    notebook_7.screenshot("seven_blocked", notebook_7.cell(1))
    notebook_7.page.keyboard.press("Escape")
    view.get_by_role("button", name="Cancel").click()

    assert not notebook_7.finished()
    expect(view.locator(".mpreg-headline")).to_contain_text("1 done, 1 cancelled")
    expect(notebook_7.output(1)).to_contain_text("RunCancelledError")
    expect(notebook_7.output(1).locator(".mpreg-run-static")).to_be_hidden()
    assert notebook_7.run_cell(2)
    expect(notebook_7.output(2)).to_contain_text(WHAT_IS_LEFT)
    assert notebook_7.run_cell(3)
    expect(notebook_7.output(3).locator(".mpreg-cluster .mpreg-headline")).to_have_text("2 nodes: 2 up")
    notebook_7.screenshot("seven_all")
