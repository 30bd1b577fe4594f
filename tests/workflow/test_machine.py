from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpreg_lab.errors import NodeLostError, RoutingError, StepTimeoutError
from mpreg_lab.types import NodeName
from mpreg_lab.workflow import machine as machine_module
from mpreg_lab.workflow.machine import Abort, Execute, RunMachine, failure_of
from mpreg_lab.workflow.model import Ref, Step, Workflow
from mpreg_lab.workflow.plan import validate
from mpreg_lab.workflow.record import FaultKind, FaultNote, RunRecord, RunStatus, StepStatus
from tests.dags import Needs, below, dags

untyped: Any = machine_module
Began, Cancel, Lost, Raised, Returned, Tick = (
    untyped.Began,
    untyped.Cancel,
    untyped.Lost,
    untyped.Raised,
    untyped.Returned,
    untyped.Tick,
)

BROKEN = ValueError("broken")


class Nodes:
    """A Placer: the least loaded node that has the function; of several the first."""

    def __init__(self, *names: str, lacks: Iterable[tuple[str, str]] = ()) -> None:
        self.load: Counter[str] = Counter(dict.fromkeys(names, 0))
        self.lacks = set(lacks)
        self.asked: list[tuple[str, set[str], set[str]]] = []

    def choose(self, step: Any, near: Collection[str], avoid: Collection[str]) -> Any:
        self.asked.append((step.name, set(near), set(avoid)))
        able = [name for name in self.load if self.can_run(step, name)]
        if not able:
            raise RoutingError(f"nobody has {step.function}", step=step.name)
        return min([name for name in able if name not in avoid] or able, key=self.load.__getitem__)

    def can_run(self, step: Any, node: str) -> bool:
        return node in self.load and (node, step.function) not in self.lacks and step.node in (None, node)

    def began(self, node: str, steps: int) -> None:
        self.load[node] += steps

    def ended(self, node: str, steps: int) -> None:
        self.load[node] -= steps


class Bench:
    """A machine, driven by the names of steps; its record is folded along the way."""

    def __init__(self, *steps: Any, nodes: Nodes | None = None) -> None:
        self.nodes = nodes or Nodes("n1", "n2")
        self.machine = RunMachine(validate(Workflow(steps)), self.nodes)
        self.keys = {step.name: key for key, step in enumerate(steps)}
        self.out: dict[str, Execute] = {}
        self.record: Any = RunRecord()
        self.events: list[Any] = []

    def start(self) -> list[str]:
        return self._note(self.machine.start(0.0))

    def returned(self, name: str, now_s: float = 1.0, **more: Any) -> list[str]:
        piece = self.out[name]
        return self._feed(Returned(now_s, piece.key, piece.attempt, now_s, now_s, f"{name}!", **more))

    def raised(self, name: str, now_s: float = 1.0, error: Exception = BROKEN) -> list[str]:
        piece = self.out[name]
        return self._feed(Raised(now_s, piece.key, piece.attempt, now_s, now_s, error, failure_of(error)))

    def began(self, name: str, now_s: float = 1.0) -> list[str]:
        piece = self.out[name]
        return self._feed(Began(now_s, piece.key, piece.attempt, now_s))

    def feed(self, happening: Any) -> list[str]:
        return self._feed(happening)

    def state(self, name: str) -> StepStatus:
        return self.machine.states()[self.keys[name]][1]

    def told(self) -> list[Any]:
        """The events since the last call, folded."""
        events = self.machine.take_events()
        for event in events:
            self.record.apply(event)
        self.events += events
        return events

    def _feed(self, happening: Any) -> list[str]:
        return self._note(self.machine.handle(happening))

    def _note(self, todo: list[Execute | Abort]) -> list[str]:
        """What is to be done, as text: `a@n1`, a chain `a>b@n1`, `-a@n1` for what is given up."""
        said = []
        for item in todo:
            if isinstance(item, Abort):
                name = self.machine.plan.workflow.steps[item.key].name
                said.append(f"-{name}@{item.node}")
                continue
            for piece in (item, *item.then):
                self.out[piece.step.name] = piece
            said.append(">".join(piece.step.name for piece in (item, *item.then)) + f"@{item.node}")
        return said


