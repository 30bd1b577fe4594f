"""Run the tests of what goes on while a cell waits with each release of ipykernel that is supported.

    python scripts/kernels.py             all of them
    python scripts/kernels.py 7.0 7.4     these

Each release stands in a folder of its own below build/kernels, before the installed one on the path; the rest of the
environment is the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["main"]

ROOT = Path(__file__).parents[1]
RELEASES = ("7.0", "7.1", "7.2", "7.3", "7.4")
"""The first is the oldest that pyproject.toml allows."""
_TESTS = "tests/notebook/test_pump.py"


def main(releases: list[str]) -> int:
    """Test with these releases; 1 if it failed with one of them, 2 if one is not known."""
    if unknown := sorted(set(releases) - set(RELEASES)):
        print(f"not supported: {', '.join(unknown)}. There are {', '.join(RELEASES)}", file=sys.stderr)
        return 2
    failed = [release for release in releases or RELEASES if not _passes(release)]
    print(f"failed with ipykernel {', '.join(failed)}" if failed else "passed with all")
    return 1 if failed else 0


def _passes(release: str) -> bool:
    path = os.pathsep.join(filter(None, [str(_installed(release)), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path}
    version = [sys.executable, "-c", "import ipykernel; print('ipykernel', ipykernel.__version__, flush=True)"]
    subprocess.run(version, env=environment, check=True)
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", _TESTS]
    return subprocess.run(tests, env=environment, cwd=ROOT, check=False).returncode == 0


def _installed(release: str) -> Path:
    """The folder with this release and nothing else; installed unless it was before."""
    folder = ROOT / "build" / "kernels" / release
    if not (folder / "ipykernel").exists():
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
        subprocess.run([*install, f"ipykernel=={release}.*"], check=True)
    return folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
