"""The tokens of clusters that run on this machine, where other programs of the same user find them by address.

One file for each process that has opened doors of a cluster, mode 0600 in a folder of mode 0700, so that a token is
never typed, and never in an argument, an environment or a notebook.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, urlsplit

import msgspec

from mpreg_lab.types import ClusterId, Secret

__all__ = ["TokenFile", "runtime_folder", "token_for"]

_logger = logging.getLogger("mpreg_lab.transport.tokens")


class _Kept(msgspec.Struct):
    """What is in a file."""

    token: str
    urls: list[str]


class TokenFile:
    """The file of one cluster and of this process. Where it cannot be written, tokens must be typed."""

    def __init__(self, cluster_id: ClusterId, token: Secret) -> None:
        self._token = token
        self._pid = os.getpid()
        self._name = f"{quote(cluster_id, safe='')[:150]}.{self._pid}.json"
        self._path: Path | None = None

    def write(self, urls: Iterable[str]) -> None:
        """Say that the token opens these addresses, and no others any more."""
        kept = msgspec.json.encode(_Kept(str(self._token), sorted(map(_plain, urls))))
        try:
            folder = runtime_folder(create=True)
            _remove_orphans(folder)
            new, path = folder / f"{self._name}.new", folder / self._name
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
                file.write(kept)
            new.replace(path)
        except OSError as exc:
            _logger.warning("the token is kept in no file, other programs must be given it: %s", exc)
        else:
            self._path = path

    def remove(self) -> None:
        """The doors are closed. May be called twice; a fork of the process removes nothing."""
        path, self._path = self._path, None
        if path is not None and os.getpid() == self._pid:
            with contextlib.suppress(OSError):  # whoever removed it, or the folder, has done it for us
                path.unlink(missing_ok=True)


def token_for(url: str) -> Secret | None:
    """The token that opens this address, if a cluster of the same user on this machine has it."""
    wanted = _plain(url)
    try:
        paths = list(runtime_folder().glob("*.json"))
    except OSError:
        return None
    found: list[tuple[int, str]] = []
    for path in paths:
        try:
            kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
            written_ns = path.stat().st_mtime_ns
        except (OSError, msgspec.MsgspecError):
            # It was removed meanwhile, as its cluster ended, or is none of ours.
            continue
        if wanted in kept.urls:
            found.append((written_ns, kept.token))
    # Who was killed leaves its file: the newest is of the one that has the port now.
    return Secret(max(found)[1]) if found else None


def runtime_folder(*, create: bool = False) -> Path:
    """Where the files are: in XDG_RUNTIME_DIR, or else in the folder for temporary files, under the user's number.

    Raises:
        OSError: If there is no such folder, or others than the user could have put something into it.
    """
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    if given and os.access(given, os.W_OK | os.X_OK):
        folder = Path(given) / "mpreg_lab"
    else:
        folder = Path(tempfile.gettempdir()) / f"mpreg_lab-{os.getuid()}"
    if create:
        folder.mkdir(mode=0o700, exist_ok=True)
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o077:
        raise PermissionError(f"{folder} is not a folder of this user alone (mode 0700)")
    return folder


def _remove_orphans(folder: Path) -> None:
    """Remove the files of processes that were killed."""
    for path in folder.glob("*.json"):
        pid = path.name.split(".")[-2]
        if pid.isdecimal() and not _lives(int(pid)):
            path.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _plain(url: str) -> str:
    """An address as it is compared: scheme, host and port."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return url
    return f"{parts.scheme}://{'127.0.0.1' if host == 'localhost' else host}:{port}"
