"""Ports for tests that have to know one before anybody listens there."""

from __future__ import annotations

import random
import socket

__all__ = ["free_port"]

_chance = random.SystemRandom()  # not the seeded one: test processes side by side would all choose the same


def free_port() -> int:
    """A port that nobody has, and that the system gives to nobody who asks for any: it is below those (32,768 on)."""
    while True:
        port = _chance.randrange(20_000, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
