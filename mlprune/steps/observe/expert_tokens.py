"""Counted tokens that reach each expert of a block, by side and language: rows of the record of what was observed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mlprune.corpus.calibration import pad_batch
from mlprune.corpus.token_languages import Group, SetLanguages
from mlprune.json_values import Row
from mlprune.models.checkpoint.weight_files import architecture_at
from mlprune.models.messages import TokenBatch
from mlprune.numeric.activations.statistics import TokenGroups
from mlprune.steps.job import ModelRef
from mlprune.steps.observe.statistics_files import array_column, list_column, numeric_columns
from mlprune.store.parquet import Layout, decode_numeric, encode_numeric
from mlprune.store.records import Artefact
from mlprune.store.store import Store

TABLE = "expert_tokens"
LAYOUT = Layout(TABLE, 1, {"block": "int32", "n_tokens": "list<int64>"})
"""Columns of the file of a part of a set, or of a block of a pass that can be resumed."""
SUFFIX = ".experts.parquet"
Counts = Mapping[int, Tensor]
"""Block with experts -> [experts * groups] int64, expert after expert."""


def expert_languages(store: Store, model: ModelRef, set_id: str) -> SetLanguages | None:
    """Return the languages by which the tokens of a set are counted at the experts; None for a model without experts.

    Raises:
        StoreError: the store lacks the set, or a part of it.
    """
    if not any(kind.experts for kind in architecture_at(Path(model.path)).kinds):
        return None
    return SetLanguages.of(store, store.require("demonstration_sets", set_id))


def grouped(
    languages: SetLanguages,
    batches: Iterable[tuple[tuple[int, ...], TokenBatch]],
    sides: Sequence[Sequence[int]],
    *,
    first: int = 0,
) -> Iterator[tuple[tuple[int, ...], TokenBatch]]:
    """Yield batches whose tokens are grouped by language.

    Args:
        batches: each with the indices of its demonstrations in `sides`.
        sides: of the tokens of some demonstrations of the set.
        first: the first of these demonstrations.
    """
    for indices, batch in batches:
        of_tokens = [languages.of_tokens(first + index, sides[index]) for index in indices]
        groups = TokenGroups(pad_batch(of_tokens).token_ids, len(languages.groups))
        yield indices, replace(batch, groups=groups)


def counted(values: Iterable[Tensor]) -> Tensor:
    """Add `ROUTED` of some batches, [b, experts * groups], over their demonstrations, as int64."""
    return torch.stack([of_batch.to(torch.int64).sum(dim=0) for of_batch in values]).sum(dim=0)


def expert_rows(observation_id: str, set_id: str, groups: Sequence[Group], counts: Counts) -> Iterator[Row]:
    """Yield a row per block and group.

    Args:
        observation_id: of the statistics, or of the variant whose sweep observed its own blocks.
        groups: sides and languages of the set.
    """
    own = {"observation_id": observation_id, "demonstration_set_id": set_id}
    for block, of_block in sorted(counts.items()):
        for group, n_tokens in zip(groups, of_block.reshape(-1, len(groups)).T.tolist(), strict=True):
            yield {**own, "block": block, **group._asdict(), "n_tokens": n_tokens}


def write_counts(store: Store, path: str, counts: Counts) -> Artefact:
    """Write the counts of some blocks of some demonstrations.

    Args:
        path: without `SUFFIX`.
    """
    values = [of_block.numpy() for of_block in counts.values()]
    columns: dict[str, Sequence[object]] = {"block": list(counts), "n_tokens": values}
    data, n_rows = encode_numeric(numeric_columns(columns), LAYOUT)
    return store.write_bytes(f"{path}{SUFFIX}", data, n_rows=n_rows)


def read_counts(store: Store, artefacts: Iterable[Artefact]) -> dict[int, Tensor]:
    """Return the counts of all files among some artefacts, added by block.

    Raises:
        DamagedArtefactError: a file is missing or damaged.
    """
    total: dict[int, Tensor] = {}
    for artefact in artefacts:
        if artefact.path.endswith(SUFFIX):
            columns = decode_numeric(store.read_bytes(artefact), LAYOUT, path=artefact.path)
            lists = list_column(columns, "n_tokens")
            values = np.split(lists.values, lists.ends[:-1])
            for block, of_block in zip(array_column(columns, "block").tolist(), values, strict=True):
                counts = torch.from_numpy(of_block.copy())
                total[block] = total[block] + counts if block in total else counts
    return total
