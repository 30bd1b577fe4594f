"""The picture of a run while it goes on and afterwards: mouse, keyboard, questions to the kernel, 1,000 steps."""

import re

from playwright.sync_api import Locator, Page, expect

from tests.browser.lab import Lab, notebook_of

SETUP = """
%load_ext mpreg_lab
import asyncio, json, pandas as pd
from mpreg_lab import LocalCluster
cluster = LocalCluster({"store": ["data"], "work": ["gpu"]}, slots=4)

@cluster.function(resources=["data"])
def load(n):
    print("loading", n, "rows")
    return pd.DataFrame({"row": range(n), "square": [i * i for i in range(n)]})

@cluster.function(resources=["gpu"])
def score(frame, part): return part * len(frame)

@cluster.function
async def gate(scores): await asyncio.Event().wait()

@cluster.function
def parse(text): return json.loads(text)
"""
BLOCKED = """%%mpreg_workflow -o run
rows   = load(5)                                  @ "data"
scores = [score(rows, i) @ "gpu" for i in range(6)]
last   = gate(scores)"""
INTERVALS = """
  const [set, clear] = [window.setInterval, window.clearInterval];
  window.ticking = new Set();
  window.setInterval = (f, ms, ...rest) => {
    const id = set(f, ms, ...rest);
    if (new Error().stack.includes('blob:')) window.ticking.add(id);
    return id;
  };
  window.clearInterval = (id) => { window.ticking.delete(id); clear(id); };
"""
UNCOVERED = """
  (box) => {
    const { left, right, top, bottom } = box.querySelector('.mpreg-box').getBoundingClientRect();
    const corners = [[left + 4, top + 4], [right - 4, top + 4], [left + 4, bottom - 4], [right - 4, bottom - 4]];
    return corners.every(([x, y]) => box.contains(document.elementFromPoint(x, y)));
  }
"""
CLIPPED = """
  (link) => link.scrollWidth > link.clientWidth
    && link.getBoundingClientRect().right <= link.closest('td').getBoundingClientRect().right
"""


def view_of(lab: Lab, cell: int) -> Locator:
    return lab.output(cell).locator(".mpreg-run")


def box(view: Locator, name: str) -> Locator:
    return view.locator(f'.mpreg-node[aria-label^="{name}:"]')


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.getAttribute('aria-label')"))


