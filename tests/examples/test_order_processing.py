"""What is in the four databases after many orders, with nodes that die meanwhile and services that are asked twice."""

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mpreg_lab import LocalCluster, StepStatus, current_step
from mpreg_lab.examples import offer
from mpreg_lab.examples.order_processing import (
    EMPTY,
    FUNCTIONS,
    Order,
    Payment,
    PowerCut,
    Reservation,
    Shop,
    charge,
    day_of_sales,
    nodes,
    open_shop,
    purchases,
    report,
    ship,
    workflow,
)

ORDERS = 120


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path, ORDERS) as shop:
        yield shop


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(nodes()) as cluster:
        offer(cluster, FUNCTIONS)
        yield cluster


def expected() -> tuple[Counter[str], int]:
    """How the orders must end, and the money for them in cents, from the file alone."""
    states: Counter[str] = Counter()
    cents = 0
    for number, line in enumerate(purchases(ORDERS), start=1):
        if (line["Purchase"], line["StoreID"]) == ("MM", "4"):
            states["sold out"] += 1
        elif number % 13 == 0:
            states["card refused"] += 1
        else:
            states["confirmed"] += 1
            cents += round(float(line[f"SalePrice{line['Purchase']}"]) * 100)
    return states, cents


def rows(shop: Shop, service: str, query: str) -> list[Any]:
    with sqlite3.connect(shop.folder / f"{service}.db") as books:
        found = books.execute(query).fetchall()
    books.close()
    return found


def check(shop: Shop) -> None:
    """All that must hold when a day is over, read from the files by other means than the example's."""
    states, cents = expected()
    assert Counter(state for (state,) in rows(shop, "orders", "SELECT state FROM orders")) == states
    confirmed = [n for (n,) in rows(shop, "orders", "SELECT number FROM orders WHERE state = 'confirmed' ORDER BY 1")]
    assert [n for (n,) in rows(shop, "payments", "SELECT number FROM charges ORDER BY 1")] == confirmed
    assert [n for (n,) in rows(shop, "shipping", "SELECT number FROM parcels ORDER BY 1")] == confirmed
    assert rows(shop, "payments", "SELECT sum(cents) FROM charges") == [(cents,)]
    assert rows(shop, "inventory", "SELECT sum(sold), sum(reserved) FROM stock") == [(len(confirmed), 0)]
    assert rows(shop, "inventory", "SELECT * FROM stock WHERE opening != free + sold") == []
    assert shop.books().problems() == []


def test_every_order_ends_as_stock_and_card_allow(cluster: LocalCluster, shop: Shop):
    day = day_of_sales(cluster, shop)

    check(shop)
    assert (day.killed, day.restarted, sum(day.books.again.values())) == ((), 0, 0)
    assert rows(shop, "inventory", f"SELECT opening, sold FROM stock WHERE product = '{EMPTY[0]}'") == [(0, 0)]


def test_nothing_is_lost_and_nothing_done_twice_when_nodes_are_killed(shop: Shop):
    with LocalCluster(nodes(), processes=True) as cluster:
        offer(cluster, FUNCTIONS)
        day = day_of_sales(cluster, shop, kill="stock-1", power_cut=PowerCut(40, spared=os.getpid()))
        alive = set(cluster.nodes)

    check(shop)
    assert day.killed[0] == "stock-1"
    assert day.killed[1] in ("till-1", "till-2")
    assert alive == set(nodes()) - set(day.killed)
    # At the least the one whose power was cut: it was charged, and asked again.
    assert day.books.again["payments"] >= 1
    assert rows(shop, "payments", "SELECT count(*) FROM charges WHERE number = 40") == [(1,)]
    assert rows(shop, "payments", "SELECT asked FROM answers WHERE key LIKE '%/paid-40'") == [(2,)]
    assert day.restarted >= sum(day.books.again.values())


@pytest.mark.parametrize("fails", ["validate", "reserve", "charge", "settle", "ship", "confirm"])
def test_a_service_that_fails_after_its_work_is_asked_again_and_does_it_once(
    fails: str, cluster: LocalCluster, shop: Shop
):
    (resource, function) = next((r, f) for r, fs in FUNCTIONS.items() for f in fs if f.__name__ == fails)

    def unsteady(*args: Any) -> Any:
        answer = function(*args)
        if current_step().attempt <= 2:
            raise ConnectionResetError("the answer was lost")
        return answer

    cluster.register(unsteady, resources=[resource], name=fails)
    day = day_of_sales(cluster, shop)

    check(shop)
    assert day.restarted == ORDERS
    assert day.books.again == {"orders": 0, "inventory": 0, "payments": 0, "shipping": 0} | {resource: 2 * ORDERS}


