from pathlib import Path

import pytest
import torch

from mlprune.errors import ModelError
from mlprune.importing.sources.weight_format import TensorSpec
from mlprune.importing.tensor_names import ModelLayout, TensorPlan, file_name, model_name, plan_tensors

EMBEDDING, HEAD, LAYER = "model.embed.weight", "head.weight", "model.layers.0.fc.weight"
LAYOUT = ModelLayout(
    parameters={EMBEDDING: (5, 2), LAYER: (3, 2), HEAD: (5, 2)},
    buffers=("model.rotary.table",),
    tied={HEAD: EMBEDDING},
    prefix="model.",
    renamed=((HEAD, "embed_out.weight"),),
)


def spec(name: str, *shape: int, storage: object = None, dtype: torch.dtype = torch.float32) -> TensorSpec:
    return TensorSpec(name, shape, dtype, file="w.bin", storage=(storage or name,))


def plan(*specs: TensorSpec, layout: ModelLayout = LAYOUT) -> TensorPlan:
    return plan_tensors(specs, layout, where=Path("source"))


def test_a_published_name_is_found_with_and_without_the_prefix_and_under_its_older_name() -> None:
    names = {"layers.0.fc.weight": LAYER, LAYER: LAYER, "embed_out.weight": HEAD, "model.head.weight": HEAD, "x": None}
    assert {name: model_name(name, LAYOUT) for name in names} == names


def test_a_parameter_that_checkpoints_know_under_another_name_is_written_under_that_name() -> None:
    assert [file_name(name, LAYOUT) for name in (HEAD, LAYER)] == ["embed_out.weight", LAYER]


def test_tensors_are_written_in_the_order_of_the_source_under_the_names_of_the_model() -> None:
    done = plan(spec("layers.0.fc.weight", 3, 2), spec("embed.weight", 5, 2))
    assert [name for name, _ in done.written] == [LAYER, EMBEDDING]
    assert done.renamed(LAYOUT) == {"layers.0.fc.weight": LAYER, "embed.weight": EMBEDDING}
    assert done.shared == {HEAD: EMBEDDING}


def test_a_tied_tensor_is_written_once_whichever_name_the_source_has() -> None:
    same = plan(spec(EMBEDDING, 5, 2, storage=1), spec(HEAD, 5, 2, storage=1), spec(LAYER, 3, 2))
    only_head = plan(spec(HEAD, 5, 2), spec(LAYER, 3, 2))
    for done in (same, only_head):
        assert [name for name, _ in done.written] == [EMBEDDING, LAYER]
        assert done.shared == {HEAD: EMBEDDING}
        assert done.stored_twice == ()


def test_tied_tensors_with_values_of_their_own_are_left_to_a_comparison() -> None:
    done = plan(spec(EMBEDDING, 5, 2), spec(HEAD, 5, 2), spec(LAYER, 3, 2))
    assert done.stored_twice == ((HEAD, EMBEDDING),)
    assert [name for name, _ in done.written] == [EMBEDDING, HEAD, LAYER]
    assert [name for name, _ in done.without(HEAD, shares=EMBEDDING).written] == [EMBEDDING, LAYER]


def test_tensors_of_one_storage_that_the_config_does_not_tie_are_both_written() -> None:
    untied = ModelLayout(**{**vars(LAYOUT), "tied": {}})
    done = plan(spec(EMBEDDING, 5, 2, storage=1), spec(HEAD, 5, 2, storage=1), spec(LAYER, 3, 2), layout=untied)
    assert [name for name, _ in done.written] == [EMBEDDING, HEAD, LAYER]


@pytest.mark.parametrize(
    "buffer",
    [
        *("h.0.attn.bias", "transformer.h.11.attn.masked_bias", "gpt_neox.layers.3.attention.bias"),
        *("model.embed_positions.weights", "embed_positions._float_tensor", "rotary.table", "model.rotary.table"),
        *("layers.0.self_attn.rotary_emb.inv_freq", "model.decoder.version"),
    ],
)
def test_buffers_of_older_versions_are_dropped_and_listed(buffer: str) -> None:
    done = plan(spec(EMBEDDING, 5, 2), spec(LAYER, 3, 2), spec(buffer, 4, 4, dtype=torch.bool))
    assert done.dropped == (buffer,)
    assert [name for name, _ in done.written] == [EMBEDDING, LAYER]


@pytest.mark.parametrize(
    ("specs", "named"),
    [
        ([spec(LAYER, 3, 2)], EMBEDDING),
        ([spec(EMBEDDING, 5, 2), spec(LAYER, 2, 3)], LAYER),
        ([spec(EMBEDDING, 5, 2), spec(LAYER, 3, 2), spec("classifier.weight", 1)], "classifier.weight"),
        ([spec(EMBEDDING, 5, 2), spec(LAYER, 3, 2), spec("layers.0.fc.weight", 3, 2)], "layers.0.fc.weight"),
        ([spec(EMBEDDING, 5, 2), spec(LAYER, 3, 2, dtype=torch.int8)], LAYER),
        ([spec(EMBEDDING, 5, 2), spec(LAYER, 3, 2, dtype=torch.float8_e4m3fn)], LAYER),
    ],
)
def test_a_source_that_does_not_fit_the_model_is_refused_by_the_name_of_the_tensor(
    specs: list[TensorSpec], named: str
) -> None:
    with pytest.raises(ModelError) as raised:
        plan(*specs)
    assert named in str(raised.value)
