"""Imports go down: the table of docs/architecture.md, checked on every module of the package."""

from pathlib import Path

import pytest

from tests.architecture.imports import read_tree, tree_of, violations

ROOT = Path(__file__).parents[2] / "mpreg_lab"


def test_every_import_of_the_package_keeps_the_rules():
    assert violations(read_tree(ROOT)) == []


def test_the_package_is_found_at_all():
    assert {"errors", "workflow", "workflow.model", "notebook.view"} <= read_tree(ROOT).keys()


@pytest.mark.parametrize(
    ("path", "line", "problem"),
    [
        (
            "workflow/plan.py",
            "import mpreg_lab.protocol.codec",
            "workflow (level 1) must not import protocol (level 2)",
        ),
        ("node/runs.py", "from mpreg_lab.client import aio", "node (level 4) must not import client (level 4)"),
        ("node/runs.py", "from mpreg_lab.client.aio import X", "node (level 4) must not import client (level 4)"),
        ("node/runs.py", "from ..client.aio import X", "node (level 4) must not import client (level 4)"),
        ("node/__init__.py", "from ..client.aio import X", "node (level 4) must not import client (level 4)"),
        (
            "engine/base.py",
            "from mpreg_lab.transport import base",
            "engine (level 3) must not import transport (level 3)",
        ),
        ("client/sync.py", "from mpreg_lab import Client", "client (level 4) must not import __init__ (level 7)"),
        ("client/sync.py", "from mpreg_lab import cluster", "client (level 4) must not import cluster (level 5)"),
        (
            "client/sync.py",
            "def f():\n    import mpreg_lab.cluster",
            "client (level 4) must not import cluster (level 5)",
        ),
        (
            "client/sync.py",
            "import importlib\nimportlib.import_module('mpreg_lab.cluster.local')",
            "client (level 4) must not import cluster (level 5)",
        ),
        ("enhanced.py", "import mpreg_lab.errors", "enhanced has no level: say in LEVELS where it belongs"),
        (
            "examples/new.py",
            "from mpreg_lab.workflow.model import Step",
            "examples knows only __init__, examples; not workflow.model",
        ),
        (
            "notebook/widgets/run_view.py",
            "from mpreg_lab.client.sync import Client",
            "notebook.widgets knows only notebook.widgets, notebook.view, workflow.record, workflow.model, "
            "client.status, types; not client.sync",
        ),
        ("client/aio.py", "import websockets", "websockets may be imported by transport.websocket; not by client.aio"),
        ("engine/base.py", "import dask.array", "dask may be imported by engine.dask; not by engine.base"),
        (
            "client/aio.py",
            "import cloudpickle",
            "cloudpickle may be imported by protocol.payload; not by client.aio",
        ),
        (
            "node/runs.py",
            "from pickle import loads",
            "pickle may be imported by protocol.identity, protocol.payload; not by node.runs",
        ),
        ("node/runs.py", "import shelve", "shelve may be imported by nobody; not by node.runs"),
        ("client/sync.py", "import pandas as pd", "pandas may be imported by notebook; not by client.sync"),
        ("cli.py", "from IPython import start_ipython", "IPython may be imported by notebook; not by cli"),
        ("cluster/local.py", "import pytest", "pytest may be imported by testing; not by cluster.local"),
        (
            "notebook/feed.py",
            "import nest_asyncio2",
            "nest_asyncio2 may be imported by notebook.pump; not by notebook.feed",
        ),
        (
            "client/sync.py",
            "if TYPE_CHECKING:\n    from mpreg_lab.cluster.local import LocalCluster",
            "client (level 4) must not import cluster (level 5)",
        ),
        ("errors.py", "import msgspec", "msgspec may be imported from level 1 up; not by errors"),
        ("client/aio.py", "import pydantic", "pydantic is no library of ours: say in LIBRARIES who may import it"),
        ("workflow/machine.py", "import asyncio", "workflow.machine is pure and must not import asyncio"),
        ("workflow/machine.py", "from time import monotonic", "workflow.machine is pure and must not import time"),
        ("protocol/codec.py", "import concurrent.futures", "protocol.codec is pure and must not import concurrent"),
        ("node/router.py", "import threading", "node.router is pure and must not import threading"),
        ("notebook/view/timeline.py", "import socket", "notebook.view.timeline is pure and must not import socket"),
        ("cluster/local.py", "from websockets import _x", "websockets._x is private to its package"),
    ],
)
def test_a_wrong_import_is_found_with_file_and_line(path: str, line: str, problem: str):
    number = 3 + line.count("\n")

    found = violations(tree_of({path: f'"""A module."""\n\n{line}\n'}))

    assert f"mpreg_lab/{path}:{number}: {problem}" in found


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("loop_thread.py", "from mpreg_lab.errors import WrongThreadError"),
        ("client/sync.py", "from mpreg_lab import errors, types"),
        ("client/sync.py", "from mpreg_lab.workflow.model import Ref\nfrom .aio import AsyncClient"),
        ("transport/websocket.py", "import websockets.asyncio.client\nimport time"),
        ("protocol/payload.py", "import pickle\nimport cloudpickle"),
        ("engine/dask.py", "from distributed import Client"),
        (
            "notebook/magics.py",
            "from IPython.core.magic import Magics\nfrom mpreg_lab.cluster.local import LocalCluster",
        ),
        ("notebook/view/frames.py", "import pandas\nfrom mpreg_lab.workflow.record import RunRecord"),
        ("testing/plugin.py", "import pytest"),
        ("examples/other.py", "from mpreg_lab import Ref, Step"),
        ("cli.py", "from mpreg_lab.examples import data_pipeline\nfrom mpreg_lab import Client\nimport time"),
        ("__main__.py", "from mpreg_lab.cli import main"),
        (
            "notebook/view/graph_layout.py",
            "from ._layering import layered\nfrom mpreg_lab.notebook.view._order import x",
        ),
        ("workflow/plan.py", "from .model import _resources"),
        ("client/run.py", "if TYPE_CHECKING:\n    from pandas import DataFrame"),
        ("workflow/plan.py", "from __future__ import annotations"),
    ],
)
def test_a_right_import_is_left_alone(path: str, line: str):
    tree = tree_of({"workflow/__init__.py": "", "workflow/model.py": "", "notebook/view/__init__.py": "", path: line})

    assert violations(tree) == []


def test_a_private_name_stays_in_its_package():
    tree = tree_of(
        {
            "workflow/__init__.py": "",
            "workflow/model.py": "",
            "client/aio.py": "from mpreg_lab.workflow.model import Ref, _resources",
            "client/sync.py": "from mpreg_lab.workflow import _order",
        }
    )

    assert violations(tree) == [
        "mpreg_lab/client/aio.py:1: workflow.model._resources is private to its package",
        "mpreg_lab/client/sync.py:1: workflow._order is private to its package",
    ]


def test_a_pure_module_does_not_reach_a_clock_over_another_module():
    tree = tree_of(
        {
            "loop_thread.py": "import asyncio",
            "types.py": "import mpreg_lab.loop_thread",
            "workflow/machine.py": "\nfrom mpreg_lab.types import StepName",
        }
    )

    assert (
        "mpreg_lab/workflow/machine.py:2: workflow.machine is pure, but imports types -> loop_thread -> asyncio"
        in violations(tree)
    )
