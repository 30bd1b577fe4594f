"""One line of the notation: its syntax is checked, and it becomes one Python expression that gives its calls.

In that expression the names of steps stand where they were written, and `Draft.build` binds them to references: Python
itself does displays, unpacking and loops. What is checked here is that they stand only where a reference may.
"""

from __future__ import annotations

import ast
import difflib
import itertools
from collections.abc import Iterator, Mapping
from types import CodeType
from typing import Literal, NoReturn

import msgspec

from mpreg_lab.types import FunctionName, StepName

from ._notation_source import FILENAME, Source

__all__ = ["Kind", "Line", "LineReader", "free_names"]

Kind = Literal["step", "group", "member", "value"]
"""What a name of the notation is: a step, a fan-out, or the variable of a loop over a fan-out or over other values."""

_OPTIONS = {
    "retry": ("retries", "retry(n, backoff=s)"),
    "timeout": ("timeout_s", "timeout(s)"),
    "wait_for": ("wait_for_s", "wait_for(s)"),
    "cache": ("cache", "cache() or cache(ttl=s)"),
    "on": ("node", 'on("node")'),
}
_OPTIONS_TEXT = 'retry(n, backoff=s), timeout(s), wait_for(s), cache() or on("node")'

_NO_VALUE = "{name!r} is a step: its result exists only when the workflow runs"

_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Line(msgspec.Struct, frozen=True):
    """A step, or a fan-out: several calls of one function."""

    name: StepName
    function: FunctionName
    fan_out: bool
    code: CodeType
    """Gives (args, (kwargs, ...), options), a fan-out an iterator of them. Options are named as the fields of Step."""
    uses: frozenset[StepName]
    """The steps and fan-outs that it refers to."""
    statement: ast.Assign
    options: dict[str, ast.expr]
    """Field of Step to where its value stands."""


