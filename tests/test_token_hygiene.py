"""The token is nowhere: a real notebook is run, and everything that others could read afterwards is searched."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from mpreg_lab import Client, LocalCluster, Step, Workflow
from mpreg_lab.errors import ConnectError

NOTEBOOK = '''
import logging, os
logging.basicConfig(level=logging.DEBUG, filename="everything.log", force=True)
for name in list(logging.root.manager.loggerDict):
    logging.getLogger(name).setLevel(logging.DEBUG)
%load_ext mpreg_lab
from mpreg_lab import Client, LocalCluster, running_clusters
cluster = LocalCluster({"a": ["x"], "b": []}, processes=PROCESSES)
with open("token", "w") as file:
    file.write(cluster.token)

@cluster.function
def double(n):
    return 2 * n

@cluster.function
def look():
    """What a step can see of its own process."""
    import os
    return "\\n".join([*(f"{k}={v}" for k, v in os.environ.items()), open("/proc/self/cmdline").read()])
---
cluster
---
cluster.token
---
(cluster.url, cluster.nodes, running_clusters(), [cluster], {"c": cluster}, vars(cluster))
---
%mpreg status
---
%mpreg nodes
---
%%mpreg_workflow -o run
four = double(2)
eight = double(four)
---
(run, run.results, run.record, run.frame(), vars(run), run._owner)
---
client = Client(cluster.url)
(client, vars(client), vars(client._aio), client.members())
(vars(client._aio._line), vars(client._aio._address), vars(client._aio._line.peer))
---
import psutil
seen = [psutil.Process(), *psutil.Process().children(recursive=True)]
with open("processes", "w") as file:
    for process in seen:
        file.write(repr((process.cmdline(), process.environ())) + "\\n")
with open("steps", "w") as file:
    file.write(cluster.call("look"))
---
Client(cluster.url, token="wrong")
---
import sys
sys.last_value, sys.last_value.__cause__
---
%xmode Verbose
---
Client(cluster.url, token="wrong")
---
cluster.run(5)
---
LocalCluster(1, token=cluster.token, host="0.0.0.0")
---
print([vars(cluster), vars(cluster._launcher)])
---
%xmode Context
cluster.stop()
'''


@pytest.fixture(scope="module", params=[False, True], ids=["in process", "processes"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the notebook was run and saved, with its outputs and widgets."""
    folder = tmp_path_factory.mktemp("notebook")
    cells = NOTEBOOK.replace("PROCESSES", str(request.param)).strip().split("\n---\n")
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    client = NotebookClient(
        notebook, timeout=60, allow_errors=True, store_widget_state=True, resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    nbformat.write(notebook, folder / "saved.ipynb")
    return folder


@pytest.mark.parametrize("name", ["saved.ipynb", "everything.log", "processes", "steps"])
def test_the_token_is_not_in(folder, name):
    token = (folder / "token").read_text()
    assert len(token) >= 43
    text = (folder / name).read_text(errors="replace")
    assert len(text) > 100
    assert token not in text
    assert token.encode().hex() not in text


def test_the_notebook_did_show_what_was_searched(folder):
    outputs = [output for cell in nbformat.read(folder / "saved.ipynb", 4).cells for output in cell.get("outputs", ())]
    text = json.dumps(outputs)
    assert "Secret(...)" in text
    assert "wrong or missing token" in text
    assert "'_launcher'" in text


def everything(value: Any, seen: set[int], depth: int = 0) -> Iterator[str]:
    """The reprs of an object and of all that its objects of ours hold."""
    if id(value) in seen or depth > 8:
        return
    seen.add(id(value))
    yield repr(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from everything(item, seen, depth + 1)
    elif isinstance(value, dict):
        for item in (*value.keys(), *value.values()):
            yield from everything(item, seen, depth + 1)
    elif type(value).__module__.startswith("mpreg_lab"):
        names = [*getattr(value, "__dict__", ()), *getattr(value, "__struct_fields__", ())]
        for name in names:
            yield from everything(getattr(value, name), seen, depth + 1)


@pytest.mark.parametrize("options", [{}, {"transport": "ws"}, {"processes": True}], ids=str)
def test_no_repr_of_anything_that_a_cluster_holds_has_the_token(options, caplog):
    caplog.set_level(logging.DEBUG)
    with LocalCluster(2, **options) as cluster:
        token = str(cluster.token)
        with Client(cluster.url, token=token) as client:
            run = client.run(Workflow([Step("s", "echo", args=(1,))]))
            for thing in (cluster, client, run):
                assert not [text for text in everything(thing, set()) if token in text]
        with pytest.raises(ConnectError) as caught:
            Client(cluster.url, token=f"{token}x")
        error: BaseException | None = caught.value
        while error is not None:
            assert token not in f"{error} {error!r} {vars(error)}"
            error = error.__cause__ or error.__context__
        assert token not in cluster.url
    assert token not in caplog.text
