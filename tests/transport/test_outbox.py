from __future__ import annotations

from mpreg_lab.transport import outbox as module
from mpreg_lab.transport.outbox import Outbox


def box(*parcels: tuple[str | None, str], max_open_bytes: int = 1000) -> Outbox:
    """With parcels of one byte a frame."""
    outbox = Outbox(max_open_bytes)
    for key, frames in parcels:
        outbox.add(key, iter(frames), len(frames))
    return outbox


def taken(outbox: Outbox) -> str:
    return "".join(map(str, iter(outbox.take, None)))


def test_parcels_take_turns():
    assert taken(box(("a", "111"), ("b", "22"), ("c", "3"))) == "123121"


def test_parcels_of_one_key_keep_their_order():
    assert taken(box(("a", "111"), ("a", "x"), ("b", "22"), ("a", "y"))) == "12121xy"


def test_what_has_no_key_goes_last():
    assert taken(box(("a", "111"), (None, "z"), ("b", "22"))) == "12121z"


def test_more_than_the_other_end_takes_is_not_begun():
    assert taken(box(("a", "1111"), ("b", "222"), ("c", "33"), max_open_bytes=6)) == "11112323" + "2"


def test_only_so_many_are_begun_at_once(monkeypatch):
    monkeypatch.setattr(module, "MAX_STREAMS", 2)
    assert taken(box(("a", "11"), ("b", "22"), ("c", "33"))) == "121233"


def test_it_tells_who_has_to_wait():
    outbox = box(("a", "11"))
    assert (outbox.holds("a"), outbox.holds("b"), outbox.holds(None)) == (True, False, True)
    taken(outbox)
    assert (outbox.holds("a"), outbox.holds("b"), outbox.holds(None)) == (False, False, False)


def test_pending_are_the_bytes_that_were_not_taken_out():
    outbox = box(("a", "11"), ("b", "222"), (None, "z"))
    pending = [outbox.pending_bytes]
    while outbox.take() is not None:
        pending.append(outbox.pending_bytes)
    assert pending == [6, 5, 4, 3, 2, 1, 0]
