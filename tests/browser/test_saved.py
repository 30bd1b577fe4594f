"""Runs of a notebook that was saved with its live views, opened without a kernel."""

import pytest
from playwright.sync_api import expect

from tests.browser.lab import Lab
from tests.saved_notebook import CELLS, CLUSTER, COMPARED, DETACHED, FAILED, FORTY, RUN, TIMELINE, notebook

LOADED = "images => images.every(image => image.complete && image.naturalWidth > 0)"


@pytest.mark.parametrize("how", ["untrusted", "trusted", "with_another_kernel"])
def test_everything_can_be_read_without_the_live_views(lab: Lab, how: str):
    lives = lab.page.get_by_text("Loading widget").or_(lab.page.get_by_text("Error displaying widget"))
    if how == "with_another_kernel":
        lab.open("saved_anew.ipynb", notebook())
    else:
        lab.read(f"saved_{how}.ipynb", notebook())
    if how != "untrusted":
        lab.trust()
        expect(lives).to_have_count(6)

    for cell in (RUN, FAILED, FORTY, DETACHED):
        static = lab.output(CELLS.index(cell)).locator(".mpreg-run-static")
        expect(static).to_be_visible()
        static.get_by_text("Steps", exact=True).click()
        expect(static.locator("table").last).to_be_visible()
        static.get_by_text("Timeline", exact=True).click()
        expect(static.get_by_role("img", name="Timeline")).to_be_visible()
    expect(lab.output(CELLS.index(COMPARED)).locator(".mpreg-comparison img")).to_be_visible()
    expect(lab.output(CELLS.index(TIMELINE)).locator("img")).to_be_visible()
    expect(lab.output(CELLS.index(CLUSTER)).locator(".mpreg-cluster-static img")).to_be_visible()
    assert lab.page.locator(".jp-OutputArea img").evaluate_all(LOADED)
    lab.screenshot(f"saved_{how}")
    for line in lives.all():
        expect(line).to_be_hidden()
