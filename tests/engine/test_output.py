# ruff: noqa: T201 - what functions print is tested here
from __future__ import annotations

import contextlib
import io
import sys
import threading
from collections.abc import Iterator

from mpreg_lab.engine.output import LIMIT, Printed, capture, install, uninstall


# No fixture: pytest puts its own streams back between the setup of a test and its call.
@contextlib.contextmanager
def streams() -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """In the place of sys.stdout and sys.stderr; ours stand before them."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        install("test")
        try:
            yield out, err
        finally:
            uninstall("test")


def test_what_a_step_prints_goes_to_the_step():
    with streams() as (out, err):
        with capture() as printed:
            print("hello")
            print("oh", file=sys.stderr)
            sys.stdout.writelines(["a", "b"])
        print("after")

    assert printed.take() == "hello\noh\nab"
    assert (out.getvalue(), err.getvalue()) == ("after\n", "")


def test_steps_in_threads_do_not_mix():
    both = threading.Barrier(2, timeout=30)
    texts = {}

    def work(name: str) -> None:
        with capture() as printed:
            for _ in range(3):
                both.wait()
                print(name)
            texts[name] = printed.take()

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    with streams():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert texts == {"a": "a\n" * 3, "b": "b\n" * 3}


def test_steps_of_a_lane_take_turns():
    printed = Printed()
    printed.write("first")
    assert printed.take() == "first"
    assert printed.take() == ""
    printed.write("second")
    assert printed.take() == "second"


def test_the_first_characters_are_kept_and_the_rest_is_counted():
    printed = Printed()
    printed.write("x" * (LIMIT - 1))
    printed.write("yz")
    printed.write("w" * 999)

    assert printed.take() == "x" * (LIMIT - 1) + "y\n[... 1,000 more characters were printed]\n"


def test_our_streams_are_files_like_those_they_stand_for():
    with streams() as (out, _):
        setattr(out, "extra", "of a kernel")  # noqa: B010 - a kernel's stream has attributes of its own

        assert sys.stdout.writable()
        assert not sys.stdout.isatty()
        assert sys.stdout.encoding == out.encoding
        assert getattr(sys.stdout, "extra", None) == "of a kernel"
        sys.stdout.flush()
        out.close()
        sys.stdout.flush()


def test_the_last_user_gives_the_streams_back():
    before = sys.stdout, sys.stderr
    install("one")
    install("two")
    install("two")
    uninstall("one")
    assert sys.stdout is not before[0]
    uninstall("two")

    assert (sys.stdout, sys.stderr) == before


def test_who_came_before_us_is_left_alone():
    before = sys.stdout
    install("test")
    with contextlib.redirect_stdout(io.StringIO()) as theirs:
        uninstall("test")
        assert sys.stdout is theirs
    uninstall("test")

    assert sys.stdout is before


def test_a_process_without_streams_is_no_problem(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    install("test")
    uninstall("test")

    assert sys.stdout is None
