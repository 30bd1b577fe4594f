"""What holds for all tests."""

from __future__ import annotations

import signal

import tests.kernel_ports  # noqa: F401  # for the kernels that they start


def pytest_configure() -> None:
    """Let interrupts interrupt: a shell that starts us in the background has them ignored, and so would Python."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
