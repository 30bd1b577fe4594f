from __future__ import annotations

import pytest

from mpreg_lab.errors import ConnectError
from mpreg_lab.transport.memory import MemoryTransport
from mpreg_lab.transport.registry import transport_for
from mpreg_lab.transport.websocket import WebSocketTransport


@pytest.mark.parametrize(("url", "kind"), [("memory://a", MemoryTransport), ("ws://127.0.0.1:5", WebSocketTransport)])
def test_the_scheme_says_which_transport(url, kind):
    assert type(transport_for(url)) is kind


@pytest.mark.parametrize("url", ["", "127.0.0.1:5", "http://127.0.0.1:5", "ws:127.0.0.1"])
def test_an_address_without_a_known_scheme_is_told(url):
    with pytest.raises(ConnectError, match="an address begins with memory:// or ws://"):
        transport_for(url)
