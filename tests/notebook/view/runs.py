"""Runs made by hand, for the tests of views."""

from mpreg_lab.types import FunctionName, NodeName, StepName
from mpreg_lab.workflow.model import Group
from mpreg_lab.workflow.record import (
    Ended,
    Failed,
    Failure,
    FaultKind,
    FaultNote,
    Finished,
    Opened,
    Queued,
    Retrying,
    RunEvent,
    RunRecord,
    RunStatus,
    Sent,
    Skipped,
    Started,
    StepPlan,
)

TRACEBACK = """\
Traceback (most recent call last):
  File "<cell 3>", line 4, in clean_rows
    return [tidy(row) for row in rows]
  File "<cell 3>", line 9, in tidy
    row["amount"] = float(row["amount"])
ValueError: could not convert string to float: 'n/a'
"""
FAILURE = Failure("ValueError", "could not convert string to float: 'n/a'", TRACEBACK)


def plan(name: str, function: str = "f", *needs: str, resources: tuple[str, ...] = ()) -> StepPlan:
    return StepPlan(StepName(name), FunctionName(function), tuple(map(StepName, needs)), resources)  # type: ignore[arg-type]


PIPELINE = (
    plan("rows", "parse_csv", resources=("csv-parser",)),
    plan("clean", "clean_rows", "rows", resources=("data-cleaner",)),
    plan("summary", "aggregate", "clean", resources=("aggregator",)),
    plan("report", "format_report", "summary", resources=("formatter",)),
)
NODES = ("ingest", "process", "process", "output")
RESULTS = {
    "report": "Sales by region\n===============\nnorth    1,204.50\nsouth      987.25\n",
    "summary": [{"region": "north", "rows": 41, "total": 1204.5}, {"region": "south", "rows": 33, "total": 987.25}],
}


def finished(
    step: str, node: str, ready_s: float, took_s: float, *, printed: str = "", travel_s: float = 0.001
) -> Finished:
    """Ready, 1 ms in a queue, on the way, running, on the way back."""
    started_s = ready_s + 0.001 + travel_s / 2
    ended_s = started_s + took_s
    return Finished(
        ended_s + travel_s / 2, StepName(step), NodeName(node), 1, ready_s, ready_s + 0.001, started_s, ended_s, printed
    )


def pipeline_events(took_s: tuple[float, ...] = (0.012, 0.048, 0.021, 0.006)) -> list[RunEvent]:
    events: list[RunEvent] = [Opened(0.0, PIPELINE)]
    now_s = 0.002
    for step, node, seconds in zip(PIPELINE, NODES, took_s, strict=True):
        done = finished(step.name, node, now_s, seconds, printed="180 rows read\n" if step.name == "rows" else "")
        events += [
            Queued(now_s, step.name),
            Sent(done.sent_s, step.name, done.node),
            Started(done.started_s, step.name, done.node),
            done,
        ]
        now_s = done.now_s
    return [*events, Ended(now_s, RunStatus.DONE)]


def pipeline() -> RunRecord:
    """Four steps in a row, all done."""
    return RunRecord.of(pipeline_events())


def running() -> RunRecord:
    """The same, while the second step runs."""
    return RunRecord.of(pipeline_events()[:8])


def failed() -> RunRecord:
    """The second step fails at its second attempt; two are skipped."""
    clean, node = StepName("clean"), NodeName("process")
    return RunRecord.of(
        [
            *pipeline_events()[:5],
            Queued(0.016, clean),
            Sent(0.017, clean, node),
            Retrying(0.030, clean, FAILURE, node, 1, 0.050, 0.017, 0.018),
            Sent(0.050, clean, NodeName("output"), 2),
            Failed(0.072, clean, FAILURE, NodeName("output"), 2, 0.016, 0.050, 0.052, 0.071, "row 17\n"),
            Skipped(0.072, StepName("summary"), clean),
            Skipped(0.072, StepName("report"), clean),
            Ended(0.072, RunStatus.FAILED),
        ]
    )


def fault(at_s: float, kind: str, text: str, *nodes: str, over: bool = False) -> FaultNote:
    return FaultNote(at_s, FaultKind(kind), text, tuple(map(NodeName, nodes)), over)


def faulty() -> RunRecord:
    """The node of the second step is killed, and a link is slow all the time; the step runs again elsewhere."""
    clean, node = StepName("clean"), NodeName("process")
    lost = Failure("NodeLostError", "node 'process' went away", "")
    return RunRecord.of(
        [
            *pipeline_events()[:5],
            fault(-1.5, "delay", "ingest-process delayed by 0.01 s", "ingest", "process"),
            Queued(0.016, clean),
            Sent(0.017, clean, node),
            fault(0.030, "kill", "process killed", "process"),
            fault(0.031, "lost", "ingest lost process", "process"),
            Retrying(0.031, clean, lost, node, 1, 0.050, 0.017, 0.018),
            fault(0.050, "restart", "process restarted", "process"),
            fault(0.052, "back", "ingest reaches process again", "process"),
            Finished(0.072, clean, NodeName("output"), 2, 0.016, 0.050, 0.052, 0.071),
            finished("summary", "process", 0.072, 0.01),
            finished("report", "output", 0.085, 0.01),
            Ended(0.1, RunStatus.DONE),
        ]
    )


def fan(width: int, *, nodes: int = 3, slots: int = 2, ended: bool = True) -> RunRecord:
    """One step, `width` steps on several nodes, and one that needs them all."""
    names = [f"scores[{i}]" for i in range(width)]
    plans = [
        plan("chunks", "split"),
        *(plan(name, "score", "chunks", resources=("gpu",)) for name in names),
        plan("best", "best_of", *names),
    ]
    events: list[RunEvent] = [Opened(0.0, tuple(plans), (Group(StepName("scores"), tuple(map(StepName, names))),))]
    first = finished("chunks", "a", 0.0, 0.010)
    free_s = [first.now_s] * (nodes * slots)
    scores = []
    for i, name in enumerate(names):
        slot = free_s.index(min(free_s))
        took_s = 0.02 + 0.0131 * (i * 7 % 11)
        started_s = free_s[slot] + 0.0005
        free_s[slot] = ended_s = started_s + took_s
        node = NodeName("abcdefgh"[slot % nodes])
        scores.append(Finished(ended_s + 0.0005, StepName(name), node, 1, first.now_s, first.now_s, started_s, ended_s))
    scores.sort(key=lambda event: event.now_s)
    if not ended:
        half = scores[: width // 2]
        queue = [Queued(first.now_s, e.step) for e in scores]
        under_way = [Started(e.started_s, e.step, e.node) for e in scores[width // 2 : width // 2 + nodes * slots]]
        return RunRecord.of(
            [*events, first, *queue, *half, *(e for s in under_way for e in (Sent(s.now_s, s.step, s.node), s))]
        )
    best = finished("best", "a", scores[-1].now_s if scores else first.now_s, 0.004)
    return RunRecord.of([*events, first, *scores, best, Ended(best.now_s, RunStatus.DONE)])
