"""The four services of a shop: what each does for an order, in one transaction of its own database.

No service trusts that it is asked once. What it does and the answer that it gives are kept under the key of the step
that asks: who asks again gets the same answer, and nothing is done twice. A part of order_processing.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from dataclasses import dataclass

from mpreg_lab import current_step
from mpreg_lab.examples._books import BRANDS, STORES, once, product

__all__ = [
    "Order",
    "Payment",
    "PowerCut",
    "Receipt",
    "Reservation",
    "charge",
    "confirm",
    "reserve",
    "settle",
    "ship",
    "validate",
]


@dataclass(frozen=True)
class Order:
    """One bottle, of a brand and from a store, at a price."""

    number: int
    product: str
    cents: int


@dataclass(frozen=True)
class Reservation:
    """Whether a bottle is kept for an order."""

    held: bool


@dataclass(frozen=True)
class Payment:
    """Whether an order was paid, and if not, why."""

    paid: bool
    reason: str = ""


@dataclass(frozen=True)
class Receipt:
    """How an order ended: "confirmed", "card refused" or "sold out"."""

    number: int
    state: str


@dataclass(frozen=True)
class PowerCut:
    """The worst moment: the charge is in the books, and the node dies before it can say so.

    Attributes:
        number: The order whose first charge it strikes.
        spared: The process that must not die of it: that of whoever wrote the workflow.
    """

    number: int
    spared: int

    def strike(self, number: int) -> None:
        """End the process of the node as a lost machine would, if it is this order's first attempt.

        Raises:
            RuntimeError: If the node has no process of its own.
        """
        if number != self.number or current_step().attempt > 1:
            return
        if os.getpid() == self.spared:
            raise RuntimeError("a power cut needs nodes in processes of their own: LocalCluster(..., processes=True)")
        os.kill(os.getpid(), signal.SIGKILL)


# --- The functions that run on the nodes --------------------------------------------------------------------------


def validate(folder: str, number: int, line: dict[str, str]) -> Order:
    """Make an order of a line of the file, and note that it was taken.

    Raises:
        ValueError: If the line names no brand, store or price of ours.
    """
    brand, store = line["Purchase"], line["StoreID"]
    price = line.get(f"SalePrice{brand}", "0")
    if brand not in BRANDS or store not in STORES or not float(price) > 0:
        raise ValueError(f"order {number}: no bottle of {brand!r} in store {store!r} for {price!r} dollars")
    order = Order(number, product(line), round(float(price) * 100))

    def act(books: sqlite3.Connection) -> Order:
        books.execute("INSERT INTO orders VALUES (?, ?, ?, 'open')", (number, order.product, order.cents))
        return order

    return Order(**once(folder, "orders", act))


def reserve(folder: str, order: Order) -> Reservation:
    """Keep a bottle for the order, if there is a free one."""

    def act(books: sqlite3.Connection) -> Reservation:
        taken = books.execute(
            "UPDATE stock SET free = free - 1, reserved = reserved + 1 WHERE product = ? AND free > 0",
            (order.product,),
        )
        return Reservation(held=taken.rowcount == 1)

    return Reservation(**once(folder, "inventory", act))


def charge(folder: str, order: Order, reservation: Reservation, power_cut: PowerCut | None = None) -> Payment:
    """Take the money for a bottle that is kept, if the card is good."""

    def act(books: sqlite3.Connection) -> Payment:
        if not reservation.held:
            return Payment(False, "sold out")
        if books.execute("SELECT 1 FROM blocked_cards WHERE number = ?", (order.number,)).fetchone():
            return Payment(False, "card refused")
        books.execute("INSERT INTO charges VALUES (?, ?)", (order.number, order.cents))
        return Payment(True)

    payment = Payment(**once(folder, "payments", act))
    if power_cut is not None:
        power_cut.strike(order.number)
    return payment


def settle(folder: str, order: Order, reservation: Reservation, payment: Payment) -> None:
    """The bottle that was kept is sold; or, to make up for a payment that failed, free again."""

    def act(books: sqlite3.Connection) -> None:
        if reservation.held:
            column = "sold" if payment.paid else "free"
            books.execute(
                f"UPDATE stock SET reserved = reserved - 1, {column} = {column} + 1 WHERE product = ?", (order.product,)
            )

    once(folder, "inventory", act)


def ship(folder: str, order: Order, payment: Payment, settled: None) -> bool:
    """Send what was paid for; whether there was something to send."""

    def act(books: sqlite3.Connection) -> bool:
        if payment.paid:
            books.execute("INSERT INTO parcels VALUES (?, ?)", (order.number, order.product))
        return payment.paid

    return bool(once(folder, "shipping", act))


def confirm(folder: str, order: Order, payment: Payment, shipped: bool) -> Receipt:
    """Close the order."""
    receipt = Receipt(order.number, "confirmed" if shipped else payment.reason)

    def act(books: sqlite3.Connection) -> Receipt:
        books.execute("UPDATE orders SET state = ? WHERE number = ?", (receipt.state, order.number))
        return receipt

    return Receipt(**once(folder, "orders", act))
