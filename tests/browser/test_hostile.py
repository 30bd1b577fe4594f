"""Hostile strings in Chromium, live and saved: no dialog, no element of theirs, nothing asked of another host."""

import json

from playwright.sync_api import Dialog, Request, expect

from tests.browser.lab import Lab, notebook_of
from tests.hostile import HOSTILE

SETUP = """
import json, sys
from mpreg_lab import LocalCluster, Step, Workflow
from mpreg_lab.notebook.live import LiveRun
from mpreg_lab.workflow.legible import whole
texts = json.load(open("hostile.json"))
# Half a character can be in the name of a step, but not in one that all nodes are told of.
held = {f"{n} {texts[n]}": [whole(f"{n} {t}") for t in texts[n::4]] for n in range(4)}
cluster = LocalCluster(held, name=f"_{texts[0]}")

class Shown:
    def __repr__(self): return "".join(texts)
    def _repr_html_(self): return "<p>its own</p>" + "".join(texts)

def give(text):
    sys.stdout.write(text)
    return {text: [text]}
def fail(text):
    sys.stdout.write(text)
    raise ValueError(text)
for n, text in enumerate(texts):
    cluster.register(give, name=whole(f"{n} {text}"))
cluster.register(fail, name="fail")
cluster.register(Shown, name="shown")

def show(steps, name):
    run = cluster.submit(Workflow(steps, name=name))
    live = LiveRun(run)
    bundle, metadata = live.bundle()
    display(bundle, metadata=metadata, raw=True)
    run.join()
    live.wait(60)
    return run
"""
GIVEN = """
steps = [Step(f"{n} {t}", whole(f"{n} {t}"), (t,)) for n, t in enumerate(texts)]
given = show([*steps, Step("own", "shown")], texts[5])
given
"""
FAILED = 'failed = show([Step(f"{n} {t}", "fail", (t,)) for n, t in enumerate(texts)], texts[9])\nfailed'
AFTER = "display(failed.compare(given), cluster.runs, given.frame(), failed.events())\ncluster"
OPEN_ALL = """async (view) => {
  for (const box of view.querySelectorAll('.mpreg-node')) {
    box.dispatchEvent(new MouseEvent('click', {bubbles: true}));
    await new Promise(requestAnimationFrame);
  }
}"""


def test_hostile_strings_are_only_text_live_and_saved(lab: Lab):
    dialogs: list[str] = []
    outside: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    def note(request: Request) -> None:
        if "hostile.invalid" in request.url:
            outside.append(request.url)

    def assert_nothing_happened() -> None:
        assert lab.page.locator(".hacked, .jp-OutputArea script, .jp-OutputArea iframe:not(.mpreg-shown)").count() == 0
        assert lab.page.evaluate("window.hacked") is None
        assert (dialogs, outside) == ([], [])

    lab.page.on("dialog", dismiss)
    lab.page.on("request", note)
    (lab.folder / "hostile.json").write_text(json.dumps(HOSTILE))
    lab.open("hostile.ipynb", notebook_of([SETUP, GIVEN, FAILED, AFTER]))
    assert lab.run_all()

    for cell, ended in ((1, "201 done"), (2, "200 failed")):
        view = lab.output(cell).locator(".mpreg-run")
        expect(view.locator(".mpreg-headline")).to_contain_text(ended)
        for tab in view.get_by_role("tab").all():
            tab.click()
        view.get_by_role("tab").first.click()
        view.evaluate(OPEN_ALL)
    view = lab.output(1).locator(".mpreg-run")
    view.locator(".mpreg-panel").get_by_role("button", name="Show", exact=True).click()
    expect(view.frame_locator("iframe.mpreg-shown").get_by_text("its own")).to_be_visible()
    lab.output(3).locator(".mpreg-cluster").evaluate(OPEN_ALL)
    lab.screenshot("hostile_live")
    assert_nothing_happened()

    saved = lab.save()
    for how in ("untrusted", "trusted"):
        saved.metadata["opened"] = how  # a notebook that is not the one that was signed
        lab.read(f"hostile_{how}.ipynb", saved)
        if how == "trusted":
            lab.trust()
        shown = lab.page.locator(".jp-NotebookPanel:visible .mpreg-run-static")
        expect(shown).to_have_count(2)
        for static in shown.all():
            expect(static).to_be_visible()
            static.locator("details").evaluate_all("all => all.forEach(one => (one.open = true))")
        assert_nothing_happened()
