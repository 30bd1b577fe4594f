"""The harness itself: what the tests of the widgets rely on."""

import pytest
from playwright.sync_api import expect

from tests.browser.lab import Lab, chromium, notebook_of


def test_a_notebook_runs_and_its_outputs_are_on_the_page(lab: Lab):
    lab.open("sum.ipynb", notebook_of(["x = 1 + 1", "print('sum:', x)", "x"]))

    assert lab.run_all()

    expect(lab.output(1)).to_contain_text("sum: 2")
    expect(lab.output(2)).to_contain_text("2")
    assert [cell.execution_count for cell in lab.model().cells] == [1, 2, 3]
    assert lab.save().cells[1].outputs[0].text == "sum: 2\n"


def test_a_cell_that_raises_ends_the_run(lab: Lab):
    lab.open("raises.ipynb", notebook_of(["1 / 0", "print('not reached')"]))

    assert not lab.run_all()

    expect(lab.output(0)).to_contain_text("ZeroDivisionError")
    assert [cell.execution_count for cell in lab.model().cells] == [1, None]


def test_outputs_are_seen_while_a_cell_runs(lab: Lab):
    wait = "import pathlib, time\nprint('waiting')\nwhile not pathlib.Path('go').exists(): time.sleep(0.01)"
    lab.open("waits.ipynb", notebook_of([wait, "'done'"]))

    lab.start_all()
    expect(lab.output(0)).to_contain_text("waiting")
    assert lab.model().cells[1].execution_count is None
    (lab.folder / "go").touch()

    assert lab.finished()
    expect(lab.output(1)).to_contain_text("done")


def test_a_picture_shows_the_whole_notebook(lab: Lab):
    lab.open("long.ipynb", notebook_of([f"print('{n}\\n' * 30)" for n in range(4)]))
    lab.run_all()
    expect(lab.output(3)).to_contain_text("3")

    height = int.from_bytes(lab.screenshot("harness_long").read_bytes()[20:24])  # of a PNG's header

    assert 1800 < height < 3000  # JupyterLab would leave a screenful empty below the last cell


def test_a_widget_is_drawn(lab: Lab):
    lab.open("widget.ipynb", notebook_of(["import ipywidgets\nipywidgets.HTML('<b id=drawn>here</b>')"]))

    assert lab.run_all()

    expect(lab.page.locator("#drawn")).to_have_text("here")


def test_a_missing_browser_fails_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")

    with pytest.raises(pytest.fail.Exception, match="apt-get install chromium"):
        chromium()
