"""Sums of hidden states, and shifts of them, against plain hooks on the model in float64."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from mlprune.corpus.calibration import pad_batch
from mlprune.errors import ModelError, StatisticsError
from mlprune.models.chain import Chain
from mlprune.models.checkpoint.weight_files import WeightFiles, weight_name
from mlprune.models.families.checks import check_layers, oriented
from mlprune.models.families.records import FAMILIES
from mlprune.models.inference.decoding import greedy_decode
from mlprune.models.inference.observation import ActiveNeuronVisitor, HiddenSumVisitor, StateSums
from mlprune.models.local_chain import local_chain
from mlprune.models.messages import TokenBatch
from mlprune.models.shard import Shard
from tests.chains import LENGTHS, whole_batch
from tests.refusals import refused
from tests.tiny_models import ALL_FAMILY_NAMES, FAMILY_NAMES, HIDDEN, tiny_model

TEXTS = [[5, 9, 77, 30, 8, 4], [100, 3, 50], [7]]
N_TOKENS = sum(map(len, TEXTS))
GENERATOR = torch.Generator().manual_seed(1)
SHIFTS = {0: torch.randn(HIDDEN, generator=GENERATOR).double(), 2: torch.randn(HIDDEN, generator=GENERATOR).double()}


def added_up(chain: Chain, batch: TokenBatch) -> StateSums:
    (sums,) = chain.stream(HiddenSumVisitor, [batch])
    assert isinstance(sums, StateSums)
    return sums


def reference(path: Path, name: str, shifts: dict[int, Tensor]) -> tuple[Tensor, Any]:
    """[n_blocks, d] sums over the tokens of all texts, each run alone, and the model with its hooks."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64).eval()
    blocks = list(model.get_submodule(FAMILIES[name].blocks))
    sums = torch.zeros(len(blocks), HIDDEN, dtype=torch.float64)
    for number, block in enumerate(blocks):

        def move(_: Any, __: Any, output: Any, *, number: int = number) -> Any:
            hidden = output[0] if isinstance(output, tuple) else output
            moved = hidden + shifts.get(number, 0.0)
            sums[number] += moved[0].sum(dim=0)
            return (moved, *output[1:]) if isinstance(output, tuple) else moved

        block.register_forward_hook(move)
    torch.set_default_dtype(torch.float64)  # XGLM's code creates a constant in the default dtype
    try:
        with torch.no_grad():
            for text in TEXTS:
                model(input_ids=torch.tensor([text]), use_cache=False)
    finally:
        torch.set_default_dtype(torch.float32)
    return sums, model


@pytest.mark.parametrize("shifts", [{}, SHIFTS], ids=["plain", "shifted"])
@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_hidden_sums_of_a_padded_batch_are_those_of_its_texts_alone(
    folders: dict[str, Path], name: str, shifts: dict[int, Tensor]
) -> None:
    chain = local_chain(folders[name])
    chain.everywhere(Shard.set_shifts, shifts)
    hidden_sums = added_up(chain, pad_batch(TEXTS))
    assert (hidden_sums.n_tokens, hidden_sums.sums.dtype) == (N_TOKENS, torch.float64)
    torch.testing.assert_close(hidden_sums.sums, reference(folders[name], name, shifts)[0], rtol=2e-5, atol=2e-5)


def test_shifts_can_be_removed(folders: dict[str, Path]) -> None:
    chain = local_chain(folders["xglm"], n_shards=2)
    before = added_up(chain, pad_batch(TEXTS)).sums
    chain.everywhere(Shard.set_shifts, SHIFTS)
    assert not torch.equal(added_up(chain, pad_batch(TEXTS)).sums, before)
    chain.everywhere(Shard.set_shifts, None)
    assert torch.equal(added_up(chain, pad_batch(TEXTS)).sums, before)


def test_shifts_also_apply_to_decoding(folders: dict[str, Path]) -> None:
    chain = local_chain(folders["gpt2"], n_shards=2)
    chain.everywhere(Shard.set_shifts, SHIFTS)
    outputs = greedy_decode(chain, TEXTS, max_new_tokens=3, stop_id=0, pad_id=1)
    _, model = reference(folders["gpt2"], "gpt2", SHIFTS)
    for text, new in zip(TEXTS, outputs, strict=True):
        tokens = list(text)
        for token in new:
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1]
            assert logits[token] >= logits.max() - 1e-3
            tokens.append(token)


def test_only_counted_tokens_are_summed_and_a_non_finite_state_is_an_error_that_names_its_block(
    folders: dict[str, Path],
) -> None:
    chain = local_chain(folders["xglm"])
    batch = pad_batch(TEXTS, counted=[[1, 1, 0, 0, 0, 0], [0, 0, 0], [1]])
    assert added_up(chain, batch).n_tokens == 3
    chain.everywhere(Shard.set_shifts, {1: torch.full((HIDDEN,), torch.inf)})
    with refused(StatisticsError, block=1, feature=0):
        added_up(chain, batch)


def counted(chain):
    return next(chain.stream(ActiveNeuronVisitor, [whole_batch()]))


def positive_inputs(model, family):
    """Block -> [neurons], tokens at which the input of the activation function is positive, one text at a time.

    Every activation function of a family keeps the sign. Of a gated feed-forward the gate is what counts; where gate
    and up projection are one layer, it comes first.
    """
    layer = family.feed_forward[0][0]
    read = {}
    for block, module in enumerate(model.get_submodule(family.blocks)):
        hook = lambda _, args, block=block: read.update({block: args[0].reshape(-1, args[0].shape[-1])})  # noqa: E731
        module.get_submodule(layer).register_forward_pre_hook(hook)
    texts, counts = whole_batch(), {}
    for row, length in enumerate(LENGTHS[:3]):
        with torch.inference_mode():
            model(texts.token_ids[row : row + 1, :length], use_cache=False)
        for block, inputs in read.items():
            linear = model.get_submodule(f"{family.blocks}.{block}.{layer}")
            before = inputs.double() @ oriented(linear.weight, family).T.double()
            before = before + (0 if linear.bias is None else linear.bias.double())
            counts[block] = counts.get(block, 0) + (before > 0).sum(dim=0)
    return counts


def weights(path, family, block, layer):
    return WeightFiles(path, family).read(weight_name(family, block, layer), torch.float32)


def layers_of(family):
    """One layer before the neurons, and the layer after them."""
    before, after = family.feed_forward
    return before[-1], after


@pytest.mark.parametrize("name", ALL_FAMILY_NAMES)
def test_a_neuron_fires_if_the_input_of_its_activation_function_is_positive(name, folders):
    family, path = FAMILIES[name], folders[name]
    active = counted(local_chain(path))
    expected = positive_inputs(AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval(), family)
    assert active.n_tokens == sum(LENGTHS[:3])
    assert list(active.counts) == list(expected) == [0, 1, 2]
    for block, counts in active.counts.items():
        assert counts.dtype == torch.int64
        assert torch.equal(counts, expected[block][: len(counts)])
        before, after = (oriented(weights(path, family, block, layer), family) for layer in layers_of(family))
        assert (before.shape[0] % len(counts), after.shape[1]) == (0, len(counts))
        assert 0 < int(counts.sum()) < counts.numel() * sum(LENGTHS[:3])


def test_a_block_without_the_activation_of_its_record_is_rejected():
    block = tiny_model("xglm", seed=0, blocks=1).model.layers[0]
    del block.activation_fn
    with refused(ModelError, block=0, family="xglm"):
        check_layers(block, FAMILIES["xglm"], block=0)
