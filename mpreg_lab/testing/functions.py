"""The functions of the fixture `enhanced_server`: small, real, and the same for the same arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

__all__ = ["ENHANCED", "analyze", "data_processing", "format_results", "ml_inference"]


def data_processing(data: Any) -> dict[str, Any]:
    """Clean data: texts lose the spaces around them, what is empty is left out.

    Args:
        data: A list, the values of a mapping, or one thing.

    Returns:
        `items`, and how many were `dropped`.
    """
    values = _values(data)
    cleaned = [value.strip() if isinstance(value, str) else value for value in values]
    items = [value for value in cleaned if value is not None and value != ""]
    return {"items": items, "dropped": len(values) - len(items)}


def analyze(data: Any) -> dict[str, Any]:
    """Describe data, as it is or as `data_processing` made it: `count`, and `least`, `most`, `mean` of its numbers."""
    values = _items(data)
    numbers = _numbers(values)
    mean = math.fsum(numbers) / len(numbers) if numbers else None
    return {
        "count": len(values),
        "least": min(numbers, default=None),
        "most": max(numbers, default=None),
        "mean": mean,
    }


def ml_inference(features: Any, weights: Iterable[float] | None = None, bias: float = 0.0) -> dict[str, Any]:
    """Score numbers with a logistic model.

    Args:
        features: Numbers, as they are or as `data_processing` made them; the rest is left out.
        weights: One for each number. None: all are 1.

    Returns:
        `score`, between 0 and 1, and `label`, whether it is 0.5 or more.
    """
    numbers = _numbers(_items(features))
    by = [1.0] * len(numbers) if weights is None else list(weights)
    score = 0.5 * (1.0 + math.tanh(0.5 * (sum(x * w for x, w in zip(numbers, by, strict=True)) + bias)))
    return {"score": score, "label": score >= 0.5}


def format_results(results: Any, title: str = "Results") -> str:
    """Results as text: a title, and a line for each item of a mapping or list."""
    if isinstance(results, Mapping):
        lines = [f"{key}: {value}" for key, value in results.items()]
    else:
        lines = [str(value) for value in _values(results)]
    return "\n".join([title, *(f"- {line}" for line in lines)])


ENHANCED: Mapping[str, Callable[..., Any]] = {
    "data_processing": data_processing,
    "process_data": data_processing,
    "analyze": analyze,
    "ml_inference": ml_inference,
    "format_results": format_results,
    "format": format_results,
}
"""By the names under which `enhanced_server` has them."""


def _values(data: Any) -> list[Any]:
    if isinstance(data, Mapping):
        return list(data.values())
    return list(data) if isinstance(data, Iterable) and not isinstance(data, (str, bytes)) else [data]


def _items(data: Any) -> list[Any]:
    return list(data["items"]) if isinstance(data, Mapping) and "items" in data else _values(data)


def _numbers(values: Iterable[Any]) -> list[float]:
    return [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
