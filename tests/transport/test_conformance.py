from mpreg_lab.testing.conformance import TransportConformance


class TestMemory(TransportConformance):
    address = "memory://"


class TestWebSocket(TransportConformance):
    address = "ws://127.0.0.1:0"


class TestWebSocketOverIPv6(TransportConformance):
    address = "ws://[::1]:0"
