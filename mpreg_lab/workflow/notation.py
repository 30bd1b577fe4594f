"""The notation: the text of a %%mpreg_workflow cell becomes a Workflow.

Each line is `step = function(arguments) @ resources | option(...)`: valid Python, parsed with `ast`, never run as a
script. A name that a line binds is a reference to that step; all other expressions are evaluated in the notebook.
`docs/notation.md` has all of it with examples.
"""

from __future__ import annotations

import ast
import difflib
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from types import CodeType
from typing import Any

import msgspec

from mpreg_lab.errors import InvalidStepError, NotationError
from mpreg_lab.types import FunctionName, StepName

from ._notation_lines import Kind, Line, LineReader
from ._notation_nested import Nested, nested_calls
from ._notation_source import FILENAME, Source, format_error
from ._notation_writer import to_notation
from .model import Group, Ref, Step, Workflow
from .plan import did_you_mean

__all__ = [
    "MAX_FAN_OUT",
    "Draft",
    "Evaluate",
    "Nested",
    "Script",
    "format_error",
    "parse",
    "parse_workflow",
    "to_notation",
]

MAX_FAN_OUT = 100_000
"""How many steps one fan-out may have: an endless iterable is an error, not an endless wait."""

Evaluate = Callable[[CodeType, Mapping[str, object]], object]
"""Evaluates code in the notebook; the names in the mapping hide the notebook's, also in nested functions."""


class Script(msgspec.Struct, frozen=True):
    """A workflow and where its steps were written.

    Attributes:
        lines: Step to its 1-based line; the members of a fan-out have the line of the fan-out.
    """

    workflow: Workflow
    lines: dict[StepName, int]


class _Wanted(msgspec.Struct, frozen=True):
    """A step or fan-out on the last line, or a member of a fan-out, which `member` gives."""

    name: StepName
    node: ast.expr
    member: CodeType | None = None