def step(name: str, *needs: str, **options: Any) -> Step:
    return Step(name, options.pop("function", "f"), tuple(map(Ref, needs)), **options)


def kinds(events: list[Any]) -> list[str]:
    return [f"{type(event).__name__} {getattr(event, 'step', '')}".strip() for event in events]


# --- what is ready runs at once ---


def test_all_steps_that_need_nothing_start_on_the_least_loaded_nodes():
    bench = Bench(step("a"), step("b"), step("c"))

    assert bench.start() == ["a@n1", "b@n2", "c@n1"]


def test_a_step_never_waits_for_others_of_its_level():
    bench = Bench(step("quick"), step("slow"), step("x", "quick"), step("y", "quick"))
    bench.start()

    assert bench.returned("quick") == ["x@n1", "y@n1"]
    assert bench.state("slow") is StepStatus.QUEUED


def test_a_step_waits_for_all_that_it_needs():
    bench = Bench(step("a"), step("b"), step("c", "a", "b", "a"))
    bench.start()

    assert bench.returned("b") == []
    assert bench.returned("a") == ["c@n1"]


def test_the_placer_hears_who_has_what_the_step_needs():
    bench = Bench(step("a"), step("b"), step("c", "a", "b"))
    bench.start()
    bench.returned("a")
    bench.returned("b")

    assert bench.nodes.asked[-1] == ("c", {"n1", "n2"}, set())


def test_values_are_kept_and_the_run_ends_with_the_last_step():
    bench = Bench(step("a"), step("b"))
    bench.start()
    bench.returned("a")
    assert not bench.machine.done
    bench.returned("b")

    assert bench.machine.done
    assert bench.machine.status is RunStatus.DONE
    assert bench.machine.values == {0: "a!", 1: "b!"}
    assert set(bench.nodes.load.values()) == {0}


# --- chains ---


def test_a_chain_goes_to_one_node_as_one_piece():
    bench = Bench(step("a"), step("b", "a"), step("c", "b"))

    assert bench.start() == ["a>b>c@n1"]
    assert bench.nodes.load["n1"] == 3
    assert bench.returned("a") == bench.returned("b") == bench.returned("c") == []
    assert bench.machine.done


def test_a_chain_begins_behind_a_fan_in():
    bench = Bench(step("a"), step("b"), step("c", "a", "b"), step("d", "c"), step("e", "d"))
    assert bench.start() == ["a@n1", "b@n2"]
    bench.returned("a")

    assert bench.returned("b") == ["c>d>e@n1"]


def test_a_fan_in_whose_other_needs_are_there_is_part_of_a_chain():
    bench = Bench(step("a"), step("b"), step("c", "b"), step("d", "a", "c"))
    assert bench.start() == ["a@n1", "b>c@n2"]
    assert bench.returned("a") == []
    bench.returned("b")

    assert bench.returned("c") == ["d@n1"]

    bench = Bench(step("a"), step("x"), step("b", "x"), step("y", "x"), step("d", "a", "b"))
    assert bench.start() == ["a@n1", "x@n2"]
    bench.returned("a")
    assert bench.returned("x") == ["b>d@n1", "y@n2"]


def test_a_fan_out_ends_a_chain():
    bench = Bench(step("a"), step("b", "a"), step("c", "b"), step("d", "b"))

    assert bench.start() == ["a>b@n1"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"timeout_s": 5.0}),
        ({"timeout_s": 5.0}, {}),
        ({"retries": 1}, {}),
        ({}, {"function": "special"}),
        ({}, {"node": "n2"}),
    ],
    ids=["time-out of the second", "time-out of the first", "retries of the first", "function elsewhere", "node"],
)
def test_what_must_be_placed_by_itself_ends_a_chain(first, second):
    nodes = Nodes("n1", "n2", lacks=[("n1", "special")])
    bench = Bench(step("a", **first), step("b", "a", **second), nodes=nodes)

    assert bench.start() == ["a@n1"]


