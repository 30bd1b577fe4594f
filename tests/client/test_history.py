"""What a client remembers of the runs that it started."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpreg_lab import AsyncClient, Client, LocalCluster, Ref, Run, Step, Workflow
from mpreg_lab.client import history
from mpreg_lab.client.saved import SavedRun
from mpreg_lab.errors import SavedRunError, UnknownStepError


def pipeline(size: int = 3, name: str = "") -> Workflow:
    return Workflow([Step("values", "count", (size,)), Step("total", "add_up", (Ref("values"),))], name=name)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    def count(size: int) -> list[int]:
        return list(range(size))

    with LocalCluster(2) as cluster:
        cluster.register(count)
        cluster.register(sum, name="add_up")
        yield cluster


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster.url, token=cluster.token) as client:
        yield client


def test_the_newest_run_is_last(client: Client):
    first, second = client.run(pipeline(name="first")), client.run(pipeline(4), check=False)

    assert list(client.runs) == [first, second]
    assert client.runs[-1] is second
    assert client.runs[:1] == [first]
    assert second in client.runs


def test_a_run_that_failed_is_there_though_it_was_raised(client: Client):
    with pytest.raises(TypeError):
        client.run(Workflow([Step("total", "add_up", (1,))]))

    assert client.runs[-1].status == "failed"
    assert isinstance(client.runs[-1], Run)
    assert isinstance(client.runs[-1].exception, TypeError)


def test_calls_are_no_runs_and_reruns_are(client: Client):
    client.call("count", 2)
    run = client.run(pipeline())
    again = run.rerun(from_step="total")

    assert list(client.runs) == [run, again]


async def test_an_async_client_has_a_history_too(cluster: LocalCluster):
    async with AsyncClient(cluster.url, token=cluster.token) as client:
        run = await client.run(pipeline())

        assert list(client.runs) == [run]


def test_the_newest_run_is_kept_whole_and_of_earlier_ones_the_record(client: Client):
    client.run(pipeline())
    assert client.runs[0].results == {"total": 3}

    held = weakref.ref(client.runs[0])
    client.run(pipeline())
    gc.collect()

    assert held() is None
    first = client.runs[0]
    assert type(first) is SavedRun
    assert repr(first) == "SavedRun(2 steps: 2 done)"
    assert len(first.frame()) == 2
    assert repr(client.runs[1].compare(first)) == "Comparison(2 steps: 2 in both)"
    with pytest.raises(SavedRunError, match=r"the result of 'total' was not kept\. Kept: none"):
        first["total"]
    with pytest.raises(UnknownStepError, match="Did you mean 'total'"):
        first["totl"]


def test_a_hundred_runs_are_kept(client: Client):
    for i in range(103):
        client.run(pipeline(i))

    assert len(client.runs) == 100
    assert client.runs[-1].results == {"total": 102 * 101 // 2}


def test_as_many_runs_are_kept_as_their_steps_allow(client: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(history, "MAX_KEPT_STEPS", 5)
    for _ in range(4):
        client.run(pipeline())
    assert len(client.runs) == 2

    client.run(Workflow([Step(f"s{i}", "count", (i,)) for i in range(9)]))
    assert len(client.runs) == 1


def test_an_index_beyond_the_end_says_how_many_there_are(client: Client):
    with pytest.raises(IndexError, match="there is no run -1: nothing has run yet"):
        client.runs[-1]
    client.run(pipeline())
    with pytest.raises(IndexError, match="there is no run 5: there is 1"):
        client.runs[5]


def test_the_history_shows_itself_without_times(client: Client):
    client.run(pipeline(name="<shop>"))
    client.run(Workflow([Step("total", "add_up", (1,))]), check=False)

    assert repr(client.runs) == "\n".join(
        ["Runs(2 runs)", "   0  ✓ done       <shop>  2 steps: 2 done", "   1  ✕ failed     1 step: 1 failed"]
    )
    assert "&lt;shop&gt;" in client.runs._repr_html_()
    assert ">Took</th>" in client.runs._repr_html_()  # 53.5 ms are no seconds
    frame = client.runs.frame()
    assert frame[["name", "status", "steps", "done", "failed"]].values.tolist() == [
        ["<shop>", "done", 2, 2, 0],
        ["", "failed", 1, 0, 1],
    ]
    assert (frame["seconds"] > 0).all()
    client.runs.clear()
    assert repr(client.runs) == "Runs(0 runs)"
    assert client.runs._repr_html_() == "<div>No runs yet</div>"


def test_a_run_goes_to_a_file_and_back(client: Client, tmp_path: Path):
    run = client.run(pipeline())
    text = run.to_json(tmp_path / "run.json")
    again = Run.from_json((tmp_path / "run.json").read_text(encoding="utf-8"))

    assert (tmp_path / "run.json").read_text(encoding="utf-8") == text
    assert again.results == run.results
    assert again["total"] == 3
    assert again._repr_mimebundle_()["text/html"] == run._repr_mimebundle_()["text/html"]
    assert again.to_json() == text


@pytest.mark.parametrize("kind", ["svg", "mermaid", "dot", "trace", "python"])
def test_every_format_can_be_written_to_a_file(client: Client, tmp_path: Path, kind: str):
    run = client.run(pipeline())
    text = getattr(run, f"to_{kind}")(tmp_path / "run")

    assert (tmp_path / "run").read_text(encoding="utf-8") == text != ""


def test_a_script_runs_the_same_workflow(cluster: LocalCluster, capsys: pytest.CaptureFixture[str]):
    run = cluster.run(pipeline(5))
    names: dict[str, object] = {"__name__": "script"}
    exec(run.to_python(), names)

    assert cluster.run(names["workflow"]).results == run.results == {"total": 10}  # type: ignore[arg-type]


def test_a_run_is_compared_with_runs_alone(client: Client):
    run = client.run(pipeline())

    with pytest.raises(TypeError, match="a run is compared with a run, not with str"):
        run.compare("run")  # type: ignore[arg-type]
