"""Which results are kept, and where."""

from __future__ import annotations

from collections import Counter
from typing import Any

from mpreg_lab.node import cache
from mpreg_lab.protocol.payload import Packed

untyped: Any = cache
keeper = untyped.keeper


def packed(size: int) -> Packed:
    return Packed(bytes(size), ())


def kept(*sizes: int, most: int = 100) -> Any:
    """Results 0, 1, ... of these sizes, kept in that order."""
    results = untyped.KeptResults(most)
    for i, size in enumerate(sizes):
        results.put(str(i), packed(size), float(i))
    return results


def test_what_was_kept_is_found():
    results = kept(10, 20)

    assert results.get("1", 5.0, None) == packed(20)
    assert results.get("2", 5.0, None) is None
    assert results.size_bytes == 30


def test_what_was_not_asked_for_the_longest_goes_first():
    results = kept(25, 25, 25, 25)
    results.get("0", 5.0, None)
    results.put("4", packed(20), 6.0)

    assert [results.get(str(i), 7.0, None) is not None for i in range(5)] == [True, False, True, True, True]
    assert results.size_bytes == 95


def test_a_result_that_would_drive_out_all_others_is_not_kept():
    results = kept(10, 26)

    assert len(results) == 1
    assert results.get("1", 5.0, None) is None


def test_a_key_has_one_result_the_last():
    results = kept(10)
    results.put("0", packed(20), 1.0)

    assert (len(results), results.size_bytes) == (1, 20)


def test_buffers_count_too():
    results = untyped.KeptResults(100)
    results.put("a", Packed(b"123", (b"4567", b"89")), 0.0)

    assert results.size_bytes == 9


def test_a_result_that_is_too_old_is_not_found():
    results = kept(10)

    assert results.get("0", 5.0, 5.0) == packed(10)
    assert results.get("0", 5.1, 5.0) is None
    assert results.get("0", 5.1, None) == packed(10)


def test_nothing_is_left_after_clearing():
    results = kept(10, 10)
    results.clear()

    assert (len(results), results.size_bytes) == (0, 0)


def test_all_nodes_agree_who_keeps_a_result():
    nodes = [f"n{i}" for i in range(5)]

    assert all(keeper(str(i), nodes) == keeper(str(i), nodes[::-1]) for i in range(100))


def test_results_are_spread_and_stay_where_they_are_when_a_node_comes():
    nodes = [f"n{i}" for i in range(4)]
    before = [keeper(str(i), nodes) for i in range(1000)]
    after = [keeper(str(i), [*nodes, "new"]) for i in range(1000)]

    assert min(Counter(before).values()) > 150
    assert all(now in (then, "new") for then, now in zip(before, after, strict=True))