def test_the_last_step_of_a_chain_may_have_retries():
    bench = Bench(step("a"), step("b", "a", retries=2))

    assert bench.start() == ["a>b@n1"]
    bench.returned("a")
    assert bench.raised("b") == ["b@n2"]


def test_a_long_chain_is_cut_into_pieces(monkeypatch):
    monkeypatch.setattr(machine_module, "CHAIN_LIMIT", 3)
    bench = Bench(step("s0"), *(step(f"s{i}", f"s{i - 1}") for i in range(1, 7)))

    assert bench.start() == ["s0>s1>s2@n1"]
    bench.returned("s0")
    bench.returned("s1")
    assert bench.returned("s2") == ["s3>s4>s5@n1"]


def test_what_follows_a_failed_step_of_a_chain_is_skipped():
    bench = Bench(step("a"), step("b", "a"), step("c", "b"))
    bench.start()
    bench.returned("a")
    bench.raised("b")
    bench.told()

    assert bench.machine.status is RunStatus.FAILED
    assert [(s.name, s.status) for s in bench.record.steps.values()] == [
        ("a", "done"),
        ("b", "failed"),
        ("c", "skipped"),
    ]
    assert bench.nodes.load["n1"] == 0


# --- retries ---


def test_a_step_is_started_again_at_once_and_elsewhere():
    bench = Bench(step("a", retries=1))
    bench.start()

    assert bench.raised("a") == ["a@n2"]
    assert bench.nodes.asked[-1] == ("a", set(), {"n1"})
    assert bench.out["a"].attempt == 2
    assert bench.raised("a") == []
    assert bench.machine.status is RunStatus.FAILED


def test_backoff_doubles_and_nothing_happens_before_it_is_over():
    bench = Bench(step("a", retries=3, backoff_s=0.5))
    bench.start()
    assert bench.machine.due_s is None

    for failed_s, due_s in ((1.0, 1.5), (2.0, 3.0), (4.0, 6.0)):
        assert bench.raised("a", failed_s) == []
        assert bench.machine.due_s == due_s
        assert bench.feed(Tick(due_s - 0.01)) == []
        assert len(bench.feed(Tick(due_s))) == 1
        assert bench.machine.due_s is None


def test_only_the_last_error_of_a_step_counts():
    bench = Bench(step("a", retries=1))
    bench.start()
    bench.raised("a", error=ValueError("first"))
    bench.raised("a", error=KeyError("second"))
    bench.told()

    assert str(bench.machine.errors[0]) == "'second'"
    assert [attempt.failure.message for attempt in bench.record.steps["a"].earlier] == ["first"]


def test_a_step_that_works_the_second_time_is_done():
    bench = Bench(step("a", retries=1), step("b", "a"))
    bench.start()
    bench.raised("a")

    assert bench.returned("a") == ["b@n1"]
    assert bench.machine.errors == {}


# --- time-outs ---


def test_a_step_that_takes_too_long_is_given_up():
    bench = Bench(step("a", timeout_s=5.0), step("b", "a"))
    bench.start()
    bench.began("a", 1.0)
    assert bench.machine.due_s == 5.0

    assert bench.feed(Tick(5.0)) == ["-a@n1"]
    error = bench.machine.errors[0]
    assert type(error) is StepTimeoutError
    assert str(error) == "step 'a' (f) on node 'n1' took longer than 5 s; it was running"
    assert bench.state("b") is StepStatus.SKIPPED


def test_a_step_that_never_began_says_so():
    bench = Bench(step("a", timeout_s=0.5))
    bench.start()
    bench.feed(Tick(0.5))

    assert str(bench.machine.errors[0]) == (
        "step 'a' (f) on node 'n1' took longer than 0.5 s; it was waiting for a free slot, or had just begun"
    )


def test_each_attempt_has_its_own_time():
    bench = Bench(step("a", timeout_s=5.0, retries=1))
    bench.start()

    assert bench.feed(Tick(5.0)) == ["-a@n1", "a@n2"]
    assert bench.machine.due_s == 10.0


def test_a_step_that_ended_has_no_time_out():
    bench = Bench(step("a", timeout_s=5.0), step("b"))
    bench.start()
    bench.returned("a")

    assert bench.machine.due_s is None
    assert bench.feed(Tick(6.0)) == []


