"""Random dependency graphs, for hypothesis."""

from collections.abc import Sequence

from hypothesis import strategies as st

Needs = tuple[tuple[int, ...], ...]
"""For each step the earlier ones that it needs, each once."""


@st.composite
def dags(draw: st.DrawFn, max_steps: int = 12) -> Needs:
    """Graphs with chains, fan-outs, fan-ins and steps that stand alone."""
    count = draw(st.integers(1, max_steps))
    needs: list[tuple[int, ...]] = []
    for key in range(count):
        # Half of all steps go on from the one before: without that, chains would be rare.
        if key and draw(st.booleans()):
            needs.append((key - 1,))
        else:
            needs.append(tuple(draw(st.sets(st.integers(0, key - 1), max_size=3)) if key else ()))
    return tuple(needs)


def below(needs: Needs, keys: Sequence[int]) -> set[int]:
    """The steps that need one of these, directly or not."""
    found: set[int] = set()
    for key, wanted in enumerate(needs):
        if any(need in found or need in keys for need in wanted):
            found.add(key)
    return found - set(keys)
