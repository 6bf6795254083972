"""Statistics files: activation statistics stream to Parquet in parts, and come back one block at a time."""

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlprune.numeric.statistics import merge_parts
from mlprune.pruning.scoring import BlockStatistics
from mlprune.records import Artefact, Record
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
    store: Store, owner: str, block: int, *, first: int, sums: dict[str, Tensor], n_tokens: Tensor, role: str = ""
) -> Artefact:
    """Write the statistics of one block over consecutive demonstrations.

    Args:
        owner: id of the statistics record, or of the variant whose sweep observed them.
        first: index of the first demonstration.
        sums: input -> [n, in] float32.
        n_tokens: [n] int64, tokens counted in each demonstration.
        role: empty for the demonstration set, `contrast` for the contrast set of a sweep.
    """
    n = len(n_tokens)
    columns: dict[str, list[Any]] = {
        "block": [block] * (n * len(sums)),
        "input": [name for name in sums for _ in range(n)],
        "demonstration": list(range(first, first + n)) * len(sums),
        "n_tokens": n_tokens.tolist() * len(sums),
        "sum_sq": [row for one in sums.values() for row in one.numpy()],
    }
    middle = f".{role}" if role else ""
    return store.write_table(f"statistics/{owner}/block-{block:03d}{middle}.part-{first:05d}.parquet", columns, SCHEMA)


def read_block_statistics(store: Store, record: Record, block: int, *, role: str = "") -> BlockStatistics:
    """Input -> [n, in] float32 of one block, in demonstration order.

    Raises:
        DamagedArtefactError: a part is missing or differs from the record.
        StatisticsError: the parts do not make up the set.
    """
    middle = rf"\.{role}" if role else ""
    wanted = re.compile(rf"/block-{block:03d}{middle}\.part-\d+\.parquet$")
    parts: dict[str, list[tuple[int, Tensor]]] = defaultdict(list)
    for artefact in record.artefacts:
        if wanted.search(artefact.path):
            for name, first, rows in _inputs_of(store.read_table(artefact)):
                parts[name].append((first, rows))
    return {name: merge_parts(found) for name, found in parts.items()}


def _inputs_of(columns: dict[str, list[Any]]) -> Iterable[tuple[str, int, Tensor]]:
    """The inputs of one part: name, first demonstration, [n, in] sums."""
    names = columns["input"]
    starts = [index for index, name in enumerate(names) if index == 0 or name != names[index - 1]]
    for start, stop in zip(starts, [*starts[1:], len(names)], strict=True):
        yield names[start], columns["demonstration"][start], torch.from_numpy(np.stack(columns["sum_sq"][start:stop]))
