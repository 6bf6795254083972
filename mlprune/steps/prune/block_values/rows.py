"""Rows of the table `block_values`, and their values for a schedule."""

from collections.abc import Sequence
from functools import lru_cache

from mlprune.json_values import JsonObject, as_float, as_int
from mlprune.pruning.schedules import BlockValue
from mlprune.store.store import Store


def value_rows(record_id: str, values: Sequence[BlockValue], *, base_model_id: str, name: str) -> list[JsonObject]:
    """Return one row per block.

    Args:
        values: of all blocks, in order.
        name: of the values, such as `mean_score`.
    """
    return [
        {
            "block_values_id": record_id,
            "base_model_id": base_model_id,
            "name": name,
            "block": block,
            "value": one.value,
            "n_weights": one.n_weights,
        }
        for block, one in enumerate(values)
    ]


def read_values(store: Store, record_id: str) -> tuple[BlockValue, ...]:
    """Return the values of all blocks, in order."""
    return _values(store.uri, record_id)


@lru_cache(maxsize=64)
def _values(store_uri: str, record_id: str) -> tuple[BlockValue, ...]:
    rows = Store(store_uri).require("block_values", record_id).rows["block_values"]
    return tuple(BlockValue(as_float(row["value"]), as_int(row["n_weights"])) for row in rows)
