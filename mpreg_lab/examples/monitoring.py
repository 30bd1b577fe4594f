"""Health checks across nodes: one has a leak, one is slow, one hangs, one is dead. Which?

Every node examines itself with psutil: its process, and the machine. `survey` asks all of them at once and makes a
report of what came and of what did not: a node that answers but has grown, or that answers late, is degraded; one that
does not answer, but whose process lives, hangs; one whose process is gone is dead. `main` takes a first survey, breaks
four of five nodes for real (memory that is never given back, slow links, SIGSTOP, SIGKILL) and takes a second.

It needs psutil: `pip install 'mpreg-lab[examples]'`.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import psutil

from mpreg_lab import LocalCluster, RoutingError, Run, Step, Workflow, current_step
from mpreg_lab.examples import Functions, offer

__all__ = [
    "FUNCTIONS",
    "Check",
    "Examination",
    "Health",
    "Limits",
    "Report",
    "examine",
    "judge",
    "leak",
    "main",
    "nodes",
    "report",
    "survey",
    "workflow",
]

MB = 1_000_000


@dataclass(frozen=True)
class Examination:
    """What a node finds of itself.

    Attributes:
        cpu_share: Of one processor, since the process began; 1 is all of it.
        memory_mb: What it holds of the machine's memory.
        load: Programs that wanted a processor of the machine, mean of the last minute, for each that it has.
        machine_memory: Share of the machine's memory that is in use; `machine_disk` is the same of its disk.
    """

    node: str
    pid: int
    cpu_share: float
    memory_mb: float
    threads: int
    files: int
    load: float
    machine_memory: float
    machine_disk: float


class Health(StrEnum):
    """How a node is; the worst last."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    HANGING = "hanging"
    DEAD = "dead"


@dataclass(frozen=True)
class Limits:
    """What a node may do before it counts as degraded.

    Attributes:
        growth_mb: Memory more than in the first survey.
        late_s: How much later than the others it may answer.
        answer_s: How long an answer may take; who needs longer hangs.
    """

    growth_mb: float = 100.0
    files: int = 500
    late_s: float = 0.3
    answer_s: float = 2.0


@dataclass(frozen=True)
class Check:
    """How one node is, and what says so.

    Attributes:
        found: None if it did not answer.
        answer_s: Seconds from the question to the answer; None if there was none.
    """

    node: str
    health: Health
    why: str
    found: Examination | None = None
    answer_s: float | None = None


@dataclass(frozen=True)
class Report:
    """All nodes at one moment."""

    checks: tuple[Check, ...]

    def of(self, health: Health) -> list[str]:
        """The nodes that are so."""
        return [check.node for check in self.checks if check.health is health]

    @property
    def worst(self) -> Health:
        """How the cluster is: as its worst node."""
        return max((check.health for check in self.checks), key=list(Health).index)


# --- The functions that run on the nodes --------------------------------------------------------------------------


def examine() -> Examination:
    """What the process of this node uses, and how its machine is."""
    process = psutil.Process()
    with process.oneshot():
        times = process.cpu_times()
        age_s = max(1e-3, time.time() - process.create_time())
        return Examination(
            node=current_step().node,
            pid=process.pid,
            cpu_share=(times.user + times.system) / age_s,
            memory_mb=process.memory_info().rss / MB,
            threads=process.num_threads(),
            files=process.num_fds(),
            load=psutil.getloadavg()[0] / (os.cpu_count() or 1),
            machine_memory=psutil.virtual_memory().percent / 100,
            machine_disk=psutil.disk_usage("/").percent / 100,
        )


_leaked: list[bytearray] = []


def leak(megabytes: int) -> None:
    """Take memory, write to it, and never give it back."""
    # Piece by piece: one large piece would keep the node from everything else meanwhile.
    _leaked.extend(bytearray(b"x" * MB) for _ in range(megabytes))


# --- The cluster and the workflow ---------------------------------------------------------------------------------

FUNCTIONS: Functions = {"": (examine, leak)}
"""Resource to the functions that run where it is; here on every node."""


def nodes() -> dict[str, list[str]]:
    """Node to its resources, as `LocalCluster` takes them."""
    return {"front": [], "search": [], "cache": [], "mail": [], "images": []}


def workflow(names: Sequence[str] = tuple(nodes()), limits: Limits = Limits()) -> Workflow:
    """One step a node, on that node and no other."""
    # A run with a step for a node that is known to be gone is refused; a step that may wait a moment fails by itself.
    return Workflow(Step(name, "examine", node=name, timeout_s=limits.answer_s, wait_for_s=0.1) for name in names)


