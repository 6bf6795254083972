"""Derived properties of family records."""

from mlprune.errors import ModelError
from mlprune.models.families.records import FAMILIES
from tests.refusals import refused


def test_layers_with_the_same_input_share_the_name_of_the_first():
    family = FAMILIES["xglm"]
    assert family.input_of("self_attn.v_proj") == "self_attn.q_proj"
    assert family.input_of("fc2") == "fc2"
    assert family.input_names == ("self_attn.q_proj", "self_attn.out_proj", "fc1", "fc2")
    assert len(family.layers) == 6
    with refused(ModelError, got="fc3", family="xglm"):
        family.input_of("fc3")


def test_the_prefix_that_checkpoints_omit_is_the_path_of_the_base_model():
    assert (FAMILIES["opt"].base, FAMILIES["opt"].prefix) == ("model.decoder", "model")
    assert FAMILIES["gpt2"].base == FAMILIES["gpt2"].prefix == "transformer"
