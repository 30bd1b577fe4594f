"""What magics do when they are not told: `%mpreg config`. The settings hold for this kernel until it is restarted."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from mpreg_lab.errors import MagicError
from mpreg_lab.workflow.plan import did_you_mean

from .options import delay, identifier, one_of, seconds, whole

__all__ = ["NONE", "SETTINGS", "Setting", "Settings", "change", "current", "reset"]

NONE = "none"
"""The word for no value, where that is possible."""
VIEWS = ("live", "plain", "none")


class Settings(msgspec.Struct, frozen=True):
    """The defaults of magics.

    Attributes:
        cluster: The name of a cluster, or a variable that holds one. None: the newest.
        timeout: Seconds for a whole run. None: no limit.
        retries: For steps that do not say `retry(n)`.
        backoff: Seconds before their first retry.
        view: What a cell shows of its run: "live", "plain" text, or "none".
        variable: Where a cell keeps its run. None: nowhere, unless it says `-o`.
    """

    cluster: str | None = None
    timeout: float | None = None
    retries: int = 0
    backoff: float = 0.0
    view: str = "live"
    variable: str | None = None


class Setting(NamedTuple):
    """One of them.

    Attributes:
        read: Makes a value of a word; raises argparse.ArgumentTypeError.
        example: A word that it takes. words: All that it takes, if they can be listed.
    """

    text: str
    read: Callable[[str], Any]
    example: str
    words: tuple[str, ...] = ()
    can_be_none: bool = False


SETTINGS: dict[str, Setting] = {
    "cluster": Setting("a name or variable; none: the newest", str, "lab", can_be_none=True),
    "timeout": Setting("cancels runs after so many seconds", seconds, "60", can_be_none=True),
    "retries": Setting("of steps that do not say retry(n)", whole, "2"),
    "backoff": Setting("seconds before the first of these retries", delay, "0.5"),
    "view": Setting("what a cell shows: live, plain or none", one_of(*VIEWS), "plain", VIEWS),
    "variable": Setting("keeps runs of cells that do not say -o", identifier, "run", can_be_none=True),
}

_current = Settings()


def current() -> Settings:
    """The settings as they are."""
    return _current


def change(key: str, word: str) -> Settings:
    """Change one setting; all of them.

    Raises:
        MagicError: If there is no such setting, or it cannot be that.
    """
    global _current
    setting = setting_of(key)
    if setting.can_be_none and word.lower() == NONE:
        value = None
    else:
        try:
            value = setting.read(word)
        except argparse.ArgumentTypeError as exc:
            example = f"%mpreg config {key} {setting.example}"
            raise MagicError(f"%mpreg config {key}: {exc}. Write, for example: {example}") from exc
    _current = msgspec.structs.replace(_current, **{key: value})
    return _current


def reset(key: str | None = None) -> Settings:
    """Put one setting, or all, back to what it was at the beginning.

    Raises:
        MagicError: If there is no such setting.
    """
    global _current
    if key is None:
        _current = Settings()
    else:
        setting_of(key)
        _current = msgspec.structs.replace(_current, **{key: getattr(Settings(), key)})
    return _current


def setting_of(key: str) -> Setting:
    """The setting of that name.

    Raises:
        MagicError: If there is none.
    """
    if key not in SETTINGS:
        raise MagicError(f"there is no setting {key!r}. {did_you_mean(key, SETTINGS, 'Settings: ')}")
    return SETTINGS[key]
