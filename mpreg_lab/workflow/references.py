"""References inside arguments: which ones there are, and putting results in their place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mpreg_lab.errors import InvalidStepError, ReferenceValueError

from .model import Attr, Ref, Step

__all__ = ["MAX_DEPTH", "follow", "references", "substitute"]

MAX_DEPTH = 200
"""How deep lists, tuples, sets and dicts may be nested in an argument; pickle and JSON end at some times that."""

_CONTAINERS = (list, tuple, dict, set, frozenset)


def references(step: Step) -> list[Ref]:
    """All references in the arguments of a step, at any depth of lists, tuples, sets and values of dicts.

    Raises:
        InvalidStepError: If a reference is the key of a dict, if arguments are nested too deep, or if one contains
            itself in a step that refers to others.
    """
    found: list[Ref] = []
    deeper: list[Any] = []
    for values in (step.args, step.kwargs.values()):
        for value in values:
            if type(value) is Ref:
                found.append(value)
            elif isinstance(value, _CONTAINERS):
                deeper.append(value)
    if deeper and _search(step, deeper, found) and found:
        _refuse_loops(step)
    return found


def _search(step: Step, level: list[Any], found: list[Ref]) -> bool:
    """Add the references in these containers; whether some container stands in several places."""
    seen: set[int] = set()
    again = False
    depth = 1
    while level:
        if depth > MAX_DEPTH:
            raise _too_deep(step)
        below: list[Any] = []
        for container in level:
            if id(container) in seen:
                again = True
                continue
            seen.add(id(container))
            if isinstance(container, dict):
                _refuse_keys(step, container)
                container = container.values()
            for value in container:
                if type(value) is Ref:
                    found.append(value)
                elif isinstance(value, _CONTAINERS):
                    below.append(value)
        level, depth = below, depth + 1
    return again


def _refuse_loops(step: Step) -> None:
    named = [(f"argument {i}", value) for i, value in enumerate(step.args, 1)]
    for argument, value in [*named, *((f"argument {name!r}", value) for name, value in step.kwargs.items())]:
        if _contains_itself(step, value, set(), set()):
            raise InvalidStepError(
                f"step {step.name!r}: {argument} of {step.function} contains itself: results of other steps cannot be "
                "put into that. Pass a value without such a loop",
                step=step.name,
            )


def _contains_itself(step: Step, value: Any, above: set[int], clean: set[int]) -> bool:
    if not isinstance(value, _CONTAINERS) or id(value) in clean:
        return False
    if id(value) in above:
        return True
    if len(above) > MAX_DEPTH:
        raise _too_deep(step)
    above.add(id(value))
    inside = value.values() if isinstance(value, dict) else value
    if any(_contains_itself(step, item, above, clean) for item in inside):
        return True
    above.discard(id(value))
    clean.add(id(value))
    return False


def _too_deep(step: Step) -> InvalidStepError:
    return InvalidStepError(
        f"step {step.name!r}: an argument is nested more than {MAX_DEPTH} deep. Flatten it", step=step.name
    )


def _refuse_keys(step: Step, mapping: Mapping[Any, Any]) -> None:
    for key in mapping:
        if type(key) is Ref:
            raise InvalidStepError(
                f"step {step.name!r}: the reference {key} is the key of a dict, where a result cannot be put. "
                "Make it a value",
                step=step.name,
            )


def substitute(value: Any, result: Callable[[str], object]) -> Any:
    """The value with each reference replaced by what it stands for; containers without references stay themselves.

    Args:
        result: From the name of a step to its result.

    Raises:
        ReferenceValueError: If a result has no such field or item.
    """
    if type(value) is Ref:
        found = result(value.step)
        return follow(found, value) if value.path else found
    if isinstance(value, _CONTAINERS):
        return _substitute_inside(value, result)
    return value


def _substitute_inside(value: Any, result: Callable[[str], object]) -> Any:
    if isinstance(value, dict):
        pairs = {key: substitute(item, result) for key, item in value.items()}
        return pairs if any(pairs[key] is not value[key] for key in pairs) else value
    items = [substitute(item, result) for item in value]
    if all(new is old for new, old in zip(items, value, strict=True)):
        return value
    if isinstance(value, tuple) and hasattr(value, "_make"):
        return value._make(items)
    kind = next(kind for kind in _CONTAINERS if isinstance(value, kind))
    return items if kind is list else kind(items)


def follow(result: Any, ref: Ref) -> Any:
    """The part of a result for which a reference stands: items by key or index, fields by name.

    A field of a mapping is its item of that name, unless it has none.

    Raises:
        ReferenceValueError: If there is no such part.
    """
    value = result
    for i, part in enumerate(ref.path):
        try:
            value = _field(value, part.name) if isinstance(part, Attr) else value[part]
        except (LookupError, TypeError, AttributeError) as exc:
            if ref.otherwise is not None:
                return ref.otherwise
            whole = Ref(ref.step, ref.path[:i])
            raise ReferenceValueError(
                f"the reference {ref} has no value: {whole} is {_kind(value)}{_has(value)}, it has no {_name(part)}",
                step=ref.step,
            ) from exc
    return value


def _field(value: Any, name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    if isinstance(value, Mapping) and name in value:
        return value[name]
    return getattr(value, name)


def _name(part: object) -> str:
    if isinstance(part, Attr):
        return f"field {part.name!r}"
    return f"item {part!r}"


def _kind(value: object) -> str:
    if value is None:
        return "None"
    kind = type(value).__name__
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"


def _has(value: object) -> str:
    if isinstance(value, Mapping):
        keys = ", ".join(f"{key!r:.40}" for key in list(value)[:8])
        count = "1 key" if len(value) == 1 else f"{len(value)} keys"
        return f" with {count} ({keys}{', ...' if len(value) > 8 else ''})" if value else " with no keys"
    if isinstance(value, (list, tuple)):
        return f" of length {len(value)}"
    return ""
