"""What a traceback shows to the one who called."""

import traceback

import pytest

from mpreg_lab import LocalCluster, Ref, RoutingError, Step, Workflow
from mpreg_lab.client.verbs import verb


def half(x: float) -> float:
    return x / 0


def frames(error: BaseException) -> list[str]:
    """The functions in a traceback, but for pytest's own."""
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def test_the_error_of_a_step_shows_who_called_and_the_function_and_nothing_between():
    with LocalCluster(1) as cluster:
        cluster.register(half)

        with pytest.raises(ZeroDivisionError) as caught:
            cluster.run(Workflow([Step("a", "half", args=(1,))]))

    names = frames(caught.value)
    assert names[-1] == "half"
    assert len(names) <= 3  # this test, the verb, the function


def test_raising_it_again_does_not_make_it_longer():
    with LocalCluster(1) as cluster:
        cluster.register(half)
        run = cluster.run(Workflow([Step("a", "half", args=(1,)), Step("b", "echo", args=(Ref("a"),))]), check=False)
        seen = []
        for _ in range(3):
            with pytest.raises(ZeroDivisionError) as caught:
                run["a"]
            seen.append(frames(caught.value))

    assert seen[0] == seen[1] == seen[2]


def test_our_own_errors_show_the_message_and_where_it_was_called():
    with LocalCluster(1) as cluster, pytest.raises(RoutingError) as caught:
        cluster.call("nothing")

    first, *places = caught.value._render_traceback_()
    assert first.endswith(
        "step 'nothing': no node has a function 'nothing'. Functions: echo, echos. Register it: @cluster.function"
    )
    assert [place.split(":")[-1].strip() for place in places] == ['cluster.call("nothing")']


def test_an_error_that_is_nobodys_but_ours_keeps_its_frames():
    @verb
    def broken() -> None:
        raise AssertionError("a mistake of this package")

    with pytest.raises(AssertionError) as caught:
        broken()

    assert frames(caught.value)[-1] == "broken"
