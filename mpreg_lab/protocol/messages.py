"""Every message of the protocol: one tagged union. A client's messages first, then those between nodes.

It is long because the whole protocol can be read here in one go; it has no code, only structs.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, NamedTuple

import msgspec

from mpreg_lab.types import ClusterId, FunctionName, NodeName, Resource, RunId, StepName
from mpreg_lab.workflow.model import Workflow
from mpreg_lab.workflow.record import (
    Cancelled,
    Ended,
    Failed,
    Failure,
    FaultNote,
    Finished,
    Gone,
    Opened,
    Queued,
    Retrying,
    Reused,
    Sent,
    Skipped,
    Started,
)

from .payload import Payload

__all__ = [
    "Ack",
    "Announce",
    "AnyRunEvent",
    "Attach",
    "Attached",
    "Beat",
    "Belief",
    "Caching",
    "Call",
    "CallFailed",
    "CallReturned",
    "CallStarted",
    "Calls",
    "CallsDone",
    "Cancel",
    "CancelCalls",
    "ClearCache",
    "Count",
    "Describe",
    "Described",
    "Done",
    "Fetch",
    "Fetched",
    "Forget",
    "FunctionInfo",
    "Goodbye",
    "Gossip",
    "Hello",
    "Keep",
    "Lane",
    "Meet",
    "Member",
    "Message",
    "NodeState",
    "Outcome",
    "Parameter",
    "ParameterKind",
    "Ping",
    "PingRequest",
    "Pull",
    "Recall",
    "Recalled",
    "Refused",
    "Register",
    "Rerun",
    "Rumour",
    "RunDone",
    "RunUpdate",
    "Seconds",
    "StepError",
    "Submit",
    "Unregister",
    "Watch",
    "Watched",
    "Welcome",
]

Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
"""In 64 bits: what is kept of one message goes out in others, and JSON has numbers that msgpack has not."""

Seconds = Annotated[float, msgspec.Meta(ge=0)]
"""Not NaN either: what is computed with it decides what happens next."""

AnyRunEvent = (
    Opened
    | Reused
    | Gone
    | Queued
    | Sent
    | Started
    | Finished
    | Failed
    | Retrying
    | Skipped
    | Cancelled
    | FaultNote
    | Ended
)


# --- what nodes say of themselves ---------------------------------------------------------------------------------


class ParameterKind(IntEnum):
    """As in inspect.Parameter."""

    POSITIONAL_ONLY = 0
    POSITIONAL_OR_KEYWORD = 1
    VAR_POSITIONAL = 2
    KEYWORD_ONLY = 3
    VAR_KEYWORD = 4


class Parameter(msgspec.Struct, frozen=True):
    """One parameter of a function."""

    name: str
    kind: ParameterKind
    required: bool


class FunctionInfo(msgspec.Struct, frozen=True):
    """What a node tells others of a function: enough to check a call and to help a person write one."""

    name: FunctionName
    resources: tuple[Resource, ...] = ()
    """What a node must hold to be given the function. Sorted."""
    parameters: tuple[Parameter, ...] | None = None
    """None if Python cannot tell: any call is tried."""
    signature: str = "(...)"
    doc: str = ""


class Member(msgspec.Struct, frozen=True):
    """One node, as it describes itself."""

    name: NodeName
    url: str = ""
    """Where others reach it; empty if nobody can."""
    resources: tuple[Resource, ...] = ()
    functions: tuple[FunctionInfo, ...] = ()
    slots: Annotated[int, msgspec.Meta(ge=1, le=1 << 31)] = 1
    """How many sync functions it runs at once."""
    version: Count = 0
    """Counts the node's changes: a description with a higher version replaces an older one."""
    generation: Count = 0
    """When this life of the node began, in microseconds since 1970: a node that was started again has a later one."""


# --- client and node ----------------------------------------------------------------------------------------------


class _Message(msgspec.Struct, frozen=True, tag_field="kind", omit_defaults=True):
    """A message. `u` is chosen by who asks and stands in the reply."""


class Rerun(msgspec.Struct, frozen=True):
    """Which results of an earlier run of the same workflow are to be used again."""

    run: RunId
    steps: tuple[StepName, ...]