def test_a_run_can_be_looked_into_while_its_cell_waits(lab: Lab):
    lab.page.add_init_script(INTERVALS)
    lab.start()
    lab.open("live.ipynb", notebook_of([SETUP, BLOCKED]))
    lab.start_all()
    view = view_of(lab, 1)
    expect(view.locator(".mpreg-headline")).to_contain_text("7 of 8 done, 1 running")

    # Its time goes on, with nothing to do for the kernel.
    clock = box(view, "last").locator(".mpreg-clock")
    expect(clock).to_have_text(re.compile(r"\d\.\d s"))
    before = clock.text_content()
    expect(clock).not_to_have_text(str(before))

    # A step that nobody asked the result of: its node is asked now, though the cell waits.
    box(view, "rows").click()
    panel = view.locator(".mpreg-panel")
    expect(panel).to_contain_text("It stays on store until it is asked for.")
    expect(panel).to_contain_text("loading 5 rows")
    panel.get_by_role("button", name="Show", exact=True).click()
    frame = panel.frame_locator("iframe")
    expect(frame.get_by_role("cell", name="16")).to_be_visible()
    expect(panel.locator("iframe")).to_have_attribute("sandbox", "")
    lab.screenshot("live_fetched", view)
    lab.page.keyboard.press("Escape")
    expect(panel).to_be_hidden()

    # By keyboard: from step to step, into one and out again, and the fan-out folded and unfolded.
    box(view, "rows").focus()
    lab.page.keyboard.press("ArrowDown")
    lab.page.keyboard.press("ArrowDown")
    assert focused(lab.page).startswith("last: running")
    lab.page.keyboard.press("ArrowUp")
    assert re.match(r"scores\[[23]\]: done", focused(lab.page))
    lab.page.keyboard.press("Enter")
    expect(panel).to_contain_text("score")
    expect(panel.get_by_role("button", name="rows").first).to_be_visible()
    lab.page.keyboard.press("Escape")
    assert focused(lab.page).startswith("scores[")
    lab.page.keyboard.press("f")
    expect(box(view, "scores")).to_be_visible()
    expect(view.locator(".mpreg-node")).to_have_count(3)
    assert focused(lab.page).startswith("scores: 6 steps: 6 done")
    lab.screenshot("live_folded", view)
    lab.page.keyboard.press("f")
    expect(view.locator(".mpreg-node")).to_have_count(8)

    lab.page.evaluate("jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
    expect(view).to_have_attribute("data-theme", "dark")
    box(view, "scores[2]").hover()
    expect(view.locator(".mpreg-tracing")).to_be_visible()
    lab.screenshot("live_dark", view)

    view.get_by_role("button", name="Cancel").click()
    assert not lab.finished()
    expect(view.locator(".mpreg-headline")).to_contain_text("8 steps: 7 done, 1 cancelled")
    assert lab.page.evaluate("window.ticking.size") == 0
    lab.page.evaluate("jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Light'})")


def test_a_failed_run_is_looked_into_mended_and_run_again(lab: Lab):
    failing = (
        '%%mpreg_workflow -o run\nrows = load(3) @ "data"\nbad  = parse("no json")\nlast = score(rows, bad) @ "gpu"'
    )
    mended = "@cluster.function\ndef parse(text): return 2"
    lab.open("again.ipynb", notebook_of([SETUP, failing, mended, "print(run, run['last'])", "%mpreg rerun"]))
    lab.run_cell(0)
    assert not lab.run_cell(1)
    view = view_of(lab, 1)
    panel = view.locator(".mpreg-panel")
    box(view, "bad").click()
    expect(panel).to_contain_text("JSONDecodeError")
    expect(panel.locator("details summary")).to_have_text("3 frames in json")
    lab.screenshot("live_failed", view)

    assert lab.run_cell(2)
    panel.get_by_role("button", name="Re-run from here").click()

    expect(view.locator(".mpreg-headline")).to_contain_text("3 steps: 2 done, 1 reused")
    expect(view).to_contain_text("Re-run from bad. run is now this run.")
    lab.page.keyboard.press("Escape")
    lab.screenshot("live_again", view)
    assert lab.run_cell(3)
    expect(lab.output(3)).to_contain_text("Run(3 steps: 2 done, 1 reused) 6")

    # Who opens the notebook later sees the first run and the last one; beside the picture neither is to be seen.
    again = lab.output(1).locator(".mpreg-run-again")
    expect(again).to_contain_text("Re-run from bad")
    expect(again).to_contain_text("3 steps: 2 done, 1 reused")
    box(view, "last").click()
    panel.get_by_role("button", name="Re-run from here").click()
    expect(again).to_contain_text("Re-run from last")
    expect(again).to_contain_text("3 steps: 1 done, 2 reused")
    expect(lab.output(1).locator(".mpreg-run-static")).to_have_count(2)
    for twin in lab.output(1).locator(".mpreg-run-static").all():
        expect(twin).to_be_hidden()
    lab.page.keyboard.press("Escape")
    assert lab.run_cell(4)
    expect(view_of(lab, 4).locator(".mpreg-headline")).to_contain_text("3 steps: 3 done")
    saved = lab.save()

    # Without its kernel the picture stays, and says what it cannot do any more.
    lab.page.evaluate("jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    box(view, "rows").click()
    expect(view).to_contain_text("The kernel that ran this is gone")
    for name in ("Show", "Re-run from here"):
        expect(panel.get_by_role("button", name=name, exact=True)).to_be_disabled()
    lab.screenshot("live_gone", view)

    lab.read("again_saved.ipynb", saved)
    statics = lab.page.locator(".jp-NotebookPanel:visible .mpreg-run-static")
    expect(statics).to_have_count(3)
    expect(statics.nth(0)).to_contain_text("3 steps: 1 done, 1 failed, 1 skipped")
    expect(statics.nth(1)).to_contain_text("3 steps: 1 done, 2 reused")
    expect(statics.nth(2)).to_contain_text("3 steps: 3 done")
    for static in statics.all():
        expect(static).to_be_visible()
    lab.screenshot("saved_again")


def test_a_run_that_went_with_its_kernel_says_so_and_stands_still(lab: Lab):
    lab.page.add_init_script(INTERVALS)
    lab.start()
    detached = BLOCKED.replace("-o run", "-o run --detach")
    lab.open("restarted.ipynb", notebook_of([SETUP, detached]))
    assert lab.run_all()
    view = view_of(lab, 1)
    expect(view.locator(".mpreg-headline")).to_contain_text("7 of 8 done, 1 running")

    # The panel leaves room for what is opened, and so do the tools of the graph.
    for name in ("last", "scores[5]"):
        box(view, name).click()
        expect(view.locator(".mpreg-panel-title")).to_have_text(name)
        assert box(view, name).evaluate(UNCOVERED)
    lab.screenshot("live_uncovered", view)

    lab.restart()

    expect(view).to_contain_text("The kernel that ran this is gone")
    for name in ("Cancel", "Fold all"):
        expect(view.get_by_role("button", name=name, exact=True)).to_be_disabled()
    assert lab.page.evaluate("window.ticking.size") == 0
    box(view, "rows").click()
    expect(view.get_by_role("button", name="Show", exact=True)).to_be_disabled()
    lab.screenshot("live_restarted", view)


def test_long_names_and_what_was_there_before_the_run_fit(lab: Lab):
    name = "n" * 120
    long = f"%%mpreg_workflow -o run\nrows = load(5)\n{name} = echo(rows)"
    lab.open("long.ipynb", notebook_of([SETUP, "cluster.faults.delay('store', 'work', 0.001)", long]))
    assert lab.run_all()
    view = view_of(lab, 2)
    expect(view.locator(".mpreg-headline")).to_contain_text("2 done")

    view.get_by_role("tab", name="Events").click()
    expect(view.get_by_role("tabpanel")).to_contain_text(re.compile(r"-\d{1,3}(\.\d+)? (µs|ms|s|min)"))
    for tab in ("Steps", "Events"):
        view.get_by_role("tab", name=tab).click()
        link = view.get_by_role("tabpanel").get_by_role("button", name=name).first
        assert link.evaluate(CLIPPED)
    lab.screenshot("live_long_names", view)
    view.get_by_role("tab", name="Results").click()
    copy = view.get_by_role("tabpanel").get_by_role("button", name="Copy").first
    assert copy.evaluate(
        "(b) => b.getBoundingClientRect().right <= b.closest('.mpreg-host').getBoundingClientRect().right"
    )


def test_a_thousand_steps(lab: Lab):
    large = "%%mpreg_workflow -o run\nsteps = [echo(i) for i in range(998)]\nbest  = max_of(steps)\nagain = echo(best)"
    setup = SETUP + "\ncluster.register(max, name='max_of')"
    lab.open("thousand.ipynb", notebook_of([setup, large, "print(run['best'])"]))

    assert lab.run_all()

    view = view_of(lab, 1)
    expect(view.locator(".mpreg-headline")).to_contain_text("1,000 steps: 1,000 done")
    expect(view.locator(".mpreg-node")).to_have_count(3)
    view.get_by_role("button", name="Unfold all").click()
    expect(view.locator(".mpreg-node")).to_have_count(1000)
    expect(box(view, "steps[0]")).to_be_in_viewport()
    lab.screenshot("live_thousand", view)
    view.get_by_role("button", name="Fit").click()
    lab.screenshot("live_thousand_fit", view)
    expect(box(view, "again")).to_be_in_viewport()
    view.get_by_role("tab", name="Events").click()
    expect(view.get_by_role("tabpanel")).to_contain_text("earlier events are not shown: run.events() has all")
    expect(lab.output(2)).to_contain_text("997")
