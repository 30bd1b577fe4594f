"""Results of steps with `cache()`, kept for equal ones: each on one node of the cluster, which its key chooses."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Protocol

import msgspec

from mpreg_lab.errors import MpregError
from mpreg_lab.protocol.messages import ClearCache, Done, Keep, Member, Message, Recall, Recalled
from mpreg_lab.protocol.payload import CannotTravelError, Packed, Payload
from mpreg_lab.transport.peer import Peer
from mpreg_lab.types import NodeName

__all__ = ["CACHE_BYTES", "Cache", "KeptResults", "keeper"]

CACHE_BYTES = 256 << 20
"""Of results that one node keeps; those that were not asked for the longest go first."""
LARGEST_PART = 4
"""A result of more than a quarter of that is not kept: it would drive out all others."""
ANSWER_S = 2.0
"""A node that has not answered for so long has no result."""


class _Kept(msgspec.Struct, frozen=True):
    packed: Packed
    size_bytes: int
    kept_s: float


class KeptResults:
    """Results as bytes by key, at most so many of them; which go when, with no clock of its own."""

    def __init__(self, most_bytes: int = CACHE_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self.size_bytes = 0

    def get(self, key: str, now_s: float, ttl_s: float | None) -> Packed | None:
        """The result, unless it is older than `ttl_s`."""
        kept = self._kept.get(key)
        if kept is None or (ttl_s is not None and now_s - kept.kept_s > ttl_s):
            return None
        self._kept.move_to_end(key)
        return kept.packed

    def put(self, key: str, packed: Packed, now_s: float) -> None:
        """Keep a result, in place of one of that key; whatever has to make room for it goes."""
        size_bytes = len(packed.head) + sum(map(len, packed.buffers))
        if size_bytes > self._most_bytes // LARGEST_PART:
            return
        self._drop(key)
        self._kept[key] = _Kept(packed, size_bytes, now_s)
        self.size_bytes += size_bytes
        while self.size_bytes > self._most_bytes:
            self._drop(next(iter(self._kept)))

    def clear(self) -> None:
        """Keep nothing."""
        self._kept.clear()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def _drop(self, key: str) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self.size_bytes -= kept.size_bytes


def keeper(key: str, nodes: Collection[NodeName]) -> NodeName:
    """The node that keeps the result: the same for all who know the same nodes (rendezvous hashing, Thaler 1996)."""
    return max(nodes, key=lambda node: hashlib.blake2b(f"{key}/{node}".encode(errors="surrogatepass")).digest())


class CacheHost(Protocol):
    """What the node does for its part of the cache."""

    @property
    def name(self) -> NodeName:
        """Of the node."""

    @property
    def own_members(self) -> tuple[Member, ...]:
        """The nodes of our kind."""

    def ask(self, node: NodeName, message: Message) -> Awaitable[Message]:
        """Send a request to another node."""

    def tell(self, node: NodeName, message: Message) -> None:
        """Send another node what needs no reply."""

    def reply(self, peer: Peer, u: str, work: Awaitable[Message]) -> None:
        """Have a request done in the background and answered."""


class Cache:
    """The part of one node, and the way to the parts of others. On the node's loop, but for `find_now` and `keep`."""

    def __init__(self, host: CacheHost) -> None:
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._results = KeptResults()

    @property
    def handlers(self) -> Mapping[type, Callable[[Peer, Any], None]]:
        """What is done with which message."""
        return {Recall: self._on_recall, Keep: self._on_keep, ClearCache: self._on_clear}

    async def find(self, key: str, ttl_s: float | None) -> Payload | None:
        """The result of an equal call, from wherever it is kept; None if there is none, or its node does not answer."""
        node = self._keeper(key)
        if node == self._host.name:
            packed = self._results.get(key, time.monotonic(), ttl_s)
            return None if packed is None else Payload.packed(*packed)
        try:
            async with asyncio.timeout(ANSWER_S):
                reply = await self._host.ask(node, Recall(secrets.token_hex(8), key, ttl_s))
        except (MpregError, TimeoutError):
            return None
        return reply.value if isinstance(reply, Recalled) else None

    def find_now(self, key: str, ttl_s: float | None) -> Payload | None:
        """As `find`, for a thread of the node."""
        finding = self.find(key, ttl_s)
        try:
            found = asyncio.run_coroutine_threadsafe(finding, self._loop)
        except RuntimeError:
            # The node was stopped meanwhile: nobody waits for the step.
            finding.close()
            return None
        with contextlib.suppress(TimeoutError, concurrent.futures.CancelledError):
            return found.result(2 * ANSWER_S)
        return None

    def keep(self, key: str, value: Payload) -> None:
        """Keep the result of a call for equal ones. From any thread: here it is packed."""
        try:
            # Not the payload itself: it would keep the bytes as long as the run.
            head, buffers = Payload.of(value.value()).pack()
        except CannotTravelError:
            return
        # Copies: an array of this process may be changed by whoever has it.
        packed = Packed(bytes(head), tuple(map(bytes, buffers)))
        try:
            self._loop.call_soon_threadsafe(self._put, key, packed)
        except RuntimeError:
            if not self._loop.is_closed():
                raise

    async def clear(self) -> None:
        """Forget all results, on all nodes."""
        self._results.clear()
        others = [member.name for member in self._host.own_members if member.name != self._host.name]
        asked = (self._host.ask(node, ClearCache(secrets.token_hex(8), everywhere=False)) for node in others)
        for reply in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(reply, BaseException) and not isinstance(reply, ConnectionError):
                raise reply

    def _put(self, key: str, packed: Packed) -> None:
        node = self._keeper(key)
        if node == self._host.name:
            self._results.put(key, packed, time.monotonic())
        else:
            self._host.tell(node, Keep(key, Payload.packed(*packed)))

    def _keeper(self, key: str) -> NodeName:
        return keeper(key, [member.name for member in self._host.own_members])

    # --- messages ---

    def _on_recall(self, peer: Peer, message: Recall) -> None:
        packed = self._results.get(message.key, time.monotonic(), message.ttl_s)
        peer.post(Recalled(message.u, None if packed is None else Payload.packed(*packed)))

    def _on_keep(self, _: Peer, message: Keep) -> None:
        self._results.put(message.key, message.value.pack(), time.monotonic())

    def _on_clear(self, peer: Peer, message: ClearCache) -> None:
        self._host.reply(peer, message.u, self._cleared(message))

    async def _cleared(self, message: ClearCache) -> Done:
        if message.everywhere:
            await self.clear()
        else:
            self._results.clear()
        return Done(message.u)