class Submit(_Message, frozen=True, tag="submit"):
    """Run this workflow. Answered by RunUpdates and one RunDone with the same `u`, which names the run."""

    u: RunId
    workflow: Workflow
    """Its steps without arguments."""
    needs: tuple[tuple[int, ...], ...]
    """For each step the positions of the steps that it refers to."""
    arguments: tuple[Payload, ...]
    """For each step (args, kwargs)."""
    shapes: tuple[tuple[int, tuple[str, ...]], ...] = ()
    """For each step how many positional arguments it has, and the names of the others: calls are checked before the
    run begins. Empty: they are not."""
    timeout_s: Annotated[float, msgspec.Meta(gt=0)] | None = None
    rerun: Rerun | None = None
    """None: every step runs. Steps whose results the node cannot get any more run too, if somebody needs them."""
    keep: bool = False
    """Whether the run goes on for a while when the connection is lost, until somebody attaches to it. Its `u` is all
    that is asked for then: at least 32 characters, from a good source of random ones."""


class RunUpdate(_Message, frozen=True, tag="update"):
    """What happened to a run since the last update."""

    u: RunId
    events: tuple[AnyRunEvent, ...]
    first: Count = 0
    """How many events of the run came before these, if it is kept."""


class StepError(msgspec.Struct, frozen=True):
    """The exception of a failed step."""

    step: StepName
    error: Payload


class RunDone(_Message, frozen=True, tag="done"):
    """The run is over. Exactly one for each Submit."""

    u: RunId
    results: dict[StepName, Payload] = {}
    """Of the wanted steps, those that succeeded."""
    errors: tuple[StepError, ...] = ()
    refused: Payload | None = None
    """An exception: the run never began, or as a whole it was cancelled or took too long."""
    after: Count = 0
    """How many events the run has had, if it is kept."""


class Attach(_Message, frozen=True, tag="attach"):
    """From here on, tell me about these runs. Answered by Attached, then by what was missed of each.

    Also asked without any run, to hear which life of which node it is that will have the next ones.
    """

    u: str
    runs: dict[RunId, Count] = {}
    """How many events of each are known here."""
    kept: tuple[RunId, ...] = ()
    """Runs whose end is known here: their results may still be fetched."""


class Attached(_Message, frozen=True, tag="attached"):
    """Of the runs that an Attach names, all others are told about from here on."""

    u: str
    life: str
    """Stands for this life of this node. Another one cannot know of its runs."""
    unknown: tuple[RunId, ...] = ()
    """No Submit of these ever came, if it was sent to this life."""
    past: tuple[RunId, ...] = ()
    """These were here, but nobody came back for them in time."""


class Cancel(_Message, frozen=True, tag="cancel"):
    """Cancel a run. Answered by its RunDone; a run that is over or unknown stays as it is."""

    run: RunId


class Fetch(_Message, frozen=True, tag="fetch"):
    """Send the result of one step of a run, ended or not. Answered by Fetched or Refused."""

    u: str
    run: RunId
    step: StepName


class Fetched(_Message, frozen=True, tag="fetched"):
    """One result."""

    u: str
    value: Payload


class Forget(_Message, frozen=True, tag="forget"):
    """The results of this run are not wanted any more. No reply."""

    run: RunId


class Describe(_Message, frozen=True, tag="describe"):
    """Who is in the cluster? Answered by Described."""

    u: str


class Described(_Message, frozen=True, tag="described"):
    """The cluster as this node sees it; `node` is the node that speaks."""

    u: str
    cluster_id: ClusterId
    node: NodeName
    members: tuple[Member, ...]


class Watch(_Message, frozen=True, tag="watch"):
    """How are you, now and whenever that changes? Answered by Watched, again and again, until the connection ends."""

    u: str


class NodeState(IntEnum):
    """What is thought of a node. Of two thoughts on one incarnation the higher one counts."""

    ALIVE = 0
    SUSPECTED = 1
    LOST = 2
    LEFT = 3


class Belief(NamedTuple):
    """What a node thinks of another one."""

    node: NodeName
    state: NodeState


