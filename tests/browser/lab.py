"""JupyterLab as a test sees it, and how to wait for it. The fixtures that start it are in conftest.py.

How it waits, since nothing here sleeps:

- JupyterLab gives its application object to the page when it is told to (`expose_app_in_browser`). A command of it is
  a promise: `notebook:run-all-cells` is kept when the kernel has answered the last cell, with false when a cell raised.
  The menu entry "Run All Cells" runs the same command.
- An answered cell is not a drawn one: outputs and widgets come a little later. Look at them with Playwright's `expect`
  and locators, which look again until it is so.
- JupyterLab takes cells out of the page that are scrolled out of sight. Here they all stay (`windowingMode`).
"""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Locator, Page

__all__ = ["ROOT", "Lab", "LabServer", "Notebook7", "chromium", "notebook_of"]

ROOT = Path(__file__).parents[2]
_SCREENSHOTS = ROOT / "build" / "screenshots"
_WAIT_MS = 60_000


@dataclass(frozen=True)
class LabServer:
    """A running JupyterLab.

    Attributes:
        url: Where it listens, without a slash at the end.
        folder: The folder that it shows.
    """

    url: str
    token: str
    folder: Path


class Lab:
    """JupyterLab, as a test sees it.

    Attributes:
        page: Playwright's page, for whatever is not here.
        folder: The folder that JupyterLab shows.
    """

    def __init__(self, page: Page, server: LabServer) -> None:
        page.set_default_timeout(_WAIT_MS)
        self.page = page
        self.folder = server.folder
        self._server = server

    def start(self) -> None:
        """Load the application."""
        workspace = f"auto-{secrets.token_hex(4)}"
        self.page.goto(f"{self._server.url}/lab/workspaces/{workspace}?token={self._server.token}")
        self.page.wait_for_function("window.jupyterapp !== undefined")
        self._call("app.restored.then(() => null)")

    def open(self, name: str, notebook: nbformat.NotebookNode | Path) -> None:
        """Copy the notebook into the folder as `name`, open it, and wait until its kernel can take a cell."""
        self._put(name, notebook)
        self._call(
            """(async () => {
                 const panel = await app.commands.execute('docmanager:open', {path: argument, factory: 'Notebook'});
                 await panel.context.ready;
                 await panel.sessionContext.ready;
                 await panel.sessionContext.session.kernel.info;
                 await panel.revealed;
               })()""",
            name,
        )

    def read(self, name: str, notebook: nbformat.NotebookNode | Path) -> None:
        """Copy the notebook into the folder as `name` and open it without a kernel."""
        self._put(name, notebook)
        self._call(
            """(async () => {
                 const options = {path: argument, factory: 'Notebook', kernelPreference: {shouldStart: false}};
                 const panel = await app.commands.execute('docmanager:open', options);
                 await panel.context.ready;
                 await panel.revealed;
               })()""",
            name,
        )

    def trust(self) -> None:
        """Trust the notebook in front, as a person does who has answered the question."""
        self._call("app.shell.currentWidget.content.widgets.forEach((cell) => (cell.model.trusted = true))")

    def run_all(self) -> bool:
        """Run all cells of the notebook in front and wait for the last one; whether none raised."""
        return bool(self._call("app.commands.execute('notebook:run-all-cells')"))

    def start_all(self) -> None:
        """Run all cells and come back at once; `finished` waits for them."""
        self._call("void (window.mpregRun = app.commands.execute('notebook:run-all-cells'))")

    def finished(self) -> bool:
        """Wait for what `start_all` began; whether no cell raised."""
        return bool(self._call("window.mpregRun"))

    def run_cell(self, index: int) -> bool:
        """Run one cell and wait for it; whether it did not raise."""
        self._call("void (app.shell.currentWidget.content.activeCellIndex = argument)", index)
        return bool(self._call("app.commands.execute('notebook:run-cell')"))

    def restart(self) -> None:
        """Restart the kernel, without being asked."""
        self._call("app.shell.currentWidget.sessionContext.restartKernel()")

    def restart_and_run_all(self) -> bool:
        """Restart the kernel, without being asked, and run all cells; whether none raised."""
        self.restart()
        return self.run_all()

    def cell(self, index: int) -> Locator:
        """A cell, counted from 0, Markdown included."""
        return self.page.locator(f'.jp-Notebook .jp-Cell[data-windowed-list-index="{index}"]')

    def output(self, index: int) -> Locator:
        """What stands below a cell."""
        return self.cell(index).locator(".jp-Cell-outputArea")

    def model(self) -> nbformat.NotebookNode:
        """The notebook in front as it would be saved now."""
        notebook: nbformat.NotebookNode = nbformat.from_dict(
            self._call("app.shell.currentWidget.context.model.sharedModel.toJSON()")
        )
        return notebook

    def save(self) -> nbformat.NotebookNode:
        """Save the notebook in front; what stands in the file then."""
        path = self._call("app.commands.execute('docmanager:save').then(() => app.shell.currentWidget.context.path)")
        notebook: nbformat.NotebookNode = nbformat.read(self.folder / path, as_version=4)
        return notebook

    def screenshot(self, name: str, of: Locator | None = None) -> Path:
        """A picture of one element, or of the notebook in front at its whole length, as build/screenshots/NAME.png."""
        _SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = _SCREENSHOTS / f"{name}.png"
        self._show_whole_notebook()
        (of or self.page.locator(".jp-NotebookPanel:visible .jp-Notebook")).screenshot(path=path)
        return path

    def close(self) -> None:
        """Shut down the kernels of this page and close it."""
        self._call("app.serviceManager.sessions.shutdownAll()")
        self.page.close()

    def _put(self, name: str, notebook: nbformat.NotebookNode | Path) -> None:
        if isinstance(notebook, Path):
            shutil.copyfile(notebook, self.folder / name)
        else:
            nbformat.write(notebook, self.folder / name)

    def _show_whole_notebook(self) -> None:
        """Make the page so high that nothing has to be scrolled: a picture shows only what is in sight."""
        missing = self.page.evaluate(
            """() => Math.max(0, ...[...document.querySelectorAll('.jp-WindowedPanel-outer')]
                                      .map(e => e.scrollHeight - e.clientHeight))"""
        )
        size = self.page.viewport_size
        if missing and size is not None:
            self.page.set_viewport_size({"width": size["width"], "height": size["height"] + missing})

    def _call(self, expression: str, argument: Any = None) -> Any:
        """The value of a JavaScript expression over `app` and `argument`; a promise is waited for."""
        return self.page.evaluate(
            f"""(argument) => {{
                  const app = window.jupyterapp;
                  const late = new Promise((_, no) => setTimeout(no, {_WAIT_MS}, new Error('still not done')));
                  return Promise.race([{expression}, late]);
                }}""",
            argument,
        )


