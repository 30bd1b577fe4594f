"""What befell the cluster is in the timeline of the run, in words."""

from playwright.sync_api import expect

from tests.browser.lab import Lab, notebook_of

SET_UP = """\
%load_ext mpreg_lab
import time
from mpreg_lab import LocalCluster
cluster = LocalCluster({"a": ["teacher"], "b": ["gpu"], "c": ["gpu"]}, slots=1)
cluster.register(lambda s: time.sleep(s), name="work", resources="gpu")

@cluster.function(resources="teacher")
def trouble():
    time.sleep(0.2)
    cluster.kill("b")
    cluster.faults.delay("a", "c", 0.05)
    time.sleep(0.4)
    cluster.restart("b")
    cluster.faults.heal()
"""
RUN = """\
%%mpreg_workflow -o run
lesson = trouble() @ "teacher"
steps = [work(0.25) @ "gpu" | retry(3, backoff=0.1) for i in range(8)]
"""


def test_faults_stand_in_the_timeline(lab: Lab):
    lab.open("faults.ipynb", notebook_of([SET_UP, RUN, "run"]))
    assert lab.run_all()
    view = lab.output(1).locator(".mpreg-run")

    view.get_by_role("tab", name="Timeline").click()

    chart = view.get_by_role("tabpanel")
    for words in ("✕ b killed", "a lost b", "◷ a-c delayed by 0.05 s", "↻ b restarted", "✓ all links healed"):
        expect(chart.locator(".mpreg-fault-words", has_text=words)).to_be_visible()
    expect(chart.locator(".mpreg-outage", has_text="dead")).to_be_visible()
    lab.screenshot("faults_timeline", view)

    view.get_by_role("tab", name="Steps").click()
    row = view.locator(".mpreg-steps tbody tr", has_text="2").filter(
        has=lab.page.get_by_role("cell", name="2", exact=True)
    )
    row.first.get_by_role("button").click()
    expect(view.locator(".mpreg-panel")).to_contain_text("after b killed")