class Watched(_Message, frozen=True, tag="watched"):
    """How a node is; at most ten times a second, and only when something has changed. None: that is as before."""

    u: str
    member: Member | None = None
    beliefs: tuple[Belief, ...] | None = None
    """Of all others that it has heard of."""
    connected: tuple[NodeName, ...] | None = None
    """The nodes that a connection of any kind leads to, or comes from."""
    running: Count = 0
    waiting: Count = 0
    """Steps under way on it, and given to it but not begun."""
    ended: Count = 0
    """Steps that have ended on it, in whatever way, since its life began."""
    late: Count = 0
    """Answers of steps, of its own and of nodes that it gave steps, which nobody waited for any more: dropped."""


class Meet(_Message, frozen=True, tag="meet"):
    """Be one cluster with the node of another kind at that address. Answered by Done or Refused."""

    u: str
    url: str


class Register(_Message, frozen=True, tag="register"):
    """Offer this function, in place of one of that name, and tell the others. Answered by Done or Refused."""

    u: str
    name: FunctionName
    function: Payload
    """By reference to a module where the node can import it, else as code."""
    resources: tuple[Resource, ...] = ()
    """What a node must hold to be given the function."""
    sources: dict[str, str] = {}
    """The text of code that is in no file, such as a notebook's cells, by its file name: for tracebacks."""


class Unregister(_Message, frozen=True, tag="unregister"):
    """Offer this function no more, and tell the others. Answered by Done, also if there was none."""

    u: str
    name: FunctionName


class ClearCache(_Message, frozen=True, tag="clear-cache"):
    """Forget the results that are kept for equal steps. Answered by Done."""

    u: str
    everywhere: bool = True
    """On all nodes, not only on this one."""


class Done(_Message, frozen=True, tag="ok"):
    """It is done."""

    u: str


class Refused(_Message, frozen=True, tag="refused"):
    """It cannot be done: an exception. `u` is empty if the request had none that could be read."""

    u: str
    error: Payload


# --- node and node ------------------------------------------------------------------------------------------------


class Hello(_Message, frozen=True, tag="hello"):
    """The first message on a connection between nodes. Answered by Welcome or Refused."""

    u: str
    cluster_id: ClusterId
    member: Member


class Welcome(_Message, frozen=True, tag="welcome"):
    """You are in; these are the others."""

    u: str
    members: tuple[Member, ...]
    node: NodeName
    """Who says so."""


class Announce(_Message, frozen=True, tag="announce"):
    """I have changed. Answered by Done."""

    u: str
    member: Member


class Goodbye(_Message, frozen=True, tag="goodbye"):
    """I am leaving. No reply."""

    node: NodeName
    generation: int | None = None
    """Of the life that ends, for it may come later than the next one. None: of the one that is known."""


