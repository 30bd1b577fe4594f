"""Faults for tests and lessons: the actions of `cluster.faults`, and scripts of them that a seed decides.

```python
with LocalCluster(3) as cluster:
    playing = cluster.faults.play(random_script(["a", "b", "c"], seed=7, duration_s=5.0))
```
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations

from mpreg_lab.cluster.faults import (
    CLIENT,
    Action,
    Cut,
    Delay,
    Drop,
    Duplicate,
    Faults,
    Heal,
    Kill,
    Pause,
    Reorder,
    Restart,
    Resume,
)

__all__ = [
    "CLIENT",
    "Action",
    "Cut",
    "Delay",
    "Drop",
    "Duplicate",
    "Faults",
    "Heal",
    "Kill",
    "Pause",
    "Reorder",
    "Restart",
    "Resume",
    "random_script",
]


def random_script(
    nodes: Sequence[str], *, seed: int, duration_s: float, every_s: float = 0.5, kills: bool = True
) -> list[tuple[float, Action]]:
    """A script of faults, the same for the same seed; at its end every link is healed and every node is back.

    Args:
        nodes: Whom it may befall; of these one at a time is dead.
        every_s: The mean time from one fault to the next.
        kills: Whether nodes are killed too; else only links suffer.
    """
    chance = random.Random(seed)
    links = list(combinations(nodes, 2))
    script: list[tuple[float, Action]] = []
    dead: str | None = None
    at_s = chance.expovariate(1 / every_s)
    while at_s < duration_s:
        if dead is not None:
            # Healed first: a node that reaches nobody does not come up.
            script += [(at_s, Heal(dead)), (at_s, Restart(dead))]
            dead = None
        elif kills and (not links or chance.random() < 0.2):
            dead = chance.choice(nodes)
            script.append((at_s, Kill(dead)))
        elif links:
            script.append((at_s, _on_link(chance, *chance.choice(links))))
        at_s += chance.expovariate(1 / every_s)
    script.append((duration_s, Heal()))
    if dead is not None:
        script.append((duration_s, Restart(dead)))
    return script


def _on_link(chance: random.Random, a: str, b: str) -> Action:
    share = round(chance.uniform(0.05, 0.3), 3)
    return chance.choice(
        (
            Cut(a, b),
            Delay(a, b, share / 2, share / 2),
            Drop(a, b, share),
            Duplicate(a, b, share),
            Reorder(a, b, share),
            Heal(a, b),
        )
    )