class Draft:
    """The text, parsed and checked, with nothing evaluated.

    Attributes:
        names: Steps and fan-outs in the order of the text, and their 1-based lines.
        free_names: All other names in it, but for functions: the notebook must have them, or they are Python's own.
    """

    def __init__(
        self, source: Source, lines: Mapping[StepName, Line], wanted: Sequence[_Wanted] | None, free_names: set[str]
    ) -> None:
        self.names = {name: line.statement.lineno for name, line in lines.items()}
        self.free_names = frozenset(free_names)
        self._source = source
        self._lines = _evaluation_order(source, lines)
        self._wanted = wanted

    def build(self, evaluate: Evaluate, *, retries: int = 0, backoff_s: float = 0.0) -> Script:
        """The workflow, after evaluating what must be, each expression once and in the order of the lines.

        A fan-out that is used above its own line is evaluated just before the line that uses it.

        Args:
            retries: Of steps that do not say `retry(n)`. backoff_s: The same.

        Raises:
            NotationError: If an expression raises, or if its value cannot be where it stands.
        """
        retrying = {"retries": retries, "backoff_s": backoff_s}
        steps: dict[StepName, list[Step]] = {name: [] for name in self.names}
        known: dict[StepName, Ref | _Members] = {name: Ref(name) for name in self.names}
        groups: dict[StepName, Group] = {}
        for line in self._lines:
            made = self._steps(line, evaluate, {name: known[name] for name in line.uses})
            if "retries" not in line.options and retries:
                made = [msgspec.structs.replace(step, **retrying) for step in made]
            steps[line.name] = made
            if line.fan_out:
                names = tuple(step.name for step in steps[line.name])
                known[line.name] = _Members(line.name, names)
                groups[line.name] = Group(line.name, names)
        workflow = Workflow(
            tuple(step for made in steps.values() for step in made),
            self._returns(evaluate, known),
            tuple(groups[name] for name in self.names if name in groups),
        )
        return Script(workflow, {step.name: self.names[name] for name, made in steps.items() for step in made})

    def nested(self) -> Iterator[Nested]:
        """The calls inside arguments, in the order of the lines: they run in the notebook."""
        for line in sorted(self._lines, key=lambda line: line.statement.lineno):
            yield from nested_calls(self._source, line.statement, self.names, _reads)

    def __repr__(self) -> str:
        return f"Draft({', '.join(self.names)})"

    def _steps(self, line: Line, evaluate: Evaluate, local: Mapping[str, object]) -> list[Step]:
        with self._blaming(line.statement, line.options):
            value: Any = evaluate(line.code, local)
            calls = list(islice(value, MAX_FAN_OUT + 1)) if line.fan_out else [value]
        if len(calls) > MAX_FAN_OUT:
            message = f"{line.name!r} would have more than {MAX_FAN_OUT:,} steps. Give each step more to do"
            raise self._source.error(line.statement.value, message, step=line.name)
        if not line.fan_out:
            return [self._step(line, line.name, *value)]
        return [self._step(line, StepName(f"{line.name}[{i}]"), *call) for i, call in enumerate(calls)]

    def _step(
        self,
        line: Line,
        name: StepName,
        args: tuple[Any, ...],
        mappings: tuple[dict[str, Any], ...],
        options: dict[str, Any],
    ) -> Step:
        kwargs: dict[str, Any] = {}
        for mapping in mappings:
            for key in mapping.keys() & kwargs.keys():
                raise self._source.error(line.statement.value, f"the argument {key!r} is given twice", step=name)
            kwargs |= mapping
        try:
            return Step(name, line.function, args, kwargs, **options)
        except (InvalidStepError, TypeError) as exc:  # TypeError: resources that have no hash
            field = next((field for field in line.options if _is_wrong(field, options[field])), "")
            message = str(exc) if isinstance(exc, InvalidStepError) else f"step {name!r}: @ takes names of resources"
            # In the words of the cell: who wrote timeout(0) has never heard of timeout_s.
            message = message.replace(f": {field} must be ", f": {_WRITTEN.get(field, field)} takes ", 1)
            raise self._source.error(line.options.get(field, line.statement.value), message, step=name) from exc

    def _returns(self, evaluate: Evaluate, known: Mapping[StepName, Ref | _Members]) -> tuple[StepName, ...] | None:
        if self._wanted is None:
            return None
        names = []
        for wanted in self._wanted:
            name = wanted.name
            if wanted.member is not None:
                with self._blaming(wanted.node):
                    member: Any = evaluate(wanted.member, {name: known[name]})
                    name = member.step
            names.append(name)
        return tuple(dict.fromkeys(names))

    @contextmanager
    def _blaming(self, node: ast.stmt | ast.expr, options: Mapping[str, ast.expr] | None = None) -> Iterator[None]:
        """Turn what the notebook's code raises into a NotationError at the expression that did."""
        try:
            yield
        except Exception as exc:  # a border: the notebook's code may raise anything
            raise self._raised(exc, node, options or {}) from exc

    def _raised(self, exc: Exception, node: ast.stmt | ast.expr, options: Mapping[str, ast.expr]) -> NotationError:
        place, frames = None, exc.__traceback__
        while frames:
            # A lambda from another cell has the same file name, but not the same globals.
            frame = frames.tb_frame
            if frame.f_code.co_filename == FILENAME and (not place or frame.f_globals is place.tb_frame.f_globals):
                place = frames
            frames = frames.tb_next
        text = " ".join(str(exc).split())
        message = f"this raised {type(exc).__name__}{': ' if text else ''}{text:.300}"
        if not place:
            return self._source.error(node, message)
        if isinstance(exc, NameError) and exc.name and not place.tb_next:
            near = self._near(exc.name, [*place.tb_frame.f_globals, *place.tb_frame.f_locals])
            message = " ".join(filter(None, [f"{message}.", near, _quotes(exc.name, options)])).removesuffix(".")
        positions = list(place.tb_frame.f_code.co_positions())[place.tb_lasti // 2]
        return self._source.error_inside(node, positions, message)

    def _near(self, name: str, known: Sequence[str]) -> str:
        """A hint for a name that the notebook does not have."""
        near = difflib.get_close_matches(name, [*self.names, *(n for n in known if not n.startswith("_"))], 1)
        return f"Did you mean {'the step ' if near[0] in self.names else ''}{near[0]!r}?" if near else ""


def _quotes(name: str, options: Mapping[str, ast.expr]) -> str:
    """A hint for `@ gpu` and `| on(worker)`, which most people write before they write `@ "gpu"`."""
    for field, kind in (("resources", "resource"), ("node", "node")):
        if any(isinstance(part, ast.Name) and part.id == name for part in _names_in(options.get(field))):
            return f'A {kind} is a string: "{name}"'
    return ""


def _names_in(option: ast.expr | None) -> Sequence[ast.AST]:
    """What stands for itself in an option: not what is computed with."""
    return option.elts if isinstance(option, (ast.Tuple, ast.List, ast.Set)) else [option] if option else []


class _Members:
    """What the name of a fan-out stands for while expressions are evaluated."""

    def __init__(self, name: StepName, steps: tuple[StepName, ...]) -> None:
        self._name = name
        self._refs = [Ref(step) for step in steps]

    def __iter__(self) -> Iterator[Ref]:
        return iter(self._refs)

    def __getitem__(self, index: object) -> Ref:
        count = len(self._refs)
        if not hasattr(index, "__index__"):
            raise TypeError(f"{self._name!r} is a list of steps, [ ] takes a whole number, not {type(index).__name__}")
        position = operator.index(index)
        if not -count <= position < count:
            raise IndexError(f"{self._name!r} has {count} step{'' if count == 1 else 's'}, none is {position}")
        return self._refs[position]


def parse(text: str) -> Draft:
    """Read the text of a cell; nothing is evaluated.

    Raises:
        NotationError: If a line is not in the notation. The first such line is told.
    """
    source = Source(text)
    try:
        return _draft(source)
    except SyntaxError as exc:
        raise source.syntax_error(exc) from exc
    except (RecursionError, MemoryError) as exc:
        raise source.too_deep() from exc


def _reads(text: str) -> bool:
    try:
        parse(text)
    except NotationError:
        return False
    return True


def parse_workflow(text: str, namespace: Mapping[str, object]) -> Script:
    """The workflow of a text whose free names are looked up in `namespace`.

    Raises:
        NotationError: If a line is not in the notation, or an expression in it raises.
    """

    def evaluate(code: CodeType, local: Mapping[str, object]) -> object:
        # One dict for both, because nested lambdas and comprehensions see no locals of eval.
        return eval(code, {**namespace, **local})  # noqa: S307 the expressions of a cell, by the one who runs it

    return parse(text).build(evaluate)


def _draft(source: Source) -> Draft:
    statements = source.tree().body
    last = statements[-1] if statements else None
    returned: list[ast.expr] | None = None
    if isinstance(last, ast.Expr) and not _is_call(last.value):
        statements.pop()
        returned = last.value.elts if isinstance(last.value, (ast.Tuple, ast.List)) else [last.value]
    assigned = _assignments(source, statements)
    kinds: dict[str, Kind] = {
        name: "group" if isinstance(statement.value, ast.ListComp) else "step" for name, statement in assigned.items()
    }
    free_names: set[str] = set()
    lines = {name: LineReader(source, kinds, free_names).line(name, node) for name, node in assigned.items()}
    reader = LineReader(source, kinds, free_names)
    wanted = None if returned is None else [_wanted(source, node, kinds, reader) for node in returned]
    return Draft(source, lines, wanted, free_names)


_WRITTEN = {
    "resources": "@",
    "retries": "retry(n)",
    "backoff_s": "backoff=",
    "timeout_s": "timeout(s)",
    "wait_for_s": "wait_for(s)",
    "cache": "cache()",
    "cache_ttl_s": "ttl=",
    "node": 'on("node")',
}
"""How a cell writes the fields of Step."""


# --- statements ---

_INSTEAD: dict[type[ast.stmt], str] = {
    ast.Import: "an import cannot stand here. Put it in a cell of its own",
    ast.ImportFrom: "an import cannot stand here. Put it in a cell of its own",
    ast.FunctionDef: "a function cannot be defined here. Put it in a cell of its own",
    ast.AsyncFunctionDef: "a function cannot be defined here. Put it in a cell of its own",
    ast.ClassDef: "a class cannot be defined here. Put it in a cell of its own",
    ast.For: "a loop cannot stand here. For several calls of one function write name = [function(x) for x in xs]",
    ast.AsyncFor: "a loop cannot stand here. For several calls of one function write name = [function(x) for x in xs]",
    ast.AugAssign: "a step is bound once, with =. Write name = function(...)",
    ast.AnnAssign: "a step takes no annotation. Write name = function(...)",
}

_FORBIDDEN: dict[type[ast.AST], str] = {
    ast.NamedExpr: ":= cannot stand here. Assign the value in a cell of its own",
    ast.Await: "await cannot stand here. Await it in a cell of its own",
    ast.Yield: "yield cannot stand here",
    ast.YieldFrom: "yield cannot stand here",
}


def _assignments(source: Source, statements: Sequence[ast.stmt]) -> dict[StepName, ast.Assign]:
    """The name that each line binds, in order."""
    assigned: dict[StepName, ast.Assign] = {}
    for statement in statements:
        if isinstance(statement, ast.Expr):
            raise source.error(statement, _bare_message(source, statement.value))
        if not isinstance(statement, ast.Assign):
            message = _INSTEAD.get(type(statement), "expected a step. Write name = function(...)")
            raise source.error(statement, message)
        name = _target(source, statement)
        if name in assigned:
            message = f"{name!r} is a step already, on line {assigned[name].lineno}. Rename one of them"
            raise source.error(statement.targets[0], message, step=name)
        for node in ast.walk(statement.value):
            if isinstance(node, ast.expr) and type(node) in _FORBIDDEN:
                raise source.error(node, _FORBIDDEN[type(node)], step=name)
            if isinstance(node, ast.comprehension) and node.is_async:
                raise source.error(node.iter, _FORBIDDEN[ast.Await], step=name)
        assigned[name] = statement
    return assigned


def _target(source: Source, statement: ast.Assign) -> StepName:
    target = statement.targets[0]
    if len(statement.targets) > 1:
        raise source.error(statement.targets[1], "a step has one name. Write name = function(...)")
    if isinstance(target, (ast.Tuple, ast.List)):
        raise source.error(target, "a step has one name. Refer to parts of its result with name[0], name[1]")
    if not isinstance(target, ast.Name):
        raise source.error(target, "the name of a step is a plain name. Write name = function(...)")
    return StepName(target.id)


def _bare_message(source: Source, value: ast.expr) -> str:
    if _is_call(value):
        return f"this step has no name. Write name = {source.segment(value)}"
    return "only the last line can name the results to return. Write name = function(...)"


def _is_call(value: ast.expr) -> bool:
    while isinstance(value, ast.BinOp):
        value = value.left
    return isinstance(value, (ast.Call, ast.ListComp))


def _wanted(source: Source, node: ast.expr, kinds: Mapping[str, Kind], reader: LineReader) -> _Wanted:
    """One result that the last line names."""
    match node:
        case ast.Name(id=name) if name in kinds:
            return _Wanted(StepName(name), node)
        case ast.Name(id=name):
            raise source.error(node, f"{name!r} is no step. {did_you_mean(name, kinds, 'Steps: ')}")
        case ast.Subscript(value=ast.Name(id=name)) if kinds.get(name) == "group":
            return _Wanted(StepName(name), node, reader.member(node))
        case ast.Subscript() | ast.Attribute():
            raise source.error(node, "only whole results can be returned. Write the name of a step")
    raise source.error(node, "expected names of steps whose results to return, such as report, summary")


def _evaluation_order(source: Source, lines: Mapping[StepName, Line]) -> list[Line]:
    """The lines in their order, but each fan-out before what uses it, because its length must be known there."""
    order: dict[StepName, Line] = {}
    fan_outs = [line for line in lines.values() if line.fan_out]

    def add(line: Line, users: tuple[StepName, ...]) -> None:
        if line.name in users:
            ring = " needs ".join(map(repr, [*users[users.index(line.name) :], line.name]))
            message = f"fan-outs wait for each other: {ring}. Remove one of these references"
            raise source.error(line.statement, message, step=line.name)
        for fan_out in fan_outs:
            if fan_out.name in line.uses and fan_out.name not in order:
                add(fan_out, (*users, line.name))
        order[line.name] = line

    for line in lines.values():
        if line.name not in order:
            add(line, ())
    return list(order.values())


def _is_wrong(field: str, value: object) -> bool:
    options: dict[str, Any] = {field: value}
    try:
        Step(StepName("step"), FunctionName("function"), **options)
    except (InvalidStepError, TypeError):
        return True
    return False
