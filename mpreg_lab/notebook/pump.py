"""While a cell waits for a run, its kernel goes on: the user's own tasks, the buttons of widgets, the Stop button.

A kernel runs cells on its event loop, so a cell that blocks stops the loop, and a click on Cancel lies unread until the
cell is over. Here the loop is run once more from within the cell (nest-asyncio2). What comes in on the shell channel
meanwhile is looked at first: messages of widgets go to their handlers; everything else, such as the next cell, is held
back and given to the kernel afterwards, in its order.

This needs parts of ipykernel, pyzmq and asyncio that are not public: they are looked for, and where one is missing the
cell waits plainly and says so once. Tested with ipykernel 7.0 to 7.4.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from mpreg_lab.client.waiting import Awaited, plain_wait

__all__ = ["wait"]

_BEAT_S = 0.1
"""So often the loop wakes up to see signals: one that arrives on another thread does not wake it."""
_OF_WIDGETS = frozenset({"comm_open", "comm_msg", "comm_close"})
_NEEDED = ("get_parent", "iopub_socket", "session", "set_parent", "shell_handlers", "_parent_ident", "_publish_status")


class _UnknownKernelError(Exception):
    """A kernel in which nothing may be touched; the message says why."""


def wait(run: Awaited, ended: threading.Event, timeout_s: float | None) -> bool:
    """Wait for a run; in a cell of a kernel, with the kernel going on. An interrupt cancels the run at once.

    Raises:
        KeyboardInterrupt: If it was interrupted, or the kernel is being shut down.
    """
    kernel, loop = _kernel(), _running_loop()
    if kernel is None or loop is None or loop is not _loop_of(kernel):
        return plain_wait(ended, timeout_s)
    post = _post_of(kernel, loop)
    if post is None:
        return plain_wait(ended, timeout_s)
    _Pump(loop, run).turn(post, timeout_s)
    return ended.is_set()


def _post_of(kernel: Any, loop: asyncio.AbstractEventLoop) -> _Post | None:
    """None if this kernel is not to be touched, which the user is told."""
    try:
        post = _Post(kernel, loop)
        _make_reentrant(loop)
    except _UnknownKernelError as reason:
        _say_once(f"While a cell waits for a run, Cancel and asyncio tasks wait too: {reason}. Stop works")
        return None
    return post


class _Pump:
    """Turns the loop until the run has ended, the time is over, or an interrupt comes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, run: Awaited) -> None:
        self._loop = loop
        self._run = run
        self._over: asyncio.Future[None] = loop.create_future()
        self._interrupted = False

    def turn(self, post: _Post, timeout_s: float | None) -> None:
        self._run.on_end(self._finish_soon)
        beat = self._loop.call_later(_BEAT_S, self._beat)
        timer = self._loop.call_later(timeout_s, self._finish) if timeout_s is not None else None
        try:
            # Outermost: an interrupt must not come between the others.
            with self._polite_interrupts(), post.sorted():
                self._turn()
        finally:
            self._over.cancel()
            beat.cancel()
            if timer is not None:
                timer.cancel()
        if self._interrupted:
            raise KeyboardInterrupt

    def _turn(self) -> None:
        try:
            self._loop.run_until_complete(self._over)
        except RuntimeError:
            if self._over.done():
                raise
            # The loop was stopped: the kernel is being shut down, and this cell is what it waits for.
            self._run.cancel()
            self._interrupted = True

    def _beat(self) -> None:
        if not self._over.done():
            self._loop.call_later(_BEAT_S, self._beat)

    def _finish(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    def _finish_soon(self) -> None:
        # A loop that was closed meanwhile has nobody waiting on it.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._finish)

    @contextlib.contextmanager
    def _polite_interrupts(self) -> Iterator[None]:
        """The wait ends between two callbacks of the loop. Raised within one, an interrupt would kill a task or lose
        a message that is none of ours; only the second one does that, should a callback hang.
        """
        usual = signal.signal(signal.SIGINT, self._interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.SIG_DFL if usual is None else usual)

    def _interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        if self._interrupted and not self._over.done():
            raise KeyboardInterrupt
        self._interrupted = True
        self._run.cancel()
        self._finish_soon()


class _Post:
    """The shell channel of a kernel during a cell. Made in the cell, because only there the kernel knows its parent.

    Raises:
        _UnknownKernelError: If the kernel is not as expected.
    """

    def __init__(self, kernel: Any, loop: asyncio.AbstractEventLoop) -> None:
        missing = [name for name in _NEEDED if not hasattr(kernel, name)]
        if missing:
            raise _UnknownKernelError(f"this kernel has no {', '.join(missing)}")
        self._kernel = kernel
        self._loop = loop
        self._stream = _stream_of_main_shell(kernel)
        self._usual: Callable[[Any], object] = self._stream._recv_callback
        self._arrived: deque[Any] = deque()
        self._held: list[tuple[contextvars.Context, Any]] = []
        self._context = contextvars.copy_context()
        self._cell = (kernel._parent_ident["shell"], kernel.get_parent("shell"))

    @contextlib.contextmanager
    def sorted(self) -> Iterator[None]:
        """Messages of widgets are handled, others held back until the end."""
        if isinstance(getattr(self._usual, "__self__", None), _Post):
            # A callback that waits for another run, within a cell that waits already.
            yield
            return
        self._stream.on_recv(self._receive, copy=False)
        try:
            yield
        finally:
            self._stream.on_recv(self._usual, copy=False)
            while self._arrived:
                self._deliver_next()
            for context, frames in self._held:
                self._loop.call_soon(self._stream._run_callback, self._usual, frames, context=context)

    def _receive(self, frames: Any) -> None:
        if self._type_of(frames) in _OF_WIDGETS:
            # Not at once: should the handler wait for a run, nothing could be received until it has returned.
            self._arrived.append(frames)
            self._loop.call_soon(self._deliver_next)
        else:
            # With the context of here: that of the cell is none of the next cell's business.
            self._held.append((contextvars.copy_context(), frames))

    def _type_of(self, frames: Any) -> str:
        session = self._kernel.session
        try:
            _, message = session.feed_identities(frames, copy=False)
            return str(session.deserialize(message, content=False, copy=False)["header"]["msg_type"])
        except (KeyError, TypeError, ValueError):
            return ""  # not a message, or not well signed: the kernel knows what to do

    def _deliver_next(self) -> None:
        if self._arrived:
            self._context.copy().run(self._deliver, self._arrived.popleft())

    def _deliver(self, frames: Any) -> None:
        """As the kernel's own dispatch_shell, which would take over the signal handler, and keep the parent."""
        kernel = self._kernel
        ident, message = kernel.session.feed_identities(frames, copy=False)
        message = kernel.session.deserialize(message, content=True, copy=False)
        kernel.set_parent(ident, message, channel="shell")
        kernel._publish_status("busy", "shell")
        try:
            kernel.shell_handlers[message["header"]["msg_type"]](kernel.shell_stream, ident, message)
        finally:
            _flush()
            kernel._publish_status("idle", "shell")
            kernel.set_parent(*self._cell, channel="shell")
            # A notebook shows the latest status; the cell still runs.
            kernel._publish_status("busy", "shell")


def _stream_of_main_shell(kernel: Any) -> Any:
    """Where the messages of the main shell come in: behind the thread that sorts them by subshell, if there is one."""
    thread = getattr(kernel, "shell_channel_thread", None)
    if thread is None:
        stream = getattr(kernel, "shell_stream", None)
    else:
        pair = getattr(getattr(thread, "manager", None), "_shell_channel_to_main", None)
        stream = getattr(pair, "to_stream", None)
    if not callable(getattr(stream, "_recv_callback", None)) or not hasattr(stream, "_run_callback"):
        raise _UnknownKernelError("this kernel keeps the messages of its shell elsewhere")
    return stream


def _kernel() -> Any:
    """The kernel of this process; None if it is none."""
    base = sys.modules.get("ipykernel.kernelbase")
    return base.Kernel.instance() if base is not None and base.Kernel.initialized() else None


def _loop_of(kernel: Any) -> asyncio.AbstractEventLoop | None:
    """The loop that runs its cells. That of a subshell is another: there is nothing that a cell of one would stop."""
    loop: asyncio.AbstractEventLoop | None = getattr(getattr(kernel, "io_loop", None), "asyncio_loop", None)
    return loop


def _running_loop() -> asyncio.AbstractEventLoop | None:
    with contextlib.suppress(RuntimeError):
        return asyncio.get_running_loop()
    return None


def _make_reentrant(loop: asyncio.AbstractEventLoop) -> None:
    """Let this loop be run from within itself, and nothing else.

    nest-asyncio2 means all loops and tasks of the process, those of the cluster too, and has no undo. So the loop first
    gets a class of its own, and what else was changed is put back.
    """
    if hasattr(loop, "_nest_patched"):
        if not hasattr(loop, "_nest_asyncio2"):
            # It loses queued cells on ipykernel >= 7.1.
            raise _UnknownKernelError("the archived nest_asyncio was applied to its loop; use nest_asyncio2")
        return
    if not isinstance(loop, asyncio.BaseEventLoop):
        raise _UnknownKernelError(f"its event loop is a {type(loop).__name__}")
    import nest_asyncio2
    from tornado import concurrent

    places: list[object] = [asyncio, asyncio.events, asyncio.futures, asyncio.tasks, concurrent]
    if sys.version_info < (3, 14):
        places.append(type(asyncio.get_event_loop_policy()))
    with _unchanged(*places):
        kind = type(loop)
        loop.__class__ = type(kind.__name__, (kind,), {})
        nest_asyncio2.apply(loop)


@contextlib.contextmanager
def _unchanged(*holders: object) -> Iterator[None]:
    """Puts the attributes of modules and classes back as they were."""
    before = [dict(vars(holder)) for holder in holders]
    try:
        yield
    finally:
        for holder, attributes in zip(holders, before, strict=True):
            for name in vars(holder).keys() - attributes.keys():
                delattr(holder, name)
            for name, value in attributes.items():
                if vars(holder)[name] is not value:
                    setattr(holder, name, value)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


_said: set[str] = set()


def _say_once(text: str) -> None:
    if text not in _said:
        _said.add(text)
        sys.stderr.write(f"mpreg_lab: {text}.\n")
