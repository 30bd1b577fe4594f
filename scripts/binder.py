"""Does what Binder does, without Docker: a fresh environment, requirements, postBuild, start, and the first tutorial.

    python scripts/binder.py [NOTEBOOK ...]

Without NOTEBOOK it runs the first tutorial. Exits with 1, and says why, if something does not work.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["main"]

ROOT = Path(__file__).parents[1]
FIRST = "notebooks/01_first_workflow.ipynb"
START = """
import json, subprocess, sys, time, urllib.request
from pathlib import Path
from jupyter_core.paths import jupyter_runtime_dir

runtime = Path(jupyter_runtime_dir())
flags = ["--no-browser", "--ip=127.0.0.1", "--port=0", "--ServerApp.allow_root=True"]
server = subprocess.Popen([sys.executable, "-m", "jupyterlab", *flags], stderr=subprocess.DEVNULL)
try:
    while not (found := list(runtime.glob("jpserver-*.json"))):
        assert server.poll() is None, "JupyterLab does not start"
        time.sleep(0.1)
    told = json.loads(found[0].read_text())
    page = f"{told['url']}lab/tree/notebooks/01_first_workflow.ipynb?token={told['token']}"
    assert urllib.request.urlopen(page, timeout=30).status == 200
finally:
    server.terminate()
    server.wait(30)
"""


def main(notebooks: list[str]) -> int:
    """Build the environment in a temporary folder, and run the notebooks there."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        copy = home / "repository"
        files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(None, files.split("\0")):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
        environment = home / "environment"
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        inside = {**os.environ, "PATH": f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"}
        inside.pop("PYTHONPATH", None)
        inside |= {"JUPYTER_RUNTIME_DIR": str(home / "runtime"), "JUPYTER_CONFIG_DIR": str(home / "config")}
        for step in (
            ["python", "-m", "pip", "install", "--quiet", "-r", "binder/requirements.txt"],
            ["binder/postBuild"],
            ["python", "-c", START],
            ["jupyter", "execute", "--timeout=120", *(notebooks or [FIRST])],
        ):
            done = subprocess.run(step, cwd=copy, env=inside, check=False)
            if done.returncode:
                print(f"Binder would fail here: {' '.join(step)[:80]}", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
