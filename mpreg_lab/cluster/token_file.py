"""A cluster's token in a file that only its owner can read: never in arguments, which everybody can list."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from mpreg_lab.errors import ClusterSpecError
from mpreg_lab.types import Secret

__all__ = ["read_token", "write_token"]


def read_token(path: Path) -> Secret:
    """The token in a file.

    Raises:
        ClusterSpecError: If there is none, or others could read it.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is no text"
        raise ClusterSpecError(f"cannot read a token from {path}: {reason}") from exc
    if mode & 0o077:
        raise ClusterSpecError(f"others can read the token in {path}. Keep it to yourself: chmod 600 {path}")
    if not token:
        raise ClusterSpecError(f"there is no token in {path}: it is empty")
    return Secret(token)


def write_token(path: Path, token: Secret) -> None:
    """Write a new file that only its owner can read.

    Raises:
        ClusterSpecError: If it exists or cannot be made.
    """
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(f"{token}\n")
    except OSError as exc:
        raise ClusterSpecError(f"cannot write the token to {path}: {exc.strerror}") from exc
