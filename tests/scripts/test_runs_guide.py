"""The examples of docs/runs.md, run one after the other as a reader would."""

import ast
import re
from pathlib import Path

import pytest

import mpreg_lab

GUIDE = Path(__file__).parents[2] / "docs" / "runs.md"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_example_runs_and_gives_what_the_guide_says():
    names: dict[str, object] = {}
    compared = 0
    try:
        for block in re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            compared += run_block(block, names)
    finally:
        for cluster in mpreg_lab.running_clusters():
            cluster.stop()
    assert compared >= 11


def run_block(block: str, names: dict[str, object]) -> int:
    """Run it; a line that is an expression followed by a comment with a literal or a repr must give that."""
    lines, compared = block.splitlines(), 0
    for statement in ast.parse(block).body:
        code = compile(ast.Module([statement], []), str(GUIDE), "exec")
        promised = re.search(r"  # ([\[{('\d].*|[A-Z]\w+\(.*\)|True)$", lines[(statement.end_lineno or 1) - 1])
        if isinstance(statement, ast.Expr) and promised:
            assert repr(eval(compile(ast.Expression(statement.value), str(GUIDE), "eval"), names)) == promised[1]
            compared += 1
        else:
            exec(code, names)
    return compared
