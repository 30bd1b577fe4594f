"""MPREG in a notebook: launch a cluster, write a workflow in a cell, watch it run.

Everything here is loaded when it is first used: importing the package costs a few milliseconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mpreg_lab.client.views import RunViews, install_views
from mpreg_lab.client.waiting import Waiter, install_waiter

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from mpreg_lab.client.aio import AsyncClient
    from mpreg_lab.client.run import Run
    from mpreg_lab.client.sync import Client
    from mpreg_lab.cluster.dask import DaskCluster
    from mpreg_lab.cluster.local import LocalCluster, find_cluster, running_clusters
    from mpreg_lab.engine.inline import InlineEngine
    from mpreg_lab.errors import (
        MpregError,
        NoStepError,
        NotationError,
        RoutingError,
        RunCancelledError,
        RunFailedError,
        WorkflowError,
    )
    from mpreg_lab.notebook.demos import Examples
    from mpreg_lab.protocol.commands import RPCCommand
    from mpreg_lab.step_context import CurrentStep, current_step
    from mpreg_lab.transport.tls import Tls
    from mpreg_lab.workflow.model import Group, Ref, Step, Workflow
    from mpreg_lab.workflow.notation import parse_workflow
    from mpreg_lab.workflow.plan import levels, validate
    from mpreg_lab.workflow.record import RunRecord, RunStatus, StepStatus

__all__ = [
    "AsyncClient",
    "Client",
    "CurrentStep",
    "DaskCluster",
    "Group",
    "InlineEngine",
    "LocalCluster",
    "MpregError",
    "NoStepError",
    "NotationError",
    "RPCCommand",
    "Ref",
    "RoutingError",
    "Run",
    "RunCancelledError",
    "RunFailedError",
    "RunRecord",
    "RunStatus",
    "Step",
    "StepStatus",
    "Tls",
    "Workflow",
    "WorkflowError",
    "current_step",
    "find_cluster",
    "levels",
    "load_ipython_extension",
    "parse_workflow",
    "running_clusters",
    "unload_ipython_extension",
    "validate",
]

__version__ = "0.1.0"

_HOME = {
    "AsyncClient": "client.aio",
    "Client": "client.sync",
    "CurrentStep": "step_context",
    "DaskCluster": "cluster.dask",
    "Group": "workflow.model",
    "InlineEngine": "engine.inline",
    "LocalCluster": "cluster.local",
    "MpregError": "errors",
    "NoStepError": "errors",
    "NotationError": "errors",
    "RPCCommand": "protocol.commands",
    "Ref": "workflow.model",
    "RoutingError": "errors",
    "Run": "client.run",
    "RunCancelledError": "errors",
    "RunFailedError": "errors",
    "RunRecord": "workflow.record",
    "RunStatus": "workflow.record",
    "Step": "workflow.model",
    "StepStatus": "workflow.record",
    "Tls": "transport.tls",
    "Workflow": "workflow.model",
    "WorkflowError": "errors",
    "current_step": "step_context",
    "find_cluster": "cluster.local",
    "levels": "workflow.plan",
    "parse_workflow": "workflow.notation",
    "running_clusters": "cluster.local",
    "validate": "workflow.plan",
}


def load_ipython_extension(shell: InteractiveShell) -> None:
    """`%load_ext mpreg_lab`: adds %%mpreg_workflow and %mpreg."""
    from mpreg_lab.notebook.demos import install_examples
    from mpreg_lab.notebook.extension import load

    install_examples(_load_examples)
    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """`%unload_ext mpreg_lab`: takes the magics away; clusters live on."""
    from mpreg_lab.notebook.extension import unload

    unload(shell)


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def _load_views() -> RunViews:
    from mpreg_lab.notebook.views import NotebookViews

    return NotebookViews()


def _load_examples() -> Examples:
    from mpreg_lab import examples

    return examples


def _load_waiter() -> Waiter:
    from mpreg_lab.notebook.pump import wait

    return wait


install_views(_load_views)
install_waiter(_load_waiter)
