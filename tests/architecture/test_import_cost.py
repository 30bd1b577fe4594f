"""Who uses a part pays for that part: what an import loads, seen from a fresh interpreter."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOTEBOOK = {"IPython", "ipykernel", "ipywidgets", "matplotlib", "numpy", "pandas"}
HEAVY = NOTEBOOK | {"distributed", "pytest", "websockets"}

LOAD_EXTENSION = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "mpreg_lab")
assert "mpreg_workflow" in shell.magics_manager.magics["cell"], "no %%mpreg_workflow"
assert "mpreg" in shell.magics_manager.magics["line"], "no %mpreg"
"""


def loaded(code: str, home: Path) -> set[str]:
    """The top names of all modules that are there after the code ran in an interpreter of its own."""
    report = "\nimport sys\nprint('LOADED', *{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code + report],
        cwd=ROOT,
        env=os.environ | {"HOME": str(home), "IPYTHONDIR": str(home / "ipython")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.partition("LOADED")[2].split())


def test_importing_the_package_loads_nothing_heavy(tmp_path: Path):
    assert loaded("import mpreg_lab", tmp_path) & HEAVY == set()


def test_a_cluster_outside_of_a_notebook_loads_no_notebook_libraries(tmp_path: Path):
    assert loaded("from mpreg_lab import Client, LocalCluster", tmp_path) & NOTEBOOK == set()


def test_loading_the_extension_loads_no_matplotlib(tmp_path: Path):
    assert loaded(LOAD_EXTENSION, tmp_path) & {"matplotlib", "distributed"} == set()


def test_a_heavy_import_would_be_seen(tmp_path: Path):
    assert loaded("import pandas, websockets", tmp_path) & HEAVY >= {"numpy", "pandas", "websockets"}
