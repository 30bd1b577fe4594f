"""Tab and Shift-Tab in a real kernel, asked as a notebook asks."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from jupyter_client.blocking.client import BlockingKernelClient

from tests.notebook.real_kernel import WAIT_S, real_kernel, run_cell

pytestmark = [pytest.mark.slow]

SETUP = """
    %load_ext mpreg_lab
    import math, subprocess, sys
    from mpreg_lab import LocalCluster
    text, rows_of = "a,b", {"key": 1}
    cluster = LocalCluster({"ingest": ["csv"], "work": ["gpu"]}, name="lab")

    @cluster.function(resources="csv")
    def parse(text: str, sep: str = ","):
        "Take a text apart."
        return text.split(sep)
"""

OF_ANOTHER_PROGRAM = """
def far_away(x: int, *, twice: bool = False) -> int:
    "Defined in a file that this notebook never saw."
    return x
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[BlockingKernelClient]:
    with real_kernel(SETUP) as kernel:
        yield kernel


def tab(kernel: BlockingKernelClient, marked: str) -> list[str]:
    """What is offered where ‸ is; each as the text would be with it, from the last space or quotation mark on."""
    code, cursor = marked.replace("‸", ""), marked.index("‸")
    content = kernel.complete(code, cursor, reply=True, timeout=WAIT_S)["content"]
    assert content["status"] == "ok"
    assert content["cursor_end"] == cursor
    before = re.split(r"[ \n\"'(]", code[: content["cursor_start"]])[-1]
    return [before + match for match in content["matches"]]


def shift_tab(kernel: BlockingKernelClient, marked: str) -> str:
    content = kernel.inspect(marked.replace("‸", ""), marked.index("‸"), reply=True, timeout=WAIT_S)["content"]
    return re.sub(r"\x1b\[[0-9;]*m", "", content["data"].get("text/plain", ""))


@pytest.mark.parametrize(
    ("marked", "offered"),
    [
        ("%%mpreg_workflow\na = ‸", ["echo", "echos", "parse"]),
        ("%%mpreg_workflow\na = pa‸", ["parse"]),
        ("%%mpreg_workflow\na = print‸", []),
        ("%%mpreg_workflow\na = parse(te‸", ["text=", "text"]),
        ("%%mpreg_workflow\nrows = parse(text)\nb = echo(ro‸", ["rows", "rows_of"]),
        ('%%mpreg_workflow -o run\na = parse(text) @ "‸', ['csv"', 'gpu"']),
        ('%%mpreg_workflow -o run\na = parse(text) @ "csv" | on("w‸")', ["work"]),
        ("%%mpreg_workflow\na = parse(text) | ‸", ["retry", "timeout", "wait_for", "on"]),
        ("%%mpreg_workflow\n# pa‸", []),
        ('%%mpreg_workflow\na = parse("te‸")', []),
        ("%%mpreg_workflow --d‸\na = echo(1)", ["--detach", "--dry-run"]),
        ("%%mpreg_workflow -c cl‸\na = echo(1)", ["cluster"]),
        ("%%mpreg_functions w‸\ndef f(): pass", ["work"]),
        ("%mpreg st‸", ["start", "stop", "status", "stop-node"]),
        ("x = 1\n%mpreg kill w‸", ["work"]),
        ("nodes = %mpreg nodes l‸", ["lab"]),
        ("%mpreg demo data-‸", ["data-pipeline"]),
        ("%mpreg faults kill work; cut ingest c‸", ["client"]),
    ],
)
def test_tab(kernel: BlockingKernelClient, marked: str, offered: list[str]):
    assert tab(kernel, marked) == offered


def test_tab_elsewhere_is_what_it_always_was(kernel: BlockingKernelClient):
    assert "math.sqrt" in [
        m.removeprefix("math.") and f"math.{m.removeprefix('math.')}" for m in tab(kernel, "math.sq‸")
    ]
    assert "parse" in tab(kernel, "par‸")
    assert any("sqrt" in match for match in tab(kernel, "%%mpreg_workflow\na = echo(math.sq‸"))
    assert "rows_of" in tab(kernel, "%%mpreg_functions\ndef f():\n    return rows_‸")


@pytest.mark.parametrize("marked", ["a = par‸se(text)", "a = parse(‸text)", 'a = parse(text, "‸") @ "csv"'])
def test_shift_tab_on_a_function(kernel: BlockingKernelClient, marked: str):
    assert shift_tab(kernel, f"%%mpreg_workflow\n{marked}") == (
        "Signature: parse(text: str, sep: str = ',')\nDocstring: Take a text apart.\nNodes:     ingest (csv)\n"
        "Needs:     csv\nType:      function of the cluster"
    )


def test_shift_tab_on_an_option_and_elsewhere(kernel: BlockingKernelClient):
    assert "seconds before the first retry" in shift_tab(kernel, "%%mpreg_workflow\na = parse(text) | ret‸ry(3)")
    assert "Return the square root of x" in shift_tab(kernel, "math.sqr‸t")
    assert "Return the square root of x" in shift_tab(kernel, "%%mpreg_workflow\na = echo(math.sqr‸t(2))")


def test_functions_of_a_program_elsewhere(kernel: BlockingKernelClient, tmp_path):
    (tmp_path / "elsewhere.py").write_text(OF_ANOTHER_PROGRAM)
    run_cell(
        kernel,
        f"""
        other = subprocess.Popen(
            [sys.executable, "-m", "mpreg_lab", "node", "--join", cluster.url, "--name", "far",
             "--functions", {str(tmp_path / "elsewhere.py")!r}],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )
        joined = other.stdout.readline()
        """,
    )
    try:
        assert tab(kernel, "%%mpreg_workflow\na = fa‸") == ["far_away"]
        assert tab(kernel, "%%mpreg_workflow\na = far_away(1, t‸") == ["twice=", "text"]
        told = shift_tab(kernel, "%%mpreg_workflow\na = far_a‸way(1)")
        assert "Signature: far_away(x: int, *, twice: bool = False) -> int" in told
        assert "Docstring: Defined in a file that this notebook never saw." in told
        assert "Nodes:     far" in told
    finally:
        run_cell(kernel, "other.terminate(); other.wait(); other.stdout.close()")


def test_a_cluster_elsewhere_is_asked_too(kernel: BlockingKernelClient):
    run_cell(kernel, "from mpreg_lab import Client\nclient = Client(cluster.url)")

    assert tab(kernel, "%%mpreg_workflow -c client\na = pa‸") == ["parse"]
    run_cell(kernel, "client.close()\ndel client")


def test_unloading_takes_it_all_away(kernel: BlockingKernelClient):
    try:
        run_cell(kernel, "%unload_ext mpreg_lab")
        assert "retry" not in tab(kernel, "%%mpreg_workflow\na = parse(text) | ‸")
        assert "function of the cluster" not in shift_tab(kernel, "%%mpreg_workflow\na = par‸se(text)")
        run_cell(
            kernel,
            "ip = get_ipython()\nassert 'do_inspect' not in vars(ip.kernel)\nassert not ip.Completer.custom_matchers\n"
            "assert '%%mpreg' not in str(ip.magics_manager.lsmagic())",
        )
    finally:
        run_cell(kernel, "%load_ext mpreg_lab\n%reload_ext mpreg_lab")
    assert tab(kernel, "%mpreg sta‸") == ["start", "status"]
