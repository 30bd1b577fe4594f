"""A table that a command gives: a DataFrame of which a cell shows all texts whole."""

from __future__ import annotations

from typing import Any

import pandas as pd

__all__ = ["Table"]


class Table(pd.DataFrame):
    """A DataFrame, and parts of it, whose texts a notebook shows whole, over several lines: pandas cuts them after 50
    characters. A terminal has no cells with several lines: there it stays as pandas has it.
    """

    @property
    def _constructor(self) -> type[Table]:
        return Table

    def _repr_html_(self) -> Any:
        with pd.option_context("display.max_colwidth", None):
            return super()._repr_html_()  # type: ignore[misc]  # the stubs of pandas leave it out