# --- waiting for a node ---


def test_a_step_that_no_node_can_run_waits_for_one():
    nodes = Nodes("n1", lacks=[("n1", "f")])
    bench = Bench(Step("a", "f", wait_for_s=1.0), nodes=nodes)

    assert bench.start() == []
    assert bench.feed(Tick(bench.machine.due_s)) == []
    nodes.lacks.clear()
    assert bench.feed(Tick(bench.machine.due_s)) == ["a@n1"]
    bench.returned("a")
    assert bench.machine.status is RunStatus.DONE


def test_a_step_does_not_wait_longer_for_a_node_than_it_may():
    bench = Bench(Step("a", "f", wait_for_s=1.0), nodes=Nodes("n1", lacks=[("n1", "f")]))
    bench.start()
    looks = 0
    while bench.machine.due_s is not None:
        last_s = bench.machine.due_s
        bench.feed(Tick(last_s))
        looks += 1

    assert (last_s, bench.state("a")) == (1.0, StepStatus.FAILED)
    assert looks >= 20


def test_a_step_that_waits_for_a_node_is_cancelled_with_its_run():
    bench = Bench(Step("a", "f", wait_for_s=1.0), nodes=Nodes("n1", lacks=[("n1", "f")]))
    bench.start()

    assert bench.feed(Cancel(0.5)) == []
    assert (bench.state("a"), bench.machine.due_s) == (StepStatus.CANCELLED, None)


def test_a_retry_waits_for_a_node_to_come_back():
    nodes = Nodes("n1")
    bench = Bench(Step("a", "f", retries=1, wait_for_s=1.0), nodes=nodes)
    bench.start()
    nodes.lacks.add(("n1", "f"))
    assert bench.feed(Lost(0.1, "n1")) == []
    nodes.lacks.clear()

    assert bench.feed(Tick(bench.machine.due_s)) == ["a@n1"]


# --- what comes too late ---


def test_the_outcome_of_an_attempt_that_was_given_up_is_dropped_and_counted():
    bench = Bench(step("a", timeout_s=5.0, retries=1))
    bench.start()
    late = Returned(6.0, 0, 1, 0.0, 6.0, "too late")
    bench.feed(Tick(5.0))
    bench.feed(late)

    assert bench.machine.late == 1
    assert bench.machine.values == {}
    bench.returned("a", 7.0)
    assert bench.machine.values == {0: "a!"}


def test_the_first_answer_wins():
    bench = Bench(step("a"), step("b"))
    bench.start()
    bench.returned("a")
    bench.feed(Returned(2.0, 0, 1, 0.0, 2.0, "again"))
    bench.raised("a")

    assert bench.machine.values == {0: "a!"}
    assert (bench.machine.late, bench.machine.errors) == (2, {})


def test_what_comes_after_the_end_changes_nothing():
    bench = Bench(step("a"))
    bench.start()
    bench.returned("a")
    bench.told()

    assert bench.raised("a") == bench.feed(Cancel(9.0)) == bench.feed(Lost(9.0, "n1")) == bench.feed(Tick(9.0)) == []
    assert bench.told() == []
    assert bench.machine.status is RunStatus.DONE


# --- lost nodes ---


def test_a_step_whose_node_is_lost_may_or_may_not_have_run():
    bench = Bench(step("a"), step("b"))
    bench.start()
    bench.feed(Lost(1.0, "n1"))
    bench.told()

    error = bench.machine.errors[0]
    assert type(error) is NodeLostError
    assert str(error) == (
        "node 'n1' went away with step 'a' under way (attempt 1): it may or may not have run. "
        "Allow another start with retry(n), if that does no harm"
    )
    assert bench.record.steps["a"].status is StepStatus.FAILED
    assert bench.state("b") is StepStatus.QUEUED


def test_a_step_with_retries_goes_to_another_node():
    bench = Bench(step("a", retries=1))
    bench.start()

    assert bench.feed(Lost(1.0, "n1")) == ["a@n2"]