class Rumour(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one node says of another, or of itself: small enough to ride on every heartbeat."""

    name: NodeName
    generation: Count
    incarnation: Count
    """Only the node itself counts it up, to contradict those who think it is gone."""
    version: Count
    """Of the description that the sender has and can be asked for."""
    state: NodeState = NodeState.ALIVE
    age_s: Seconds = 0.0
    """For a suspicion: how long ago it arose."""
    suspected_by: tuple[NodeName, ...] = ()


class Beat(_Message, frozen=True, tag="beat"):
    """This connection is for heartbeats. The first message on it. No reply."""

    cluster_id: ClusterId
    node: NodeName


class Ping(_Message, frozen=True, tag="ping", gc=False):
    """Are you there? Answered by an Ack with the same number, if the name is right."""

    sender: NodeName
    to: NodeName
    number: int
    digest: int
    """Stands for all members that the sender knows and their descriptions: who has the same one knows the same."""
    rumours: tuple[Rumour, ...] = ()


class Ack(_Message, frozen=True, tag="ack", gc=False):
    """Answers a Ping or a PingRequest."""

    sender: NodeName
    number: int
    digest: int
    rumours: tuple[Rumour, ...] = ()
    reached: bool = True
    """False: the node that a PingRequest named has not answered so far."""


class PingRequest(_Message, frozen=True, tag="ping-request", gc=False):
    """Ping that node for me. Answered by an Ack."""

    sender: NodeName
    number: int
    target: NodeName
    rumours: tuple[Rumour, ...] = ()


class Gossip(_Message, frozen=True, tag="gossip", gc=False):
    """Rumours that could not wait for a heartbeat, or the answer to a Pull. No reply."""

    sender: NodeName
    rumours: tuple[Rumour, ...] = ()
    members: tuple[Member, ...] = ()


class Pull(_Message, frozen=True, tag="pull", gc=False):
    """Describe these nodes. Answered by Gossip; if no names are given, with a rumour of each node."""

    sender: NodeName
    names: tuple[NodeName, ...] = ()


class Recall(_Message, frozen=True, tag="recall"):
    """Send the kept result of an equal call. Answered by Recalled."""

    u: str
    key: str
    """Equal for equal calls of equal functions."""
    ttl_s: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """How old it may be."""


class Recalled(_Message, frozen=True, tag="recalled"):
    """The result of an equal call; None if there is none."""

    u: str
    value: Payload | None = None


class Keep(_Message, frozen=True, tag="keep"):
    """Keep the result of a call for equal ones. No reply."""

    key: str
    value: Payload


class Caching(msgspec.Struct, frozen=True, gc=False):
    """How the result of an equal call may be used."""

    resources: tuple[Resource, ...] = ()
    """Of the step, sorted: a call with other data is another call."""
    ttl_s: Annotated[float, msgspec.Meta(gt=0)] | None = None


class Call(msgspec.Struct, frozen=True, gc=False):
    """One attempt of one step."""

    key: int
    """Position of the step in the workflow."""
    step: StepName
    function: FunctionName
    arguments: Payload
    """(args, kwargs), references included."""
    attempt: int = 1
    refers: bool = False
    """Whether there are references in the arguments."""
    caching: Caching | None = None
    """None: the function is called in any case."""


class Lane(msgspec.Struct, frozen=True):
    """Calls to be made one after the other on one thread; a failure ends the lane."""

    calls: tuple[Call, ...]


class Calls(_Message, frozen=True, tag="calls"):
    """Everything that is ready for one node at one moment. Answered by CallsDone messages, one outcome a call."""

    run: RunId
    lanes: tuple[Lane, ...]
    values: dict[StepName, Payload] = {}
    """Results that these calls refer to and the node does not have yet."""
    held: dict[StepName, NodeName] = {}
    """Results that the node must fetch itself, and where."""
    borrowed: dict[StepName, RunId] = {}
    """Those of `held` that are results of another run."""


class CallStarted(msgspec.Struct, frozen=True, tag_field="outcome", tag="started", gc=False):
    """The function was called; more will follow."""

    key: int
    attempt: int
    waited_s: Seconds
    """Seconds from the arrival of the call to its start."""


class CallReturned(msgspec.Struct, frozen=True, tag_field="outcome", tag="returned", gc=False):
    """The function returned."""

    key: int
    attempt: int
    waited_s: Seconds
    ran_s: Seconds
    idle_s: Seconds
    """Seconds from the end of the function to this message."""
    value: Payload | None = None
    """None: the node holds it."""
    printed: str = ""
    cached: bool = False
    """Whether the function was not called, because the result of an equal call was there."""


class CallFailed(msgspec.Struct, frozen=True, tag_field="outcome", tag="failed", gc=False):
    """The function raised, or could not be called."""

    key: int
    attempt: int
    waited_s: Seconds
    ran_s: Seconds | None
    """None: it was not called."""
    idle_s: Seconds
    error: Payload
    failure: Failure
    printed: str = ""


Outcome = CallStarted | CallReturned | CallFailed


class CallsDone(_Message, frozen=True, tag="calls-done"):
    """What became of calls."""

    run: RunId
    outcomes: tuple[Outcome, ...]


class CancelCalls(_Message, frozen=True, tag="cancel-calls"):
    """Stop these attempts if that is possible, and do not start them. No reply."""

    run: RunId
    keys: tuple[int, ...]


Message = (
    Submit
    | RunUpdate
    | RunDone
    | Attach
    | Attached
    | Cancel
    | Fetch
    | Fetched
    | Forget
    | Describe
    | Described
    | Watch
    | Watched
    | Meet
    | Register
    | Unregister
    | Done
    | Refused
    | Hello
    | Welcome
    | Announce
    | Goodbye
    | Beat
    | Ping
    | Ack
    | PingRequest
    | Gossip
    | Pull
    | Calls
    | CallsDone
    | CancelCalls
    | ClearCache
    | Recall
    | Recalled
    | Keep
)