class LineReader:
    """Reads one line of a text; what it reads of the syntax tree is changed.

    Args:
        kinds: All names that the text binds.
        free_names: Here the names are added that the line takes from the notebook.
    """

    def __init__(self, source: Source, kinds: Mapping[str, Kind], free_names: set[str]) -> None:
        self._free_names = free_names
        self._source = source
        self._kinds: dict[str, Kind] = {**kinds}
        self._name: StepName | None = None
        self._uses: set[StepName] = set()
        self._options: dict[str, ast.expr] = {}

    def line(self, name: StepName, statement: ast.Assign) -> Line:
        """The line of one assignment.

        Raises:
            NotationError: If it is not in the notation.
        """
        self._name = name
        value = statement.value
        fan_out = isinstance(value, ast.ListComp)
        function, expression = self._fan_out(value) if isinstance(value, ast.ListComp) else self._call(value)
        return Line(name, function, fan_out, _compiled(expression), frozenset(self._uses), statement, self._options)

    def member(self, node: ast.Subscript) -> CodeType:
        """Code for the member of a fan-out that `node` stands for."""
        return _compiled(self._reference(node))

    # --- a call, and what follows it ---

    def _call(self, value: ast.expr) -> tuple[FunctionName, ast.expr]:
        call, followers = self._split(value)
        function = self._function_name(call.func)
        args = [self._argument(arg) for arg in call.args]
        for i, keyword in enumerate(call.keywords):
            if keyword.arg and any(keyword.arg == earlier.arg for earlier in call.keywords[:i]):
                self._refuse(keyword.value, f"the argument {keyword.arg!r} is given twice")
        kwargs = [self._keyword(keyword) for keyword in call.keywords]
        for op, right in followers:
            if isinstance(op, ast.BitOr):
                self._read_option(right)
            elif "resources" in self._options:
                self._refuse(right, 'a second @. Write all resources in one: @ ("a", "b")')
            else:
                self._options["resources"] = self._known_before(right)
        options = ast.Dict([ast.Constant(field) for field in self._options], list(self._options.values()))
        parts: list[ast.expr] = [ast.Tuple(args, ast.Load()), ast.Tuple(kwargs, ast.Load()), options]
        return function, ast.copy_location(ast.Tuple(parts, ast.Load()), call)

    def _split(self, value: ast.expr) -> tuple[ast.Call, list[tuple[ast.operator, ast.expr]]]:
        """The call, and the operators behind it with their right sides."""
        followers = []
        call = value
        while isinstance(call, ast.BinOp):
            followers.append((call.op, call.right))
            call = call.left
        if isinstance(call, ast.ListComp) and followers:
            self._refuse(value, "@ and | belong to the call, inside the brackets: [function(x) @ ... for x in xs]")
        if isinstance(call, ast.ListComp):
            self._refuse(value, "expected one list. Write [function(x, y) for y in ys for x in xs]")
        if not isinstance(call, ast.Call):
            self._refuse_value(value)
        if resource := _unquoted(followers[::-1]):
            self._refuse(value, f"the name of a resource is a string. Write @ {resource}")
        if any(not isinstance(op, (ast.MatMult, ast.BitOr)) for op, _ in followers):
            self._refuse(value, "only @ and | can follow the call. Put what has another operator in parentheses")
        return call, followers[::-1]

    def _function_name(self, func: ast.expr) -> FunctionName:
        parts: list[str] = []
        root = func
        while isinstance(root, ast.Attribute):
            parts.append(root.attr)
            root = root.value
        if not isinstance(root, ast.Name):
            self._refuse(func, "expected the name of a function, such as score(...) or pkg.score(...)")
        kind = self._kinds.get(root.id)
        if kind in ("member", "value"):
            self._refuse(func, f"{root.id!r} is the variable of the loop. Write the name of a function")
        if kind and parts:
            self._refuse(func, f"{root.id!r} is a step, its methods cannot be called. Write a function that takes it")
        return FunctionName(".".join([root.id, *reversed(parts)]))

    def _read_option(self, option: ast.expr) -> None:
        if isinstance(option, ast.BinOp) and isinstance(option.op, ast.MatMult):
            resources, option_text = (self._source.segment(node) for node in (option.right, option.left))
            self._refuse(option, f"@ binds tighter than |. Write the resources first: @ {resources} | {option_text}")
        if not isinstance(option, ast.Call) or not isinstance(option.func, ast.Name):
            self._refuse(option, f"expected an option after |: {_OPTIONS_TEXT}")
        name = option.func.id
        if name not in _OPTIONS:
            near = difflib.get_close_matches(name, _OPTIONS, 1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Write {_OPTIONS_TEXT}"
            self._refuse(option.func, f"there is no option {name!r}. {hint}")
        field, form = _OPTIONS[name]
        if field in self._options:
            self._refuse(option, f"the option {name!r} is given twice")
        if name == "cache":
            self._read_cache(option, form)
            return
        backoffs = [keyword.value for keyword in option.keywords if (name, keyword.arg) == ("retry", "backoff")]
        if len(option.args) != 1 or isinstance(option.args[0], ast.Starred) or len(option.keywords) > len(backoffs[:1]):
            self._refuse(option, f"expected {form}")
        self._options[field] = self._known_before(option.args[0])
        if backoffs:
            self._options["backoff_s"] = self._known_before(backoffs[0])

    def _read_cache(self, option: ast.Call, form: str) -> None:
        if option.args or any(keyword.arg != "ttl" for keyword in option.keywords) or len(option.keywords) > 1:
            self._refuse(option, f"expected {form}")
        self._options["cache"] = ast.copy_location(ast.Constant(True), option)
        for keyword in option.keywords:
            self._options["cache_ttl_s"] = self._known_before(keyword.value)

    # --- a fan-out ---

    def _fan_out(self, fan_out: ast.ListComp) -> tuple[FunctionName, ast.expr]:
        """An expression that gives the calls one by one, so that an endless one can be stopped."""
        variables: dict[str, None] = {}
        for generator in fan_out.generators:
            kind = self._read_iterable(generator)
            names = self._loop_variables(generator.target)
            self._kinds.update(dict.fromkeys(names, kind))
            variables.update(dict.fromkeys(names))
            generator.ifs = [self._known_before(test) for test in generator.ifs]
        function, call = self._call(fan_out.elt)
        # A lambda around the call gives each member variables of its own: a lambda among the arguments would
        # otherwise see, when it runs, those of the last member.
        parameters = ast.arguments([], [ast.arg(name) for name in variables], None, [], [], None, [])
        values: list[ast.expr] = [ast.Name(name, ast.Load()) for name in variables]
        element = ast.copy_location(ast.Call(ast.Lambda(parameters, call), values, []), call)
        return function, ast.copy_location(ast.GeneratorExp(element, fan_out.generators), fan_out)

    def _read_iterable(self, generator: ast.comprehension) -> Kind:
        iterable = generator.iter
        if not isinstance(iterable, ast.Name) or self._kinds.get(iterable.id) != "group":
            self._known_before(iterable, "the number of steps")
            return "value"
        if not isinstance(generator.target, ast.Name):
            self._refuse(generator.target, f"a step of {iterable.id!r} is one thing. Write one loop variable")
        self._use(iterable)
        return "member"

    def _loop_variables(self, target: ast.expr) -> list[str]:
        nodes = list(ast.walk(target))
        if any(isinstance(node, (ast.Attribute, ast.Subscript)) for node in nodes):
            self._refuse(target, "expected a plain name as the loop variable")
        return [node.id for node in nodes if isinstance(node, ast.Name)]

    # --- arguments ---

    def _argument(self, node: ast.expr) -> ast.expr:
        """What gives the argument: the node itself, but for references inside displays."""
        match node:
            case ast.Starred():
                node.value = self._unpacked(node.value)
            case ast.List() | ast.Tuple() | ast.Set():
                node.elts = [self._argument(item) for item in node.elts]
            case ast.Dict():
                node.values = [
                    self._argument(value) if key else self._unpacked(value)
                    for key, value in zip(node.keys, node.values, strict=True)
                ]
                for key in node.keys:
                    self._refuse_references(key, "{name!r} is a step: its result cannot be the key of a dict")
            case _ if self._root(node):
                return self._reference(node)
            case _:
                self._refuse_references(
                    node,
                    _NO_VALUE + ". Make this expression a step of its own: a function that takes {name!r}",
                )
        return node

    def _keyword(self, keyword: ast.keyword) -> ast.expr:
        key = None if keyword.arg is None else ast.Constant(keyword.arg)
        value = self._argument(keyword.value) if key else self._unpacked(keyword.value)
        return ast.copy_location(ast.Dict([key], [value]), keyword)

    def _unpacked(self, node: ast.expr) -> ast.expr:
        """An argument after * or **."""
        root = self._root(node)
        if root and not (isinstance(node, ast.Name) and self._kinds[root.id] == "group"):
            self._refuse(node, _NO_VALUE.format(name=root.id) + ", so it cannot be unpacked")
        return self._argument(node)

    # --- references ---

    def _root(self, node: ast.expr) -> ast.Name | None:
        """The step that a name, an item or a field is part of; None if it is none."""
        while isinstance(node, (ast.Attribute, ast.Subscript)):
            node = node.value
        return node if isinstance(node, ast.Name) and self._kinds.get(node.id, "value") != "value" else None

    def _reference(self, node: ast.expr) -> ast.expr:
        """What gives the reference: a new list for a whole fan-out, `.attr(name)` in place of a field."""
        if isinstance(node, ast.Name) and self._kinds[node.id] == "group":
            self._use(node)
            return ast.copy_location(ast.List([ast.Starred(node, ast.Load())], ast.Load()), node)
        return self._part(node)

    def _part(self, node: ast.expr) -> ast.expr:
        match node:
            case ast.Name():
                self._use(node)
            case ast.Subscript():
                node.value = self._part(node.value)
                if isinstance(node.slice, ast.Slice):
                    self._refuse(node, "expected one key or index in [ ], not a slice. Make this a step of its own")
                self._known_before(node.slice)
            case ast.Attribute(value=ast.Name(id=name)) if self._kinds[name] == "group":
                self._refuse(node, f"{name!r} is a list of steps. Take a field of one: {name}[0].{node.attr}")
            case ast.Attribute():
                field = ast.Attribute(self._part(node.value), "attr", ast.Load())
                return ast.copy_location(ast.Call(field, [ast.Constant(node.attr)], []), node)
        return node

    def _use(self, node: ast.Name) -> None:
        if self._kinds[node.id] == "member":
            return
        if node.id == self._name:
            self._refuse_itself(node)
        self._uses.add(StepName(node.id))

    def _known_before(self, node: ast.expr, what: str = "this") -> ast.expr:
        """The node, which has no references in it."""
        self._refuse_references(node, f"{_NO_VALUE}, but {what} must be known before")
        return node

    def _refuse_references(self, node: ast.expr | None, message: str) -> None:
        for name in free_names(node) if node else ():
            kind = self._kinds.get(name.id)
            if kind is None:
                self._free_names.add(name.id)
            elif kind != "value" and name.id == self._name:
                self._refuse_itself(name)
            elif kind != "value":
                self._refuse(node or name, message.format(name=name.id))

    # --- errors ---

    def _refuse_itself(self, node: ast.Name) -> NoReturn:
        self._refuse(
            node,
            f"step {node.id!r} would wait for itself: here {node.id!r} is this step, not a variable of the notebook. "
            "Rename one of them",
        )

    def _refuse_value(self, value: ast.expr) -> NoReturn:
        """What stands on the right is no call."""
        name = self._name or "name"
        root = self._root(value)
        if root and root is value:
            self._refuse(value, f"{name!r} would be a second name for step {root.id!r}. Use {root.id!r} itself")
        if root:
            self._refuse(value, f"a part of a result is no step. Write {self._source.segment(value)} where it is used")
        if isinstance(value, (ast.Attribute, ast.Subscript)) and isinstance(value.value, ast.Call):
            self._refuse(value, f"a step is a whole call. Take a part of its result where it is used: {name}[0]")
        if isinstance(value, _COMPREHENSIONS):
            self._refuse(value, f"a fan-out is a list. Write {name} = [function(x) for x in xs]")
        for used in free_names(value):
            if self._kinds.get(used.id, "value") != "value":
                reason = _NO_VALUE.format(name=used.id)
                self._refuse(value, f"{reason}. Write a function for this: {name} = function({used.id})")
        self._refuse(value, "expected a call, such as function(...). Assign other values in a cell of their own")

    def _refuse(self, node: ast.expr, message: str) -> NoReturn:
        raise self._source.error(node, message, step=self._name)


def _unquoted(followers: list[tuple[ast.operator, ast.expr]]) -> str | None:
    """The resource as a string if its quotation marks are missing: to Python, `@ csv-parser` is a difference."""
    found = list(itertools.takewhile(lambda follower: not isinstance(follower[0], ast.BitOr), followers))
    names = [right.id for _, right in found if isinstance(right, ast.Name)]
    differs = [type(op) for op, _ in found] == [ast.MatMult, *[ast.Sub] * (len(found) - 1)]
    return f'"{"-".join(names)}"' if differs and len(names) == len(found) > 1 else None


def _compiled(expression: ast.expr) -> CodeType:
    whole = ast.fix_missing_locations(ast.Expression(expression))
    return compile(whole, FILENAME, "eval", dont_inherit=True)


def free_names(node: ast.AST, bound: frozenset[str] = frozenset()) -> Iterator[ast.Name]:
    """The names that an expression takes from outside itself."""
    if isinstance(node, ast.Name):
        if isinstance(node.ctx, ast.Load) and node.id not in bound:
            yield node
    elif isinstance(node, ast.Lambda):
        yield from free_names(node.args, bound)  # default values, which are outside
        args = node.args
        parameters = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
        yield from free_names(node.body, bound.union(p.arg for p in parameters if p))
    elif isinstance(node, _COMPREHENSIONS):
        first = node.generators[0].iter  # outside too
        yield from free_names(first, bound)
        targets = (name for g in node.generators for name in ast.walk(g.target) if isinstance(name, ast.Name))
        inner = bound.union(name.id for name in targets if isinstance(name.ctx, ast.Store))
        for child in ast.iter_child_nodes(node):
            parts = ast.iter_child_nodes(child) if isinstance(child, ast.comprehension) else [child]
            for part in parts:
                if part is not first:
                    yield from free_names(part, inner)
    else:
        for child in ast.iter_child_nodes(node):
            yield from free_names(child, bound)