def test_only_the_first_step_of_a_lost_chain_fails():
    bench = Bench(step("a"), step("b", "a"), step("c", "b"))
    bench.start()
    bench.returned("a")
    bench.feed(Lost(1.0, "n1"))

    assert [status for _, status in bench.machine.states()] == ["done", "failed", "skipped"]
    assert list(bench.machine.errors) == [1]


def test_a_lost_chain_goes_on_elsewhere_from_the_step_that_may_start_again():
    bench = Bench(step("a", retries=1), step("b", "a"), step("c", "b"))
    bench.start()
    assert bench.feed(Lost(1.0, "n1")) == ["a@n2"]

    bench.nodes.load["n2"] = 9
    assert bench.returned("a") == ["b>c@n1"]


def test_no_step_of_a_chain_starts_twice_when_its_node_is_lost():
    """What had run was not yet told when the node went away: b may have been under way."""
    bench = Bench(step("a", retries=1), step("b", "a"))
    started = bench.start() + bench.feed(Lost(1.0, "n1"))
    started += bench.returned("a")

    assert sum("b" in piece for piece in started) == 1


def test_a_node_without_steps_can_be_lost():
    bench = Bench(step("a"))
    bench.start()

    assert bench.feed(Lost(1.0, "n2")) == []
    assert not bench.machine.runs_on("n2")  # type: ignore[arg-type]  # names are plain
    assert bench.machine.runs_on("n1")  # type: ignore[arg-type]  # names are plain


# --- cancelling ---


def test_cancelling_gives_up_what_is_out_and_ends_the_rest():
    bench = Bench(step("a"), step("b"), step("c", "a"), step("d", "b", "c"), step("r", retries=1, backoff_s=9.0))
    bench.start()
    bench.returned("a", 1.0)
    bench.raised("r", 1.0)
    bench.told()

    assert sorted(bench.feed(Cancel(2.0))) == ["-b@n2", "-c@n1"]
    bench.told()
    assert bench.machine.done
    assert bench.machine.due_s is None
    assert bench.record.status is RunStatus.CANCELLED
    assert [s.status for s in bench.record.steps.values()] == ["done", *["cancelled"] * 4]
    assert bench.machine.values == {0: "a!"}
    assert set(bench.nodes.load.values()) == {0}


def test_an_outcome_after_cancelling_is_late():
    bench = Bench(step("a"))
    bench.start()
    bench.feed(Cancel(1.0))
    bench.returned("a", 2.0)

    assert (bench.machine.late, bench.machine.values) == (1, {})


# --- failures ---


def test_all_failures_are_kept_and_only_what_needs_them_is_skipped():
    bench = Bench(
        step("bad"), step("good"), step("x", "bad"), step("y", "x", "good"), step("z", "good"), step("worse", "good")
    )
    bench.start()
    bench.raised("bad")
    bench.returned("good")
    bench.raised("worse")
    bench.returned("z")
    bench.told()

    assert bench.machine.status is RunStatus.FAILED
    assert {s.name: str(s.status) for s in bench.record.steps.values()} == {
        "bad": "failed",
        "good": "done",
        "x": "skipped",
        "y": "skipped",
        "z": "done",
        "worse": "failed",
    }
    assert {s.because for s in bench.record.skipped} == {"bad"}
    assert list(bench.machine.errors) == [0, 5]


def test_a_step_that_no_node_can_run_fails_alone():
    nodes = Nodes("n1", lacks=[("n1", "special")])
    bench = Bench(step("a", function="special"), step("b", "a"), step("c"), nodes=nodes)

    assert bench.start() == ["c@n1"]
    bench.returned("c")
    bench.told()
    assert bench.record.steps["a"].failure == failure_of(RoutingError("nobody has special"))
    assert (bench.record.steps["a"].node, bench.record.steps["a"].attempts) == (None, 0)
    assert [s.name for s in bench.record.skipped] == ["b"]


def test_a_run_in_which_nothing_can_start_ends_at_once():
    bench = Bench(step("a", function="special"), nodes=Nodes("n1", lacks=[("n1", "special")]))

    assert bench.start() == []
    assert bench.machine.done
    assert kinds(bench.told()) == ["Opened", "Failed a", "Ended"]


