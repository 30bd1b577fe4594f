"""MPREG's JSON messages <-> ours: its clients from July 2025 to February 2026, and its nodes of July 2025.

The one place that knows them; docs/protocol.md lists every message, and where our answer differs from theirs. Strings
that name a step end here: they become references (commands.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

import msgspec

from mpreg_lab.errors import (
    ProtocolError,
    RemoteError,
    UnknownFunctionError,
    UnserialisableResultError,
    WorkflowError,
)
from mpreg_lab.types import ClusterId, Frame, FunctionName, Resource, RunId

from ._mpreg_requests import Request, Rpc, told
from .dialect import (
    AnyMessage,
    Ask,
    Dialect,
    ForeignAnswer,
    ForeignCall,
    Offer,
    OtherCluster,
    Sighting,
    Sightings,
    Withdraw,
)
from .messages import Done, Refused, RunDone, RunUpdate, Submit
from .payload import Payload, message_of
from .plain_json import plain

__all__ = ["Mpreg"]

UNKNOWN_MESSAGE = 1000, "Unknown server message type"
UNKNOWN_FUNCTION = 1001, "Command not found"
INTERNAL = 1002, "Internal server error"
FAILED = 1003, "RPC execution failed"
INVALID = 1004, "Invalid RPC request"
OTHER_CLUSTER = 1005, "Cluster ID mismatch"

_NO_U = "unknown"


class Mpreg(Dialect):
    """One connection with a client or a node of MPREG. Answers in the kind of frame in which it was last spoken to.

    Args:
        prefix: Begins the names of runs: clients choose their `u` each for itself.
        now_s: Seconds since 1970.
    """

    def __init__(self, prefix: str, now_s: Callable[[], float]) -> None:
        self._prefix = prefix
        self._now_s = now_s
        self._text = False  # As its nodes do.
        self._numbers = count(1)
        self._requests: dict[str, Request] = {}
        self._done: dict[str, str] = {}

    @staticmethod
    def speaks(frame: Frame) -> bool:
        """Whether it is an MPREG frame: a JSON object with a `role`."""
        try:
            return msgspec.json.decode(frame, type=_Head).role is not msgspec.UNSET
        except (msgspec.DecodeError, ValueError, RecursionError):
            return False

    def read(self, frame: Frame) -> AnyMessage:
        self._text = isinstance(frame, str)
        try:
            try:
                message = _decoder.decode(frame)
            except msgspec.ValidationError as exc:
                return _read_response(frame, exc)
            return self._submit(message) if isinstance(message, Rpc) else self._from_node(message)
        except msgspec.ValidationError as exc:
            raise _RefusedError(INVALID, f"not a message of MPREG: {exc}") from exc
        except (msgspec.DecodeError, ValueError) as exc:
            raise _RefusedError(INVALID, f"a frame that cannot be read: {exc}") from exc
        except RecursionError as exc:
            raise _RefusedError(INVALID, "a frame that is nested too deeply") from exc

    def write(self, message: AnyMessage) -> Frame | None:
        match message:
            case RunUpdate():
                request = self._requests.get(message.u)
                if request is not None and request.record is not None:
                    for event in message.events:
                        request.record.apply(event)
                return None
            case RunDone():
                return self._response(message)
            case Done():
                return self._frame({"r": self._done.pop(message.u, "OK"), "error": None, "u": message.u})
            case Refused():
                self._done.pop(message.u, None)
                request = self._requests.pop(message.u, None)
                u = request.u if request is not None else message.u or _NO_U
                return self._error(u, INTERNAL, told(message.error.value()))
            case OtherCluster():
                self._done.pop(message.u, None)
                return self._error(message.u, OTHER_CLUSTER)
        return self._frame(self._to_node(message))

    def refusal(self, frame: Frame, error: ProtocolError) -> Frame:
        refused = error if isinstance(error, _RefusedError) else _RefusedError(INVALID, str(error))
        return self._error(_u_of(frame), refused.error, refused.details)

    # --- requests of clients ---

    def _submit(self, rpc: Rpc) -> Submit:
        try:
            request = Request(rpc)
        except WorkflowError as exc:
            raise _RefusedError(FAILED, str(exc)) from exc
        run = RunId(f"{self._prefix}-{next(self._numbers)}")
        self._requests[run] = request
        return request.submit(run)

    def _response(self, done: RunDone) -> Frame | None:
        request = self._requests.get(done.u)
        if request is None:
            return None
        if not done.errors and done.refused is None:
            frame = self._frame(request.answer(done, self._now_s()))
        elif (function := request.unknown_function(done)) is not None:
            frame = self._error(request.u, UNKNOWN_FUNCTION, f"{UNKNOWN_FUNCTION[1]}: {function}")
        else:
            frame = self._error(request.u, FAILED, request.failures(done))
        # Only now: if a result cannot be written, an error for the same run will follow.
        del self._requests[done.u]
        return frame

    # --- nodes ---

    def _from_node(self, message: Any) -> AnyMessage:
        match message:
            case _Server():
                return self._from_server(message)
            case _InternalRpc():
                arguments = Payload.of_json((tuple(message.args), message.kwargs))
                return ForeignCall(message.u, FunctionName(message.command), arguments)
            case _InternalAnswer():
                return _answer(message)
        nodes = (
            Sighting(peer.url, tuple(map(FunctionName, peer.funs)), _sorted(peer.locs))
            for peer in message.peers
            if peer.cluster_id == message.cluster_id
        )
        return Sightings(ClusterId(message.cluster_id), tuple(nodes))

    def _from_server(self, message: _Server) -> AnyMessage:
        what = message.server.get("what")
        if what == "HELLO":
            hello = msgspec.convert(message.server, _Hello)
            self._done[message.u] = "ADDED"
            url = hello.advertised_urls[0] if hello.advertised_urls else ""
            functions = tuple(map(FunctionName, hello.funs))
            return Offer(message.u, ClusterId(hello.cluster_id), url, functions, _sorted(hello.locs))
        if what == "GOODBYE":
            self._done[message.u] = "GONE"
            return Withdraw(message.u)
        if what == "STATUS":
            self._done[message.u] = "STATUS"
            return Ask(message.u)
        raise _RefusedError((UNKNOWN_MESSAGE[0], f"{UNKNOWN_MESSAGE[1]}: {_short(what)}"))

    def _to_node(self, message: AnyMessage) -> dict[str, Any]:
        match message:
            case Offer():
                hello = {
                    "what": "HELLO",
                    "funs": message.functions,
                    "locs": message.resources,
                    "cluster_id": message.cluster_id,
                    "advertised_urls": [message.url] if message.url else [],
                }
                return {"role": "server", "server": hello, "u": message.u}
            case Withdraw():
                return {"role": "server", "server": {"what": "GOODBYE"}, "u": message.u}
            case Ask():
                return {"role": "server", "server": {"what": "STATUS"}, "u": message.u}
            case ForeignCall():
                args, kwargs = plain(message.arguments.value())
                # No results: the other end would put them in place of strings in the arguments that name a step.
                call = {"role": "internal-rpc", "command": message.function, "args": args, "kwargs": kwargs}
                return call | {"results": {}, "u": message.u}
            case ForeignAnswer():
                return {"role": "internal-answer", "answer": _answered(message), "u": message.u}
            case Sightings():
                return self._gossip(message)
        raise TypeError(f"MPREG has no message for {type(message).__name__}")

    def _gossip(self, message: Sightings) -> dict[str, Any]:
        now_s = self._now_s()
        peers = [
            {
                "url": node.url,
                "funs": node.functions,
                "locs": node.resources,
                "last_seen": now_s,
                "cluster_id": message.cluster_id,
                "advertised_urls": [node.url],
            }
            for node in message.nodes
        ]
        u = f"{self._prefix}-{next(self._numbers)}"
        return {"role": "gossip", "peers": peers, "u": u, "cluster_id": message.cluster_id}

    # --- frames ---

    def _error(self, u: object, error: tuple[int, str], details: str | None = None) -> Frame:
        code, message = error
        return self._frame({"r": None, "error": {"code": code, "message": message, "details": details}, "u": u})

    def _frame(self, message: dict[str, Any]) -> Frame:
        try:
            frame = msgspec.json.encode(message)
        except (UnicodeEncodeError, RecursionError) as exc:
            raise UnserialisableResultError(f"a value cannot travel as JSON: {exc}") from exc
        return frame.decode() if self._text else frame


# --- reading and refusing -------------------------------------------------------------------------------------------


class _Head(msgspec.Struct):
    role: Any = msgspec.UNSET
    u: Any = msgspec.UNSET


class _RefusedError(ProtocolError):
    """Why a frame is refused, as MPREG says it."""

    def __init__(self, error: tuple[int, str], details: str | None = None) -> None:
        super().__init__(details or error[1])
        self.error, self.details = error, details


def _u_of(frame: Frame) -> str | int:
    """The `u` of a frame that was refused, as it is, so that its sender knows it again."""
    try:
        u = msgspec.json.decode(frame, type=_Head).u
    except (msgspec.DecodeError, ValueError, RecursionError):
        return _NO_U
    return u if isinstance(u, str) or type(u) is int else _NO_U


def _short(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= 60 else f"{value!r:.60}"


# --- nodes ----------------------------------------------------------------------------------------------------------


class _Server(msgspec.Struct, tag_field="role", tag="server"):
    server: dict[str, Any]
    u: str


class _Hello(msgspec.Struct):
    funs: list[str]
    locs: list[str]
    cluster_id: str
    advertised_urls: list[str] = []


class _InternalRpc(msgspec.Struct, tag_field="role", tag="internal-rpc"):
    command: str
    args: list[Any]
    u: str
    kwargs: dict[str, Any] = {}


class _InternalAnswer(msgspec.Struct, tag_field="role", tag="internal-answer"):
    answer: Any
    u: str


class _PeerInfo(msgspec.Struct):
    url: str
    funs: list[str]
    locs: list[str]
    last_seen: float
    cluster_id: str
    advertised_urls: list[str] = []


class _Gossip(msgspec.Struct, tag_field="role", tag="gossip"):
    peers: list[_PeerInfo]
    u: str
    cluster_id: str


class _Error(msgspec.Struct):
    code: int
    message: str
    details: Any = None


class _Response(msgspec.Struct):
    u: str
    r: Any
    error: _Error | None = None


_ROLES = ("rpc", "server", "internal-rpc", "internal-answer", "gossip")
_decoder = msgspec.json.Decoder(Rpc | _Server | _InternalRpc | _InternalAnswer | _Gossip)


def _read_response(frame: Frame, invalid: msgspec.ValidationError) -> AnyMessage:
    """The reply to a request of ours: the only message without a role."""
    role = msgspec.json.decode(frame, type=_Head).role
    if role in _ROLES:
        raise invalid
    if role is not msgspec.UNSET:
        raise _RefusedError((INVALID[0], f"{INVALID[1]} role: {_short(role)}")) from invalid
    response = msgspec.json.decode(frame, type=_Response)
    if response.error is None:
        return Done(response.u)
    if response.error.code == OTHER_CLUSTER[0]:
        return OtherCluster(response.u)
    error = RemoteError(f"{response.error.code} {response.error.message}", type_name="MPREGException")
    return Refused(response.u, Payload.of_error(error))


_FAILURE_KEYS = {"error", "command", "error_type"}


def _answer(message: _InternalAnswer) -> ForeignAnswer:
    """The result of a call. Its nodes of February 2026, and ours, say in this form that there is none."""
    said = message.answer
    if isinstance(said, dict) and said.keys() == _FAILURE_KEYS and all(isinstance(v, str) for v in said.values()):
        error = RemoteError(said["error"], type_name=said["error_type"])
        return ForeignAnswer(message.u, None, Payload.of_error(error), FunctionName(said["command"]))
    return ForeignAnswer(message.u, Payload.of_json(said))


def _answered(message: ForeignAnswer) -> Any:
    if message.value is not None:
        return plain(message.value.value())
    error = message.error.value() if message.error is not None else None
    if isinstance(error, UnknownFunctionError):
        said = f"{UNKNOWN_FUNCTION[1]}: {message.function}"
    else:
        said = message_of(error).encode(errors="replace").decode() if isinstance(error, BaseException) else ""
    kind = error.type_name if isinstance(error, RemoteError) else type(error).__name__
    return {"error": said, "command": message.function, "error_type": kind}


def _sorted(names: Iterable[str]) -> tuple[Resource, ...]:
    return tuple(sorted({Resource(name) for name in names}))
