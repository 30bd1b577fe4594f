"""The view of a cluster as a person uses it: by mouse, by keyboard, during a cell, saved, and with bad names."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, expect

from tests.browser.lab import Lab, notebook_of

CLUSTER = """
from mpreg_lab import LocalCluster, Step, Workflow
held = {"ingest": ["csv-parser"], "process": ["data-cleaner", "aggregator"], "output": ["formatter"], "spare": []}
cluster = LocalCluster(held, name="lab")

@cluster.function(resources=["csv-parser"])
def parse_csv(text: str) -> list: return text.splitlines()

@cluster.function
async def wait_for_ever(): await __import__("asyncio").Event().wait()
"""
PARTITION = """
runs = [cluster.submit(Workflow([Step("s", "wait_for_ever", node="output")])) for _ in range(3)]
while cluster.status().nodes[2].running < 3: pass
cluster.faults.partition(["ingest", "spare", "output", "fifth"], ["process"])
cluster.faults.delay("ingest", "spare", 0.05)
"""
HOSTILE = '<img src=x onerror=\\"window.hacked=1\\">'
BAD_NAMES = f"""
bad = LocalCluster({{"{HOSTILE}": ["<b>gpu</b>"], "</title><script>window.hacked=1</script>": []}}, name="{HOSTILE}")
bad.view()
"""


def view(lab: Lab, cell: int = 1) -> Locator:
    return lab.output(cell).locator(".mpreg-cluster")


def headline(lab: Lab, cell: int = 1) -> Locator:
    return view(lab, cell).locator(".mpreg-headline")


def node(lab: Lab, name: str) -> Locator:
    return (
        view(lab).get_by_role("group", name="Nodes of the cluster").get_by_role("button", name=re.compile(f"^{name}"))
    )


def press(lab: Lab, label: str) -> None:
    """A button in the panel."""
    view(lab).locator(".mpreg-panel").get_by_role("button", name=label, exact=True).click()


def dark(lab: Lab) -> None:
    lab.page.evaluate("jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
    expect(view(lab)).to_have_attribute("data-theme", "dark")


def test_nodes_and_links_are_shown_and_changed_by_mouse_and_keyboard(lab: Lab):
    lab.open("cluster.ipynb", notebook_of([CLUSTER, "cluster", PARTITION, "cluster.faults.heal()", "cluster.stop()"]))
    assert lab.run_cell(0)
    assert lab.run_cell(1)
    expect(headline(lab)).to_have_text("4 nodes: 4 up")
    lab.screenshot("cluster_view", view(lab))

    node(lab, "process").click()
    expect(view(lab).locator(".mpreg-panel")).to_contain_text("2 resources")
    press(lab, "Kill")
    expect(headline(lab)).to_have_text("4 nodes: 3 up, 1 dead")
    expect(node(lab, "process: dead")).to_be_visible()
    lab.screenshot("cluster_dead", view(lab))
    press(lab, "Start")
    expect(headline(lab)).to_have_text("4 nodes: 4 up")
    lab.page.keyboard.press("Escape")
    expect(view(lab).locator(".mpreg-panel")).to_be_hidden()

    node(lab, "spare").press("Enter")
    expect(view(lab).get_by_role("button", name="Kill", exact=True)).to_be_focused()
    lab.page.keyboard.press("Tab")
    lab.page.keyboard.press("Enter")
    expect(headline(lab)).to_have_text("4 nodes: 3 up, 1 stopped")
    press(lab, "Start")
    expect(headline(lab)).to_have_text("4 nodes: 4 up")

    view(lab).get_by_role("button", name="Add a node").click()
    lab.page.keyboard.type("output")
    lab.page.keyboard.press("Enter")
    expect(view(lab).get_by_role("alert")).to_contain_text("there is a node 'output' already")
    lab.screenshot("cluster_add", view(lab))
    view(lab).get_by_label("Name").fill("fifth")
    view(lab).get_by_label("Resources").fill("gpu, csv-parser")
    press(lab, "Add")
    expect(headline(lab)).to_have_text("5 nodes: 5 up")
    expect(view(lab).get_by_role("alert")).to_be_hidden()
    expect(view(lab).locator(".mpreg-panel")).to_be_hidden()

    view(lab).locator(".mpreg-link-line").first.click()
    press(lab, "Cut")
    expect(headline(lab)).to_contain_text("1 link cut")
    press(lab, "Heal")
    expect(headline(lab)).not_to_contain_text("cut")
    lab.page.keyboard.press("Escape")

    assert lab.run_cell(2)
    expect(headline(lab)).to_contain_text("4 suspected, 1 lost")
    expect(view(lab)).to_contain_text("3 steps running")
    lab.screenshot("cluster_partition", view(lab))
    dark(lab)
    node(lab, "process").click()
    lab.screenshot("cluster_dark", view(lab))
    lab.page.set_viewport_size({"width": 620, "height": 900})
    lab.screenshot("cluster_narrow_panel", view(lab))
    lab.page.keyboard.press("Escape")
    lab.screenshot("cluster_narrow", view(lab))
    view(lab).get_by_role("button", name="Heal all links").click()
    expect(headline(lab)).to_have_text("5 nodes: 5 up")

    assert lab.run_cell(4)
    expect(headline(lab)).to_have_text("stopped")
    expect(view(lab).get_by_role("button")).to_have_count(0)
    lab.screenshot("cluster_stopped", view(lab))


def test_a_click_works_while_a_cell_is_blocked(lab: Lab):
    run = "cluster.run(Workflow([Step('s', 'wait_for_ever', node='output')]))"
    lab.open("blocked_cluster.ipynb", notebook_of([CLUSTER, "cluster", run]))
    lab.start_all()
    expect(node(lab, "output")).to_contain_text("1 running")

    node(lab, "output").click()
    press(lab, "Kill")

    expect(headline(lab)).to_have_text("4 nodes: 3 up, 1 dead")
    assert not lab.finished()
    expect(lab.output(2)).to_contain_text("NodeLostError")


def test_what_is_saved_follows_the_cluster_and_outlives_the_kernel(lab: Lab):
    lab.open("saved_cluster.ipynb", notebook_of([CLUSTER, "cluster.view()"]))
    assert lab.run_all()
    node(lab, "spare").click()
    press(lab, "Kill")
    expect(headline(lab)).to_have_text("4 nodes: 3 up, 1 dead")
    twin = lab.output(1).locator(".mpreg-cluster-static")
    expect(twin).to_contain_text("3 up, 1 dead")
    expect(twin).to_be_hidden()

    saved = lab.save().cells[1].outputs
    lab.restart()

    assert "3 up, 1 dead" in saved[1].data["text/html"]
    assert saved[1].data["text/plain"] == "LocalCluster 'lab', 4 nodes: 3 up, 1 dead"
    expect(twin).to_be_visible()
    lab.screenshot("cluster_saved", lab.output(1))


def test_fifty_nodes_stay_readable(lab: Lab):
    fifty = "from mpreg_lab import LocalCluster\ncluster = LocalCluster(50)\ncluster.kill('node-7')"
    lab.open("fifty.ipynb", notebook_of([fifty, "cluster"]))
    assert lab.run_all()

    expect(headline(lab)).to_have_text("50 nodes: 49 up, 1 dead")
    node(lab, "node-7: dead").click()
    press(lab, "Start")
    expect(headline(lab)).to_have_text("50 nodes: 50 up")
    lab.screenshot("cluster_fifty", view(lab))


def test_bad_names_are_only_text(lab: Lab):
    lab.open("bad_names.ipynb", notebook_of([CLUSTER, BAD_NAMES]))
    assert lab.run_all()
    expect(headline(lab)).to_have_text("2 nodes: 2 up")

    view(lab).locator(".mpreg-node").first.click()
    view(lab).get_by_text("1 resource").click()

    expect(view(lab).locator(".mpreg-panel")).to_contain_text("<b>gpu</b>")
    assert view(lab).locator("img, script, b b").count() == 0
    assert lab.page.evaluate("window.hacked") is None
