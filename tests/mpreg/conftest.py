"""Servers and clients as who tests with MPREG makes them, owned by the context of the test."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from mpreg_lab.testing import AsyncTestContext
from mpreg_lab.testing.mpreg import MPREGClientAPI, MPREGServer, MPREGSettings
from tests.mpreg.kinds import Connect, Serve


@pytest.fixture
def serve(test_context: AsyncTestContext) -> Serve:
    """Starts a server in a task, with fields of MPREGSettings; it is one cluster with its peers when this returns."""

    async def start(
        name: str, resources: Iterable[str] = (), *, peers: Iterable[MPREGServer] = (), **fields: Any
    ) -> MPREGServer:
        urls = [peer.settings.url for peer in peers]
        server = MPREGServer(MPREGSettings(name=name, resources=resources, peers=urls, cluster_id="tests", **fields))
        test_context.servers.append(server)
        test_context.tasks.append(asyncio.create_task(server.server()))
        return await server.ready()

    return start


@pytest.fixture
def connect(test_context: AsyncTestContext) -> Connect:
    """Gives a connected client for a server."""

    async def start(server: MPREGServer) -> MPREGClientAPI:
        client = MPREGClientAPI(f"ws://127.0.0.1:{server.settings.port}")
        test_context.clients.append(client)
        return await client.connect()

    return start
