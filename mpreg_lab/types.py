"""Names for strings that must not be mixed up."""

from typing import NewType

__all__ = ["ClusterId", "Frame", "FunctionName", "NodeName", "Resource", "RunId", "Secret", "StepName"]

ClusterId = NewType("ClusterId", str)
NodeName = NewType("NodeName", str)
FunctionName = NewType("FunctionName", str)
Resource = NewType("Resource", str)
StepName = NewType("StepName", str)
RunId = NewType("RunId", str)

Frame = str | bytes
"""One websocket message: text (JSON) or binary (msgpack head and raw buffers)."""


class Secret(str):
    """A string that nobody shows by accident: its repr, which cells, logs, debuggers and containers use, hides it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(...)"
