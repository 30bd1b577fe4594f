"""Which steps of a run may be shown as one box: the fan-outs, and in very large runs also steps that are alike."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence

import msgspec

from mpreg_lab.types import StepName
from mpreg_lab.workflow.record import RunRecord, StepRecord

from ._layering import layers, topological

__all__ = ["FOLD_ABOVE", "Fold", "boxes", "edges_between", "folds"]

FOLD_ABOVE = 300
"""Steps; a larger run starts folded."""
_BANDS = 20
"""The last resort: layers are put together until about so many boxes are left."""


class Fold(msgspec.Struct, frozen=True):
    """Steps that may stand in one box, in the order of the workflow.

    Attributes:
        name: That of the fan-out; else made of its first and last step, and unlike that of any other fold.
    """

    name: str
    steps: tuple[StepName, ...]


def folds(record: RunRecord) -> tuple[Fold, ...]:
    """What can be folded: each fan-out; and where more than 300 boxes would be left, steps that are alike.

    Alike are steps of one function that are equally far from the first steps; should too many boxes be left even so,
    all steps that are equally far, or nearly.
    """
    names = record.steps.keys()
    groups = [Fold(g.name, steps) for g in record.groups if len(steps := tuple(s for s in g.steps if s in names)) > 1]
    for keys in (None, *_KEYS):
        found = groups if keys is None else [*groups, *_alike(record, groups, keys)]
        if len(names) <= FOLD_ABOVE or len(set(boxes(record, found).values())) <= FOLD_ABOVE:
            break
    return tuple(found)


def boxes(record: RunRecord, folded: Iterable[Fold]) -> dict[StepName, str]:
    """For each step the name of its box: its own, or that of its fold.

    A fold stays open where it has the name of a step, or where closing it would make boxes wait for each other.
    """
    home: dict[StepName, str] = {name: name for name in record.steps}
    wanted = [dict.fromkeys(fold.steps, fold.name) for fold in folded if fold.name not in home]
    everything = home | {step: name for part in wanted for step, name in part.items()}
    if _acyclic(record, everything):
        return everything
    for part in wanted:
        if _acyclic(record, home | part):
            home |= part
    return home


def edges_between(record: RunRecord, home: dict[StepName, str]) -> list[tuple[str, str]]:
    """From box to box, each once; those within a box are left out."""
    pairs = (
        (home[need], home[name])
        for name, step in record.steps.items()
        for need in step.plan.needs
        if need in record.steps
    )
    return list(dict.fromkeys((a, b) for a, b in pairs if a != b or a in record.steps))


def _acyclic(record: RunRecord, home: dict[StepName, str]) -> bool:
    number, links = _numbered(record, home)
    try:
        topological(len(number), links)
    except ValueError:
        return False
    return True


def _numbered(record: RunRecord, home: dict[StepName, str]) -> tuple[dict[str, int], list[tuple[int, int]]]:
    number = {name: i for i, name in enumerate(dict.fromkeys(home.values()))}
    return number, [(number[a], number[b]) for a, b in edges_between(record, home)]


_Key = Callable[[StepRecord, int, int], Hashable]
"""What steps have in common that are alike: of a step, its layer, and the number of layers."""

_KEYS: Sequence[_Key] = (
    lambda step, layer, _: (layer, step.plan.function),
    lambda _, layer, depth: layer * _BANDS // max(depth, _BANDS),
)


def _alike(record: RunRecord, groups: Sequence[Fold], key: _Key) -> list[Fold]:
    home = boxes(record, groups)
    number, links = _numbered(record, home)
    layer = layers(len(number), links)
    depth = 1 + max(layer, default=0)
    alike: dict[Hashable, list[StepName]] = {}
    for name, step in record.steps.items():
        if home[name] == name:
            alike.setdefault(key(step, layer[number[name]], depth), []).append(name)
    return [Fold(f"{steps[0]} … {steps[-1]}", tuple(steps)) for steps in alike.values() if len(steps) > 1]
