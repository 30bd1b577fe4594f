"""Which transport a URL asks for. Each is imported when it is first used."""

from __future__ import annotations

from importlib import import_module

from mpreg_lab.errors import ConnectError

from .base import Transport

__all__ = ["transport_for"]

_TRANSPORTS = {
    "memory": "mpreg_lab.transport.memory:MemoryTransport",
    "ws": "mpreg_lab.transport.websocket:WebSocketTransport",
    "wss": "mpreg_lab.transport.websocket:WebSocketTransport",
}


def transport_for(url: str) -> Transport:
    """The transport of the URL's scheme.

    Raises:
        ConnectError: If there is none.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in _TRANSPORTS:
        known = " or ".join(f"{name}://" for name in _TRANSPORTS)
        raise ConnectError(f"cannot reach {url!r}: an address begins with {known}")
    module, _, name = _TRANSPORTS[scheme].partition(":")
    transport: Transport = getattr(import_module(module), name)()
    return transport
