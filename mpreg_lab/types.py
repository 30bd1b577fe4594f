"""Names for strings that must not be mixed up."""

from typing import NewType

__all__ = ["ClusterId", "Frame", "FunctionName", "NodeName", "Resource", "RunId", "StepName"]

ClusterId = NewType("ClusterId", str)
NodeName = NewType("NodeName", str)
FunctionName = NewType("FunctionName", str)
Resource = NewType("Resource", str)
StepName = NewType("StepName", str)
RunId = NewType("RunId", str)

Frame = str | bytes
"""One websocket message: text (JSON) or binary (msgpack head and raw buffers)."""
