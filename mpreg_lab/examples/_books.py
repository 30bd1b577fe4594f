"""The databases of the shop: one for each service, what is done once in them, and the books that must balance.

A part of order_processing.
"""

from __future__ import annotations

import csv
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Self

from mpreg_lab import current_step

__all__ = ["BRANDS", "STORES", "Books", "Shop", "once", "product", "purchases"]

BRANDS = {"CH": "Citrus Hill", "MM": "Minute Maid"}
STORES = ("1", "2", "3", "4", "7")

_TABLES = {
    "orders": """
        CREATE TABLE orders (
            number INTEGER PRIMARY KEY, product TEXT NOT NULL, cents INTEGER NOT NULL, state TEXT NOT NULL
        )
    """,
    "inventory": """
        CREATE TABLE stock (
            product TEXT PRIMARY KEY, opening INTEGER NOT NULL, free INTEGER NOT NULL CHECK (free >= 0),
            reserved INTEGER NOT NULL DEFAULT 0 CHECK (reserved >= 0), sold INTEGER NOT NULL DEFAULT 0
        )
    """,
    "payments": """
        CREATE TABLE charges (number INTEGER NOT NULL, cents INTEGER NOT NULL);
        CREATE TABLE blocked_cards (number INTEGER PRIMARY KEY)
    """,
    "shipping": "CREATE TABLE parcels (number INTEGER NOT NULL, product TEXT NOT NULL)",
}
"""Service to the tables of its database; each also has `answers`. Only the step's key forbids a second charge."""

_ANSWERS = "CREATE TABLE answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL, asked INTEGER NOT NULL)"


def purchases(count: int | None = None) -> list[dict[str, str]]:
    """The first lines of the file that comes with the package, or all 1,070; data/README.md says where it is from."""
    file = resources.files("mpreg_lab.examples").joinpath("data/orange_juice.csv")
    return list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))[:count]


def product(line: dict[str, str]) -> str:
    """What was bought: "Citrus Hill, store 1"."""
    return f"{BRANDS[line['Purchase']]}, store {line['StoreID']}"


def once(folder: str, service: str, act: Callable[[sqlite3.Connection], Any]) -> Any:
    """Do it and keep the answer, in one transaction; or give the answer that is kept for this step."""
    key = current_step().key
    with _transaction(Path(folder) / f"{service}.db") as books:
        books.execute("UPDATE answers SET asked = asked + 1 WHERE key = ?", (key,))
        if (kept := books.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()) is not None:
            return json.loads(kept[0])
        answer = act(books)
        answer = asdict(answer) if is_dataclass(answer) and not isinstance(answer, type) else answer
        books.execute("INSERT INTO answers VALUES (?, ?, 1)", (key, json.dumps(answer)))
    return answer


