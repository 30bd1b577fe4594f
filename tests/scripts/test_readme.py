"""The README's commands are what the machine that checks runs, so they must be there, and must name what exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> dict[str, str]:
    """The marked commands: name to text."""
    return dict(re.findall(r"^<!-- command: (\w+) -->\n```sh\n(.*?)\n```$", README, re.MULTILINE | re.DOTALL))


def test_the_readme_has_exactly_the_two_commands_that_the_check_runs():
    used = re.findall(r"readme_command (\w+)\)", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))

    assert list(commands()) == used == ["first", "check"]
    assert all(len(command.splitlines()) == 1 for command in commands().values())


def test_every_make_target_in_the_texts_exists():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    texts = README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

    assert set(re.findall(r"\bmake (\w+)`", texts)) | {commands()["check"].removeprefix("make ")} <= targets


def test_every_file_that_the_texts_link_to_exists():
    for text in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text.read_text(encoding="utf-8"))
        # The picture is made from a real run, after the text.
        missing = [link for link in links if not (text.parent / link).exists() and not link.endswith(".png")]
        assert missing == [], text
