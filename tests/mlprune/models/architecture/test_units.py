"""Records of families: derived properties, checks of models against them, and limits of the sizes in a config."""

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from mlprune.errors import ModelError
from mlprune.models.architecture.architecture import Architecture
from mlprune.models.architecture.units import (
    MAX_BLOCKS,
    UnitLayout,
    check_frame,
    check_layers,
    family_of,
    family_of_config,
    n_attention_heads,
    oriented,
    require_buildable,
    require_separable_heads,
    unit_layouts,
)
from tests.refusals import refused
from tests.tiny_models import ALL_FAMILY_NAMES, ARCHITECTURES, HIDDEN, tiny_config, tiny_model


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


@pytest.mark.parametrize("name", ALL_FAMILY_NAMES)
def test_the_record_of_a_family_covers_its_whole_model(name):
    family, model = family_of(name), tiny_model(name, seed=0, blocks=2)
    check_frame(model, family)
    matrices = set()
    for block, module in enumerate(model.get_submodule(family.blocks)):
        check_layers(module, family, block=block)
        matrices |= {name for name, parameter in module.named_parameters() if parameter.dim() > 1}
    assert matrices == {f"{layer}.weight" for layer in family.layers}


def one_block(name):
    model = tiny_model(name, seed=0, blocks=1)
    return model, model.get_submodule(ARCHITECTURES[name].blocks)[0]


@pytest.mark.parametrize(
    ("added", "named"),
    [
        (lambda: nn.Linear(3, 3), "mlp.experts"),
        (lambda: nn.Parameter(torch.zeros(2, 4, 3)), "mlp.experts (2, 4, 3)"),
        (lambda: nn.Conv1d(2, 2, 3), "mlp.experts.weight (2, 2, 3)"),
        (lambda: nn.Embedding(5, 2), "mlp.experts.weight (5, 2)"),
    ],
    ids=["linear", "stacked-experts", "convolution", "table"],
)
def test_an_unlisted_weight_of_two_or_more_dimensions_is_an_error_that_names_block_and_weight(added, named):
    _, block = one_block("llama")
    block.scale = nn.Parameter(torch.ones(HIDDEN))
    check_layers(block, ARCHITECTURES["llama"], block=2)
    block.mlp.experts = added()
    with refused(ModelError, block=2, family="llama") as caught:
        check_layers(block, ARCHITECTURES["llama"], block=2)
    assert named in str(caught.value)


def test_a_layer_that_is_missing_or_transposed_and_a_head_of_another_type_are_errors():
    family = ARCHITECTURES["gpt2"]
    model, block = one_block("gpt2")
    with refused(ModelError, block=0, expected="Linear, [out, in]"):
        check_layers(block, dataclasses.replace(family, transposed=False), block=0)
    block.mlp.c_fc = nn.Linear(HIDDEN, 4 * HIDDEN)
    with refused(ModelError, block=0, expected="Conv1D, [in, out]"):
        check_layers(block, family, block=0)
    del block.mlp.c_fc
    with refused(ModelError, block=0, family="gpt2"):
        check_layers(block, family, block=0)
    model.lm_head = nn.Sequential(model.lm_head)
    with refused(ModelError, got="Sequential", family="gpt2"):
        check_frame(model, family)


def test_a_mixture_of_experts_is_rejected_under_the_record_of_its_dense_sibling():
    settings = {
        "vocab_size": 260,
        "hidden_size": HIDDEN,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "num_local_experts": 4,
    }
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("mixtral", **settings))
    check_frame(model, ARCHITECTURES["mistral"])
    with refused(ModelError, block=0, family="mistral"):
        check_layers(model.model.layers[0], ARCHITECTURES["mistral"], block=0)
    config = {**settings, "model_type": "mixtral"}
    with refused(ModelError, expected="a dense model (docs/models.md)", model_type="mixtral"):
        family_of_config(config)


