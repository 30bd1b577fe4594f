"""Tab and Shift-Tab: what `completion.py` and `inspection.py` decide, for IPython's completer and the kernel.

A completer asks all its matchers; ours comes first, and where it has an answer the others are not asked. The kernel
looks names up without the cell around them, so its `do_inspect` is asked through ours.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.completer import SimpleCompletion, context_matcher

from mpreg_lab.client.saved import SavedRun
from mpreg_lab.client.sync import Client
from mpreg_lab.cluster.local import LocalCluster, running_clusters
from mpreg_lab.errors import MpregError
from mpreg_lab.protocol.messages import Member
from mpreg_lab.workflow.record import RunRecord

from .clusters import any_cluster
from .command import history
from .commands import COMMANDS
from .completion import Line, Offered, Offers, complete_cell, complete_line
from .demos import example_names
from .inspection import described
from .magics import FUNCTIONS, WORKFLOW
from .options import Syntax
from .settings import SETTINGS

if TYPE_CHECKING:
    from IPython.core.completer import CompletionContext, SimpleMatcherResult
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["Hints"]

_ANSWER_S = 0.5
"""So long the cluster may take to say what it has: Tab must not hang."""
_FILES = 200
_PRIORITY = 1000.0
_CELLS = {syntax.magic: syntax for syntax in (WORKFLOW, FUNCTIONS)}
_MPREG = Line(
    Syntax("%mpreg", ""),
    {
        name: Line(
            command.syntax,
            {word: Line(syntax) for word, syntax in command.words.items()},
            ";" if command.words else "",
        )
        for name, command in COMMANDS.items()
    },
)


class _NobodyElse(list[SimpleCompletion]):
    """No completions, but an answer: IPython asks the length to see whether the other matchers are to be asked."""

    def __len__(self) -> int:
        return max(1, super().__len__())


class Hints:
    """Tab and Shift-Tab of one shell.

    Args:
        shell: It is changed by `install`, and `remove` undoes that.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        # A matcher has attributes, which a method cannot have.
        self._matcher = context_matcher(identifier="mpreg_lab", priority=_PRIORITY)(
            lambda context: self._matches(context)
        )
        self._inspect: Callable[..., dict[str, Any]] | None = None

    def install(self) -> None:
        """Begin."""
        completer = self._shell.Completer
        if completer is not None:
            completer.custom_matchers.append(self._matcher)
        kernel = getattr(self._shell, "kernel", None)
        if kernel is not None:
            self._inspect = kernel.do_inspect
            kernel.do_inspect = self._do_inspect

    def remove(self) -> None:
        """End."""
        completer = self._shell.Completer
        if completer is not None and self._matcher in completer.custom_matchers:
            completer.custom_matchers.remove(self._matcher)
        kernel = getattr(self._shell, "kernel", None)
        if kernel is not None and vars(kernel).get("do_inspect") == self._do_inspect:
            # What we found there was the method of its class.
            del kernel.do_inspect

    # --- Tab ---

    def _matches(self, context: CompletionContext) -> SimpleMatcherResult:
        lines = context.full_text.split("\n")
        cursor = sum(len(line) + 1 for line in lines[: context.cursor_line]) + context.cursor_position
        offered = self.complete(context.full_text, cursor)
        if offered is None:
            return {"completions": [], "matched_fragment": "", "suppress": False}
        words = _NobodyElse(SimpleCompletion(word.text, type=word.kind) for word in offered.words)
        fragment = context.full_text[offered.start : cursor]
        return {"completions": words, "matched_fragment": fragment, "suppress": True, "ordered": True}

    def complete(self, text: str, cursor: int) -> Offered | None:
        """What Tab offers in a cell, whose first line may be a magic; None if that is none of ours."""
        first, _, body = text.partition("\n")
        magic = first.split(maxsplit=1)[0] if first.split() else ""
        if magic in _CELLS and cursor > len(first):
            if magic != WORKFLOW.magic:
                return None
            found = complete_cell(body, cursor - len(first) - 1, self._offers(_cluster_of(first)))
            return found and found._replace(start=found.start + len(first) + 1)
        begin = text.rfind("\n", 0, cursor) + 1
        line = text[begin:].partition("\n")[0]
        known = Line(_CELLS[magic]) if magic in _CELLS and not begin else _MPREG
        place = line.find(known.syntax.magic + " ")
        if place == -1 or not _opens(line[:place], known.syntax.magic):
            return None
        offset = begin + place + len(known.syntax.magic) + 1
        if cursor < offset:
            return None
        rest = text[offset:].partition("\n")[0]
        found = complete_line(rest, cursor - offset, known, self._offers(_cluster_of(line)))
        return found._replace(start=found.start + offset)

    # --- Shift-Tab ---

    def _do_inspect(self, code: str, cursor_pos: int, detail_level: int = 0, omit_sections: Any = ()) -> dict[str, Any]:
        first, _, body = code.partition("\n")
        if first.split() and first.split()[0] == WORKFLOW.magic and cursor_pos > len(first):
            members = self._members(_cluster_of(first))
            text = described(body, cursor_pos - len(first) - 1, members)
            if text is not None:
                return {"status": "ok", "found": True, "data": {"text/plain": text}, "metadata": {}}
        assert self._inspect is not None
        return self._inspect(code, cursor_pos, detail_level, omit_sections)

    # --- what there is ---

    def _offers(self, cluster: str | None) -> Offers:
        names = self._shell.user_ns
        hidden = self._shell.user_ns_hidden
        visible = [name for name in names if not name.startswith("_") and name not in hidden]
        members = self._members(cluster)
        holders = [name for name in visible if isinstance(names[name], (LocalCluster, Client))]
        return Offers(
            functions={info.name: info for member in members for info in member.functions},
            resources=tuple(dict.fromkeys(resource for member in members for resource in member.resources)),
            nodes=tuple(member.name for member in members),
            names=tuple(visible),
            clusters=tuple(dict.fromkeys([*holders, *(cluster.name for cluster in running_clusters())])),
            runs=tuple(name for name in visible if isinstance(names[name], SavedRun)),
            steps=self._steps(cluster),
            commands=tuple(COMMANDS),
            examples=example_names(),
            saved=tuple(sorted(str(file) for file in islice(Path().glob("*.json"), _FILES))),
            settings={key: setting.words for key, setting in SETTINGS.items()},
        )

    def _steps(self, wanted: str | None) -> tuple[str, ...]:
        """Those of the newest run of that cluster, fan-outs first."""
        try:
            runs = history(self._shell.user_ns, wanted)
        except MpregError:
            return ()
        record = runs[-1].record if runs else RunRecord()
        members = {step for group in record.groups for step in group.steps}
        alone = (name for name in record.steps if name not in members)
        return (*(group.name for group in record.groups), *alone)

    def _members(self, wanted: str | None) -> tuple[Member, ...]:
        """The nodes of the cluster that a line names, if it has one that answers soon."""
        try:
            cluster = any_cluster(self._shell.user_ns, wanted)
        except MpregError:
            return ()
        if isinstance(cluster, Client):
            return _soon(cluster.members)
        return tuple(cluster.nodes.values())


def _soon(ask: Callable[[], tuple[Member, ...]]) -> tuple[Member, ...]:
    """What a cluster elsewhere says, if it says it soon."""
    said: list[tuple[Member, ...]] = []

    def listen() -> None:
        try:
            said.append(ask())
        except (MpregError, ConnectionError):
            said.append(())

    asking = threading.Thread(target=listen, name="mpreg-hints", daemon=True)
    asking.start()
    asking.join(_ANSWER_S)
    return said[0] if said else ()


def _cluster_of(line: str) -> str | None:
    """The cluster that the line of a magic names with -c."""
    words = line.split()
    for flag, value in pairwise(words):
        if flag in ("-c", "--cluster"):
            return value
    return None


def _opens(before: str, magic: str) -> bool:
    """Whether a line may have a magic behind this: nothing, or `x =`."""
    target = before.strip().removesuffix("=").strip()
    return not before.strip() or (
        not magic.startswith("%%") and before.rstrip().endswith("=") and target.isidentifier()
    )
