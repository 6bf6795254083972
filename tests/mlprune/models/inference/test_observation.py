"""Activation statistics against plain hooks on the model."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from mlprune.errors import StatisticsError
from mlprune.models.families.records import FAMILIES
from mlprune.models.inference.observation import StatisticsVisitor
from mlprune.models.local_chain import local_chain
from tests.chains import LENGTHS, text_batch
from tests.tiny_models import FAMILY_NAMES, save_tiny_model


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: save_tiny_model(tmp_path_factory.mktemp(name), name, seed=3) for name in FAMILY_NAMES}


def observe(chain, batch):
    return next(chain.stream(StatisticsVisitor, [batch]))


def reference_observation(path, family, tokens, counted):
    """Sums by (block, layer) and magnitudes of one text alone, from plain hooks on the model in float64."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64).eval()
    inputs, hidden = {}, []
    for block, module in enumerate(model.get_submodule(family.blocks)):
        for layer in family.layers:
            module.get_submodule(layer).register_forward_pre_hook(
                lambda _, args, key=(block, layer): inputs.update({key: args[0][0]})
            )
        module.register_forward_hook(
            lambda _, args, output: hidden.append(output[0][0] if isinstance(output, tuple) else output[0])
        )
        if block == 0:
            module.register_forward_pre_hook(lambda _, args: hidden.append(args[0][0]))
    torch.set_default_dtype(torch.float64)  # XGLM's code creates a constant in the default dtype
    try:
        with torch.inference_mode():
            model(tokens.unsqueeze(0))
    finally:
        torch.set_default_dtype(torch.float32)
    sums = {key: (x[counted] ** 2).sum(0) for key, x in inputs.items()}
    return sums, torch.stack([(h[counted] ** 2).sum(0).sqrt() for h in hidden])


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_statistics_of_a_padded_batch_are_those_of_plain_hooks_on_single_texts(folders, name):
    family, batch = FAMILIES[name], text_batch()
    observation = observe(local_chain(folders[name]), batch)
    assert set(observation.sums) == {(block, group) for block in range(3) for group in family.input_names}
    assert observation.n_tokens.tolist() == batch.counted.sum(1).tolist()
    for row, length in enumerate(LENGTHS):
        tokens, counted = batch.token_ids[row, :length], batch.counted[row, :length]
        sums, magnitudes = reference_observation(folders[name], family, tokens, counted)
        for (block, layer), expected in sums.items():
            observed = observation.sums[block, family.input_of(layer)][row]
            assert observed.dtype == torch.float32
            torch.testing.assert_close(observed.double(), expected, rtol=2e-5, atol=1e-6)
        torch.testing.assert_close(observation.magnitudes[:, row].double(), magnitudes, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_observation_does_not_depend_on_the_number_of_shards(folders, name):
    observations = [observe(local_chain(folders[name], n_shards=n), text_batch()) for n in (1, 2, 3)]
    for other in observations[1:]:
        assert list(other.sums) == list(observations[0].sums)
        assert all(torch.equal(other.sums[key], observations[0].sums[key]) for key in other.sums)
        assert torch.equal(other.magnitudes, observations[0].magnitudes)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_padding_tokens_and_batch_size_do_not_change_statistics(folders, name):
    chain = local_chain(folders[name])
    whole = observe(chain, text_batch())
    other_padding = observe(chain, text_batch(pad=200))
    halves = [observe(chain, text_batch(rows)) for rows in (range(2), range(2, 4))]
    for key, sums in whole.sums.items():
        assert torch.equal(other_padding.sums[key], sums)
        torch.testing.assert_close(torch.cat([half.sums[key] for half in halves]), sums, rtol=1e-5, atol=1e-6)


def broken_model(folder):
    """A model whose block 1 gives fc2 an infinite input."""
    tensors = load_file(save_tiny_model(folder) / "model.safetensors")
    tensors["model.layers.1.fc1.bias"][5] = torch.inf
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_non_finite_activation_is_an_error_that_names_block_and_input(tmp_path, threads, n_threads):
    threads(n_threads)
    with pytest.raises(StatisticsError, match=r"input='fc2', block=1"):
        list(local_chain(broken_model(tmp_path)).stream(StatisticsVisitor, [text_batch()] * 8))