@pytest.mark.parametrize("key", ["num_experts", "n_routed_experts"])
def test_a_config_with_experts_is_rejected_as_such_and_not_as_a_type_that_lacks_a_record(key):
    with pytest.raises(ModelError, match=rf"'{key}': 64"):
        family_of_config({"model_type": "olmoe", key: 64})
    with refused(ModelError, got="olmoe", nearest="olmo2"):
        family_of_config({"model_type": "olmoe"})
    assert family_of_config({"model_type": "llama", key: 0}) is ARCHITECTURES["llama"]


def test_the_opt_with_projections_and_post_norm_is_rejected_with_its_differences():
    changes = {"do_layer_norm_before": False, "word_embed_proj_dim": HIDDEN // 2}
    model = tiny_model("opt", seed=0, blocks=1, **changes)
    with refused(
        ModelError,
        missing=["model.decoder.final_layer_norm"],
        unlisted=[
            "model.decoder.project_out.weight",
            "model.decoder.project_in.weight",
        ],
    ):
        check_frame(model, ARCHITECTURES["opt"])


def test_an_unknown_model_type_is_a_short_error_with_the_supported_types():
    with pytest.raises(ModelError) as caught:
        family_of("blom")
    context = caught.value.context
    assert (context["got"], context["nearest"]) == ("blom", "bloom")
    assert context["expected"] == sorted(ALL_FAMILY_NAMES)
    assert "docs/models.md" in context["next"]
    assert "record" not in context
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model_type", "changes", "got"),
    [
        ("gemma3", {}, ["text_config", "vision_config"]),
        ("qwen2_audio", {}, ["audio_config", "text_config"]),
        ("mt5", {}, "an encoder and a decoder"),
        ("mbart", {"is_encoder_decoder": None}, "an encoder and a decoder"),
        ("xlm-roberta", {}, "an encoder"),
        ("some-other", {"architectures": ["SomeOtherForMaskedLM"]}, "an encoder"),
    ],
)
def test_models_that_are_no_text_decoders_are_refused_for_this_reason(model_type, changes, got):
    config = AutoConfig.for_model(model_type).to_dict() if model_type != "some-other" else {"model_type": model_type}
    with refused(ModelError, model_type=model_type, got=got) as caught:
        family_of_config({**config, **changes})
    assert "record" not in str(caught.value)


@pytest.mark.parametrize("name", ALL_FAMILY_NAMES)
def test_an_oriented_weight_maps_inputs_to_outputs(name):
    family = family_of(name)
    block = tiny_model(name, seed=0, blocks=1).get_submodule(family.blocks)[0]
    for path in family.layers:
        layer = block.get_submodule(path)
        view = oriented(layer.weight, family)
        inputs = torch.randn(5, view.shape[1])
        bias = 0 if layer.bias is None else layer.bias
        torch.testing.assert_close(layer(inputs), inputs @ view.T + bias)
        assert view.data_ptr() == layer.weight.data_ptr()


TOKENS = torch.tensor([[5, 9, 200, 31, 77, 12, 150]])
GROUPED = {"num_attention_heads": 4, "num_key_value_heads": 2}
"""Config changes that give a family with grouped-query attention two units of heads."""
SEPARABLE = [name for name in ALL_FAMILY_NAMES if name != "olmo2"]


def two_units(name: str) -> Any:
    """A tiny model with one block and two units of heads."""
    has_one_unit = tiny_config(name, blocks=1, hidden=16, positions=8).get("num_key_value_heads") == 1
    changes = GROUPED if has_one_unit and name not in ("opt", "gpt_neox") else {}
    return tiny_model(name, seed=3, blocks=1, **changes)


def layouts_of(model: nn.Module, family: Architecture) -> Sequence[UnitLayout]:
    block = model.get_submodule(f"{family.blocks}.0")
    weights = {layer: oriented(block.get_submodule(layer).get_parameter("weight"), family) for layer in family.layers}
    shapes = {layer: (weight.shape[0], weight.shape[1]) for layer, weight in weights.items()}
    return unit_layouts(family, shapes, model.config.to_dict())  # type: ignore[operator, union-attr]


