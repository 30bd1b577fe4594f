"""The door of a listener: who may come in, how many may wait before it, and for how long.

A web page may open sockets to this machine, and a name may be made to lead here (DNS rebinding): hence Origin and Host.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from mpreg_lab.errors import ClusterSpecError, ConnectError
from mpreg_lab.types import Secret

from .base import OPEN_TIMEOUT_S

__all__ = ["LOOPBACK", "MAX_HANDSHAKE_BYTES", "MAX_WAITING", "Door", "Doorstep", "Refusal"]

LOOPBACK = frozenset(("127.0.0.1", "localhost", "::1"))
MAX_WAITING = 64
MAX_HANDSHAKE_BYTES = 64 * 1024
_ANY = frozenset(("0.0.0.0", "::"))  # to recognise them


class Refusal(NamedTuple):
    """Why somebody may not come in."""

    status: HTTPStatus
    reason: str


class Door:
    """Who may come in at one address.

    Args:
        host: The name or address under which others reach it.
        token: What they must show; None: nobody is asked, and nobody is trusted.
        guests: Whether who shows nothing comes in too, untrusted. Who shows a wrong token never does.

    Raises:
        ClusterSpecError: If it could be reached from other machines and lacks a token or encryption.
    """

    def __init__(self, host: str, *, token: str | None, guests: bool, encrypted: bool) -> None:
        if host not in LOOPBACK:
            _check_open(host, token=token, guests=guests, encrypted=encrypted)
        self._shown = None if token is None else Secret(f"Bearer {token}")
        self._guests = guests
        self._hosts = LOOPBACK | {public_name(host).lower()}
        self._any_address = host in _ANY

    def judge(self, header: Callable[[str], list[str]]) -> Refusal | None:
        """Why the handshake with these headers is refused; None: come in.

        Args:
            header: Gives all values of a header.
        """
        host = _only(header("Host"))
        if host is None or not self._is_ours(host):
            return Refusal(HTTPStatus.FORBIDDEN, "foreign Host")
        origins = header("Origin")
        if origins and _only(origins) not in (f"http://{host}", f"https://{host}"):
            return Refusal(HTTPStatus.FORBIDDEN, "foreign Origin")
        shown = header("Authorization")
        if self._shown is None or (self._guests and not shown):
            return None
        # Compared as bytes and in constant time: how long it takes must not tell how much of it was right.
        if not hmac.compare_digest((_only(shown) or "").encode(errors="replace"), self._shown.encode()):
            return Refusal(HTTPStatus.UNAUTHORIZED, "wrong or missing token")
        return None

    def trusts(self, header: Callable[[str], list[str]]) -> bool:
        """Whether somebody who may come in has shown the token."""
        return self._shown is not None and bool(header("Authorization"))

    def _is_ours(self, header: str) -> bool:
        try:
            host = urlsplit(f"//{header}").hostname
        except ValueError:
            return False
        # An address, unlike a name, cannot be made to lead here.
        return host is not None and (host in self._hosts or (self._any_address and _is_address(host)))


class Doorstep(socket.socket):
    """A listening socket that has at most `MAX_WAITING` connections whose other ends are not let in yet.

    Who comes when there are so many is turned away before a byte is read; who is not let in in time is cut. This is
    done below TLS, so that a handshake which never ends counts too.
    """

    @classmethod
    def listening(cls, host: str, port: int) -> Doorstep:
        """Take the port.

        Raises:
            ConnectError: If it is taken, or there is no such address here.
        """
        try:
            # Not by name: that may be both ::1 and 127.0.0.1, of which one would be taken.
            name = "127.0.0.1" if host == "localhost" else host
            family, _, _, _, address = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0]
            plain = socket.create_server(address[:2], family=family, backlog=1024)
        except OSError as exc:
            raise ConnectError(f"cannot listen on {host} port {port}: {exc.strerror}") from exc
        return cls(fileno=plain.detach())

    def __init__(self, *, fileno: int) -> None:
        super().__init__(fileno=fileno)
        self._waiting: dict[int, tuple[socket.socket, asyncio.TimerHandle]] = {}

    def accept(self) -> tuple[socket.socket, Any]:
        """As of any socket; raises BlockingIOError if who came was turned away."""
        connection, address = super().accept()
        # A socket that was closed meanwhile has no number any more.
        self._waiting = {number: held for number, held in self._waiting.items() if held[0].fileno() == number}
        if len(self._waiting) >= MAX_WAITING:
            connection.close()
            raise BlockingIOError
        cut = asyncio.get_running_loop().call_later(OPEN_TIMEOUT_S, _cut, connection)
        self._waiting[connection.fileno()] = (connection, cut)
        return connection, address

    def let_in(self, number: int) -> None:
        """Who is at the other end of the connection with that file number need not wait any more."""
        held = self._waiting.pop(number, None)
        if held is not None:
            held[1].cancel()


def public_name(host: str) -> str:
    """What others call a host that we listen on: for all addresses of this machine, its name."""
    return socket.gethostname() if host in _ANY else host


def _check_open(host: str, *, token: str | None, guests: bool, encrypted: bool) -> None:
    missing = []
    if not encrypted:
        missing.append("TLS: tls=Tls(cert='node.pem', key='node.key', ca='ca.pem'), or --cert, --key and --ca")
    if token is None or guests:
        missing.append("a token: leave out token=None")
    if missing:
        raise ClusterSpecError(
            f"will not listen on {host}, where other machines reach it, without {' and '.join(missing)}. "
            "For this machine only: host='127.0.0.1'"
        )


def _cut(connection: socket.socket) -> None:
    if connection.fileno() >= 0:
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            # It has ended by itself.
            return


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _only(values: list[str]) -> str | None:
    return values[0] if len(values) == 1 else None
