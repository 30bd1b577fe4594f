"""A real JupyterLab in a real Chromium, for tests that look at what a person sees.

    def test_something(lab: Lab):
        lab.open("some.ipynb", notebook_of(["1 + 1"]))
        lab.run_all()
        expect(lab.output(0)).to_contain_text("2")

One server for all tests; a browser for each module. Playwright's blocking interface leaves a running event loop in its
thread, where the async tests of other folders could not start theirs: hence a browser may not outlive its module.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.lab import ROOT, Lab, LabServer, Notebook7, chromium

CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# A machine that is busy with other things is slow, not wrong.
expect.set_options(timeout=30_000)

SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
    "notebook-extension/tracker": {"windowingMode": "none", "scrollPastEnd": False, "autoStartDefaultKernel": True},
    "docmanager-extension/plugin": {"autosave": False},
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """A JupyterLab of its own: own port, token, settings and folder, nothing of the user's."""
    home, folder, token = (
        tmp_path_factory.mktemp("jupyter"),
        tmp_path_factory.mktemp("notebooks"),
        secrets.token_hex(16),
    )
    for name, settings in SETTINGS.items():
        path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    (home / "config").mkdir()
    (home / "config" / "jupyter_server_config.py").write_text("import tests.kernel_ports\n")
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
            *("--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", f"--ServerApp.root_dir={folder}"),
            *("--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly"),
            "--JupyterNotebookApp.expose_app_in_browser=True",
        ],
        cwd=folder,
        env=os.environ | _places(home) | {"JUPYTER_TOKEN": token},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            yield LabServer(_wait_for_url(server), token, folder)
        finally:
            # It shuts its kernels down first; a second signal would ask no one.
            server.terminate()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Debian's Chromium, with no window; Playwright gives it a user-data-dir of its own and removes it."""
    path = chromium()
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, headless=True, args=CHROMIUM_OPTIONS)
        yield launched
        launched.close()


@pytest.fixture
def lab(browser: Browser, lab_server: LabServer) -> Iterator[Lab]:
    """A page with JupyterLab, in a workspace of its own."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    opened = Lab(page, lab_server)
    opened.start()
    yield opened
    opened.close()


@pytest.fixture
def notebook_7(browser: Browser, lab_server: LabServer) -> Iterator[Notebook7]:
    """A page for one notebook in Notebook 7."""
    opened = Notebook7(browser.new_page(viewport={"width": 1280, "height": 800}), lab_server)
    yield opened
    opened.close()


def _places(home: Path) -> dict[str, str]:
    """Environment that keeps the user's settings out, and finds the package even where it is not installed."""
    return {
        "HOME": str(home),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }


def _wait_for_url(server: subprocess.Popen[str]) -> str:
    """Where the server listens, as soon as it says so on stderr; what it says afterwards is read and dropped."""
    assert server.stderr is not None
    said: list[str] = []
    for line in server.stderr:
        said.append(line)
        if (at := line.find("http://127.0.0.1:")) >= 0:
            # A pipe that nobody reads would fill up and stop the server.
            threading.Thread(target=server.stderr.read, daemon=True).start()
            return line[at:].split("/lab")[0].strip()
    pytest.fail("JupyterLab did not start:\n" + "".join(said), pytrace=False)
