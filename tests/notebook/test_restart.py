"""A kernel that is restarted in the middle of everything: it goes by itself, and nothing of it stays."""

from __future__ import annotations

from typing import Any

import psutil
import pytest
from jupyter_client.manager import KernelManager

pytestmark = [pytest.mark.slow]

BUSY = """
%load_ext mpreg_lab
import asyncio, threading, time
from mpreg_lab import LocalCluster, Step, Workflow
here = LocalCluster(2, name="here")
apart = LocalCluster(2, name="apart", processes=True)
begun = threading.Event()

@here.function
def hold():
    begun.set()
    time.sleep(3600)

@apart.function(name="hold_there")
def hold_there(): __import__("time").sleep(3600)

apart.view()._ipython_display_()
runs = [here.submit(Workflow([Step("a", "hold")])), apart.submit(Workflow([Step("b", "hold_there")]))]
print(begun.wait(30), [thread.name for thread in threading.enumerate() if not thread.daemon])
"""
WATCHED = "%%mpreg_workflow --detach -c here\\na = hold()".replace("\\n", "\n")


def test_a_restart_waits_for_nothing_and_leaves_nothing(capfd: pytest.CaptureFixture[str]):
    manager = KernelManager(kernel_name="python3", shutdown_wait_time=60)
    manager.start_kernel()
    client = manager.blocking_client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=60)
        printed: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            printed.append(message["content"].get("text", ""))

        for cell in (BUSY, WATCHED):
            reply = client.execute_interactive(cell, timeout=60, output_hook=hear)
            assert reply["content"]["status"] == "ok"
        assert "True ['MainThread']" in "".join(printed)
        provisioner: Any = manager.provisioner
        process = provisioner.process
        old = psutil.Process(process.pid)
        children = [
            child for child in old.children(recursive=True) if "resource_tracker" not in " ".join(child.cmdline())
        ]
        assert len(children) >= 2

        manager.restart_kernel()

        # It was asked to go, and went: a kernel that has to be killed has another code.
        assert process.returncode == 0
        assert psutil.wait_procs([old, *children], timeout=30)[1] == []
        client.wait_for_ready(timeout=60)
        reply = client.execute_interactive("assert 'here' not in globals()", timeout=60)
        assert reply["content"]["status"] == "ok"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
