"""Statistics files: activation statistics stream to Parquet in parts, and come back one block at a time."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlprune.errors import StatisticsError
from mlprune.pruning.factors import BlockStatistics
from mlprune.records import Artefact
from mlprune.storage import Store

SCHEMA = {
    "block": "int32",
    "input": "string",
    "demonstration": "int32",
    "n_tokens": "int64",
    "sum_sq": "list<float>",
}
"""Columns of a statistics file: one row per (block, input, demonstration)."""

PART_BYTES = 32 * 2**20
"""Size at which the statistics gathered so far are written out as a part; it does not depend on who gathers them."""


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
    order = sorted(range(len(demonstrations)), key=lambda place: demonstrations[place])
    indices = [demonstrations[place] for place in order]
    columns: dict[str, list[Any]] = {
        "block": [block] * (len(order) * len(sums)),
        "input": [name for name in sums for _ in order],
        "demonstration": indices * len(sums),
        "n_tokens": n_tokens[order].tolist() * len(sums),
        "sum_sq": [one[place].numpy() for one in sums.values() for place in order],
    }
    middle = f".{role}" if role else ""
    path = f"statistics/{owner}/block-{block:03d}{middle}.part-{indices[0]:05d}.parquet"
    return store.write_table(path, columns, SCHEMA)


def read_block_statistics(
    store: Store, artefacts: Iterable[Artefact], block: int, *, role: str = ""
) -> BlockStatistics:
    """Input -> [n, in] float32 of one block, in demonstration order.

    Args:
        artefacts: of the record that owns the statistics; files of other blocks and roles are passed over.

    Raises:
        DamagedArtefactError: a part is missing or differs from the record.
        StatisticsError: the parts do not make up the set.
    """
    middle = rf"\.{role}" if role else ""
    wanted = re.compile(rf"/block-{block:03d}{middle}\.part-\d+\.parquet$")
    rows: dict[str, dict[int, Any]] = defaultdict(dict)
    n_rows = 0
    for artefact in artefacts:
        if wanted.search(artefact.path):
            columns = store.read_table(artefact)
            n_rows += len(columns["input"])
            for name, demonstration, sum_sq in zip(
                columns["input"], columns["demonstration"], columns["sum_sq"], strict=True
            ):
                rows[name][demonstration] = sum_sq
    return _joined(rows, n_rows=n_rows, block=block)


def _joined(rows: Mapping[str, Mapping[int, Any]], *, n_rows: int, block: int) -> BlockStatistics:
    """Rows by input and demonstration as one matrix an input."""
    if not rows or n_rows != sum(len(found) for found in rows.values()):
        raise StatisticsError("statistics of a block are missing or held twice", block=block, n_rows=n_rows)
    for name, found in rows.items():
        if set(found) != set(range(len(found))):
            missing = sorted(set(range(max(found) + 1)) - set(found))
            raise StatisticsError("statistics lack demonstrations", block=block, input=name, missing=missing[:5])
    return {
        name: torch.from_numpy(np.stack([found[index] for index in range(len(found))])) for name, found in rows.items()
    }
