"""Configs of models that cannot be built or pruned are refused before anything is built."""

from typing import Any

import pytest
from transformers import AutoConfig

from mlprune.errors import ModelError
from mlprune.models.architecture.config_checks import MAX_BLOCKS, require_buildable, require_decoder
from tests.refusals import refused


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


@pytest.mark.parametrize("key", ["num_experts", "n_routed_experts", "num_local_experts"])
def test_a_config_with_experts_is_refused_as_such(key: str) -> None:
    with refused(ModelError, got={key: 64}, model_type="olmoe"):
        require_decoder({"model_type": "olmoe", key: 64})
    require_decoder({"model_type": "llama", key: 0})


def test_an_unknown_model_type_is_a_short_error_with_the_nearest_types() -> None:
    with refused(ModelError, got="blom") as caught:
        require_decoder({"model_type": "blom"})
    assert "bloom" in caught.value.context["expected"]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model_type", "changes", "got"),
    [
        ("gemma3", {}, ["text_config", "vision_config"]),
        ("qwen2_audio", {}, ["audio_config", "text_config"]),
        ("mt5", {}, "an encoder and a decoder"),
        ("mbart", {"is_encoder_decoder": None}, "an encoder and a decoder"),
        ("xlm-roberta", {}, "an encoder"),
    ],
)
def test_models_that_are_no_text_decoders_are_refused_for_this_reason(
    model_type: str, changes: dict[str, Any], got: object
) -> None:
    config = AutoConfig.for_model(model_type).to_dict()
    with refused(ModelError, model_type=model_type, got=got):
        require_decoder({**config, **changes})
