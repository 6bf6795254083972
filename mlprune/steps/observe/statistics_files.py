"""Statistics files: activation statistics stream to Parquet in parts, and come back one block at a time.

Which demonstrations a part holds is for those who observe to say; what the numbers mean is in `numeric/statistics.py`.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlprune.errors import StatisticsError
from mlprune.numeric.activations.statistics import RunningTotal
from mlprune.pruning.feature_factors import BlockStatistics, BlockTotals, block_totals, demonstration_weights
from mlprune.pruning.spec import Reading
from mlprune.store.parquet import Layout, decode_numeric, encode_numeric
from mlprune.store.records import Artefact
from mlprune.store.store import Store

SCHEMA = {
    "block": "int32",
    "input": "string",
    "demonstration": "int32",
    "n_tokens": "int64",
    "sum_sq": "list<float>",
}
"""Columns of a statistics file: one row per (block, input, demonstration), input after input."""

LAYOUT = Layout("statistics", 2, SCHEMA)
"""Version 1 had the same columns, other encodings, and did not say so."""

Rows = tuple[np.ndarray, np.ndarray]
"""Demonstrations [k] and their sums of squares [k, in] float32."""


def write_part(
    store: Store,
    owner: str,
    block: int,
    *,
    demonstrations: Sequence[int],
    sums: Mapping[str, Tensor],
    n_tokens: Tensor,
    role: str = "",
) -> Artefact:
    """Write the statistics of one block over some demonstrations, in their order; the file is named for the first.

    Args:
        owner: id of the statistics record, or of the variant whose sweep observed them.
        demonstrations: their indices, in any order.
        sums: input -> [n, in] float32.
        n_tokens: [n] int64, tokens counted in each demonstration.
        role: which set of a sweep it is; empty for the only one.
    """
    indices = np.asarray(demonstrations, dtype=np.int32)
    order = indices.argsort(kind="stable")
    matrices = [one.numpy() for one in sums.values()]
    columns: dict[str, Any] = {
        "block": np.full(len(order) * len(sums), block, dtype=np.int32),
        "input": [name for name in sums for _ in order],
        "demonstration": np.tile(indices[order], len(sums)),
        "n_tokens": np.tile(n_tokens.numpy()[order], len(sums)),
        "sum_sq": [matrix[place] for matrix in matrices for place in order],
    }
    data, n_rows = encode_numeric(columns, LAYOUT)
    middle = f".{role}" if role else ""
    path = f"statistics/{owner}/block-{block:03d}{middle}.part-{indices[order[0]]:05d}.parquet"
    return store.write_bytes(path, data, n_rows=n_rows)


def read_block_statistics(
    store: Store, artefacts: Iterable[Artefact], block: int, *, role: str = ""
) -> BlockStatistics:
    """Input -> [n, in] float32 of one block, in demonstration order; no other block's files are opened.

    Args:
        artefacts: of the record that owns the statistics; files of other blocks and roles are passed over.

    Raises:
        DamagedArtefactError: a part is missing, differs from the record, or holds another table.
        StatisticsError: the parts do not make up the set.
        StoreError: a part was written by a newer version.
    """
    found: dict[str, list[Rows]] = defaultdict(list)
    for artefact in _parts(artefacts, block, role):
        for name, rows in _read_part(store, artefact):
            found[name].append(rows)
    return {name: _joined(parts, block=block, name=name) for name, parts in found.items()}


def read_block_totals(store: Store, artefacts: Iterable[Artefact], block: int, *, reading: Reading) -> BlockTotals:
    """Input -> sum over the demonstrations of one block that a reading counts; one part is in memory at a time.

    The sums are made in demonstration order, to the same bits as those of `read_block_statistics`. That is where they
    are made of where parts do not follow each other, as no step of today's leaves them.

    Args and Raises: as for `read_block_statistics`; a set smaller than `reading.first` is a StatisticsError too.
    """
    parts = sorted(_parts(artefacts, block), key=lambda one: one.path)
    n_inputs = len(list(_read_part(store, parts[0])))
    n = sum(one.n_rows or 0 for one in parts) // n_inputs
    weights = demonstration_weights(n, reading)
    totals: dict[str, RunningTotal] = {}
    n_added = 0
    for part in parts:
        pieces = dict(_read_part(store, part))
        indices = next(iter(pieces.values()))[0]
        if not np.array_equal(indices, np.arange(n_added, n_added + len(indices))) or n_added + len(indices) > n:
            return block_totals(read_block_statistics(store, parts, block), reading)
        for name, (_, rows) in pieces.items():
            totals.setdefault(name, RunningTotal(n, weights)).add(torch.from_numpy(rows.copy()))
        n_added += len(indices)
    return totals


def _parts(artefacts: Iterable[Artefact], block: int, role: str = "") -> list[Artefact]:
    """The files that hold one block of one set.

    Raises:
        StatisticsError: there is none.
    """
    middle = rf"\.{role}" if role else ""
    wanted = re.compile(rf"/block-{block:03d}{middle}\.part-\d+\.parquet$")
    found = [artefact for artefact in artefacts if wanted.search(artefact.path)]
    if not found:
        raise StatisticsError("statistics of a block are missing", block=block, role=role)
    return found


def _read_part(store: Store, artefact: Artefact) -> Iterator[tuple[str, Rows]]:
    """Input -> its rows in one part, in views of the file's numbers."""
    columns = ("input", "demonstration", "sum_sq")
    found: Any = decode_numeric(store.read_bytes(artefact), LAYOUT, path=artefact.path, columns=columns)
    names, sums = found["input"], found["sum_sq"]
    borders = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1).tolist(), len(names)]
    ends = [0, *sums.ends.tolist()]
    for first, last in pairwise(borders):
        values = sums.values[ends[first] : ends[last]].reshape(last - first, -1)
        yield str(names[first]), (found["demonstration"][first:last], values)


def _joined(parts: Sequence[Rows], *, block: int, name: str) -> Tensor:
    """The rows of one input, put in demonstration order."""
    indices = np.concatenate([demonstrations for demonstrations, _ in parts])
    present = np.unique(indices)
    if len(present) != len(indices):
        raise StatisticsError("statistics of a demonstration are held twice", block=block, input=name)
    if present[-1] != len(present) - 1:
        missing = np.setdiff1d(np.arange(present[-1] + 1), present)[:5].tolist()
        raise StatisticsError("statistics lack demonstrations", block=block, input=name, missing=missing)
    joined = np.empty((len(indices), parts[0][1].shape[1]), dtype=np.float32)
    for demonstrations, rows in parts:
        joined[demonstrations] = rows
    return torch.from_numpy(joined)
