"""Refusals by a config alone: sizes, token ids, and models that are not decoders of text."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from mlprune.errors import ModelError
from mlprune.models.architecture.config_checks import MAX_BLOCKS, require_buildable, require_decoder
from mlprune.models.architecture.lookup import architecture_of
from mlprune.models.checkpoint.weight_files import architecture_at
from tests.forked_runs import mlprune
from tests.refusals import refused
from tests.tiny_models import ALL_FAMILY_NAMES, POSITIONS, VOCABULARY, tiny_config

CODE = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
VISION = {"vision_config": {"model_type": "siglip_vision_model"}}
KINDS: dict[str, list[dict[str, Any]]] = {
    "encoder": [{"model_type": name} for name in ("bert", "xlm-roberta", "modernbert")],
    "encoder and decoder": [
        {"model_type": "mt5"},
        {"model_type": "mbart"},
        {"model_type": "nllb-moe"},
        {"model_type": "llama", "is_encoder_decoder": True},
    ],
    "multimodal with a text part": [
        {"model_type": "gemma3", "text_config": {"model_type": "gemma3_text"}, **VISION},
        {"model_type": "gemma3", "text_config": {"hidden_size": 64}, **VISION},
        {"model_type": "llava", "text_config": {"model_type": "llama"}, **VISION},
        {"model_type": "qwen2_5_omni", "thinker_config": {"text_config": {"model_type": "qwen2"}, **VISION}},
    ],
    "multimodal": [
        {"model_type": "clip", "text_config": {"model_type": "clip_text_model"}, **VISION},
        {"model_type": "sam", **VISION},
        {"model_type": "chameleon"},
    ],
    "no language model": [{"model_type": name} for name in ("vit", "wav2vec2")],
    "remote code": [
        {"model_type": "evil", "auto_map": CODE},
        {"model_type": "evil_vl", "auto_map": CODE, "text_config": {"model_type": "llama"}, **VISION},
    ],
    "unknown type": [{"model_type": "blom"}, {"model_type": ""}, {}, {"model_type": None}, {"model_type": ["llama"]}],
    "quantised": [
        {"model_type": "llama", "quantization_config": {"quant_method": "gptq"}},
        {"model_type": "bert", "quantization_config": "4 bits"},
    ],
}
"""Kind of model -> configs of models that are refused for being of it."""
REFUSED = [(kind, config) for kind, configs in KINDS.items() for config in configs]


@pytest.mark.parametrize(("kind", "config"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_a_refusal_says_the_kind_of_the_model_and_the_next_step_in_one_short_line(
    kind: str, config: dict[str, Any]
) -> None:
    with refused(ModelError, kind=kind) as caught:
        architecture_of(config)
    assert caught.value.context["next"]
    text = str(caught.value)
    assert len(text) < 400
    assert not any(word in text for word in ("record", "after_units", "final_norm", "\n"))


@pytest.mark.thorough("builds a model of every type")
@pytest.mark.parametrize("name", sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES))
def test_every_causal_type_is_accepted_or_refused_for_its_kind(name: str) -> None:
    assert _kind_of_refusal({"model_type": name}) in {None, "encoder", "encoder and decoder"}


def _kind_of_refusal(config: dict[str, Any]) -> object:
    try:
        require_decoder(config)
    except ModelError as err:
        return err.context["kind"]
    return None


@pytest.mark.parametrize("name", ALL_FAMILY_NAMES)
def test_decoders_are_accepted_with_all_keys_of_their_library_config(name: str) -> None:
    require_decoder(AutoConfig.for_model(name).to_dict())
    require_decoder({"model_type": name, "auto_map": CODE, "quantization_config": None})


def test_an_unknown_type_is_refused_with_the_nearest_ones() -> None:
    with refused(ModelError, kind="unknown type", model_type="blom") as caught:
        architecture_of({"model_type": "blom"})
    assert "bloom" in list(caught.value.context["nearest"])  # type: ignore[call-overload]


def test_the_text_part_of_a_folder_leads_to_the_command_that_imports_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(KINDS["multimodal with a text part"][0]))
    with refused(ModelError, path=str(tmp_path)) as caught:
        architecture_at(tmp_path)
    assert f"mlprune import {tmp_path} --out" in str(caught.value.context["next"])


def _one_of_each() -> Iterator[Any]:
    for kind, configs in KINDS.items():
        yield pytest.param(configs[0], id=kind)
    llama = {"model_type": "llama", **tiny_config("llama", blocks=1, hidden=16, positions=POSITIONS)}
    yield pytest.param({**llama, "pad_token_id": VOCABULARY}, id="padding")
    yield pytest.param({**llama, "num_hidden_layers": 10**9}, id="size")


@pytest.mark.thorough("builds a model of every type")
@pytest.mark.parametrize("config", _one_of_each())
def test_the_command_line_refuses_in_one_line_with_exit_code_2(tmp_path: Path, config: dict[str, Any]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')\n")
    done = mlprune("check", "model", tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr


@pytest.mark.parametrize("padding", [VOCABULARY, 10**9])
def test_a_padding_token_beyond_the_vocabulary_is_refused(padding: int) -> None:
    for name in ALL_FAMILY_NAMES:
        config = {"model_type": name, **tiny_config(name, blocks=1, hidden=16, positions=POSITIONS)}
        with pytest.raises(ModelError, match=f"pad_token_id is {padding}"):
            architecture_of({**config, "pad_token_id": padding})


@pytest.mark.parametrize("padding", [None, 0, VOCABULARY - 1, -1])
def test_other_padding_tokens_are_accepted(padding: int | None) -> None:
    config = {"model_type": "llama", **tiny_config("llama", blocks=1, hidden=16, positions=POSITIONS)}
    assert architecture_of({**config, "pad_token_id": padding}).n_blocks == 1


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
