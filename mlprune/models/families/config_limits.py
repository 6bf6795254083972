"""Limits of the sizes in a model's config: building a model of an absurd size takes hours or all memory.

The sizes are checked as the file states them, before the model library reads it: the configs of some families make a
list with an entry per block.
"""

from collections.abc import Iterator, Mapping

from mlprune.json_values import JsonObject, JsonValue

MAX_BLOCKS = 1000
"""Largest number of blocks that is built; large models have about a hundred."""
MAX_WIDTH = 1 << 20
"""Largest number of features or heads; the widest layers have about 100,000 features."""
MAX_COUNT = 1 << 25
"""Largest vocabulary and number of positions; the longest published context has 10 million tokens."""
MAX_TABLE_ENTRIES = 1 << 32
"""Largest number of entries of a table of positions, which is computed and not read."""

_BLOCKS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers")
_HEADS = ("num_attention_heads", "num_key_value_heads", "attention_heads", "n_head")
_WIDTHS = ("hidden_size", "d_model", "n_embd", "n_embed", "intermediate_size", "ffn_dim", "n_inner", "head_dim")
_COUNTS = ("vocab_size", "max_position_embeddings", "n_positions", "n_ctx", "seq_length")
LIMITS: Mapping[str, int] = {
    **dict.fromkeys(_BLOCKS, MAX_BLOCKS),
    **dict.fromkeys((*_HEADS, *_WIDTHS), MAX_WIDTH),
    **dict.fromkeys(_COUNTS, MAX_COUNT),
}
"""Key of a config -> largest value."""
_COMPUTED_POSITIONS = ("xglm",)
"""Model types whose table of positions is computed: one row of features per position."""


def require_buildable(config: JsonObject) -> None:
    """Check the sizes in a config, and in the configs inside it.

    Raises:
        ValueError: a size is above its limit.
    """
    for key, value in _sizes(config):
        if value > LIMITS[key]:
            what = "blocks" if key in _BLOCKS else f"as {key}"
            raise ValueError(f"the config has {value} {what}; at most {LIMITS[key]} are built")
    if config.get("model_type") in _COMPUTED_POSITIONS:
        sizes = dict(_sizes(config))
        n_entries = sizes.get("max_position_embeddings", 0) * sizes.get("d_model", sizes.get("hidden_size", 0))
        if n_entries > MAX_TABLE_ENTRIES:
            raise ValueError(f"the table of positions has {n_entries} entries; at most {MAX_TABLE_ENTRIES} are built")


def _sizes(config: JsonObject) -> Iterator[tuple[str, int | float]]:
    """Yield (key, value) of all sizes in a config and in the configs inside it."""
    todo: list[JsonValue] = [config]
    while todo:
        value = todo.pop()
        if isinstance(value, Mapping):
            yield from ((key, size) for key, size in value.items() if key in LIMITS and isinstance(size, int | float))
            todo.extend(value.values())
