"""Run the tests of what goes on while a cell waits, with each release of ipykernel that is supported.

    python scripts/kernels.py             all of them
    python scripts/kernels.py 7.0 7.4     these

Each release gets an environment of its own below build/kernels, which is kept for the next time.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

__all__ = ["main"]

ROOT = Path(__file__).parents[1]
RELEASES = ("7.0", "7.1", "7.2", "7.3", "7.4")
"""The oldest is the one that pyproject.toml asks for."""
_TESTS = "tests/notebook/test_pump.py"
_TOOLS = ("numpy", "pytest", "pytest-asyncio", "pytest-timeout")


def main(releases: list[str]) -> int:
    """Test with these releases; 1 if one of them failed."""
    if unknown := sorted(set(releases) - set(RELEASES)):
        print(f"not supported: {', '.join(unknown)}. There are {', '.join(RELEASES)}", file=sys.stderr)
        return 2
    failed = [release for release in releases or RELEASES if not _passes(release)]
    print(f"failed with ipykernel {', '.join(failed)}" if failed else "all passed")
    return 1 if failed else 0


def _passes(release: str) -> bool:
    python = _environment(release)
    print(f"ipykernel {release}", flush=True)
    return subprocess.run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", _TESTS], cwd=ROOT).returncode == 0


def _environment(release: str) -> Path:
    """The interpreter of an environment with this release."""
    folder = ROOT / "build" / "kernels" / release
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    packages = ("--editable", str(ROOT), f"ipykernel=={release}.*", *_TOOLS)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    return python


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
