from __future__ import annotations

from typing import Any

import pytest

from mpreg_lab.errors import ArgumentsError, RoutingError, UnknownFunctionError
from mpreg_lab.node.functions import describe
from mpreg_lab.node.router import Router
from mpreg_lab.protocol.messages import Member
from mpreg_lab.types import FunctionName, NodeName, Resource
from mpreg_lab.workflow.model import Step


def train(data: str, *, epochs: int = 1) -> str:
    raise NotImplementedError


def member(name: str, resources: str = "", functions: str = "", slots: int = 1) -> Member:
    held = tuple(map(Resource, resources.split()))
    infos = tuple(describe(train, FunctionName(function), held) for function in functions.split())
    return Member(NodeName(name), resources=held, functions=infos, slots=slots)


def router(*members: Member) -> Router:
    made = Router()
    for each in members:
        made.update(each)
    return made


MIXED = (
    member("a", "", "train clean"),
    member("b", "gpu", "train"),
    member("c", "gpu disk", "train clean"),
    member("d", "disk", "clean"),
    member("e", "vault", ""),
)


# --- who can ---


@pytest.mark.parametrize(
    ("step", "nodes"),
    [
        (Step("s", "train"), "a b c"),
        (Step("s", "clean"), "a c d"),
        (Step("s", "train", resources="gpu"), "b c"),
        (Step("s", "train", resources=["gpu", "disk"]), "c"),
        (Step("s", "clean", resources=["disk"]), "c d"),
        (Step("s", "train", node="b"), "b"),
        (Step("s", "train", resources=["gpu"], node="a"), ""),
        (Step("s", "train", resources=["vault"]), ""),
        (Step("s", "trian"), ""),
    ],
)
def test_a_node_can_run_a_step_if_it_has_the_function_and_all_resources(step, nodes):
    assert router(*MIXED).capable(step) == tuple(nodes.split())


def test_what_a_node_has_may_change():
    made = router(*MIXED)
    assert made.choose(Step("s", "train", resources=["gpu", "disk"])) == "c"

    made.update(member("c", "gpu"))
    assert made.capable(Step("s", "train", resources=["gpu", "disk"])) == ()
    made.update(member("f", "gpu disk", "train"))
    assert made.choose(Step("s", "train", resources=["gpu", "disk"])) == "f"
    made.remove(NodeName("f"))
    assert not made.can_run(Step("s", "train", resources=["gpu", "disk"]), NodeName("f"))


# --- who does ---


def loaded(**steps: int) -> Router:
    """Nodes a, b, c with so many steps under way."""
    made = router(*(member(name, "", "train") for name in "abc"))
    for name, count in steps.items():
        made.began(NodeName(name), count)
    return made


STEP = Step("s", "train")


@pytest.mark.parametrize(
    ("made", "near", "avoid", "chosen"),
    [
        (loaded(), (), (), "a"),
        (loaded(a=1), (), (), "b"),
        (loaded(a=2, b=1, c=1), (), (), "b"),
        (loaded(), ("c",), (), "c"),
        (loaded(c=1), ("c",), (), "a"),
        (loaded(), (), ("a",), "b"),
        (loaded(c=5), (), ("a", "b"), "c"),
        (loaded(a=1), (), ("a", "b", "c"), "b"),
    ],
    ids=[
        "the first",
        "the least loaded",
        "the first of the least loaded",
        "where the data is",
        "load before data",
        "not where it failed",
        "not where it failed, however busy the other",
        "where it failed, if it failed everywhere",
    ],
)
def test_one_of_several_is_chosen(made, near, avoid, chosen):
    assert made.choose(STEP, near, avoid) == chosen


def test_load_is_counted_for_each_slot():
    made = router(member("small", "", "train", slots=1), member("big", "", "train", slots=4))
    made.began(NodeName("small"), 1)
    made.began(NodeName("big"), 3)

    assert made.choose(STEP) == "big"


def test_steps_that_ended_are_no_load_but_the_next_goes_to_the_one_given_least():
    made = loaded(a=1)
    made.ended(NodeName("a"), 1)

    assert made.choose(STEP) == "b"


