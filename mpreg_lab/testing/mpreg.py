"""MPREG's own names, for tests that were written for it in July 2025: with other imports they run here.

Servers, clients and commands are those of this package; here they have the names, and where it matters the manners, of
MPREG: functions of one server run one at a time, arguments and results are as JSON has them, every failure is an
MPREGException. See docs/coming_from.md for what is different all the same.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from mpreg_lab.errors import ConnectError, MpregError, RoutingError, RunTimeoutError
from mpreg_lab.protocol.commands import RPCCommand
from mpreg_lab.protocol.plain_json import plain

from .clients import ServerClient
from .servers import Server, ServerSettings

__all__ = [
    "Cluster",
    "CommandNotFoundException",
    "MPREGClientAPI",
    "MPREGException",
    "MPREGServer",
    "MPREGSettings",
    "RPCCommand",
    "RPCError",
]

_FAILED = 1003, "RPC execution failed"


MPREGSettings = ServerSettings


class Cluster(msgspec.Struct, frozen=True):
    """What a server knows of its cluster.

    Attributes:
        servers: Their addresses, its own too.
        funtimes: For each function, and each set of resources with which it is offered, the addresses of who offers it.
    """

    cluster_id: str
    servers: frozenset[str]
    funtimes: dict[str, dict[frozenset[str], set[str]]]


class MPREGServer(Server):
    """As Server, but its functions run one at a time, as on MPREG's loop: they need not be safe for threads.

    Those of `async def` take turns where they await.

    Args:
        settings: With `slots`, so many run at once.
    """

    def __init__(self, settings: ServerSettings | None = None) -> None:
        super().__init__(settings)
        self.settings = msgspec.structs.replace(self.settings, slots=self.settings.slots or 1)

    @property
    def cluster(self) -> Cluster:
        """What it knows now; nothing if it does not run."""
        funtimes: dict[str, dict[frozenset[str], set[str]]] = {}
        for member in self.members:
            for function in member.functions:
                offers = funtimes.setdefault(function.name, {})
                offers.setdefault(frozenset(function.resources), set()).add(member.url)
        return Cluster(self.settings.cluster_id, frozenset(member.url for member in self.members), funtimes)


class RPCError(msgspec.Struct, frozen=True):
    """Why a request failed, as MPREG says it.

    Attributes:
        details: The traceback.
    """

    code: int
    message: str
    details: str | None = None


class MPREGException(MpregError):  # noqa: N818  # its name in MPREG
    """A request failed. Its cause is the error as it is told here."""

    def __init__(self, rpc_error: RPCError, reason: str = "") -> None:
        super().__init__()
        self.args = rpc_error, reason  # of which a copy is made
        self.rpc_error = rpc_error

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.rpc_error.message, self.args[1])))


class CommandNotFoundException(MPREGException):
    """No server has the function, or none that has it holds the resources."""


class MPREGClientAPI(ServerClient):
    """As ServerClient; what goes and what comes back is as JSON has it, so that tuples are lists.

    Args:
        full_log: Taken as MPREG takes it, and has no effect.

    Raises:
        MPREGException: By its verbs, for all that fails but connecting and time-outs, which are ConnectError and
            RunTimeoutError as everywhere.
    """

    def __init__(self, url: str, full_log: bool = True) -> None:
        super().__init__(url)

    async def call(
        self, fun: str, /, *args: Any, locs: Iterable[str] | None = None, timeout: float | None = None, **kwargs: Any
    ) -> Any:
        """As ServerClient.call."""
        with _told_as_mpreg_does():
            return plain(await super().call(fun, *plain(args), locs=locs, timeout=timeout, **plain(kwargs)))

    async def request(self, cmds: Iterable[RPCCommand], timeout: float | None = None) -> dict[str, Any]:
        """As ServerClient.request."""
        with _told_as_mpreg_does():
            sent = [msgspec.structs.replace(c, args=plain(c.args), kwargs=plain(c.kwargs)) for c in cmds]
            results: dict[str, Any] = plain(await super().request(sent, timeout))
            return results


@contextmanager
def _told_as_mpreg_does() -> Iterator[None]:
    try:
        yield
    except (ConnectError, RunTimeoutError):
        raise
    except Exception as error:  # whatever a user's function raised
        kind = CommandNotFoundException if isinstance(error, RoutingError) else MPREGException
        details = "".join(traceback.format_exception(error))
        raise kind(RPCError(*_FAILED, details), f"{type(error).__name__}: {error}") from error
