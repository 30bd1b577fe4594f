import os

import psutil
import pytest

from mpreg_lab import LocalCluster, Step, Workflow
from mpreg_lab.examples import offer
from mpreg_lab.examples.monitoring import (
    FUNCTIONS,
    Check,
    Examination,
    Health,
    Limits,
    Report,
    judge,
    nodes,
    survey,
    table,
)

NAMES = tuple(nodes())
PATIENT = Limits(late_s=0.6, answer_s=5)
"""The machine may be busy."""


def examination(node: str = "a", memory_mb: float = 50.0, files: int = 10) -> Examination:
    return Examination(node, 1, 0.1, memory_mb, 3, files, 0.5, 0.5, 0.5)


def health(found: Examination, before: Examination | None = None, *, answer_s: float = 0.1) -> tuple[Health, str]:
    check = judge(found, answer_s, 0.1, Limits(growth_mb=100, late_s=0.2), before)
    return check.health, check.why


def test_a_leak_a_slow_a_hanging_and_a_dead_node_are_told_apart():
    with LocalCluster(nodes(), processes=True) as cluster:
        offer(cluster, FUNCTIONS)
        before = survey(cluster, NAMES, PATIENT)
        pids = {check.node: check.found.pid for check in before.checks if check.found}
        assert [check.health for check in before.checks] == [Health.HEALTHY] * 5

        cluster.run(Workflow([Step("leak", "leak", (200,), node="search")]))
        cluster.faults.slow("images", 0.4)
        cluster.pause("cache")
        cluster.kill("mail")
        after = survey(cluster, NAMES, PATIENT, before)
        again = survey(cluster, NAMES, PATIENT, before)
        search_mb = psutil.Process(pids["search"]).memory_info().rss / 1e6
        halted = psutil.Process(pids["cache"]).status()
        cluster.resume("cache")

    healths = {"front": "healthy", "search": "degraded", "cache": "hanging", "mail": "dead", "images": "degraded"}
    for report in (after, again):
        assert {check.node: check.health for check in report.checks} == healths
        assert report.worst is Health.DEAD
    found = {check.node: check for check in after.checks}
    # psutil from outside sees the same.
    assert found["search"].found is not None
    assert found["search"].found.memory_mb == pytest.approx(search_mb, rel=0.1)
    assert 190 < float(found["search"].why.split(" MB")[0]) < 230
    assert found["images"].why.endswith(" s later than others")
    assert found["images"].answer_s is not None
    assert found["images"].answer_s >= 0.8  # 0.4 s there and 0.4 s back
    assert halted == psutil.STATUS_STOPPED
    # After some seconds of silence the other nodes give it up.
    assert found["cache"].why in ("no answer in 5 s", "given up, but process stopped")
    assert not psutil.pid_exists(pids["mail"])
    assert {check.node: check.why for check in again.checks}["mail"] == "not in the cluster any more"


def test_a_node_that_comes_back_is_healthy_again():
    with LocalCluster(nodes(), processes=True) as cluster:
        offer(cluster, FUNCTIONS)
        cluster.kill("mail")
        assert survey(cluster, NAMES, PATIENT).of(Health.DEAD) == ["mail"]

        cluster.restart("mail")

        assert survey(cluster, NAMES, PATIENT).worst is Health.HEALTHY


def test_figures_are_those_of_the_process_and_the_machine():
    with LocalCluster({"only": []}) as cluster:
        offer(cluster, FUNCTIONS)
        found = survey(cluster, ["only"], PATIENT).checks[0].found

    assert found is not None
    assert (found.node, found.pid) == ("only", os.getpid())
    assert found.memory_mb == pytest.approx(psutil.Process().memory_info().rss / 1e6, rel=0.2)
    assert 0 < found.machine_memory < 1
    assert 0 < found.machine_disk <= 1
    assert found.threads >= 2
    assert found.cpu_share > 0


def test_growth_counts_and_not_size():
    assert health(examination(memory_mb=900), examination(memory_mb=850)) == (Health.HEALTHY, "")
    assert health(examination(memory_mb=900)) == (Health.HEALTHY, "")
    grown = health(examination(memory_mb=200, files=900), examination(memory_mb=50))
    assert grown == (Health.DEGRADED, "150 MB more than before; 900 open files")


def test_late_is_later_than_the_others():
    assert health(examination(), answer_s=0.25) == (Health.HEALTHY, "")
    assert health(examination(), answer_s=1.1) == (Health.DEGRADED, "1.0 s later than others")


def test_a_cluster_is_as_its_worst_node():
    checks = tuple(Check(health, health, "", None) for health in Health)

    assert Report(checks[:1]).worst is Health.HEALTHY
    assert Report(checks[:2]).worst is Health.DEGRADED
    assert Report(checks[::-1]).worst is Health.DEAD


def test_the_table_says_so_when_nobody_answers():
    report = Report((Check("a", Health.DEAD, "not in the cluster any more", None),))

    assert table(report).splitlines() == [
        "node    health    answer  memory  CPU files  why",
        "a       dead           -       -    -     -  not in the cluster any more",
        "0 of 1 nodes answered. Dead: a.",
    ]
