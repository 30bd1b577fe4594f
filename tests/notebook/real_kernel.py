"""A kernel as notebooks have it, in a process of its own."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import start_new_kernel

__all__ = ["WAIT_S", "real_kernel", "run_cell"]

WAIT_S = 30


@contextmanager
def real_kernel(setup: str) -> Iterator[BlockingKernelClient]:
    """A kernel that has run this cell; it ends with the block."""
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        run_cell(client, setup)
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
        client.context.destroy()


def run_cell(kernel: BlockingKernelClient, code: str) -> None:
    """Run a cell, which must not fail; what it prints is left to be read."""
    reply = kernel.execute(textwrap.dedent(code), reply=True, timeout=WAIT_S)
    assert reply["content"]["status"] == "ok", reply["content"]