@contextmanager
def without_inputs(layer: nn.Module, removed: Tensor) -> Iterator[None]:
    """Zero input features of a layer, [in] bool, until the context ends."""
    handle = layer.register_forward_pre_hook(lambda _, inputs: (inputs[0].masked_fill(removed, 0.0),))
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def logits(model: Any) -> Tensor:
    result: Tensor = model(TOKENS).logits
    return result


@pytest.mark.parametrize("name", SEPARABLE)
def test_masking_a_unit_changes_nothing_but_what_it_passes_on(name: str) -> None:
    family, model = ARCHITECTURES[name], two_units(name)
    block = model.get_submodule(f"{family.blocks}.0")
    for layout in layouts_of(model, family):
        removed = torch.zeros(layout.n_units, dtype=torch.bool)
        removed[-1] = True
        weights = {layer: block.get_submodule(layer).get_parameter("weight") for layer in family.layers}
        masks = layout.keep_masks(removed, {layer: tuple(oriented(w, family).shape) for layer, w in weights.items()})
        n_masked = sum(int((~mask).sum()) for mask in masks.values())
        assert n_masked == layout.unit_weights
        assert torch.equal(layout.without_outputs(masks[layout.output]), removed)
        with without_inputs(block.get_submodule(layout.output), removed[layout.columns]):
            expected = logits(model)
        dense = logits(model)
        copies = {layer: weight.detach().clone() for layer, weight in weights.items()}
        with torch.no_grad():
            for layer, mask in masks.items():
                oriented(weights[layer], family).mul_(mask)
        torch.testing.assert_close(logits(model), expected)
        assert not torch.allclose(expected, dense)
        with torch.no_grad():
            for layer, copy in copies.items():
                weights[layer].copy_(copy)


@pytest.mark.parametrize("name", SEPARABLE)
def test_every_weight_belongs_to_one_unit(name: str) -> None:
    family, model = ARCHITECTURES[name], two_units(name)
    block = model.get_submodule(f"{family.blocks}.0")
    heads, neurons = layouts_of(model, family)
    n_weights = sum(block.get_submodule(layer).get_parameter("weight").numel() for layer in family.layers)
    assert heads.unit_weights * heads.n_units + neurons.unit_weights * neurons.n_units == n_weights
    assert {*heads.rows, heads.output, *neurons.rows, neurons.output} == set(family.layers)
    assert heads.n_units == 2


def test_heads_under_a_common_norm_and_wrong_configs_are_refused() -> None:
    family = ARCHITECTURES["olmo2"]
    (neurons,) = layouts_of(tiny_model("olmo2", seed=3, blocks=1), family)
    assert neurons.kind == "neurons"
    with refused(ModelError, family="olmo2"):
        require_separable_heads(family)
    with pytest.raises(ModelError):
        n_attention_heads({"hidden_size": 4})
    model = tiny_model("llama", seed=3, blocks=1)
    model.config.num_attention_heads = 3
    with refused(ModelError, expected=3, family="llama"):
        layouts_of(model, ARCHITECTURES["llama"])
    shapes = {"fc1": (7, 4), "fc2": (4, 3)}
    opt = ARCHITECTURES["opt"]
    attention = {layer: (4, 4) for layer in opt.layers if layer not in shapes}
    with refused(ModelError, family="opt"):
        unit_layouts(opt, {**attention, **shapes}, {"num_attention_heads": 2})


def test_layers_with_the_same_input_share_the_name_of_the_first():
    family = ARCHITECTURES["xglm"]
    assert family.input_of("self_attn.v_proj") == "self_attn.q_proj"
    assert family.input_of("fc2") == "fc2"
    assert family.input_names == ("self_attn.q_proj", "self_attn.out_proj", "fc1", "fc2")
    assert len(family.layers) == 6
    with refused(ModelError, got="fc3", family="xglm"):
        family.input_of("fc3")


def test_the_prefix_that_checkpoints_omit_is_the_path_of_the_base_model():
    assert (ARCHITECTURES["opt"].base, ARCHITECTURES["opt"].prefix) == ("model.decoder", "model")
    assert ARCHITECTURES["gpt2"].base == ARCHITECTURES["gpt2"].prefix == "transformer"
