"""What clients were told of their runs, kept so that it can be told again: a connection may end at any moment."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence

from mpreg_lab.protocol.messages import Message, RunDone, RunUpdate
from mpreg_lab.types import RunId
from mpreg_lab.workflow.record import RunEvent

__all__ = ["PastRuns", "RunLog"]

_EVENT_BYTES = 200
_MOST_RUNS = 10_000
_MOST_BYTES = 64 << 20


class RunLog:
    """All that was said of one run.

    Args:
        kept: Whether it can be told again, and is numbered for that.
    """

    __slots__ = ("_events", "_run", "done", "kept")

    def __init__(self, run: RunId, *, kept: bool) -> None:
        self.kept = kept
        self.done: RunDone | None = None
        self._run = run
        self._events: list[RunEvent] = []

    def update(self, events: Sequence[RunEvent]) -> RunUpdate:
        """Something happened: how to say so."""
        first = len(self._events)
        if self.kept:
            self._events.extend(events)
        return _update(self._run, events, first)

    def end(self, done: RunDone) -> RunDone:
        """The run is over: how to say so."""
        if not self.kept:
            return done
        self.done = RunDone(done.u, done.results, done.errors, done.refused, len(self._events))
        return self.done

    def since(self, seen: int) -> Iterator[Message]:
        """What to tell who knows the first events, so many."""
        if seen < len(self._events):
            yield _update(self._run, self._events[seen:], seen)
        if self.done is not None:
            yield self.done

    @property
    def size_bytes(self) -> int:
        """About what it takes. What was not packed is held by others too, and not counted."""
        printed = sum(len(getattr(event, "printed", "")) for event in self._events)
        results = 0 if self.done is None else sum(result.packed_bytes for result in self.done.results.values())
        return _EVENT_BYTES * len(self._events) + printed + results


class PastRuns:
    """Runs that are over or were given up, and are no longer served: their logs, or that they are past and no more.

    Bounded: the oldest lose their logs, and then are forgotten.
    """

    def __init__(self, *, most_runs: int = _MOST_RUNS, most_bytes: int = _MOST_BYTES) -> None:
        self._most_runs, self._most_bytes = most_runs, most_bytes
        self._past: OrderedDict[RunId, None] = OrderedDict()
        self._logs: OrderedDict[RunId, tuple[RunLog, int]] = OrderedDict()
        self._size_bytes = 0

    def __contains__(self, run: object) -> bool:
        return run in self._past

    def log(self, run: RunId) -> RunLog | None:
        """What its client may have missed; None if that is not kept any more."""
        found = self._logs.get(run)
        return None if found is None else found[0]

    def add(self, run: RunId, log: RunLog | None = None) -> None:
        """A run is past.

        Args:
            log: None: its client wants to hear nothing of it.
        """
        self._drop(run)
        self._past[run] = None
        if log is not None:
            size_bytes = log.size_bytes
            self._logs[run] = log, size_bytes
            self._size_bytes += size_bytes
        while self._size_bytes > self._most_bytes:
            self._drop(next(iter(self._logs)))
        while len(self._past) > self._most_runs:
            oldest, _ = self._past.popitem(last=False)
            self._drop(oldest)

    def _drop(self, run: RunId) -> None:
        _, size_bytes = self._logs.pop(run, (None, 0))
        self._size_bytes -= size_bytes


def _update(run: RunId, events: Sequence[RunEvent], first: int) -> RunUpdate:
    return RunUpdate(run, tuple(events), first)  # type: ignore[arg-type]  # all events are in the union