# --- events ---


def test_a_short_step_is_one_event():
    bench = Bench(step("a"), step("b", "a"))
    bench.start()
    bench.began("a")
    bench.returned("a")
    bench.returned("b")

    assert kinds(bench.told()) == ["Opened", "Finished a", "Finished b", "Ended"]


def test_a_long_step_is_told_as_it_goes_and_nothing_twice():
    bench = Bench(step("a"))
    bench.start()
    assert kinds(bench.told()) == ["Opened", "Queued a", "Sent a"]
    assert bench.told() == []
    bench.began("a")
    assert kinds(bench.told()) == ["Started a"]
    bench.returned("a")
    assert kinds(bench.told()) == ["Finished a", "Ended"]


def test_steps_of_a_chain_are_waiting_until_it_is_their_turn():
    bench = Bench(step("a"), step("b", "a"))
    bench.start()
    assert kinds(bench.told()) == ["Opened", "Queued a", "Sent a"]
    bench.returned("a", 1.0)
    assert kinds(bench.told()) == ["Finished a", "Queued b", "Sent b"]


def test_every_retry_is_told():
    bench = Bench(step("a", retries=2))
    bench.start()
    bench.raised("a")
    bench.raised("a")
    bench.returned("a")

    assert kinds(bench.told()) == [
        "Opened",
        *["Queued a", "Sent a", "Retrying a"] * 2,
        "Finished a",
        "Ended",
    ]
    assert bench.record.steps["a"].attempts == 3


def test_times_of_a_step_come_from_its_node():
    bench = Bench(step("a"))
    bench.start()
    bench.feed(Returned(9.0, 0, 1, 3.0, 4.0, None, "hello\n", 5.0))
    bench.told()
    a = bench.record.steps["a"]

    assert (a.ready_s, a.sent_s, a.started_s, a.ended_s, a.known_s) == (0.0, 0.0, 3.0, 4.0, 5.0)
    assert a.printed == "hello\n"


# --- any graph, any outcomes, any order ---


class World:
    """Nodes that work off their lanes, some of which are lost, and whose reports may come late."""

    def __init__(self, bench: Bench, draw: st.DrawFn) -> None:
        self.bench = bench
        self.draw = draw
        self.now_s = 0.0
        self.lanes: dict[int, list[Execute]] = {}
        self.reports: dict[int, list[Any]] = {}
        self.late: list[Any] = []
        self.began: Counter[str] = Counter()

    def take(self, todo: list[Execute | Abort]) -> None:
        for item in todo:
            if isinstance(item, Execute):
                number = len(self.lanes)
                self.lanes[number] = [item, *item.then]
                self.reports[number] = []
                continue
            for number, pieces in self.lanes.items():
                if any(piece.key == item.key and piece.attempt == item.attempt for piece in pieces):
                    self.lanes[number] = []
                    self.late += self.reports[number]

    def work(self, number: int) -> None:
        """Run the next step of a lane; the report stays on the node."""
        piece = self.lanes[number].pop(0)
        self.began[piece.step.name] += 1
        reports = self.reports[number]
        what = self.draw(st.sampled_from(["returns", "returns", "returns", "raises"]))
        if self.draw(st.booleans()):
            reports.append(lambda now_s: Began(now_s, piece.key, piece.attempt, now_s))
        if what == "returns":
            reports.append(lambda now_s: Returned(now_s, piece.key, piece.attempt, now_s, now_s, piece.key))
        else:
            failure = failure_of(BROKEN)
            reports.append(lambda now_s: Raised(now_s, piece.key, piece.attempt, now_s, now_s, BROKEN, failure))
            self.lanes[number].clear()

    def report(self, number: int) -> list[Any]:
        reports = self.reports[number]
        count = self.draw(st.integers(1, len(reports)))
        told, self.reports[number] = reports[:count], reports[count:]
        return [report(self.now_s) for report in told]

    def lose(self, node: str) -> list[Any]:
        self.bench.nodes.lacks |= {(node, "f")}
        for number, pieces in self.lanes.items():
            if pieces and pieces[0].node == node:
                self.lanes[number] = []
            if self.nodes[number] == node:
                self.late += self.reports[number]
                self.reports[number] = []
        return [Lost(self.now_s, node)]

    def run(self) -> None:
        bench = self.bench
        self.nodes: dict[int, str] = {}
        self.feed(bench.machine.start(0.0))
        lost = 0
        while not bench.machine.done:
            self.now_s += 1.0
            working = [number for number, pieces in self.lanes.items() if pieces]
            telling = [number for number, reports in self.reports.items() if reports]
            due_s = bench.machine.due_s
            choices = ["work"] * 3 * bool(working) + ["report"] * 3 * bool(telling) + ["late"] * bool(self.late)
            choices += ["tick"] * (due_s is not None) + ["lose"] * (lost < 2) + ["look"]
            if not (working or telling or due_s is not None):
                raise AssertionError("the machine waits for nothing")
            match self.draw(st.sampled_from(choices)):
                case "work":
                    self.work(self.draw(st.sampled_from(working)))
                case "report":
                    self.feed(bench.machine.handle(*self.report(self.draw(st.sampled_from(telling)))))
                case "late":
                    happening = self.late.pop()(self.now_s)
                    self.feed(bench.machine.handle(happening))
                case "tick":
                    assert due_s is not None
                    self.now_s = max(self.now_s, due_s)
                    self.feed(bench.machine.handle(Tick(self.now_s)))
                case "lose":
                    lost += 1
                    self.feed(bench.machine.handle(*self.lose(f"n{lost}")))
                case "look":
                    bench.told()

    def feed(self, todo: list[Execute | Abort]) -> None:
        before = len(self.lanes)
        self.take(todo)
        for number in range(before, len(self.lanes)):
            self.nodes[number] = self.lanes[number][0].node