def survey(
    cluster: LocalCluster, names: Sequence[str], limits: Limits = Limits(), before: Report | None = None
) -> Report:
    """Ask all nodes at once how they are; no node can hold up the report for longer than `limits.answer_s`.

    Args:
        before: An earlier survey, to tell growth by, and which process a silent node had. All are on this machine.
    """
    return report(cluster.run(workflow(names, limits), check=False), limits, before)


def report(run: Run, limits: Limits = Limits(), before: Report | None = None) -> Report:
    """What the answers say, and what silence says."""
    known = {check.node: check.found for check in before.checks if check.found} if before else {}
    answers = _answer_times_s(run)
    usual_s = statistics.median(answers.values()) if answers else 0.0
    checks = []
    for name in map(str, run.record.steps):
        if name in run.results:
            checks.append(judge(run.results[name], answers[name], usual_s, limits, known.get(name)))
        else:
            checks.append(_silent(name, run.errors[name], limits, known.get(name)))
    return Report(tuple(checks))


def judge(
    found: Examination,
    answer_s: float,
    usual_s: float,
    limits: Limits = Limits(),
    before: Examination | None = None,
) -> Check:
    """How a node is that answered after so long, where the others need `usual_s`, and that was so `before`."""
    growth_mb = found.memory_mb - (before or found).memory_mb
    reasons = []
    if growth_mb > limits.growth_mb:
        reasons.append(f"{growth_mb:.0f} MB more than before")
    if found.files > limits.files:
        reasons.append(f"{found.files} open files")
    if answer_s - usual_s > limits.late_s:
        reasons.append(f"{answer_s - usual_s:.1f} s later than others")
    health = Health.DEGRADED if reasons else Health.HEALTHY
    return Check(found.node, health, "; ".join(reasons), found, answer_s)


def table(surveyed: Report) -> str:
    """The report in lines of at most 80 characters."""
    lines = [f"{'node':7} {'health':8} {'answer':>7} {'memory':>7} {'CPU':>4} {'files':>5}  why"]
    for check in surveyed.checks:
        lines.append(f"{check.node:7} {check.health:8} {_figures(check)}  {check.why}".rstrip())
    answered = [check.found for check in surveyed.checks if check.found is not None]
    if answered:
        machine = answered[0]
        lines.append(
            f"machine: {machine.machine_memory:.0%} of memory and {machine.machine_disk:.0%} of disk in use, "
            f"load {machine.load:.1f} a processor"
        )
    lines.append(f"{len(answered)} of {len(surveyed.checks)} nodes answered. {_in_words(surveyed)}")
    return "\n".join(lines)


def main() -> None:
    """Two surveys of five nodes in processes of their own, before and after four of them were broken."""
    names = tuple(nodes())
    with LocalCluster(nodes(), processes=True) as cluster:
        offer(cluster, FUNCTIONS)
        before = survey(cluster, names)
        print(table(before))
        print("\nsearch takes 200 MB, images has slow links, cache is halted, mail is killed.\n")
        cluster.run(Workflow([Step("leak", "leak", (200,), node="search")]))
        cluster.faults.slow("images")
        cluster.pause("cache")
        cluster.kill("mail")
        print(table(survey(cluster, names, before=before)))
        cluster.resume("cache")


# --- Helpers ------------------------------------------------------------------------------------------------------


def _answer_times_s(run: Run) -> dict[str, float]:
    """How long each node that answered took, as the node saw it that asked."""
    return {
        str(name): step.known_s - step.ready_s
        for name, step in run.record.steps.items()
        if name in run.results and step.known_s is not None and step.ready_s is not None
    }


def _silent(node: str, error: Exception, limits: Limits, before: Examination | None) -> Check:
    if isinstance(error, TimeoutError):
        return Check(node, Health.HANGING, f"no answer in {limits.answer_s:g} s")
    # A node that is silent for some seconds is given up by the others, whatever keeps it from answering.
    if before is not None and psutil.pid_exists(before.pid):
        return Check(node, Health.HANGING, f"given up, but process {psutil.Process(before.pid).status()}")
    why = "not in the cluster any more" if isinstance(error, RoutingError) else "went away while it was asked"
    return Check(node, Health.DEAD, why)


def _figures(check: Check) -> str:
    if check.found is None or check.answer_s is None:
        return f"{'-':>7} {'-':>7} {'-':>4} {'-':>5}"
    found = check.found
    return f"{check.answer_s * 1000:4.0f} ms {found.memory_mb:4.0f} MB {found.cpu_share:4.0%} {found.files:5}"


def _in_words(surveyed: Report) -> str:
    bad = [health for health in Health if health is not Health.HEALTHY and surveyed.of(health)]
    return " ".join(f"{health.title()}: {', '.join(surveyed.of(health))}." for health in bad) or "All are healthy."


if __name__ == "__main__":
    main()