def test_steps_are_spread_evenly():
    made = loaded()
    chosen = []
    for _ in range(9):
        node = made.choose(STEP)
        made.began(node, 1)
        chosen.append(node)

    assert sorted(chosen) == [*"aaabbbccc"]


def test_nodes_that_are_gone_are_no_trouble():
    made = loaded(a=1)
    made.remove(NodeName("a"))
    made.ended(NodeName("a"), 1)
    made.began(NodeName("a"), 1)

    assert made.choose(STEP) == "b"


# --- nobody can ---

REFUSALS: dict[str, tuple[Step, type[Exception], str]] = {
    "a mistyped function": (
        Step("fit", "trian"),
        UnknownFunctionError,
        "step 'fit': no node has a function 'trian'. Did you mean 'train'?",
    ),
    "an unknown function": (
        Step("fit", "zebra"),
        UnknownFunctionError,
        "step 'fit': no node has a function 'zebra'. Functions: train, clean. Register it: @cluster.function",
    ),
    "a mistyped resource": (
        Step("fit", "train", resources="gpus"),
        RoutingError,
        "step 'fit': no node can run function 'train' with resource ['gpus']. Nodes with 'train': a, b, c. "
        "Nodes with 'gpus': none. Did you mean 'gpu'?",
    ),
    "a resource that nobody has": (
        Step("fit", "train", resources="quantum"),
        RoutingError,
        "step 'fit': no node can run function 'train' with resource ['quantum']. Nodes with 'train': a, b, c. "
        "Nodes with 'quantum': none. Add a node: cluster.add('my-node', ['quantum'])",
    ),
    "a resource where the function is not": (
        Step("fit", "train", resources="vault"),
        RoutingError,
        "step 'fit': no node can run function 'train' with resource ['vault']. Nodes with 'train': a, b, c. "
        "Nodes with 'vault': e. Move it there: cluster.register(train, resources=['vault'])",
    ),
    "resources that no node has together": (
        Step("fit", "train", resources=["vault", "gpu"]),
        RoutingError,
        "step 'fit': no node can run function 'train' with resources ['gpu', 'vault']. Nodes with 'train': a, b, c. "
        "Nodes with 'gpu': b, c. Nodes with 'vault': e. Add a node: cluster.add('my-node', ['gpu', 'vault'])",
    ),
    "a function elsewhere than on the node": (
        Step("fit", "train", node="d"),
        RoutingError,
        "step 'fit': node 'd' cannot run function 'train'. Nodes with 'train': a, b, c. "
        "Leave out the node: a, b, c can run it",
    ),
    "a resource elsewhere than on the node": (
        Step("fit", "train", resources="gpu", node="a"),
        RoutingError,
        "step 'fit': node 'a' cannot run function 'train' with resource ['gpu']. Nodes with 'train': a, b, c. "
        "Nodes with 'gpu': b, c. Leave out the node: b, c can run it",
    ),
    "an unknown node": (
        Step("fit", "train", node="zebra"),
        RoutingError,
        "step 'fit' should run on node 'zebra', which is not in the cluster. Nodes: a, b, c, d, e",
    ),
}


@pytest.mark.parametrize(("step", "kind", "message"), REFUSALS.values(), ids=REFUSALS)
def test_a_step_that_nobody_can_run_is_refused_with_who_has_what(step, kind, message):
    made = router(*MIXED)
    for refuse in (made.check, made.choose):
        refusing: Any = refuse
        with pytest.raises(RoutingError) as caught:
            refusing(step)
        assert str(caught.value) == message
        assert type(caught.value) is kind
        assert caught.value.step == "fit"


def test_a_new_node_must_hold_what_the_function_asks_for_as_well():
    made = router(member("a", "disk", "train"))
    with pytest.raises(RoutingError, match=r"Add a node: cluster.add\('my-node', \['disk', 'quantum'\]\)$"):
        made.check(Step("fit", "train", resources="quantum"))


def test_a_wrong_call_is_refused_with_the_signature():
    made = router(*MIXED)
    made.check(Step("fit", "train"), 1, ["epochs"])

    with pytest.raises(ArgumentsError) as caught:
        made.check(Step("fit", "train"), 1, ["epoch"])
    assert str(caught.value) == (
        "step 'fit' cannot call train(data: str, *, epochs: int = 1) -> str: it has no parameter 'epoch'"
    )
