"""The live view of a run of 1,000 steps in Chromium: what ten updates a second cost its page.

    python benchmarks/live_view.py            folded, as it starts, and unfolded; some 20 s. Needs Debian's chromium

A bare page with the widget's own files and a model that is fed here: no JupyterLab, no kernel. `busy` is the share of
the time in which the page's one thread did anything, `frame` the time between two pictures (17 ms is as often as a
screen shows one), `long` the tasks above 50 ms, which a person feels, and `changes` how much of the graph was written
in all: a step that goes from queued over running to done is some 14, whatever the others do.
"""

from __future__ import annotations

import shutil
import time
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from mpreg_lab import RunRecord
from mpreg_lab.notebook.widgets.run_view import RunView
from mpreg_lab.types import FunctionName, NodeName, StepName
from mpreg_lab.workflow.model import Group
from mpreg_lab.workflow.record import Finished, Opened, Queued, RunEvent, Started, StepPlan

STEPS = 998
AT_ONCE = 16
EVERY_S = 0.1
MODEL = """
  class Model {
    constructor() { this.values = {}; this.heard = {}; }
    get(name) { return this.values[name]; }
    on(names, f) { for (const name of names.split(' ')) (this.heard[name] ??= []).push(f); }
    off() {}
    send() {}
    set(values) {
      Object.assign(this.values, values);
      for (const name of Object.keys(values)) for (const f of this.heard[`change:${name}`] ?? []) f();
    }
  }
  window.model = new Model();
"""
WATCH = """() => {
  window.seen = { frames: [], long: 0, changes: 0 };
  new PerformanceObserver((list) => (seen.long += list.getEntries().length)).observe({ entryTypes: ['longtask'] });
  let last = performance.now();
  const frame = (now) => { seen.frames.push(now - last); last = now; requestAnimationFrame(frame); };
  requestAnimationFrame(frame);
  const all = { subtree: true, attributes: true, childList: true, characterData: true };
  const count = new MutationObserver((changes) => (seen.changes += changes.length));
  count.observe(document.querySelector('.mpreg-graph'), all);
}"""
TRAITS = ("scene", "state", "detail", "able", "again")


def plans() -> Opened:
    """A fan-out, what it needs, and what needs it."""
    scores = tuple(StepName(f"scores[{i}]") for i in range(STEPS))
    fan = [StepPlan(name, FunctionName("score"), (StepName("chunks"),)) for name in scores]
    first = StepPlan(StepName("chunks"), FunctionName("split"))
    last = StepPlan(StepName("best"), FunctionName("best_of"), scores)
    return Opened(0.0, (first, *fan, last), (Group("scores", scores),))


def turns() -> list[list[RunEvent]]:
    """What happens between two updates: some steps end, others begin."""
    node, names = NodeName("a"), [StepName(f"scores[{i}]") for i in range(STEPS)]
    found: list[list[RunEvent]] = [[Queued(0.0, name) for name in names]]
    for at in range(0, STEPS, AT_ONCE):
        now_s, part = EVERY_S * len(found), names[at : at + AT_ONCE]
        found[-1] += [Started(now_s, name, node) for name in part]
        found.append([Finished(now_s + EVERY_S, name, node, 1, 0.0, now_s, now_s, now_s + EVERY_S) for name in part])
    return found


def page_of(browser: Browser, view: RunView) -> Page:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    script = str(view._esm).replace("export default { initialize, render };", "window.widget = { initialize, render };")
    page.set_content(f"<!doctype html><style>{view._css}</style><div id='here'></div>")
    page.add_script_tag(content=MODEL + script, type="module")
    page.wait_for_function("window.widget !== undefined")
    page.evaluate("(values) => model.set(values)", {name: getattr(view, name) for name in TRAITS})
    page.evaluate("widget.initialize({ model }); void widget.render({ model, el: document.getElementById('here') })")
    page.wait_for_selector(".mpreg-node")
    return page


def feed(page: Page, view: RunView, record: RunRecord) -> None:
    sent = {name: getattr(view, name) for name in TRAITS}
    start_s = time.monotonic()
    for number, events in enumerate(turns(), 1):
        for event in events:
            record.apply(event)
        view.update(record.copy())
        new = {name: getattr(view, name) for name in TRAITS}
        page.evaluate("(values) => model.set(values)", {k: v for k, v in new.items() if v is not sent[k]})
        sent = new
        time.sleep(max(0.0, start_s + number * EVERY_S - time.monotonic()))


def busy_s(metrics: dict[str, Any]) -> float:
    return next(float(m["value"]) for m in metrics["metrics"] if m["name"] == "TaskDuration")


def measure(browser: Browser, *, folded: bool) -> None:
    record = RunRecord.of([plans()])
    view = RunView(record)
    view.fold({"scores"}, closed=folded)
    page = page_of(browser, view)
    tools = page.context.new_cdp_session(page)
    tools.send("Performance.enable")
    page.evaluate(WATCH)
    before_s, start_s = busy_s(tools.send("Performance.getMetrics")), time.monotonic()
    feed(page, view, record)
    took_s = time.monotonic() - start_s
    busy = (busy_s(tools.send("Performance.getMetrics")) - before_s) / took_s
    seen = page.evaluate("seen")
    frames = sorted(seen["frames"])
    median, late = (frames[int(len(frames) * part)] for part in (0.5, 0.99))
    boxes = page.locator(".mpreg-node").count()
    pace = f"{busy:4.0%} busy, frame p50 {median:.0f} ms, p99 {late:.0f} ms"
    print(f"{boxes:5,} boxes: {pace}, {seen['long']} long, {seen['changes']:,} changes, {took_s:.1f} s", flush=True)
    page.close()


if __name__ == "__main__":
    with sync_playwright() as playwright:
        options = {"executable_path": shutil.which("chromium"), "args": ["--no-sandbox", "--disable-gpu"]}
        launched = playwright.chromium.launch(**options)
        for closed in (True, False):
            measure(launched, folded=closed)
        launched.close()
