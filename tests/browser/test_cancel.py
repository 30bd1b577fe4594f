"""Cancel and Stop, pressed by a mouse while a cell waits."""

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.lab import Lab, notebook_of

SETUP = """
%load_ext mpreg_lab
import asyncio
from mpreg_lab import LocalCluster
cluster = LocalCluster({"ingest": ["data"], "work": ["gpu"]})

@cluster.function(resources=["data"])
def load(n): return list(range(n))

@cluster.function(resources=["gpu"])
async def train(rows): await asyncio.Event().wait()
"""
WORKFLOW = "%%mpreg_workflow -o run\nrows  = load(5)\nmodel = train(rows)"
AFTER = "print(run.status, run['rows'], cluster.call('echo', 'the cluster lives on'))"
WHAT_IS_LEFT = "cancelled [0, 1, 2, 3, 4] the cluster lives on"


@pytest.fixture
def blocked(lab: Lab) -> Lab:
    """A notebook whose second cell waits for a step that never ends."""
    return wait_in_second_cell(lab)


def wait_in_second_cell(lab: Lab, comms: str = "perCommTarget") -> Lab:
    """Run it; `comms` is JupyterLab's setting of where messages of widgets go, "perCommTarget" its default."""
    lab.open("blocked.ipynb", notebook_of([SETUP, WORKFLOW, AFTER]))
    kernel = "jupyterapp.shell.currentWidget.sessionContext.session.kernel"
    assert lab.page.evaluate(f"{kernel}.commsOverSubshells") == "perCommTarget"
    lab.page.evaluate(f"(comms) => ({kernel}.commsOverSubshells = comms)", comms)
    lab.start_all()
    expect(headline(lab)).to_contain_text("1 running")
    return lab


def headline(lab: Lab) -> Locator:
    return lab.output(1).locator(".mpreg-headline")


@pytest.mark.parametrize("comms", ["disabled", "perCommTarget", "perComm"])
def test_cancel_works_while_the_cell_is_blocked(lab: Lab, comms: str):
    blocked = wait_in_second_cell(lab, comms)

    blocked.output(1).get_by_role("button", name="Cancel").click()

    assert not blocked.finished()
    expect(headline(blocked)).to_contain_text("1 done, 1 cancelled")
    expect(blocked.output(1)).to_contain_text("RunCancelledError")
    blocked.screenshot("cancel_button", blocked.cell(1))
    assert blocked.run_cell(2)
    expect(blocked.output(2)).to_contain_text(WHAT_IS_LEFT)


def test_stop_cancels_the_run(blocked: Lab):
    blocked.page.get_by_role("button", name="Interrupt the kernel").click()

    assert not blocked.finished()
    expect(headline(blocked)).to_contain_text("1 done, 1 cancelled")
    expect(blocked.output(1)).to_contain_text("KeyboardInterrupt")
    expect(blocked.output(1)).not_to_contain_text("mpreg_lab/")
    blocked.screenshot("cancel_stop", blocked.cell(1))
    assert blocked.run_cell(2)
    expect(blocked.output(2)).to_contain_text(WHAT_IS_LEFT)


def test_a_detached_run_goes_on_and_can_be_cancelled(lab: Lab):
    detached = WORKFLOW.replace("-o run", "-o run --detach")
    lab.open("detached.ipynb", notebook_of([SETUP, detached, "print(run.status)"]))

    assert lab.run_all()

    expect(headline(lab)).to_contain_text("1 running")
    expect(lab.output(2)).to_contain_text("running")
    lab.screenshot("cancel_detached", lab.cell(1))
    lab.output(1).get_by_role("button", name="Cancel").click()
    expect(headline(lab)).to_contain_text("1 done, 1 cancelled")


def test_a_restart_does_not_wait_for_the_run(blocked: Lab):
    blocked.restart()

    assert not blocked.run_cell(2)
    expect(blocked.output(2)).to_contain_text("name 'run' is not defined")
