"""Typed access to the columns of a table of many numbers."""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from mlprune.store.parquet import Columns, Lists


def numeric_columns(columns: Mapping[str, Sequence[object] | np.ndarray]) -> Columns:
    """Columns for `encode_numeric`, which takes arrays like other sequences."""
    return cast("Columns", columns)


def array_column(columns: Mapping[str, np.ndarray | Lists], name: str) -> np.ndarray:
    """[n] a column of numbers or texts from `decode_numeric`."""
    column = columns[name]
    assert isinstance(column, np.ndarray), "the layout has no lists here"
    return column


def list_column(columns: Mapping[str, np.ndarray | Lists], name: str) -> Lists:
    """A column of lists from `decode_numeric`."""
    column = columns[name]
    assert isinstance(column, Lists), "the layout has lists here"
    return column


def matrix_column(columns: Mapping[str, np.ndarray | Lists], name: str) -> np.ndarray:
    """[n, width] a column of lists of equal length from `decode_numeric`."""
    column = list_column(columns, name)
    return column.values.reshape(len(column.ends), -1)