def test_without_keys_the_books_would_not_balance(cluster: LocalCluster, shop: Shop):
    def charge_each_time(folder: str, order: Order, reservation: Reservation, power_cut: None) -> Payment:
        payment = charge(folder, order, reservation)
        if payment.paid and current_step().attempt == 1:
            with sqlite3.connect(f"{folder}/payments.db") as books:
                books.execute("INSERT INTO charges VALUES (?, ?)", (order.number, order.cents))
            books.close()
        return payment

    cluster.register(charge_each_time, resources=["payments"], name="charge")
    books = day_of_sales(cluster, shop).books

    states, cents = expected()
    assert books.problems() == [
        f"{states['confirmed']} charged twice",
        f"{2 * cents} cents taken for {cents}",
    ]


def test_an_order_that_is_lost_on_its_way_is_seen(cluster: LocalCluster, shop: Shop):
    def lose(folder: str, order: Order, payment: Payment, settled: None) -> bool:
        if order.number == 3:
            raise OSError("the van broke down")
        return ship(folder, order, payment, settled)

    cluster.register(lose, resources=["shipping"], name="ship")
    run = cluster.submit(workflow(shop))
    run.join()

    assert run.record.steps["sent-3"].status is StepStatus.FAILED  # type: ignore[index]  # names are plain
    assert shop.books().orders["open"] == 1
    assert shop.books().problems()[0] == "1 orders lost"
    assert "charged is not what was shipped" in shop.books().problems()


def test_a_refused_card_frees_the_bottle(cluster: LocalCluster, tmp_path: Path):
    line = {"Purchase": "CH", "StoreID": "1", "SalePriceCH": "1.75", "SalePriceMM": "1.99"}
    with Shop(tmp_path, [line], blocked=[1]) as shop:
        books = day_of_sales(cluster, shop).books

    assert books.orders == {"card refused": 1}
    assert (books.opening, books.free, books.reserved, books.sold) == (1, 1, 0, 0)
    assert books.problems() == []


@pytest.mark.parametrize(
    "wrong", [{"Purchase": "XX"}, {"StoreID": "5"}, {"SalePriceCH": "0"}, {"SalePriceCH": "-1.5"}], ids=str
)
def test_an_order_that_makes_no_sense_goes_no_further(wrong: dict[str, str], cluster: LocalCluster, tmp_path: Path):
    good = {"Purchase": "CH", "StoreID": "1", "SalePriceCH": "1.75", "SalePriceMM": "1.99"}
    with Shop(tmp_path, [good, good]) as shop:
        shop.lines = (good, good | wrong)
        with pytest.raises(ValueError, match=r"^order 2: no bottle of '..' in store '.' for "):
            cluster.run(workflow(shop))

        assert shop.books().orders == {"confirmed": 1}


def test_a_shop_does_not_write_into_the_books_of_another(shop: Shop):
    with pytest.raises(FileExistsError, match=r"databases already \(inventory\.db, orders\.db, .*Give an empty folder"):
        open_shop(shop.folder)


def test_a_power_cut_never_strikes_the_process_that_wrote_the_workflow(cluster: LocalCluster, shop: Shop):
    cut = PowerCut(1, spared=os.getpid())

    run = cluster.submit(workflow(shop, power_cut=cut))
    run.wait()

    # It failed once, was started again, and spared: the order is complete.
    assert run.record.steps["paid-1"].attempts == 2  # type: ignore[index]  # names are plain
    check(shop)


def test_the_report_says_what_the_books_say(cluster: LocalCluster, shop: Shop):
    text = report(day_of_sales(cluster, shop))

    states, cents = expected()
    assert f"{states['confirmed']:7} confirmed" in text
    assert f"{cents / 100:.2f} taken of {cents / 100:.2f} due" in text
    assert text.endswith("The books balance: nothing lost, nothing done twice.")
