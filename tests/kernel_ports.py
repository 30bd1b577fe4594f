"""Pytest plugin: kernels get ports that the system gives to nobody else meanwhile.

Who starts a kernel chooses five ports, gives them back, and the kernel binds them a second later. If by then the system
has given one of them to somebody else, the kernel dies.

JupyterLab has it by importing this module in its configuration.
"""

from __future__ import annotations

from jupyter_client.connect import LocalPortCache

from tests.ports import free_port

__all__ = ["Ports"]


class Ports(LocalPortCache):
    """Those below the ones that are given to whoever asks for any."""

    def find_available_port(self, ip: str) -> int:
        """One of them."""
        return free_port()


# From now on that of the base class, too: a singleton of traitlets.
Ports.instance()
