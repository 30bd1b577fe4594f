import socket

import pytest

from mpreg_lab.testing.conformance import TransportConformance


class TestMemory(TransportConformance):
    address = "memory://"


class TestWebSocket(TransportConformance):
    address = "ws://127.0.0.1:0"


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
class TestWebSocketOverIPv6(TransportConformance):
    address = "ws://[::1]:0"
