"""The kinds of the fixtures of conftest.py."""

from collections.abc import Awaitable, Callable

from mpreg_lab.testing.mpreg import MPREGClientAPI, MPREGServer

Serve = Callable[..., Awaitable[MPREGServer]]
Connect = Callable[[MPREGServer], Awaitable[MPREGClientAPI]]
