"""What a client of MPREG asks for, as a workflow of ours, and what it is told in the end. A part of mpreg.py."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from mpreg_lab.errors import MpregError, RemoteError, UnknownFunctionError, UnserialisableResultError
from mpreg_lab.types import RunId, StepName
from mpreg_lab.workflow.model import Workflow
from mpreg_lab.workflow.plan import Plan, make_plan
from mpreg_lab.workflow.record import RunRecord

from .commands import RPCCommand, answers, level_of_each, needs, steps_of
from .messages import RunDone, Submit
from .payload import Payload, message_of
from .plain_json import plain

__all__ = ["Request", "Rpc", "told"]


class Rpc(msgspec.Struct, tag_field="role", tag="rpc"):
    """A request. The last two members are of February 2026."""

    cmds: list[RPCCommand]
    u: str
    return_intermediate_results: bool | None = None
    include_execution_summary: bool | None = None


class Request:
    """One request, until it is answered.

    Raises:
        WorkflowError: If it cannot run as it is written.

    Attributes:
        u: As the client chose it.
        record: Kept only for clients that ask how it went.
    """

    def __init__(self, rpc: Rpc) -> None:
        self.u = rpc.u
        self._levels_wanted = bool(rpc.return_intermediate_results)
        self._summary_wanted = bool(rpc.include_execution_summary)
        self.record = RunRecord() if self._levels_wanted or self._summary_wanted else None
        self._steps = steps_of(rpc.cmds)
        keys = {step.name: key for key, step in enumerate(self._steps)}
        bare = [msgspec.structs.replace(step, args=(), kwargs={}) for step in self._steps]
        self._plan = make_plan(Workflow(bare), [needs(step, keys) for step in self._steps])
        by_position = [needs(msgspec.structs.replace(step, kwargs={}), keys) for step in self._steps]
        self._answers = answers(self._plan, by_position)

    def submit(self, run: RunId) -> Submit:
        """The request as ours."""
        returns = tuple(self._plan.keys) if self._levels_wanted else self._answers
        return Submit(
            run,
            msgspec.structs.replace(self._plan.workflow, returns=returns),
            self._plan.needs,
            tuple(Payload.of_json((step.args, step.kwargs)) for step in self._steps),
            tuple((len(step.args), tuple(step.kwargs)) for step in self._steps),
        )

    def unknown_function(self, done: RunDone) -> str | None:
        """The function that no node has, if that is why the run failed."""
        for step, error in _errors(done):
            if isinstance(error, UnknownFunctionError):
                key = self._plan.keys.get(StepName(step or error.step or ""))
                return "" if key is None else self._steps[key].function
        return None

    def failures(self, done: RunDone) -> str:
        """All that went wrong, a line each."""
        return "\n".join(told(error, step) for step, error in _errors(done))

    def answer(self, done: RunDone, now_s: float) -> dict[str, Any]:
        """The members of the response to a run that succeeded.

        Raises:
            UnserialisableResultError: If JSON cannot carry a result.
        """
        results = {name: _plain_result(name, value) for name, value in done.results.items()}
        answer: dict[str, Any] = {"r": {name: results[name] for name in self._answers}, "error": None, "u": self.u}
        if self.record is None:
            return answer
        levels = _levels(self._plan)
        if self._levels_wanted:
            answer["intermediate_results"] = self._level_reports(levels, self.record, results, now_s)
        if self._summary_wanted:
            answer["execution_summary"] = self._summary(levels, self.record)
        return answer

    def _level_reports(
        self, levels: list[list[StepName]], record: RunRecord, results: dict[StepName, Any], now_s: float
    ) -> list[dict[str, Any]]:
        began_s = now_s - (record.duration_s or record.now_s)
        so_far: dict[StepName, Any] = {}
        reports = []
        for i, level in enumerate(levels):
            here = {name: results[name] for name in level}
            so_far = so_far | here
            begin_s, end_s = _span(record, level)
            reports.append(
                {
                    "request_id": self.u,
                    "level_index": i,
                    "level_results": here,
                    "accumulated_results": so_far,
                    "total_levels": len(levels),
                    "completed_levels": i + 1,
                    "timestamp": began_s + end_s,
                    "execution_time_ms": 1000 * (end_s - begin_s),
                }
            )
        return reports

    def _summary(self, levels: list[list[StepName]], record: RunRecord) -> dict[str, Any]:
        taken_ms = [1000 * (end_s - begin_s) for begin_s, end_s in (_span(record, level) for level in levels)]
        return {
            "request_id": self.u,
            "total_execution_time_ms": 1000 * (record.duration_s or record.now_s),
            "total_levels": len(levels),
            "level_execution_times": taken_ms,
            "bottleneck_level_index": taken_ms.index(max(taken_ms)),
            "average_level_time_ms": sum(taken_ms) / len(levels),
            "parallel_commands_executed": len(self._steps),
            "cross_cluster_hops": 0,
        }


# --- levels ---------------------------------------------------------------------------------------------------------


def _levels(plan: Plan) -> list[list[StepName]]:
    level = level_of_each(plan, plan.needs)
    levels: list[list[StepName]] = [[] for _ in range(max(level) + 1)]
    for name, key in plan.keys.items():
        levels[level[key]].append(name)
    return levels


def _span(record: RunRecord, level: Iterable[StepName]) -> tuple[float, float]:
    """When the first step of a level began and the last one ended; a level may begin before another has ended."""
    steps = [record.steps[name] for name in level]
    begin_s = min(step.started_s or 0.0 for step in steps)
    return begin_s, max(begin_s, *(step.ended_s or 0.0 for step in steps))


# --- errors ---------------------------------------------------------------------------------------------------------


def _errors(done: RunDone) -> list[tuple[str, Any]]:
    errors: list[tuple[str, Any]] = [("", done.refused.value())] if done.refused is not None else []
    return errors + [(error.step, error.error.value()) for error in done.errors]


def told(error: Any, step: str = "") -> str:
    """An exception in one line, for a stranger: no frames, no files of this machine."""
    if not isinstance(error, BaseException):
        return f"{error!r:.60}"
    kind = error.type_name if isinstance(error, RemoteError) else type(error).__name__
    said = message_of(error).encode(errors="replace").decode()
    if isinstance(error, BaseExceptionGroup):
        said += f": {'; '.join(map(told, error.exceptions))}"
    line = f"{kind}: {said}" if said else kind
    return f"step {step!r}: {line}" if step else line


def _plain_result(step: StepName, value: Payload) -> Any:
    try:
        return plain(value.value())
    except MpregError as exc:
        raise UnserialisableResultError(f"the result of step {step!r}: {exc}", step=step) from exc
