import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from mlprune.errors import ModelError, StatisticsError
from mlprune.models.hooks import InputSums, LayerHooks
from mlprune.numeric.activations.statistics import CountedTokens
from tests.refusals import refused
from tests.tiny_models import ARCHITECTURES, tiny_model

XGLM = ARCHITECTURES["xglm"].kinds[0]


def observed_block(**options):
    """A block, its hooks, and a listener for one run of two rows of three tokens."""
    block = tiny_model("xglm", seed=1, blocks=1).model.layers[0]
    counted = torch.tensor([[True, True, False], [False, True, False]])
    return block, LayerHooks([(block, XGLM)]), InputSums(XGLM, CountedTokens(counted), **options)


@torch.inference_mode()
def test_inputs_are_observed_once_per_group_of_layers():
    block, hooks, listener = observed_block(keeps_tokens=True)
    seen = {}
    block.fc2.register_forward_pre_hook(lambda _, args: seen.update(fc2=args[0]))
    with hooks.listening(listener):
        block(torch.randn(2, 3, 16))
    sums = listener.sums()
    assert tuple(sums) == XGLM.input_names
    loops = torch.stack(
        [sum(seen["fc2"][row, t] ** 2 for t in range(3) if listener._counted.mask[row, t]) for row in (0, 1)]
    )
    torch.testing.assert_close(sums["fc2"], loops)
    assert [rows.tolist() for rows in listener.tokens["fc2"]] == [
        seen["fc2"][0, :2].tolist(),
        seen["fc2"][1:, 1].tolist(),
    ]


@torch.inference_mode()
def test_a_stopped_block_gives_the_same_sums_and_skips_its_last_product():
    hidden = torch.randn(2, 3, 16)
    block, hooks, whole = observed_block()
    with hooks.listening(whole):
        block(hidden)
    block, hooks, stopped = observed_block(stops=True)
    products = []
    for name, module in block.named_modules():
        module.register_forward_hook(lambda *_, name=name: products.append(name))
    with hooks.listening(stopped):
        block(hidden)
        raise AssertionError("the block was run to its end")
    assert "activation_fn" in products
    assert not {"fc2", ""} & set(products)
    assert all(torch.equal(sums, stopped.sums()[name]) for name, sums in whole.sums().items())


@torch.inference_mode()
def test_after_the_context_there_is_no_listener_even_after_an_error():
    block, hooks, listener = observed_block(stops=True)
    with pytest.raises(KeyError), hooks.listening(listener):
        raise KeyError
    block(torch.randn(2, 3, 16))
    assert not listener._sums


@torch.inference_mode()
def test_a_listener_only_gets_the_inputs_of_its_own_thread():
    block, hooks, listener = observed_block()
    run = torch.inference_mode()(block)
    with hooks.listening(listener), ThreadPoolExecutor(1) as other:
        other.submit(run, torch.randn(2, 3, 16)).result()
    assert not listener._sums


@torch.inference_mode()
def test_a_non_finite_counted_activation_is_an_error_that_names_the_input():
    block, hooks, listener = observed_block()
    hidden = torch.randn(2, 3, 16)
    hidden[0, 1, 3] = torch.nan
    with refused(StatisticsError, feature=0, row_in_batch=0), hooks.listening(listener):
        block(hidden)


@torch.inference_mode()
def test_a_layer_of_the_architecture_that_a_block_does_not_run_is_an_error():
    block = tiny_model("xglm", seed=1, blocks=1).model.layers[0]
    block.spare = torch.nn.Linear(16, 16)
    architecture = dataclasses.replace(XGLM, inputs=(*XGLM.inputs, ("spare",)))
    listener = InputSums(architecture, CountedTokens(torch.ones(1, 2, dtype=torch.bool)), stops=True)
    with LayerHooks([(block, architecture)]).listening(listener):
        block(torch.randn(1, 2, 16))
    with refused(ModelError, missing=["spare"]):
        listener.sums()
