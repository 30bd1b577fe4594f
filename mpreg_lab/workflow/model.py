"""What a person writes: Step, Ref and Workflow, frozen and the same in a cell and on the wire."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import index
from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex

import msgspec
from msgspec.structs import force_setattr

from mpreg_lab.errors import InvalidStepError, UnknownStepError
from mpreg_lab.types import FunctionName, NodeName, Resource, StepName

__all__ = ["Attr", "Group", "PathItem", "Ref", "Step", "Workflow"]


class Attr(msgspec.Struct, frozen=True, tag_field="$", tag="attr"):
    """A field of a result, `result.name`; a mapping gives its item of that name."""

    name: str


PathItem = str | int | Attr
"""One way into a result: an item by key, an item by index, or a field."""


class Ref(msgspec.Struct, frozen=True, tag_field="$", tag="ref"):
    """The result of another step, or a part of it, written where an argument goes.

    `Ref("rows")` is the result, `Ref("rows")["total"]` and `Ref("rows")[0]` an item of it,
    `Ref("rows").attr("total")` a field.
    """

    step: StepName
    path: tuple[PathItem, ...] = ()
    otherwise: str | None = None
    """What stands there if the result has no such part. None: that is an error."""

    if TYPE_CHECKING:
        # Names are kept apart inside; who writes a workflow writes strings.
        def __init__(self, step: str, path: tuple[PathItem, ...] = (), otherwise: str | None = None) -> None: ...

    def __getitem__(self, key: str | SupportsIndex) -> Ref:
        if not isinstance(key, str):
            if isinstance(key, bool) or not hasattr(key, "__index__"):
                raise TypeError(f"a reference takes a string or an integer in [ ], not {type(key).__name__}")
            key = index(key)
        return Ref(self.step, (*self.path, key))

    def attr(self, name: str) -> Ref:
        """The field `name` of the result."""
        return Ref(self.step, (*self.path, Attr(name)))

    # Without this, Python would iterate by __getitem__(0), (1), ... for ever.
    def __iter__(self) -> Iterator[NoReturn]:
        raise TypeError(f"{self} cannot be iterated: its value exists only when the workflow runs")

    def __str__(self) -> str:
        return self.step + "".join(f".{p.name}" if isinstance(p, Attr) else f"[{p!r}]" for p in self.path)


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One call of a function.

    Raises:
        InvalidStepError: If a field has the wrong type or an impossible value.
    """

    name: StepName
    function: FunctionName
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    resources: frozenset[Resource] = frozenset()
    """A node must hold all of these."""
    retries: int = 0
    """How often the step is started again after a failure. 0: at most once."""
    backoff_s: float = 0.0
    """Seconds before the first retry; doubled for each further one."""
    timeout_s: float | None = None
    """Seconds that one attempt may take from being sent. None: no limit."""
    node: NodeName | None = None
    """The only node that may run it. None: any that can."""
    wait_for_s: float | None = None
    """Seconds that it waits, when it is ready, for a node that can run it. None: it fails at once if there is none."""
    cache: bool = False
    """Whether it takes the result of an equal call that ran before, and keeps its own for others."""
    cache_ttl_s: float | None = None
    """How old such a result may be, in seconds. None: any age."""

    if TYPE_CHECKING:

        def __init__(
            self,
            name: str,
            function: str,
            args: Iterable[Any] = (),
            kwargs: Mapping[str, Any] = {},
            resources: Iterable[str] | str = (),
            retries: int = 0,
            backoff_s: float = 0.0,
            timeout_s: float | None = None,
            node: str | None = None,
            wait_for_s: float | None = None,
            cache: bool = False,
            cache_ttl_s: float | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        name = self.name
        if not isinstance(name, str) or not name:
            raise InvalidStepError(f"a step's name must be a non-empty string, not {name!r}")
        if not isinstance(self.function, str) or not self.function:
            raise _wrong(name, "function", "the name of a function", self.function)
        if type(self.args) is not tuple:
            if isinstance(self.args, (str, bytes, dict)) or not isinstance(self.args, Iterable):
                raise _wrong(name, "args", "a tuple of arguments, such as (x,)", self.args)
            force_setattr(self, "args", tuple(self.args))
        if self.kwargs and not all(isinstance(k, str) for k in self.kwargs):
            raise _wrong(name, "kwargs", "a dict with string keys", self.kwargs)
        if type(self.resources) is not frozenset:
            force_setattr(self, "resources", _resources(name, self.resources))
        if self.retries or self.backoff_s or self.timeout_s is not None or self.node is not None:
            self._check_options()
        if self.wait_for_s is not None and (not _is_number(self.wait_for_s) or self.wait_for_s <= 0):
            raise _wrong(name, "wait_for_s", "seconds, more than 0", self.wait_for_s)
        if self.cache is not False or self.cache_ttl_s is not None:
            self._check_cache()

    def _check_cache(self) -> None:
        if not isinstance(self.cache, bool):
            raise _wrong(self.name, "cache", "True or False", self.cache)
        ttl_s = self.cache_ttl_s
        if ttl_s is not None and (not _is_number(ttl_s) or ttl_s <= 0):
            raise _wrong(self.name, "cache_ttl_s", "seconds, more than 0", ttl_s)
        if ttl_s is not None and not self.cache:
            raise _wrong(self.name, "cache_ttl_s", "given together with cache=True", ttl_s)

    def _check_options(self) -> None:
        if isinstance(self.retries, bool) or not isinstance(self.retries, int) or self.retries < 0:
            raise _wrong(self.name, "retries", "a whole number, 0 or more", self.retries)
        if not _is_number(self.backoff_s) or self.backoff_s < 0:
            raise _wrong(self.name, "backoff_s", "seconds, 0 or more", self.backoff_s)
        if self.timeout_s is not None and (not _is_number(self.timeout_s) or self.timeout_s <= 0):
            raise _wrong(self.name, "timeout_s", "seconds, more than 0", self.timeout_s)
        if self.node is not None and (not isinstance(self.node, str) or not self.node):
            raise _wrong(self.name, "node", "the name of a node", self.node)


class Group(msgspec.Struct, frozen=True):
    """Steps that were written as one: a static fan-out. Its result is the list of theirs."""

    name: StepName
    steps: tuple[StepName, ...]

    if TYPE_CHECKING:

        def __init__(self, name: str, steps: Iterable[str]) -> None: ...

    def __post_init__(self) -> None:
        if type(self.steps) is not tuple:
            force_setattr(self, "steps", tuple(self.steps))


class Workflow(msgspec.Struct, frozen=True):
    """Steps in any order, and which results to return.

    Attributes:
        returns: Names of steps or groups whose results are wanted. None: all leaves.
        groups: Fan-outs; a group's name may stand in `returns`.
        name: What it is called in views; may be empty.
    """

    steps: tuple[Step, ...]
    returns: tuple[StepName, ...] | None = None
    groups: tuple[Group, ...] = ()
    name: str = ""

    if TYPE_CHECKING:

        def __init__(
            self,
            steps: Iterable[Step],
            returns: Iterable[str] | str | None = None,
            groups: Iterable[Group] = (),
            name: str = "",
        ) -> None: ...

    def __post_init__(self) -> None:
        if isinstance(self.steps, (Step, str)) or not isinstance(self.steps, Iterable):
            raise InvalidStepError(
                f"a workflow is made of a list of steps, Workflow([Step(...)]), not {self.steps!r:.60}"
            )
        if type(self.steps) is not tuple:
            force_setattr(self, "steps", tuple(self.steps))
        for step in self.steps:
            if type(step) is not Step:
                raise InvalidStepError(f"a workflow is made of Step objects, not {type(step).__name__}: {step!r:.60}")
        if self.returns is not None and type(self.returns) is not tuple:
            names = (self.returns,) if isinstance(self.returns, str) else tuple(self.returns)
            force_setattr(self, "returns", names)
        if type(self.groups) is not tuple:
            force_setattr(self, "groups", tuple(self.groups))

    def step(self, name: str) -> Step:
        """The step of that name.

        Raises:
            UnknownStepError: If there is none.
        """
        for step in self.steps:
            if step.name == name:
                return step
        raise UnknownStepError(f"the workflow has no step {name!r}", step=name)

    def __repr__(self) -> str:
        return f"Workflow({len(self.steps)} step{'' if len(self.steps) == 1 else 's'})"


def _resources(step: str, resources: object) -> frozenset[Resource]:
    items = (resources,) if isinstance(resources, str) else resources
    if not isinstance(items, Iterable):
        raise _wrong(step, "resources", "names of resources", resources)
    names = tuple(items)
    if not all(isinstance(name, str) and name for name in names):
        raise _wrong(step, "resources", "names of resources", resources)
    return frozenset(names)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


def _wrong(step: str, field: str, expected: str, got: object) -> InvalidStepError:
    return InvalidStepError(f"step {step!r}: {field} must be {expected}, not {got!r:.60}", step=step)
