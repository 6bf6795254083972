"""Limits of the sizes in a config."""

from typing import Any

import pytest

from mlprune.models.families.config_limits import MAX_BLOCKS, require_buildable


@pytest.mark.parametrize(
    "config",
    [
        {"num_hidden_layers": 10**9},
        {"n_layer": MAX_BLOCKS + 1},
        {"hidden_size": 10**9},
        {"vocab_size": 10**12},
        {"text_config": {"num_attention_heads": 10**9}},
        {"model_type": "xglm", "max_position_embeddings": 1 << 25, "d_model": 1024},
    ],
)
def test_absurd_sizes_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at most"):
        require_buildable(config)


def test_the_largest_published_sizes_are_accepted() -> None:
    require_buildable({"num_hidden_layers": 126, "hidden_size": 16384, "ffn_dim": 53248, "vocab_size": 256000})
    require_buildable({"max_position_embeddings": 10_485_760, "hidden_size": 5120, "n_layer": MAX_BLOCKS})
    require_buildable({"model_type": "xglm", "max_position_embeddings": 2048, "d_model": 4096})
