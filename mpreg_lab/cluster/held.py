"""What every cluster has that a person holds: it is used with `with` or `async with`, and shows its nodes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import Any, Self

from mpreg_lab.client.verbs import in_a_thread
from mpreg_lab.protocol.messages import Member

from .summary import cluster_html, cluster_text

__all__ = ["HeldCluster"]


class HeldCluster(ABC):
    """A cluster with a name and an end."""

    name: str

    @property
    @abstractmethod
    def nodes(self) -> dict[str, Member]:
        """The nodes by name."""

    @property
    @abstractmethod
    def running(self) -> bool:
        """Whether it has not been stopped."""

    @abstractmethod
    def stop(self) -> None:
        """End it. May be called twice."""

    @classmethod
    async def launch_async(cls, *args: Any, **kwargs: Any) -> Self:
        """As the constructor, awaitable on any loop: `async with await LocalCluster.launch_async(3) as cluster`."""
        return await in_a_thread(partial(cls, *args, **kwargs))

    async def stop_async(self) -> None:
        """As `stop`, awaitable on any loop."""
        await in_a_thread(self.stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop_async()

    def __repr__(self) -> str:
        return cluster_text(type(self).__name__, self.name, tuple(self.nodes.values()) if self.running else None)

    def _repr_html_(self) -> str:
        return cluster_html(type(self).__name__, self.name, tuple(self.nodes.values()) if self.running else None)
