"""Architectures that are found by running a model without weights."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.initialization import no_init_weights

from mlprune.errors import ModelError
from mlprune.models.architecture.architecture import Architecture, Part
from mlprune.models.architecture.discovery import discover
from mlprune.models.architecture.lookup import architecture_of
from tests.groups import of_each_layout
from tests.refusals import refused
from tests.tiny_models import ALL_FAMILY_NAMES, ARCHITECTURES, HIDDEN, POSITIONS, tiny_config, tiny_model

QUERY_KEY_VALUE = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
GATED = (QUERY_KEY_VALUE, ("self_attn.o_proj",), ("mlp.gate_proj", "mlp.up_proj"), ("mlp.down_proj",))
TWO_LAYERS = (QUERY_KEY_VALUE, ("self_attn.out_proj",), ("fc1",), ("fc2",))
DENSE_TO_4H = ("mlp.dense_h_to_4h",), ("mlp.dense_4h_to_h",)
INPUTS = {
    **dict.fromkeys(ALL_FAMILY_NAMES, GATED),
    "xglm": TWO_LAYERS,
    "opt": TWO_LAYERS,
    "gpt2": (("attn.c_attn",), ("attn.c_proj",), ("mlp.c_fc",), ("mlp.c_proj",)),
    "bloom": (("self_attention.query_key_value",), ("self_attention.dense",), *DENSE_TO_4H),
    "gpt_neox": (("attention.query_key_value",), ("attention.dense",), *DENSE_TO_4H),
    "phi3": (("self_attn.qkv_proj",), ("self_attn.o_proj",), ("mlp.gate_up_proj",), ("mlp.down_proj",)),
}
AROUND = {
    **dict.fromkeys(ALL_FAMILY_NAMES, ("model.layers", ("model.embed_tokens",), "model.norm")),
    "xglm": ("model.layers", ("model.embed_tokens",), "model.layer_norm"),
    "gpt2": ("transformer.h", ("transformer.wte", "transformer.wpe"), "transformer.ln_f"),
    "bloom": (
        "transformer.h",
        ("transformer.word_embeddings", "transformer.word_embeddings_layernorm"),
        "transformer.ln_f",
    ),
    "opt": (
        "model.decoder.layers",
        ("model.decoder.embed_tokens", "model.decoder.embed_positions"),
        "model.decoder.final_layer_norm",
    ),
    "gpt_neox": ("gpt_neox.layers", ("gpt_neox.embed_in",), "gpt_neox.final_layer_norm"),
}
"""Model type -> blocks, embeddings and last norm."""
HEADS = {"bloom": "interleaved", "gpt_neox": "interleaved", "olmo2": "joined"}


@pytest.mark.parametrize("name", of_each_layout(ALL_FAMILY_NAMES))
def test_the_modules_of_a_model_are_found(name: str) -> None:
    architecture = ARCHITECTURES[name]
    (block,) = architecture.kinds
    before_heads, (after_heads,), before_neurons, (after_neurons,) = block.inputs
    assert block.inputs == INPUTS[name]
    assert (block.attention, block.feed_forward) == (
        Part(before_heads, after_heads),
        Part(before_neurons, after_neurons),
    )
    assert (architecture.blocks, architecture.embeddings, *architecture.tail) == AROUND[name]
    assert architecture.head == "lm_head"
    assert block.heads == HEADS.get(name, "blocked")
    assert block.transposed is (name == "gpt2")
    assert block.n_returned == (2 if name == "bloom" else None)


@pytest.mark.parametrize("name", of_each_layout(ALL_FAMILY_NAMES))
def test_every_matrix_of_a_block_is_prunable(name: str) -> None:
    architecture, model = ARCHITECTURES[name], tiny_model(name, seed=0, blocks=2)
    for block, module in enumerate(model.get_submodule(architecture.blocks)):
        matrices = {name for name, parameter in module.named_parameters() if parameter.dim() > 1}
        assert matrices == {f"{layer}.weight" for layer in architecture.block(block).layers}
        assert architecture.block(block).dense == ()


def discovered(name: str = "llama", *, change: Callable[[Any], None] = lambda _: None, **settings: Any) -> Architecture:
    """Discover a tiny model that was changed after it was built."""
    config = tiny_config(name, blocks=2, hidden=HIDDEN, positions=POSITIONS)
    with FakeTensorMode(allow_non_fake_inputs=True):
        with no_init_weights():
            model = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **{**config, **settings}))
        change(model)
        return discover(model.eval())


class Wrapped(nn.Module):
    """A module with another function of its inputs around it."""

    def __init__(self, module: nn.Module, function: Callable[..., Tensor], **more: nn.Module) -> None:
        super().__init__()
        self.module, self.function = module, function
        for name, extra in more.items():
            setattr(self, name, extra)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.function(self, hidden)


def test_an_additional_linear_layer_is_found() -> None:
    """Two projections of the neurons of a block, one after the other."""

    def change(model: Any) -> None:
        mlp = model.model.layers[1].mlp
        extra = nn.Linear(HIDDEN, HIDDEN)
        model.model.layers[1].mlp = Wrapped(mlp, lambda self, hidden: self.extra(self.module(hidden)), extra=extra)

    architecture = discovered(change=change)
    plain, changed = (architecture.block(block) for block in (0, 1))
    assert architecture.kind_of_block == (0, 1)
    assert plain.inputs == GATED
    assert changed.inputs[2:] == (
        ("mlp.module.gate_proj", "mlp.module.up_proj"),
        ("mlp.module.down_proj",),
        ("mlp.extra",),
    )


@pytest.mark.parametrize(
    ("extra", "name", "shape", "reason"),
    [
        (lambda: nn.Linear(3, 5), "extra.weight", (5, 3), "does not call"),
        (lambda: nn.Conv1d(2, 2, 3), "extra.weight", (2, 2, 3), "Conv1d"),
        (lambda: nn.Embedding(5, 2), "extra.weight", (5, 2), "Embedding"),
        (lambda: nn.Parameter(torch.zeros(2, 4, 3)), "extra", (2, 4, 3), "LlamaMLP"),
    ],
    ids=["uncalled", "convolution", "table", "stack"],
)
def test_what_is_no_linear_layer_that_reads_tokens_stays_dense(
    extra: Callable[[], Any], name: str, shape: tuple[int, ...], reason: str
) -> None:
    architecture = discovered(change=lambda model: setattr(model.model.layers[0].mlp, "extra", extra()))
    assert architecture.block(0).inputs == architecture.block(1).inputs == GATED
    (dense,) = architecture.block(0).dense
    assert (dense.name, dense.shape) == (f"mlp.{name}", shape)
    assert reason in dense.reason
    assert architecture.block(1).dense == ()


def test_a_layer_that_runs_twice_stays_dense() -> None:
    def change(model: Any) -> None:
        layer = model.model.layers[0].mlp.down_proj
        model.model.layers[0].mlp.down_proj = Wrapped(
            layer, lambda self, hidden: self.module(hidden) + self.module(-hidden)
        )

    (dense,) = discovered(change=change).block(0).dense
    assert dense.name == "mlp.down_proj.module.weight"
    assert "more than once" in dense.reason


def test_the_projections_of_an_opt_350m_belong_to_its_embeddings_and_its_tail() -> None:
    architecture = discovered("opt", do_layer_norm_before=False, word_embed_proj_dim=HIDDEN // 2)
    assert architecture.tail == ("model.decoder.project_out",)
    assert set(architecture.embeddings) == {
        f"model.decoder.{module}" for module in ("embed_tokens", "embed_positions", "project_in")
    }


def test_a_norm_of_the_only_key_head_joins_no_heads() -> None:
    norms = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
    assert discovered("qwen3", **norms).block(0).heads == "blocked"
    assert discovered("olmo2").block(0).heads == "joined"


def test_a_key_of_the_config_that_its_class_lacks_is_not_the_number_of_neurons() -> None:
    assert discovered("opt", intermediate_size=32).neurons_key == "ffn_dim"


def set_tied(model: Any) -> None:
    model.model.layers[1].mlp = model.model.layers[0].mlp


def set_other_order(model: Any) -> None:
    model.model.layers = nn.ModuleList([model.model.layers[0], model.model.layers[1]][::-1])
    forward = model.model.forward

    def reversed_forward(*args: Any, **kwargs: Any) -> Any:
        model.model.layers._modules = dict(reversed(model.model.layers._modules.items()))
        return forward(*args, **kwargs)

    model.model.forward = reversed_forward


def set_no_head(model: Any) -> None:
    model.lm_head = nn.Sequential(model.lm_head)


def set_unused(model: Any) -> None:
    model.model.spare = nn.Linear(HIDDEN, HIDDEN)


@pytest.mark.parametrize("change", [set_tied, set_other_order, set_no_head, set_unused])
def test_a_model_that_is_no_chain_of_blocks_is_refused(change: Callable[[Any], None]) -> None:
    with refused(ModelError, model_type="llama"):
        discovered(change=change)


def test_blocks_of_two_ways_to_store_weights_are_refused() -> None:
    def change(model: Any) -> None:
        model.transformer.h[0].mlp.c_fc = nn.Linear(HIDDEN, 4 * HIDDEN)

    with refused(ModelError, block=0):
        discovered("gpt2", change=change)


def test_an_architecture_is_the_same_when_it_is_read_from_the_cache() -> None:
    config = {"model_type": "gpt_neox", **tiny_config("gpt_neox", blocks=2, hidden=HIDDEN, positions=POSITIONS)}
    from mlprune.models.architecture import lookup  # noqa: PLC0415

    first = architecture_of(config)
    lookup._architecture_of.cache_clear()
    assert architecture_of(config) == first
    assert hash(architecture_of(config)) == hash(first)


def test_a_config_that_the_model_code_rejects_is_one_line() -> None:
    config = tiny_config("llama", blocks=1, hidden=HIDDEN, positions=POSITIONS)
    with refused(ModelError) as caught:
        architecture_of({"model_type": "llama", **config, "hidden_size": "wide"})
    assert "\n" not in str(caught.value)
