import pytest
import torch
from torch import nn

from mlprune.errors import ModelError
from mlprune.models.families import FAMILIES, check_layers, family_of, oriented
from tests.tiny_models import FAMILY_NAMES, tiny_model


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_the_record_of_a_family_lists_every_linear_map_of_its_blocks(name):
    family = family_of(name)
    for block, module in enumerate(tiny_model(name, seed=0, blocks=2).get_submodule(family.blocks)):
        check_layers(module, family, block=block)


def test_an_unlisted_linear_map_is_an_error_that_names_it():
    family = FAMILIES["xglm"]
    module = tiny_model("xglm", seed=0, blocks=1).model.layers[0]
    module.adapter = nn.Linear(3, 3)
    with pytest.raises(ModelError, match=r"does not list.*block=4.*'adapter'"):
        check_layers(module, family, block=4)


def test_a_missing_layer_is_an_error_that_names_it():
    family = FAMILIES["gpt2"]
    module = tiny_model("gpt2", seed=0, blocks=1).transformer.h[0]
    del module.mlp.c_fc
    with pytest.raises(ModelError, match=r"lacks layers.*'mlp.c_fc'"):
        check_layers(module, family, block=0)


def test_an_unknown_model_type_is_an_error_that_says_where_to_write_the_record():
    with pytest.raises(ModelError, match=r"families\.py.*got='blom'.*'bloom', 'gpt2', 'xglm'.*nearest='bloom'"):
        family_of("blom")


def test_layers_that_read_one_input_share_the_name_of_the_first():
    family = FAMILIES["xglm"]
    assert family.input_of("self_attn.v_proj") == "self_attn.q_proj"
    assert family.input_of("fc2") == "fc2"
    assert family.input_names == ("self_attn.q_proj", "self_attn.out_proj", "fc1", "fc2")
    assert len(family.layers) == 6
    with pytest.raises(ModelError, match="no such layer"):
        family.input_of("fc3")


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_an_oriented_weight_maps_inputs_to_outputs(name):
    family = family_of(name)
    block = tiny_model(name, seed=0, blocks=1).get_submodule(family.blocks)[0]
    for path in family.layers:
        layer = block.get_submodule(path)
        view = oriented(layer.weight, family)
        inputs = torch.randn(5, view.shape[1])
        torch.testing.assert_close(layer(inputs), inputs @ view.T + layer.bias)
        assert view.data_ptr() == layer.weight.data_ptr()
