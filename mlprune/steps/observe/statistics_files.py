"""Statistics files: Parquet files written part by part and read one block at a time."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import numpy as np
import torch
from torch import Tensor

from mlprune.errors import StatisticsError
from mlprune.numeric.activations.statistics import RunningTotal
from mlprune.pruning.block_inputs import BlockStatistics, BlockTotals, block_totals, demonstration_weights
from mlprune.pruning.spec import StatisticsSelection
from mlprune.store.parquet import Columns, Layout, Lists, decode_numeric, encode_numeric
from mlprune.store.records import Artefact
from mlprune.store.store import Store

SCHEMA = {
    "block": "int32",
    "input": "string",
    "demonstration": "int32",
    "n_tokens": "int64",
    "sum_sq": "list<float>",
}
"""Columns of a statistics file: one row per block, input and demonstration, sorted by input."""
LAYOUT = Layout("statistics", 2, SCHEMA)
"""Version 1 had the same columns with other encodings and no version number."""
Rows = tuple[np.ndarray, np.ndarray]
"""Demonstrations [k] and their sums of squares [k, in] float32."""


@dataclass(frozen=True)
class DemonstrationSums:
    """Sums of squares of the inputs of one block over each of some demonstrations."""

    demonstrations: Sequence[int]
    """[n] indices, in any order."""
    n_tokens: Tensor
    """[n] int64, counted tokens of each demonstration."""
    sums: Mapping[str, Tensor]
    """Input -> [n, in] float32."""


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


def write_part(
    store: Store,
    owner: str,
    block: int,
    observed: DemonstrationSums,
    *,
    role: str = "",
) -> Artefact:
    """Write the statistics of one block over some demonstrations. The first index is part of the file's name.

    Args:
        owner: id of the statistics record, or of the variant whose sweep observed them.
        role: role of the set in a sweep; empty if there is only one set.
    """
    sums = observed.sums
    indices = np.asarray(observed.demonstrations, dtype=np.int32)
    order = indices.argsort(kind="stable")
    matrices = [matrix.numpy() for matrix in sums.values()]
    columns: dict[str, Sequence[object] | np.ndarray] = {
        "block": np.full(len(order) * len(sums), block, dtype=np.int32),
        "input": [name for name in sums for _ in order],
        "demonstration": np.tile(indices[order], len(sums)),
        "n_tokens": np.tile(observed.n_tokens.numpy()[order], len(sums)),
        "sum_sq": [matrix[row] for matrix in matrices for row in order],
    }
    data, n_rows = encode_numeric(numeric_columns(columns), LAYOUT)
    infix = f".{role}" if role else ""
    path = f"statistics/{owner}/block-{block:03d}{infix}.part-{indices[order[0]]:05d}.parquet"
    return store.write_bytes(path, data, n_rows=n_rows)


def read_block_statistics(
    store: Store, artefacts: Iterable[Artefact], block: int, *, role: str = ""
) -> BlockStatistics:
    """Input -> [n, in] float32 of one block, in demonstration order. Only this block's files are opened.

    Args:
        artefacts: all artefacts of the record; files of other blocks and roles are ignored.

    Raises:
        DamagedArtefactError: a part is missing, differs from its record, or contains another table.
        StatisticsError: the parts together are not the set.
        StoreError: a newer version wrote a part.
    """
    parts_by_input: dict[str, list[Rows]] = defaultdict(list)
    for artefact in _parts(artefacts, block, role):
        for name, rows in _read_part(store, artefact):
            parts_by_input[name].append(rows)
    return {name: _join(parts, block=block, name=name) for name, parts in parts_by_input.items()}


def read_block_totals(
    store: Store, artefacts: Iterable[Artefact], block: int, *, selection: StatisticsSelection
) -> BlockTotals:
    """Input -> weighted sum over the demonstrations of one block; one part is in memory at a time.

    The sums are accumulated in demonstration order and have the same bits as sums of `read_block_statistics`. If the
    demonstrations of the parts are not consecutive, all parts are read at once; no current step writes such parts.

    Args and Raises: as for `read_block_statistics`; a set with fewer demonstrations than selected is a StatisticsError.
    """
    parts = sorted(_parts(artefacts, block), key=lambda part: part.path)
    n_inputs = len(list(_read_part(store, parts[0])))
    n = sum(part.n_rows or 0 for part in parts) // n_inputs
    weights = demonstration_weights(n, selection)
    totals: dict[str, RunningTotal] = {}
    n_added = 0
    for part in parts:
        rows_by_input = dict(_read_part(store, part))
        indices = next(iter(rows_by_input.values()))[0]
        if not np.array_equal(indices, np.arange(n_added, n_added + len(indices))) or n_added + len(indices) > n:
            return block_totals(read_block_statistics(store, parts, block), selection)
        for name, (_, rows) in rows_by_input.items():
            totals.setdefault(name, RunningTotal(n, weights)).add(torch.from_numpy(rows.copy()))
        n_added += len(indices)
    return totals


def _parts(artefacts: Iterable[Artefact], block: int, role: str = "") -> list[Artefact]:
    """The files of one block of one set.

    Raises:
        StatisticsError: there is none.
    """
    infix = rf"\.{role}" if role else ""
    pattern = re.compile(rf"/block-{block:03d}{infix}\.part-\d+\.parquet$")
    parts = [artefact for artefact in artefacts if pattern.search(artefact.path)]
    if not parts:
        raise StatisticsError("statistics of a block are missing", block=block, role=role)
    return parts


def _read_part(store: Store, artefact: Artefact) -> Iterator[tuple[str, Rows]]:
    """Inputs with their rows in one part; the rows are views of the file's numbers."""
    names_read = ("input", "demonstration", "sum_sq")
    columns = decode_numeric(store.read_bytes(artefact), LAYOUT, path=artefact.path, columns=names_read)
    names, demonstrations = array_column(columns, "input"), array_column(columns, "demonstration")
    sums = list_column(columns, "sum_sq")
    borders = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1).tolist(), len(names)]
    ends = [0, *sums.ends.tolist()]
    for first, last in pairwise(borders):
        values = sums.values[ends[first] : ends[last]].reshape(last - first, -1)
        yield str(names[first]), (demonstrations[first:last], values)


def _join(parts: Sequence[Rows], *, block: int, name: str) -> Tensor:
    """The rows of one input from all parts, in demonstration order."""
    indices = np.concatenate([demonstrations for demonstrations, _ in parts])
    present = np.unique(indices)
    if len(present) != len(indices):
        raise StatisticsError("statistics contain a demonstration twice", block=block, input=name)
    if present[-1] != len(present) - 1:
        missing = np.setdiff1d(np.arange(present[-1] + 1), present)[:5].tolist()
        raise StatisticsError("statistics lack demonstrations", block=block, input=name, missing=missing)
    joined = np.empty((len(indices), parts[0][1].shape[1]), dtype=np.float32)
    for demonstrations, rows in parts:
        joined[demonstrations] = rows
    return torch.from_numpy(joined)
