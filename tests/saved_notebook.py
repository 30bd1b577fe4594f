"""A notebook that was run from top to bottom and has no kernel any more. Nobody has signed it."""

from __future__ import annotations

from functools import cache

import nbformat
from nbclient import NotebookClient

__all__ = ["AGAIN", "CELLS", "CLUSTER", "COMPARED", "DETACHED", "FAILED", "FORTY", "RUN", "TIMELINE", "notebook"]

SETUP = """
%load_ext mpreg_lab
import threading
from mpreg_lab import LocalCluster
cluster = LocalCluster({"ingest": ["data"], "work": ["gpu"]}, name="lab")
go, ended = threading.Event(), threading.Event()

@cluster.function
def load(n): print("read\\n\\n[page](x.html) of the file"); return list(range(n))
@cluster.function
def score(x, weight=0.5): return x * weight
@cluster.function
def check(rows): raise ValueError("row 3 is empty")
@cluster.function
def late(): return go.wait(60) and "it has come"
"""
RUN = "%%mpreg_workflow -o run\nrows = load(5) @ 'data'\nmean = score(3)\nrows, mean"
FAILED = "%%mpreg_workflow -o failed\nrows = load(5) @ 'data'\nmean = check(rows)\nlast = score(mean)"
FORTY = "%%mpreg_workflow -o forty\nrows = load(2)\nscores = [score(x) for x in range(38)]\ntotal = score(3)"
AGAIN = "%%mpreg_workflow -o again\nrows = load(5) @ 'data'\nmean = score(3, weight=2)\nmore = score(1)"
COMPARED = "again.compare(run)"
TIMELINE = "run.timeline()"
CLUSTER = "cluster"
DETACHED = "%%mpreg_workflow --detach -o detached\nword = late()"
ENDED = """
detached.on_end(ended.set)
go.set()
ended.wait()
for thread in threading.enumerate():
    if thread.name == "mpreg-shown": thread.join()
"""
CELLS = (SETUP, RUN, FAILED, FORTY, AGAIN, COMPARED, TIMELINE, CLUSTER, DETACHED, ENDED)


@cache
def notebook() -> nbformat.NotebookNode:
    """It, after a run from top to bottom."""
    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made: nbformat.NotebookNode = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    NotebookClient(made, allow_errors=True, store_widget_state=False, timeout=90).execute()
    return made