@st.composite
def steps_of(draw: st.DrawFn, needs: Needs) -> list[Any]:
    return [
        step(
            f"s{key}",
            *(f"s{need}" for need in wanted),
            retries=draw(st.sampled_from([0, 0, 1, 2])),
            backoff_s=draw(st.sampled_from([0.0, 0.0, 1.5])),
            timeout_s=draw(st.sampled_from([None, None, None, 4.0])),
        )
        for key, wanted in enumerate(needs)
    ]


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data(), needs=dags())
def test_every_run_ends_in_a_consistent_state(data: st.DataObject, needs: Needs):
    steps = data.draw(steps_of(needs))
    bench = Bench(*steps, nodes=Nodes("n1", "n2", "n3"))
    world = World(bench, data.draw)  # type: ignore[arg-type]  # the draw of st.data() is one
    world.run()
    bench.told()
    record = bench.record

    assert all(s.status.ended for s in record.steps.values())
    assert [(s.name, s.status) for s in record.steps.values()] == bench.machine.states()
    failed = {key for key in range(len(steps)) if bench.state(f"s{key}") is StepStatus.FAILED}
    skipped = {key for key in range(len(steps)) if bench.state(f"s{key}") is StepStatus.SKIPPED}
    assert skipped == below(needs, sorted(failed))
    assert set(bench.machine.errors) == failed
    assert set(bench.machine.values) == set(range(len(steps))) - failed - skipped
    assert record.status is bench.machine.status is (RunStatus.FAILED if failed else RunStatus.DONE)
    assert {bench.keys[s.because] for s in record.skipped if s.because} <= failed
    for s in steps:
        assert world.began[s.name] <= s.retries + 1
        assert record.steps[s.name].attempts <= s.retries + 1
        assert len(record.steps[s.name].earlier) <= s.retries
    assert not any(bench.nodes.load.values())
    assert bench.machine.due_s is None


def test_a_fault_is_told_with_the_events_and_changes_nothing():
    bench = Bench(Step("a", "f"))
    bench.start()
    fault = FaultNote(0.5, FaultKind.KILL, "n2 killed", (NodeName("n2"),))

    bench.machine.note(fault)

    assert fault in bench.told()
    assert bench.state("a") is StepStatus.QUEUED
    bench.returned("a")
    bench.told()
    bench.machine.note(fault)
    assert bench.told() == []
    assert bench.record.faults == (fault,)
