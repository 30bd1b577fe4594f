"""The feed with a real cluster; the screen only remembers what it was shown."""

import threading

from mpreg_lab import LocalCluster, Ref, RunRecord, RunStatus, Step, StepStatus, Workflow
from mpreg_lab.notebook.feed import Feed


class Screen:
    def __init__(self) -> None:
        self.shown: list[tuple[RunRecord, dict[str, object] | None]] = []
        self.running = threading.Event()

    def update(self, record: RunRecord, results: dict[str, object] | None = None) -> None:
        self.shown.append((record, results))
        if record.count(StepStatus.RUNNING):
            self.running.set()


def test_a_step_is_shown_while_it_runs_and_the_end_with_its_results():
    screen, go = Screen(), threading.Event()
    with LocalCluster(1) as cluster:
        cluster.register(lambda: go.wait(30), name="wait")
        run = cluster.submit(Workflow([Step("a", "wait"), Step("b", "echo", args=(Ref("a"),))]))
        feed = Feed(run, screen)

        assert screen.running.wait(30)
        go.set()
        run.wait(30)

        assert feed.wait(30)
    record, results = screen.shown[-1]
    assert record.status is RunStatus.DONE
    assert results == {"b": True}
    assert all(results is None for _, results in screen.shown[:-1])


def test_what_was_shown_does_not_change_afterwards():
    screen, go = Screen(), threading.Event()
    with LocalCluster(1) as cluster:
        cluster.register(lambda: go.wait(30), name="wait")
        run = cluster.submit(Workflow([Step("a", "wait")]))
        feed = Feed(run, screen)
        assert screen.running.wait(30)
        go.set()
        run.wait(30)
        assert feed.wait(30)

    states = [record.steps["a"].status for record, _ in screen.shown]  # type: ignore[index]

    assert StepStatus.RUNNING in states[:-1]
    assert states[-1] is StepStatus.DONE


def test_a_run_that_ended_before_the_feed_began_is_shown_once():
    screen = Screen()
    with LocalCluster(1) as cluster:
        run = cluster.run(Workflow([Step("a", "echo", args=(1,))]))

        assert Feed(run, screen).wait(30)

    assert [results for _, results in screen.shown] == [{"a": 1}]
