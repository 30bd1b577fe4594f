"""Orders through four services, while nodes are killed: nothing is lost, nothing is charged or shipped twice.

validate -> reserve -> charge -> settle -> ship -> confirm. Each service has an SQLite database of its own; there is no
transaction over two of them. If the card is refused, `settle` makes up for the reservation: the bottle is free again.
Every step may be started several times, since nobody knows what a dead node had done already; it is done once all the
same, because the services keep their answers under `current_step().key`.

`main` kills two nodes that have processes of their own while orders are under way, one of them at the worst moment:
after a charge was committed and before anybody heard of it. Then it counts what is in the databases. The orders are
real purchases of orange juice, see data/README.md; the stock and the refused cards are made up.

Not covered: the death of the node `front`, to which the client speaks, ends the run; nor that of the machine.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mpreg_lab import LocalCluster, Ref, Run, Step, StepStatus, Workflow
from mpreg_lab.examples import Functions, offer
from mpreg_lab.examples._books import Books, Shop, purchases
from mpreg_lab.examples._shop import (
    Order,
    Payment,
    PowerCut,
    Receipt,
    Reservation,
    charge,
    confirm,
    reserve,
    settle,
    ship,
    validate,
)

__all__ = [
    "BLOCKED",
    "EMPTY",
    "FUNCTIONS",
    "ORDERS",
    "Books",
    "Day",
    "Order",
    "Payment",
    "PowerCut",
    "Receipt",
    "Reservation",
    "Shop",
    "charge",
    "confirm",
    "day_of_sales",
    "main",
    "nodes",
    "open_shop",
    "purchases",
    "report",
    "reserve",
    "settle",
    "ship",
    "validate",
    "workflow",
]

ORDERS = 200
EMPTY = ("Minute Maid, store 4",)
BLOCKED = tuple(range(13, ORDERS + 1, 13))
"""Every thirteenth card is refused."""

WORST = 40
"""The order whose charge is committed when its node loses power."""


@dataclass(frozen=True)
class Day:
    """What became of a day of sales.

    Attributes:
        killed: Nodes that died, in order.
        restarted: Steps that were started more than once because of that.
    """

    books: Books
    killed: tuple[str, ...]
    restarted: int
    took_s: float


# --- The cluster and the workflow ---------------------------------------------------------------------------------

FUNCTIONS: Functions = {
    "orders": (validate, confirm),
    "inventory": (reserve, settle),
    "payments": (charge,),
    "shipping": (ship,),
}
"""Resource, which is a service here, to the functions that run where it is."""


def nodes() -> dict[str, list[str]]:
    """Node to its resources, as `LocalCluster` takes them: two nodes each for stock and money, so that one may die."""
    return {
        "front": ["orders"],
        "stock-1": ["inventory"],
        "stock-2": ["inventory"],
        "till-1": ["payments"],
        "till-2": ["payments"],
        "depot": ["shipping"],
    }


def open_shop(folder: Path, orders: int = ORDERS) -> Shop:
    """A shop for the first so many purchases of the file; every thirteenth card is blocked, one shelf is empty."""
    return Shop(folder, purchases(orders), empty=EMPTY, blocked=[number for number in BLOCKED if number <= orders])


def workflow(shop: Shop, *, power_cut: PowerCut | None = None) -> Workflow:
    """All orders of a shop, six steps each; every step may be started four times."""
    steps: list[Step] = []
    for number, line in enumerate(shop.lines, start=1):
        order, held, paid = (Ref(f"{name}-{number}") for name in ("order", "held", "paid"))
        fatal = power_cut if power_cut is not None and power_cut.number == number else None
        steps += (
            _step("order", number, "validate", "orders", shop, number, line),
            _step("held", number, "reserve", "inventory", shop, order),
            _step("paid", number, "charge", "payments", shop, order, held, fatal),
            _step("settled", number, "settle", "inventory", shop, order, held, paid),
            _step("sent", number, "ship", "shipping", shop, order, paid, Ref(f"settled-{number}")),
            _step("receipt", number, "confirm", "orders", shop, order, paid, Ref(f"sent-{number}")),
        )
    return Workflow(steps)


def day_of_sales(cluster: LocalCluster, shop: Shop, *, kill: str = "", power_cut: PowerCut | None = None) -> Day:
    """Process all orders of a shop.

    Args:
        kill: The node that is killed when a third of all steps is done; none if empty.
        power_cut: What the node that takes the money for one of the orders dies of.
    """
    alive = set(cluster.nodes)
    run = cluster.submit(workflow(shop, power_cut=power_cut))
    if kill:
        while not run.done and run.record.count(StepStatus.DONE) < len(run.workflow.steps) // 3:
            run.join(0.01)
        cluster.kill(kill)
    run.wait()
    dead = sorted(alive - set(cluster.nodes), key=lambda name: name != kill)
    return Day(shop.books(), tuple(dead), _restarted(run), run.record.duration_s or 0.0)


def report(day: Day) -> str:
    """The books, and what is wrong with them, in lines of at most 80 characters."""
    books = day.books
    done_before = sum(books.again.values())
    lines = [
        f"{books.expected} orders in {day.took_s:.1f} s. Nodes that died meanwhile: {', '.join(day.killed) or 'none'}",
        f"  {day.restarted:5} steps were started again elsewhere",
        f"  {done_before:5} of these had been done, and nobody knew: the kept answer was given",
        "",
        *(f"  {count:5} {state}" for state, count in sorted(books.orders.items(), key=lambda s: -s[1])),
        "",
        f"  {len(books.charges):5} charges for {len(set(books.charges))} orders, "
        f"{books.taken_cents / 100:.2f} taken of {books.confirmed_cents / 100:.2f} due",
        f"  {len(books.parcels):5} parcels for {len(set(books.parcels))} orders",
        f"  {books.opening:5} bottles at first = {books.sold} sold + {books.free} free + {books.reserved} reserved",
        "",
    ]
    return "\n".join([*lines, *(books.problems() or ["The books balance: nothing lost, nothing done twice."])])


def main() -> None:
    """A day of sales on six nodes in processes of their own, two of which are killed; prints the books."""
    with (
        tempfile.TemporaryDirectory() as folder,
        open_shop(Path(folder)) as shop,
        LocalCluster(nodes(), processes=True) as cluster,
    ):
        offer(cluster, FUNCTIONS)
        print(report(day_of_sales(cluster, shop, kill="stock-1", power_cut=PowerCut(WORST, spared=os.getpid()))))


# --- Helpers ------------------------------------------------------------------------------------------------------


def _step(name: str, number: int, function: str, service: str, shop: Shop, *args: object) -> Step:
    return Step(f"{name}-{number}", function, (str(shop.folder), *args), resources=[service], retries=3)


def _restarted(run: Run) -> int:
    return sum(step.attempts > 1 for step in run.record.steps.values())


if __name__ == "__main__":
    main()
