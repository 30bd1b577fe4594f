"""The static picture: valid, harmless, the same for the same states, and no state told by colour alone."""

import base64
import re
from collections import Counter
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpreg_lab.notebook.view.graph_layout import Route
from mpreg_lab.notebook.view.graph_svg import curve, data_uri, group_status, svg
from mpreg_lab.notebook.view.palette import MARK, MARK_PATH, PALETTE, function_colours
from mpreg_lab.notebook.view.scene import LABEL_PX, members, scene
from mpreg_lab.notebook.view.text_size import BOLD, shorten, text_width
from mpreg_lab.types import FunctionName, NodeName, Resource, StepName
from mpreg_lab.workflow.model import Group
from mpreg_lab.workflow.record import Opened, RunRecord, StepPlan, StepStatus

SVG = "{http://www.w3.org/2000/svg}"


def plan(name: str, function: str, needs: tuple[str, ...] = (), resources: tuple[str, ...] = ()) -> StepPlan:
    return StepPlan(
        StepName(name), FunctionName(function), tuple(map(StepName, needs)), tuple(map(Resource, resources))
    )


def group(name: str, *steps: str) -> Group:
    return Group(StepName(name), tuple(map(StepName, steps)))


def record(*plans: StepPlan, groups: tuple[Group, ...] = (), statuses: tuple[StepStatus, ...] = ()) -> RunRecord:
    run = RunRecord.of([Opened(0.0, plans, groups)])
    for step, status in zip(run.steps.values(), statuses, strict=False):
        step.status = status
    return run


def fan(count: int) -> RunRecord:
    names = tuple(f"scores[{i}]" for i in range(count))
    leaves = [plan(name, "score", ("model",)) for name in names]
    plans = [plan("model", "load"), *leaves, plan("best", "max", names)]
    return record(*plans, groups=(group("scores", *names),))


def drawn(run: RunRecord) -> ElementTree.Element:
    return ElementTree.fromstring(svg(scene(run), run))


def texts(root: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def test_each_step_has_its_name_function_and_resources():
    root = drawn(record(plan("rows", "parse", (), ("csv",)), plan("clean", "tidy", ("rows",))))

    assert texts(root) == ["rows", "parse @ csv", "clean", "tidy"]
    assert [title.text for title in root.iter(f"{SVG}title")] == [
        "Workflow",
        "rows: parse @ csv, waiting",
        "clean: tidy, waiting",
    ]
    assert root.get("role") == "img"
    assert next(root.iter(f"{SVG}desc")).text == "Dependency graph of 2 steps: 2 waiting"


@pytest.mark.parametrize("status", StepStatus)
def test_each_state_has_a_mark_and_a_colour_of_its_own(status):
    run = record(plan("a", "f"), statuses=(status,))

    assert MARK_PATH[status] in svg(scene(run), run)
    others = set(StepStatus) - {status}
    assert all(MARK[other] != MARK[status] and MARK_PATH[other] != MARK_PATH[status] for other in others)
    assert all(PALETTE[other] != PALETTE[status] for other in others)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("status", StepStatus)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read_on_its_box(status, theme):
    shade = getattr(PALETTE[status], theme)

    assert contrast(shade.text, shade.fill) >= 4.5


def test_the_picture_depends_on_the_states_alone():
    one, two = fan(5), fan(5)
    step = two.steps[StepName("scores[0]")]
    step.node, step.started_s, step.ended_s = NodeName("elsewhere"), 1.0, 2.0

    assert svg(scene(one), one) == svg(scene(two), two)


def test_a_scene_without_a_record_is_drawn_as_not_begun():
    assert 'class="waiting"' in svg(scene(fan(2)), None)


@given(st.text(), st.text(), st.text())
@settings(max_examples=200, deadline=None)
def test_any_text_makes_valid_xml(name, function, title):
    run = record(plan(name, function, (), (function,)), plan(f"{name}!", "f", (name,)))

    root = ElementTree.fromstring(svg(scene(run), run, title=title))

    assert len(list(root.iter(f"{SVG}text"))) == 4
    data_uri(svg(scene(run), run, title=title))


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "\"'><img src=x>", "&amp;", "a\x00\x1b[31mb", "\ud800"])
def test_hostile_names_are_text(name):
    run = record(plan(name, name))

    root = ElementTree.fromstring(svg(scene(run), run, title=name))

    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        *("svg", "title", "desc", "style", "defs", "marker", "path", "g", "rect", "text"),
    }


def test_characters_that_turn_the_text_round_are_made_visible():
    run = record(plan("gnp.\u202efdp", "f"))

    assert "\u202e" not in svg(scene(run), run)
    assert texts(drawn(run))[0] == "gnp.\\u202efdp"


def test_a_long_name_is_cut_in_the_middle_and_whole_in_the_title():
    name = "a_very_long_name_" * 8 + "[17]"
    run = record(plan(name, "f"))

    label = texts(drawn(run))[0]
    assert label.startswith("a_very_long")
    assert label.endswith("[17]")
    assert "…" in label
    assert name in svg(scene(run), run)