class Shop:
    """The databases of the four services, in a folder, opened with stock for exactly what will be ordered.

    Args:
        folder: Where the files go; empty, and on this machine.
        lines: What will be ordered; an order's number is its place, from 1.
        empty: Products of which the shelf is empty.
        blocked: Numbers of the orders whose card will be refused.

    Raises:
        FileExistsError: If the folder has the databases of another shop.
    """

    def __init__(
        self,
        folder: Path,
        lines: Sequence[dict[str, str]],
        *,
        empty: Sequence[str] = (),
        blocked: Sequence[int] = (),
    ) -> None:
        if found := [file.name for file in folder.glob("*.db")]:
            raise FileExistsError(f"{folder} has databases already ({', '.join(sorted(found))}). Give an empty folder")
        self.folder = folder
        self.lines = tuple(lines)
        self._open = ExitStack()
        # Held open until the end: the last one to close a database tidies it up, which takes longer than an order.
        self._books = {service: self._open.enter_context(closing(_create(folder, service))) for service in _TABLES}
        wanted = Counter(map(product, lines))
        with self._books["inventory"] as books:
            for name, count in sorted(wanted.items()):
                stock = 0 if name in empty else count
                books.execute("INSERT INTO stock (product, opening, free) VALUES (?, ?, ?)", (name, stock, stock))
        with self._books["payments"] as books:
            books.executemany("INSERT INTO blocked_cards VALUES (?)", [(number,) for number in blocked])

    def books(self) -> Books:
        """What the four services have written so far."""
        all_of = {service: books.execute for service, books in self._books.items()}
        states = Counter(state for (state,) in all_of["orders"]("SELECT state FROM orders"))
        opening, free, reserved, sold = all_of["inventory"](
            "SELECT total(opening), total(free), total(reserved), total(sold) FROM stock"
        ).fetchone()
        charges = all_of["payments"]("SELECT number, cents FROM charges").fetchall()
        parcels = [number for (number,) in all_of["shipping"]("SELECT number FROM parcels")]
        (confirmed_cents,) = all_of["orders"](
            "SELECT coalesce(sum(cents), 0) FROM orders WHERE state = 'confirmed'"
        ).fetchone()
        again = {
            service: execute("SELECT coalesce(sum(asked - 1), 0) FROM answers").fetchone()[0]
            for service, execute in all_of.items()
        }
        return Books(
            expected=len(self.lines),
            orders=dict(sorted(states.items())),
            opening=int(opening),
            free=int(free),
            reserved=int(reserved),
            sold=int(sold),
            charges=tuple(sorted(number for number, _ in charges)),
            taken_cents=sum(cents for _, cents in charges),
            confirmed_cents=confirmed_cents,
            parcels=tuple(sorted(parcels)),
            again=again,
        )

    def close(self) -> None:
        """Close the databases; the files stay."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class Books:
    """What all databases say together.

    Attributes:
        expected: How many orders were placed.
        orders: How many are in each state; "open" is one that was lost on its way.
        charges: The number of the order of every charge; one that is there twice was charged twice.
        parcels: The same of every parcel.
        again: By service, how often a step asked again for what was done already, and got the kept answer.
    """

    expected: int
    orders: dict[str, int]
    opening: int
    free: int
    reserved: int
    sold: int
    charges: tuple[int, ...]
    taken_cents: int
    confirmed_cents: int
    parcels: tuple[int, ...]
    again: dict[str, int]

    def problems(self) -> list[str]:
        """Where the books do not balance; empty if nothing was lost and nothing done twice."""
        ended = sum(count for state, count in self.orders.items() if state != "open")
        confirmed = self.orders.get("confirmed", 0)
        checks = {
            f"{self.expected - ended} orders lost": ended != self.expected,
            f"{len(self.charges) - len(set(self.charges))} charged twice": len(self.charges) != len(set(self.charges)),
            f"{len(self.parcels) - len(set(self.parcels))} shipped twice": len(self.parcels) != len(set(self.parcels)),
            "charged is not what was shipped": set(self.charges) != set(self.parcels),
            f"{len(set(self.parcels))} shipped, but {confirmed} confirmed": len(set(self.parcels)) != confirmed,
            f"{self.taken_cents} cents taken for {self.confirmed_cents}": self.taken_cents != self.confirmed_cents,
            f"{self.reserved} bottles still kept for nobody": self.reserved != 0,
            f"{self.sold} bottles sold for {confirmed} orders": self.sold != confirmed,
            "bottles came or went": self.opening != self.free + self.reserved + self.sold,
        }
        return [problem for problem, found in checks.items() if found]


def _create(folder: Path, service: str) -> sqlite3.Connection:
    books = sqlite3.connect(folder / f"{service}.db", check_same_thread=False)
    books.execute("PRAGMA journal_mode = WAL")  # readers and one writer at a time, from several processes
    books.executescript(f"{_TABLES[service]}; {_ANSWERS};")
    return books


@contextmanager
def _transaction(database: Path) -> Iterator[sqlite3.Connection]:
    """All of it or nothing, and nobody else in between; whatever ends the process."""
    with closing(sqlite3.connect(database, timeout=30, isolation_level=None)) as books, books:
        # What is committed outlives the process at once, and the machine after the next checkpoint.
        books.execute("PRAGMA synchronous = NORMAL")
        books.execute("BEGIN IMMEDIATE")
        yield books
