"""The shapes of a workflow: a chain, steps that need two others, parallel steps and the step that gathers them.

It counts the words in the field notes on 344 penguins: prepared in a chain, counted in four parts at once, put
together, looked at from two sides, and told in a sentence that takes single items out of earlier results.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from mpreg_lab import Group, LocalCluster, Ref, Step, Workflow
from mpreg_lab.examples import Functions, offer
from mpreg_lab.examples.data_pipeline import parse_csv, penguins_text

__all__ = [
    "FUNCTIONS",
    "PARTS",
    "add_counts",
    "count_words",
    "field_notes",
    "longest_word",
    "main",
    "most_common",
    "nodes",
    "number_of",
    "sentence",
    "split_words",
    "workflow",
]

PARTS = 4


# --- The functions that run on the nodes --------------------------------------------------------------------------


def field_notes(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """What was noted beside the measurements."""
    return [row["Comments"] for row in rows if row["Comments"] != "NA"]


def split_words(texts: Sequence[str]) -> list[str]:
    """The words of all texts, in small letters."""
    return [word for text in texts for word in re.findall(r"[a-z]+", text.lower())]


def count_words(words: Sequence[str], *, part: int, of: int) -> dict[str, int]:
    """How often each word is among every `of`-th one, beginning with that of number `part`."""
    return dict(Counter(words[part::of]))


def add_counts(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """All counts in one, by word."""
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(sorted(total.items()))


def most_common(counts: Mapping[str, int], *, at_most: int = 5) -> list[tuple[str, int]]:
    """The commonest words, each with its count."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:at_most]


def longest_word(counts: Mapping[str, int]) -> dict[str, object]:
    """The longest word, and how often it is there."""
    word = max(counts, key=lambda word: (len(word), word))
    return {"word": word, "times": counts[word]}


def sentence(common: str, times: int, longest: str, *, notes: int) -> str:
    """What the counts say."""
    return f"{notes} notes: {common!r} is the commonest word ({times} times), {longest!r} the longest."


def number_of(things: Sequence[object]) -> int:
    """How many there are."""
    return len(things)


# --- The cluster and the workflow ---------------------------------------------------------------------------------

FUNCTIONS: Functions = {
    "": (
        parse_csv,
        field_notes,
        split_words,
        count_words,
        add_counts,
        most_common,
        longest_word,
        number_of,
        sentence,
    )
}
"""Resource to the functions that run where it is; here on every node."""


def nodes() -> dict[str, list[str]]:
    """Node to its resources, as `LocalCluster` takes them."""
    return {"one": [], "two": [], "three": []}


def workflow(text: str | None = None, parts: int = PARTS) -> Workflow:
    """All shapes in one; `text` None stands for the penguins that come with the package."""
    counts = [
        Step(f"counts[{part}]", "count_words", (Ref("words"),), {"part": part, "of": parts}) for part in range(parts)
    ]
    top = Ref("top")
    return Workflow(
        (
            # A chain: each step needs the one before.
            Step("rows", "parse_csv", (penguins_text() if text is None else text,)),
            Step("notes", "field_notes", (Ref("rows"),)),
            Step("words", "split_words", (Ref("notes"),)),
            # Parallel steps, and one that gathers them: a reference may stand at any depth of an argument.
            *counts,
            Step("total", "add_counts", ([Ref(step.name) for step in counts],)),
            # Two steps need one result, and one step needs both of theirs: items of them, `top[0][1]`.
            Step("top", "most_common", (Ref("total"),), {"at_most": 3}),
            Step("longest", "longest_word", (Ref("total"),)),
            Step("notes_read", "number_of", (Ref("notes"),)),
            Step("told", "sentence", (top[0][0], top[0][1], Ref("longest")["word"]), {"notes": Ref("notes_read")}),
        ),
        groups=(Group("counts", [step.name for step in counts]),),
    )


def main() -> None:
    """Run the workflow on three nodes and print the sentence."""
    with LocalCluster(nodes()) as cluster:
        offer(cluster, FUNCTIONS)
        print(cluster.run(workflow())["told"])


if __name__ == "__main__":
    main()
