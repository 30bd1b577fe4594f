"""The first tutorial as a person sees it: run in JupyterLab, and reopened without a kernel."""

import nbformat

from tests.browser.lab import ROOT, Lab

NOTEBOOK = ROOT / "notebooks" / "01_first_workflow.ipynb"


def test_the_tutorial_runs_and_shows_graph_results_timeline_and_latencies(lab: Lab):
    lab.open("first.ipynb", nbformat.read(NOTEBOOK, 4))

    lab.run_all()

    lab.screenshot("first_workflow_all")
