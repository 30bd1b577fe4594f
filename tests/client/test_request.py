"""Requests of RPCCommands over both clients."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from mpreg_lab import AsyncClient, Client, LocalCluster, RPCCommand
from mpreg_lab.errors import RunTimeoutError, UnknownFunctionError


async def hang() -> None:
    await asyncio.get_running_loop().create_future()


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster({"a": [], "b": ["gpu"]}) as cluster:
        cluster.register(lambda *values: sum(values), name="add")
        cluster.register(lambda value: {"total": value}, name="pack", resources=["gpu"])
        cluster.register(hang)
        yield cluster


COMMANDS = [
    RPCCommand(name="one", fun="add", args=(1, 2)),
    RPCCommand(name="two", fun="pack", args=("one",), locs=frozenset({"gpu"})),
    RPCCommand(name="three", fun="add", args=("one", "two.total")),
    RPCCommand(name="lone", fun="echo", args=("three words, no step",)),
]


async def test_names_and_fields_of_steps_are_their_results(cluster: LocalCluster):
    async with AsyncClient(cluster.url, token=cluster.token) as client:
        assert await client.request(COMMANDS) == {"three": 6, "lone": "three words, no step"}


def test_a_blocking_client_takes_them_too(cluster: LocalCluster):
    with Client(cluster.url, token=cluster.token) as client:
        assert client.request(COMMANDS) == {"three": 6, "lone": "three words, no step"}


async def test_an_unknown_function_is_named(cluster: LocalCluster):
    async with AsyncClient(cluster.url, token=cluster.token) as client:
        with pytest.raises(UnknownFunctionError, match="'nope'"):
            await client.request([RPCCommand("x", "nope")])


async def test_a_request_that_takes_too_long_is_cancelled(cluster: LocalCluster):
    arguments: dict[str, Any] = {"timeout": 0.05}
    async with AsyncClient(cluster.url, token=cluster.token) as client:
        with pytest.raises(RunTimeoutError):
            await client.request([RPCCommand("x", "hang")], **arguments)
