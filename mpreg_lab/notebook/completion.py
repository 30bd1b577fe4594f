"""What Tab offers in a workflow cell and on the lines of magics: from text, cursor and what there is, to words.

No shell, no cluster: `hints.py` brings what they have. Tested in microseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from mpreg_lab.protocol.messages import FunctionInfo, ParameterKind

from .cell_scan import Bracket, Place, names_bound, place_of
from .options import Argument, Kind, Syntax

__all__ = ["OPTIONS", "Line", "Offered", "Offers", "Option", "Word", "complete_cell", "complete_line"]


class Option(NamedTuple):
    """An option of a step, behind |."""

    form: str
    text: str


OPTIONS: dict[str, Option] = {
    "retry": Option(
        "retry(n, backoff=s)",
        "Start the step again, up to n times, if it fails; elsewhere if that is possible.\n\n"
        "backoff: seconds before the first retry, doubled for each further one. 0 if it is left out.\n"
        "Without retry a step is started at most once.",
    ),
    "timeout": Option("timeout(s)", "One attempt may take s seconds from being sent. Then it has failed."),
    "wait_for": Option(
        "wait_for(s)",
        "If no node can run the step when it is ready, it waits up to s seconds for one. Without it, that is an error "
        "at once.",
    ),
    "on": Option('on("node")', "Only this node runs the step."),
}


class Word(NamedTuple):
    """One completion.

    Attributes:
        kind: What a notebook shows beside it.
    """

    text: str
    kind: str


class Offered(NamedTuple):
    """What replaces the text from `start` to the cursor; no words: nothing fits, and nobody else should be asked."""

    start: int
    words: tuple[Word, ...]


@dataclass(frozen=True)
class Offers:
    """What there is.

    Attributes:
        functions: Of all nodes, by name. resources: What nodes hold.
        nodes: Their names. dead: Those of nodes that have ended.
        names: Variables of the notebook.
        clusters: Names of clusters, and variables that hold one.
        runs: Variables that hold runs.
        steps: Those of the newest run, and its fan-outs.
        commands: Those of %mpreg. examples: Those of %mpreg demo.
        saved: Files of the current folder that may hold a run.
        settings: Those of %mpreg config, and the words that each takes, if they can be listed.
    """

    functions: Mapping[str, FunctionInfo] = field(default_factory=dict)
    resources: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    dead: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    saved: tuple[str, ...] = ()
    settings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


# --- in a workflow cell -------------------------------------------------------------------------------------------


def complete_cell(text: str, cursor: int, offers: Offers) -> Offered | None:
    """What fits at the cursor of a workflow cell without its first line.

    Returns:
        None: what stands there is Python of the notebook, such as `np.me`, which others complete.
    """
    place = place_of(text, cursor)
    if place.comment:
        return Offered(cursor, ())
    if place.string is not None:
        return _in_string(text, cursor, place, offers)
    return _in_code(text, cursor, place, offers)


def _in_string(text: str, cursor: int, place: Place, offers: Offers) -> Offered | None:
    assert place.string is not None
    inner = place.brackets[-1] if place.brackets else None
    if inner is not None and inner.char == "[" and inner.callee and inner.callee not in names_bound(text):
        return None  # a key of what the notebook has
    names = () if place.formatted else _quotable(place, offers)
    close = "" if text.startswith(place.quote, cursor) else place.quote
    return _fitting(text, place.string, cursor, [Word(name + close, kind) for name, kind in names])


def _quotable(place: Place, offers: Offers) -> Iterable[tuple[str, str]]:
    """What strings may stand here."""
    inner = place.brackets[-1] if place.brackets else None
    if inner is not None and inner.callee == "on" and inner.operator == "|":
        return [(name, "node") for name in offers.nodes]
    if _behind_at(place):
        return [(name, "resource") for name in offers.resources]
    return ()


def _behind_at(place: Place) -> bool:
    """Whether resources stand here: `@ ...`, `@ (..., ...)`, or the same in a fan-out."""
    brackets = place.brackets
    if not brackets:
        return place.operator == "@"
    inner = brackets[-1]
    if inner.char == "[" and _is_fan_out(place, inner):
        return inner.operator == "@"
    return inner.char in "([{" and not inner.callee and inner.operator == "@"


def _is_fan_out(place: Place, bracket: Bracket) -> bool:
    """Whether the bracket is the outermost one of a line `name = [`."""
    return bracket.char == "[" and place.brackets[0] is bracket and place.operator == "="


def _in_code(text: str, cursor: int, place: Place, offers: Offers) -> Offered | None:
    start = _start_of_name(text, cursor)
    prefix = text[start:cursor]
    inner = place.brackets[-1] if place.brackets else None
    if inner is None:
        return _outside(text, start, cursor, place, offers)
    if _is_fan_out(place, inner):
        return _in_fan_out(text, start, cursor, place, offers)
    if _behind_at(place):
        return _fitting(text, start, cursor, _quoted(offers.resources, "resource"))
    call = place.call
    if call is not None and call.operator == "|":
        return _in_option(text, start, cursor, call, offers)
    if "." in prefix:
        # A field of a step is not known before the run; an attribute of a variable is Python's.
        return Offered(start, ()) if prefix.partition(".")[0] in names_bound(text) else None
    keywords = _keywords(call, offers) if call is inner else []
    return _fitting(text, start, cursor, [*keywords, *_steps(text, place), *_variables(offers, text)])


def _outside(text: str, start: int, cursor: int, place: Place, offers: Offers) -> Offered | None:
    between = text[place.after : start].strip()
    if place.operator == "=":
        if between:
            return Offered(cursor, ())
        return _fitting(text, start, cursor, _functions(offers))
    if place.operator == "@":
        return _fitting(text, start, cursor, [] if between else _quoted(offers.resources, "resource"))
    if place.operator == "|":
        return _fitting(text, start, cursor, [] if between else [Word(name, "function") for name in OPTIONS])
    # The last line names results to return.
    return _fitting(text, start, cursor, _steps(text, place))


def _in_fan_out(text: str, start: int, cursor: int, place: Place, offers: Offers) -> Offered | None:
    bracket = place.brackets[0]
    before = text[bracket.start : start]
    if re.search(r"\bfor\b", before):
        if not re.search(r"\b(in|if)\s+([^\s].*)?$", before, re.DOTALL):
            return Offered(cursor, ())  # the name of a loop variable
        if "." in text[start:cursor]:
            return None
        return _fitting(text, start, cursor, [*_steps(text, place), *_variables(offers, text)])
    if bracket.operator == "@":
        return _fitting(text, start, cursor, [] if before.strip() else _quoted(offers.resources, "resource"))
    if bracket.operator == "|":
        return _fitting(text, start, cursor, [] if before.strip() else [Word(name, "function") for name in OPTIONS])
    return _fitting(text, start, cursor, [] if before.strip() else _functions(offers))


def _in_option(text: str, start: int, cursor: int, call: Bracket, offers: Offers) -> Offered | None:
    if "." in text[start:cursor]:
        return None
    if call.callee == "on":
        return _fitting(text, start, cursor, [*_quoted(offers.nodes, "node"), *_variables(offers, text)])
    backoff = call.callee == "retry" and call.commas == 1
    return _fitting(text, start, cursor, [Word("backoff=", "param")] if backoff else _variables(offers, text))


def _functions(offers: Offers) -> list[Word]:
    return [Word(name, "function") for name in sorted(offers.functions)]


def _keywords(call: Bracket | None, offers: Offers) -> list[Word]:
    """The parameters of a function that can be given by name and are not given yet."""
    info = offers.functions.get(call.callee) if call is not None else None
    if call is None or info is None or info.parameters is None:
        return []
    positional = [p for p in info.parameters if p.kind <= ParameterKind.POSITIONAL_OR_KEYWORD]
    given = {*call.keywords, *(p.name for p in positional[: call.commas - len(call.keywords)])}
    by_name = (ParameterKind.POSITIONAL_OR_KEYWORD, ParameterKind.KEYWORD_ONLY)
    return [Word(f"{p.name}=", "param") for p in info.parameters if p.kind in by_name and p.name not in given]


def _steps(text: str, place: Place) -> list[Word]:
    return [Word(name, "statement") for name in names_bound(text, place.start)]


def _variables(offers: Offers, text: str) -> list[Word]:
    loops = re.findall(r"\bfor\s+([^\W\d]\w*)", text)
    steps = set(names_bound(text))
    return [Word(name, "instance") for name in dict.fromkeys([*loops, *offers.names]) if name not in steps]


def _quoted(names: Iterable[str], kind: str) -> list[Word]:
    return [Word(f'"{name}"', kind) for name in names]


# --- on the line of a magic ---------------------------------------------------------------------------------------


class Line(NamedTuple):
    """The arguments of a magic as they are being written.

    Attributes:
        commands: What it may begin with, each with its own syntax, if it is a magic of commands.
        separator: What stands between several, if there may be several.
    """

    syntax: Syntax
    commands: Mapping[str, Line] = {}
    separator: str = ""


def complete_line(text: str, cursor: int, line: Line, offers: Offers) -> Offered:
    """What fits at the cursor of a line, of which the name of the magic is cut off."""
    before = text[:cursor]
    if line.separator and line.separator in before:
        begin = before.rindex(line.separator) + 1
        inner = complete_line(text[begin:cursor], cursor - begin, line._replace(separator=""), offers)
        return Offered(begin + inner.start, inner.words)
    words = before.split()
    start = cursor if not before or before[-1].isspace() else cursor - len(words.pop())
    if line.commands and words and words[0] in line.commands:
        begin = before.index(words[0]) + len(words[0])
        inner = complete_line(text[begin:], cursor - begin, line.commands[words[0]], offers)
        return Offered(begin + inner.start, inner.words)
    if line.commands and not words:
        own = [Word(name, "keyword") for name in line.commands]
        return _fitting(text, start, cursor, [*own, *_flags(line.syntax, words)])
    return _argument(text, start, cursor, words, line, offers)


def _argument(
    text: str,
    start: int,
    cursor: int,
    words: list[str],
    line: Line,
    offers: Offers,
) -> Offered:
    options = {flag: option for option in line.syntax.options for flag in option.flags}
    if words and (option := options.get(words[-1])) is not None and option.value:
        return _value(text, start, cursor, option, words, offers)
    if text[start:cursor].startswith("-"):
        return _fitting(text, start, cursor, _flags(line.syntax, words))
    positional = _next_positional(line.syntax, words, options)
    found = _value(text, start, cursor, positional, words, offers) if positional else Offered(cursor, ())
    flags = [] if text[start:cursor] else _flags(line.syntax, words)
    return Offered(found.start, (*found.words, *flags))


def _next_positional(syntax: Syntax, words: list[str], options: Mapping[str, Argument]) -> Argument | None:
    given = 0
    for position, word in enumerate(words):
        before = options.get(words[position - 1]) if position else None
        if word not in options and not (before is not None and before.value):
            given += 1
    for argument in syntax.positionals:
        if argument.count in ("*", "+") or not given:
            return argument
        given -= 1
    return None


def _value(
    text: str,
    start: int,
    cursor: int,
    argument: Argument,
    words: list[str],
    offers: Offers,
) -> Offered:
    if argument.choices:
        return _fitting(text, start, cursor, [Word(choice, "keyword") for choice in argument.choices])
    if argument.kind in (Kind.RESOURCES, Kind.NODES):
        start = max(start, text.rfind(",", start, cursor) + 1)
    if argument.kind is Kind.VALUE:
        return _fitting(text, start, cursor, [Word(word, "keyword") for word in offers.settings.get(words[0], ())])
    known: dict[Kind, tuple[Iterable[str], str]] = {
        Kind.CLUSTER: (offers.clusters, "instance"),
        Kind.NODE: ((*offers.nodes, *offers.dead), "node"),
        Kind.END: ((*offers.nodes, *offers.dead, "client"), "node"),
        Kind.RESOURCES: (offers.resources, "resource"),
        Kind.NODES: (offers.nodes, "node"),
        Kind.VARIABLE: (offers.runs, "instance"),
        Kind.SETTING: (offers.settings, "keyword"),
        Kind.COMMAND: (offers.commands, "keyword"),
        Kind.RUN: (offers.runs, "instance"),
        Kind.STEP: (offers.steps, "statement"),
        Kind.FUNCTION: (sorted(offers.functions), "function"),
        Kind.EXAMPLE: (offers.examples, "keyword"),
        Kind.SAVED: (offers.saved, "path"),
    }
    found, kind = known.get(argument.kind, ((), ""))
    taken = set(words) if argument.count in ("*", "+") else set()
    return _fitting(text, start, cursor, [Word(word, kind) for word in found if word not in taken])


def _flags(syntax: Syntax, words: list[str]) -> list[Word]:
    """The long form of each option that is not there yet."""
    return [Word(o.flags[-1], "keyword") for o in syntax.options if not set(o.flags) & set(words)]


# --- both ---------------------------------------------------------------------------------------------------------


def _start_of_name(text: str, cursor: int) -> int:
    start = cursor
    while start and (text[start - 1].isidentifier() or text[start - 1].isdigit() or text[start - 1] == "."):
        start -= 1
    return start


def _fitting(text: str, start: int, cursor: int, words: Iterable[Word]) -> Offered:
    prefix = text[start:cursor].lower()
    found = [word for word in words if word.text.lower().startswith(prefix)]
    if not found and prefix:
        # '"gpu"' for gp: a resource that somebody began to write without its quotation mark.
        found = [word for word in words if word.text.strip('"').lower().startswith(prefix)]
    return Offered(start, tuple(dict.fromkeys(found)))