def test_large_runs_start_with_their_groups_folded():
    node = {n.name: n for n in scene(fan(400)).nodes}

    assert list(node) == ["model", "scores", "best"]
    assert (node["scores"].size, node["scores"].label, node["scores"].group) == (400, "scores ×400", "scores")  # noqa: RUF001
    assert len(scene(fan(400)).edges) == 2


def test_small_runs_do_not_fold_unless_they_are_asked_to():
    assert len(scene(fan(20)).nodes) == 22
    assert len(scene(fan(20), folded=frozenset({"scores"})).nodes) == 3
    assert len(scene(fan(400), folded=frozenset()).nodes) == 402


def test_a_group_stays_open_if_folding_it_closed_a_circle():
    steps = plan("a[0]", "f"), plan("x", "g", ("a[0]",)), plan("a[1]", "f", ("x",))
    run = record(*steps, plan("b[0]", "f"), plan("b[1]", "f"))
    run.groups = group("a", "a[0]", "a[1]"), group("b", "b[0]", "b[1]")

    assert [n.name for n in scene(run, folded=frozenset("ab")).nodes] == ["a[0]", "x", "a[1]", "b"]


def test_a_folded_group_shows_how_many_of_its_steps_are_in_each_state():
    run = fan(4)
    for name, status in zip(list(run.steps)[1:5], ("done", "done", "failed", "waiting"), strict=True):
        run.steps[name].status = StepStatus(status)
    picture = scene(run, folded=frozenset({"scores"}))

    root = ElementTree.fromstring(svg(picture, run))

    bars = {r.get("class"): float(r.get("width", "")) for r in root.iter(f"{SVG}rect") if r.get("height") == "3"}
    assert list(bars) == ["done-b", "failed-b", "waiting-b"]
    assert bars["done-b"] == pytest.approx(2 * bars["failed-b"], abs=0.2)
    assert "scores: 1 waiting, 2 done, 1 failed" in svg(picture, run)


@pytest.mark.parametrize(
    ("statuses", "shown"),
    [
        ("done failed running", "failed"),
        ("done running", "running"),
        ("done waiting", "running"),
        ("queued waiting", "queued"),
        ("waiting", "waiting"),
        ("done", "done"),
        ("done cancelled", "cancelled"),
    ],
)
def test_the_state_of_a_group(statuses, shown):
    assert group_status(Counter(map(StepStatus, statuses.split()))) == shown


def test_members_are_the_steps_behind_a_box():
    run = fan(3)
    one, folded = scene(run).nodes[1], scene(run, folded=frozenset({"scores"})).nodes[1]

    assert [step.name for step in members(one, run)] == ["scores[0]"]
    assert [step.name for step in members(folded, run)] == ["scores[0]", "scores[1]", "scores[2]"]


def test_boxes_of_one_group_have_one_width():
    assert len({n.box.width for n in scene(fan(12)).nodes if n.group}) == 1


def test_a_box_has_room_for_its_label():
    for node in scene(fan(12)).nodes:
        assert text_width(node.label, LABEL_PX * BOLD) < node.box.width


def test_a_curve_is_straight_rounded_or_s_shaped():
    assert curve(Route("a", "b", ((0, 0), (0, 50)))) == "M0 0L0 50"
    assert curve(Route("a", "b", ((0, 0), (10, 48)))) == "M0 0C0 20 10 20 10 40L10 48"
    assert curve(Route("a", "b", ((0, 0), (48, 10))), "right") == "M0 0C20 0 20 10 40 10L48 10"
    assert curve(Route("a", "b", ((0, 0), (0, 20), (50, 20), (50, 40)))) == (
        "M0 0L0 13Q0 20 7 20L43 20Q50 20 50 27L50 40"
    )


def test_a_data_uri_holds_the_document():
    head, body = data_uri("<svg>é</svg>").split(",")

    assert head == "data:image/svg+xml;base64"
    assert base64.b64decode(body).decode() == "<svg>é</svg>"


def test_coordinates_are_written_out_however_large():
    assert not re.search(r"\de[+-]?\d", curve(Route("a", "b", ((1234567.8, 0), (1234567.8, 99)))))


@pytest.mark.parametrize(("text", "em"), [("", 0), ("漢字", 2), ("e\u0301", 0.64), ("\u200d", 0)])
def test_text_width_counts_what_is_seen(text, em):
    assert text_width(text, 10) == pytest.approx(em * 10)


@given(st.text(), st.floats(20, 300))
def test_a_shortened_text_fits(text, limit_px):
    assert text_width(shorten(text, limit_px, 12), 12) <= limit_px + 1e-6


def test_functions_keep_their_colours_in_the_order_of_appearance():
    colours = function_colours(["f", "g", "f", "h"])

    assert list(colours) == ["f", "g", "h"]
    assert len(set(colours.values())) == 3
