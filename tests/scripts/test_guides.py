"""The examples of guides, run one after the other as a reader would."""

import ast
import re
from pathlib import Path

import pytest

import mpreg_lab

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("guide", "promises"), [("runs.md", 2), ("faults.md", 4)])
def test_every_example_runs_and_gives_what_the_guide_says(guide, promises):
    names: dict[str, object] = {}
    compared = 0
    try:
        text = (DOCS / guide).read_text(encoding="utf-8")
        for block in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            compared += run_block(block, names)
    finally:
        for cluster in mpreg_lab.running_clusters():
            cluster.stop()
    assert compared >= promises


def run_block(block: str, names: dict[str, object]) -> int:
    """Run it; a line that is an expression followed by a comment with a literal or a repr must give that."""
    lines, compared = block.splitlines(), 0
    for statement in ast.parse(block).body:
        code = compile(ast.Module([statement], []), "<guide>", "exec")
        promised = re.search(r"  # ([\[{'\d].*|[A-Z]\w+\(.*\)|True)$", lines[(statement.end_lineno or 1) - 1])
        if isinstance(statement, ast.Expr) and promised:
            assert repr(eval(compile(ast.Expression(statement.value), "<guide>", "eval"), names)) == promised[1]
            compared += 1
        else:
            exec(code, names)
    return compared