class Notebook7(Lab):
    """The same in Notebook 7, where a page is one notebook; the same server has both."""

    def start(self) -> None:
        """Nothing yet: `open` loads the application."""

    def open(self, name: str, notebook: nbformat.NotebookNode | Path) -> None:
        """Copy the notebook into the folder as `name`, open it, and wait until its kernel can take a cell."""
        self._put(name, notebook)
        self.page.goto(f"{self._server.url}/notebooks/{name}?token={self._server.token}")
        self.page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.context !== undefined")
        self._call(
            """(async () => {
                 await app.restored;
                 const panel = app.shell.currentWidget;
                 await panel.context.ready;
                 await panel.sessionContext.ready;
                 await panel.sessionContext.session.kernel.info;
               })()"""
        )


def notebook_of(sources: list[str]) -> nbformat.NotebookNode:
    """A notebook of these code cells."""
    cells = [nbformat.v4.new_code_cell(source, id=f"cell-{n:02}") for n, source in enumerate(sources, start=1)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook: nbformat.NotebookNode = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    return notebook


def chromium() -> str:
    """Where the browser is; without one the test fails, because a skipped test is a test that nobody misses."""
    path = shutil.which("chromium")
    if path is None:
        pytest.fail("these tests need Chromium: sudo apt-get install chromium", pytrace=False)
    return path
