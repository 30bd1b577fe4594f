"""The first tutorial as a person sees it: run in JupyterLab, and reopened without a kernel."""

import re
import shutil

import nbformat
from playwright.sync_api import expect

from tests.browser.lab import ROOT, Lab, notebook_of

NOTEBOOK = ROOT / "notebooks" / "01_first_workflow.ipynb"
WORKFLOW, FAILING, FAN_OUT = (
    index
    for index, cell in enumerate(nbformat.read(NOTEBOOK, 4).cells)
    if cell.cell_type == "code" and cell.source.startswith("%%mpreg_workflow") and "gpu" not in cell.source
)


def test_the_tutorial_runs_and_shows_graph_results_timeline_and_latencies(lab: Lab):
    lab.open("first.ipynb", NOTEBOOK)
    lab.run_all()
    view = lab.output(WORKFLOW).locator(".mpreg-run")

    expect(view.locator(".mpreg-headline")).to_contain_text("6 steps: 6 done")
    for step in ("rows", "clean", "species", "islands", "report", "places"):
        expect(view.get_by_role("button", name=step).first).to_be_visible()
    lab.screenshot("first_workflow", lab.cell(WORKFLOW))

    view.get_by_role("tab", name="Results").click()
    expect(view.get_by_role("tabpanel")).to_contain_text("Adelie")
    lab.screenshot("first_results", view)

    view.get_by_role("tab", name="Timeline").click()
    for node in ("ingest", "process", "output"):
        expect(view.get_by_role("tabpanel")).to_contain_text(node)
    lab.screenshot("first_timeline", view)

    view.get_by_role("tab", name="Latency").click()
    expect(view.get_by_role("tabpanel")).to_contain_text("parse_csv")
    lab.screenshot("first_latency", view)
    lab.screenshot("first_all")


def test_a_click_on_a_step_opens_it(lab: Lab):
    lab.open("click.ipynb", NOTEBOOK)
    lab.run_all()
    view = lab.output(WORKFLOW).locator(".mpreg-run")

    view.get_by_role("button", name="clean").first.click()

    panel = view.locator(".mpreg-panel")
    expect(panel).to_contain_text("clean_rows")
    expect(panel).to_contain_text("process")
    expect(panel).to_contain_text("kept 342 of 344 penguins")
    lab.screenshot("first_step", view)

    # Beside the panel there is little room: what stands behind the bars is not cut off.
    view.get_by_role("tab", name="Latency").click()
    totals = view.locator(".mpreg-share-text")
    expect(totals).to_have_count(4)
    assert totals.evaluate_all("all => all.every((total) => total.scrollWidth <= total.clientWidth)")

    lab.page.keyboard.press("Escape")
    expect(panel).to_be_hidden()


def test_a_failing_step_is_named_with_its_line_and_no_frame_of_ours(lab: Lab):
    lab.open("failing.ipynb", NOTEBOOK)
    lab.run_all()

    output = lab.output(FAILING)

    expect(output.locator(".mpreg-headline")).to_contain_text("2 done, 1 failed, 1 skipped")
    expect(output).to_contain_text("ValueError in step mass on node process")
    expect(output).to_contain_text('line 3: mass   = strict_mean(rows, "Body Mass (g)")')
    expect(output).to_contain_text("penguin 4: Body Mass (g) is 'NA'")
    expect(output).not_to_contain_text("mpreg_lab/")
    lab.screenshot("first_failing", output)


def test_the_live_view_hides_its_saved_twin_while_the_kernel_lives(lab: Lab):
    lab.open("twin.ipynb", NOTEBOOK)
    lab.run_all()

    expect(lab.output(WORKFLOW).locator(".mpreg-run")).to_be_visible()
    expect(lab.output(WORKFLOW).locator(".mpreg-run-static")).to_be_hidden()


def test_a_saved_run_is_readable_with_no_kernel_and_no_widget(lab: Lab):
    # As it is shipped, nothing run: the outputs are those that were stored.
    lab.open("saved.ipynb", NOTEBOOK)

    saved = lab.output(WORKFLOW).locator(".mpreg-run-static")

    expect(saved).to_be_visible()
    expect(saved.get_by_role("img").first).to_have_attribute("alt", re.compile("^Dependency graph: rows done"))
    assert lab.page.evaluate("document.querySelector('.mpreg-run-static img').naturalWidth") > 300
    expect(lab.output(WORKFLOW)).not_to_contain_text("Error displaying widget")
    lab.screenshot("first_saved", lab.output(WORKFLOW))


def test_a_cell_can_be_run_again_and_the_cluster_of_its_name_is_replaced(lab: Lab):
    start = "from mpreg_lab import LocalCluster, running_clusters\nLocalCluster(2, name='mine');"
    count = "print('running:', [cluster.name for cluster in running_clusters()])"
    lab.open("again.ipynb", notebook_of([f"{start}\nkept = LocalCluster(2, name='mine')", count]))
    lab.run_all()
    assert lab.run_all()

    expect(lab.output(1)).to_contain_text("running: ['mine']")


def test_two_notebooks_at_once_do_not_meet(lab: Lab):
    shutil.copyfile(NOTEBOOK, lab.folder / "other.ipynb")
    lab.open("one.ipynb", NOTEBOOK)
    lab.start_all()
    lab.open("two.ipynb", NOTEBOOK)
    lab.run_all()

    expect(lab.page.locator(".jp-NotebookPanel:visible .mpreg-run").first).to_contain_text("6 steps: 6 done")
