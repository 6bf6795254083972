"""Regional gradients against float64 autograd on single texts, without padding, in the model's own code."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from mlprune.errors import StatisticsError
from mlprune.models.architecture.architecture import Architecture
from mlprune.models.block_ranges import EMBEDDINGS
from mlprune.models.checkpoint.weight_files import architecture_at
from mlprune.models.gradients import Batches, regional_gradients
from mlprune.models.messages import TokenBatch
from mlprune.models.shard import Shard
from mlprune.numeric.activations.statistics import CountedTokens
from mlprune.processes.parallel import set_worker_threads
from tests.chains import LENGTHS, budget_for, text_batch
from tests.expert_models import EXPERT_TYPES, save_expert_model
from tests.mlprune.models.gradients.gradient_reference import N_BLOCKS, Gradients, loaded, root_mean_squares
from tests.refusals import refused
from tests.tiny_models import ALL_FAMILY_NAMES, ARCHITECTURES, save_tiny_model


@pytest.fixture(scope="module")
def xglm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny XGLM, which no test changes."""
    return save_tiny_model(tmp_path_factory.mktemp("xglm"), seed=3, blocks=N_BLOCKS)


def gradients(shard: Shard, batches: list[TokenBatch], **options: Any) -> Gradients:
    """(block, layer) -> regional gradients of all blocks of a shard."""
    with torch.inference_mode():
        shard.load(EMBEDDINGS)
        states = [shard.runner.embed(batch.token_ids, batch.attention_mask) for batch in batches]
    counted = [CountedTokens(batch.counted) for batch in batches]
    found: Gradients = {}
    for block in range(N_BLOCKS):
        with torch.inference_mode():
            shard.load(block)
        pairs: Batches = list(zip(states, counted, strict=True))
        of_block = regional_gradients(shard.runner, block, pairs, **options)
        found |= {(block, layer): values for layer, values in of_block.items()}
        with torch.inference_mode():
            states = [shard.runner.step(block, one) for one in states]
    return found


def reference(path: Path, architecture: Architecture, batch: TokenBatch, **options: Any) -> Gradients:
    """Root of the mean over texts of the squared gradients, from one backward pass per text in float64."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64, **options).eval()
    after: dict[int, Tensor] = {}
    for block, module in enumerate(model.get_submodule(architecture.blocks).children()):
        module.register_forward_pre_hook(lambda _, args: (args[0].detach(), *args[1:]))  # no gradient leaves a block
        module.register_forward_hook(
            lambda _, args, output, block=block: after.update({block: output[0] if type(output) is tuple else output})
        )

    def losses() -> Iterator[Tensor]:
        for row, length in enumerate(LENGTHS):
            model(batch.token_ids[row : row + 1, :length])
            norms = [hidden[0][batch.counted[row, :length]].norm() for hidden in after.values()]
            yield torch.stack(norms).sum()

    return root_mean_squares(model, architecture, losses())


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", ALL_FAMILY_NAMES)
def test_a_padded_batch_has_the_gradients_of_single_texts_in_float64(name: str, tmp_path: Path) -> None:
    path, batch = save_tiny_model(tmp_path, name, seed=3, blocks=N_BLOCKS), text_batch()
    found = gradients(loaded(path), [batch])
    expected = reference(path, ARCHITECTURES[name], batch)
    assert found.keys() == expected.keys()
    for key, values in found.items():
        assert values.dtype == torch.float32
        torch.testing.assert_close(values.double(), expected[key], rtol=1e-4, atol=1e-6 * float(expected[key].max()))


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("model_type", EXPERT_TYPES)
def test_layers_of_experts_have_the_gradients_of_the_tokens_that_are_routed_there(
    model_type: str, tmp_path: Path
) -> None:
    path, batch = save_expert_model(tmp_path, model_type, seed=3, n_experts=24, blocks=N_BLOCKS), text_batch()
    found = gradients(loaded(path), [batch])
    expected = reference(path, architecture_at(path), batch, experts_implementation="eager")
    assert found.keys() == expected.keys()
    for key, values in found.items():
        torch.testing.assert_close(values.double(), expected[key], rtol=1e-4, atol=1e-6 * float(expected[key].max()))
    unused = [layer for (block, layer), values in found.items() if block == 1 and not bool(values.any())]
    assert unused
    assert all(".experts." in layer for layer in unused)


def test_threads_batches_and_padding_tokens_change_no_bits(xglm: Path) -> None:
    single = [text_batch([row]) for row in (0, 1, 3)]
    alone = gradients(loaded(xglm), single)
    try:
        set_worker_threads(2)
        for other in (single, [text_batch([row], pad=200) for row in (0, 1, 3)]):
            again = gradients(loaded(xglm), other)
            assert all(torch.equal(again[key], values) for key, values in alone.items())
    finally:
        set_worker_threads(1)
    together = gradients(loaded(xglm), [text_batch([0, 1, 3])])
    for key, values in alone.items():
        torch.testing.assert_close(together[key], values, rtol=1e-5, atol=1e-7)


def test_weights_say_how_often_a_demonstration_counts(xglm: Path) -> None:
    batches = [text_batch([0, 1]), text_batch([3])]
    weighted = gradients(loaded(xglm), batches, weights=[0.0, 2.0, 1.0])
    repeated = gradients(loaded(xglm), [text_batch([1]), text_batch([1]), text_batch([3])])
    for key, values in weighted.items():
        torch.testing.assert_close(values, repeated[key], rtol=1e-5, atol=1e-7)


def test_a_demonstration_without_counted_tokens_has_the_gradient_zero_and_counts(xglm: Path) -> None:
    batch = text_batch([0, 1])
    counted = batch.counted.clone()
    counted[1] = False
    half = gradients(loaded(xglm), [TokenBatch(batch.token_ids, batch.attention_mask, counted)])
    whole = gradients(loaded(xglm), [text_batch([0])])
    for key, values in half.items():
        torch.testing.assert_close(values * 2**0.5, whole[key], rtol=1e-5, atol=1e-7)


def test_blocks_on_disk_and_masked_blocks_have_the_gradients_of_their_weights(xglm: Path, tmp_path: Path) -> None:
    mask = torch.rand(64, 16, generator=torch.Generator().manual_seed(1)) > 0.5
    tensors = load_file(xglm / "model.safetensors")
    changed = save_tiny_model(tmp_path, seed=3, blocks=N_BLOCKS)
    tensors["model.layers.0.fc1.weight"] *= mask
    save_file(tensors, changed / "model.safetensors", metadata={"format": "pt"})
    masked = loaded(xglm)
    masked.set_keep_masks({(0, "fc1"): mask})
    expected = gradients(loaded(changed), [text_batch()])
    for shard in (masked, loaded(changed, budget=budget_for(changed, 1))):
        found = gradients(shard, [text_batch()])
        assert all(torch.equal(found[key], values) for key, values in expected.items())


def test_a_gradient_that_is_not_finite_names_block_and_layer(xglm: Path, tmp_path: Path) -> None:
    tensors = load_file(xglm / "model.safetensors")
    broken = save_tiny_model(tmp_path, seed=3, blocks=N_BLOCKS)
    tensors["model.layers.1.fc1.bias"][5] = torch.inf
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with refused(StatisticsError, block=1) as caught:
        gradients(loaded(broken), [text_batch()])
    assert caught.value.context["layer"] in ARCHITECTURES["xglm"].layers
