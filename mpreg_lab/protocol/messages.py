"""Every message of the protocol: one tagged union. A client's messages first, then those between nodes."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from mpreg_lab.types import ClusterId, FunctionName, NodeName, Resource, RunId, StepName
from mpreg_lab.workflow.model import Workflow
from mpreg_lab.workflow.record import (
    Cancelled,
    Ended,
    Failed,
    Failure,
    Finished,
    Opened,
    Queued,
    Retrying,
    Sent,
    Skipped,
    Started,
)

from .payload import Payload

__all__ = [
    "Announce",
    "AnyRunEvent",
    "Call",
    "CallFailed",
    "CallReturned",
    "CallStarted",
    "Calls",
    "CallsDone",
    "Cancel",
    "CancelCalls",
    "Describe",
    "Described",
    "Done",
    "Fetch",
    "Fetched",
    "Forget",
    "FunctionInfo",
    "Goodbye",
    "Hello",
    "Lane",
    "Member",
    "Message",
    "Outcome",
    "Parameter",
    "ParameterKind",
    "Refused",
    "Register",
    "RunDone",
    "RunUpdate",
    "StepError",
    "Submit",
    "Unregister",
    "Welcome",
]

AnyRunEvent = Opened | Queued | Sent | Started | Finished | Failed | Retrying | Skipped | Cancelled | Ended


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
    slots: int = 1
    """How many sync functions it runs at once."""
    version: int = 0
    """Counts the node's changes: a description with a higher version replaces an older one."""


# --- client and node ----------------------------------------------------------------------------------------------


class _Message(msgspec.Struct, frozen=True, tag_field="kind", omit_defaults=True):
    """A message. `u` is chosen by who asks and stands in the reply."""


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
    timeout_s: float | None = None


class RunUpdate(_Message, frozen=True, tag="update"):
    """What happened to a run since the last update."""

    u: RunId
    events: tuple[AnyRunEvent, ...]


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


class Announce(_Message, frozen=True, tag="announce"):
    """I have changed. Answered by Done."""

    u: str
    member: Member


class Goodbye(_Message, frozen=True, tag="goodbye"):
    """I am leaving. No reply."""

    node: NodeName


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


class CallStarted(msgspec.Struct, frozen=True, tag_field="outcome", tag="started", gc=False):
    """The function was called; more will follow."""

    key: int
    attempt: int
    waited_s: float
    """Seconds from the arrival of the call to its start."""


class CallReturned(msgspec.Struct, frozen=True, tag_field="outcome", tag="returned", gc=False):
    """The function returned."""

    key: int
    attempt: int
    waited_s: float
    ran_s: float
    idle_s: float
    """Seconds from the end of the function to this message."""
    value: Payload | None = None
    """None: the node holds it."""
    printed: str = ""


class CallFailed(msgspec.Struct, frozen=True, tag_field="outcome", tag="failed", gc=False):
    """The function raised, or could not be called."""

    key: int
    attempt: int
    waited_s: float
    ran_s: float | None
    """None: it was not called."""
    idle_s: float
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
    | Cancel
    | Fetch
    | Fetched
    | Forget
    | Describe
    | Described
    | Register
    | Unregister
    | Done
    | Refused
    | Hello
    | Welcome
    | Announce
    | Goodbye
    | Calls
    | CallsDone
    | CancelCalls
)
