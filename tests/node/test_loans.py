"""Results that other runs still use stay."""

from __future__ import annotations

from typing import Any

from mpreg_lab.node import loans

untyped: Any = loans


def test_a_run_that_lent_nothing_goes_at_once():
    kept = untyped.Loans()

    assert kept.forget("r1", {"a"}, ()) == {"r1": {"a"}}
    assert "r1" not in kept


def test_a_run_stays_until_all_that_use_its_results_are_forgotten():
    kept = untyped.Loans()
    kept.lend({"r1"})
    kept.lend({"r1", "r2"})

    assert kept.forget("r1", {"a"}, ()) == {}
    assert "r1" in kept
    assert kept.forget("r2", {"b"}, {"r1"}) == {}
    assert kept.forget("r3", {"c"}, {"r1", "r2"}) == {"r3": {"c"}, "r1": {"a"}, "r2": {"b"}}
    assert "r1" not in kept


def test_a_run_whose_client_still_wants_it_stays_when_its_borrowers_go():
    kept = untyped.Loans()
    kept.lend({"r1"})

    assert kept.forget("r2", {"b"}, {"r1"}) == {"r2": {"b"}}
    assert kept.forget("r1", {"a"}, ()) == {"r1": {"a"}}
