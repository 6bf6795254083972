"""Captured inputs of chosen blocks and layers."""

from functools import partial

import pytest
import torch

from mlprune.errors import StatisticsError
from mlprune.models.families.records import FAMILIES
from mlprune.models.inference.capturing import CaptureVisitor
from mlprune.models.inference.observation import StatisticsVisitor
from mlprune.models.local_chain import local_chain
from mlprune.models.messages import TokenBatch
from mlprune.models.shard_loader import load_shard
from tests.chains import budget_for, run_visitor
from tests.tiny_models import FAMILY_NAMES, PAD, save_tiny_model

LENGTHS = (7, 4, 1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: save_tiny_model(tmp_path_factory.mktemp(name), name, seed=3) for name in FAMILY_NAMES}


def batch():
    mask = torch.arange(max(LENGTHS)).unsqueeze(0) < torch.tensor(LENGTHS).unsqueeze(1)
    ids = torch.randint(3, 259, mask.shape, generator=torch.Generator().manual_seed(0))
    return TokenBatch(torch.where(mask, ids, PAD), mask, mask)


def captured(chain, inputs_of_block):
    return next(chain.stream(partial(CaptureVisitor, inputs_of_block=inputs_of_block), [batch()])).inputs


def same(inputs, expected):
    return list(inputs) == list(expected) and all(
        torch.equal(a, b) for key in expected for a, b in zip(inputs[key], expected[key], strict=True)
    )


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_squares_of_captured_inputs_sum_to_the_observed_statistics(folders, name):
    chain, names = local_chain(folders[name]), FAMILIES[name].input_names
    inputs = captured(chain, dict.fromkeys(range(3), names))
    observation = next(chain.stream(StatisticsVisitor, [batch()]))
    assert list(inputs) == [(block, name) for block in range(3) for name in names]
    for key, rows in inputs.items():
        assert [len(tokens) for tokens in rows] == list(LENGTHS)
        sums = torch.stack([tokens.double().square().sum(dim=0) for tokens in rows])
        torch.testing.assert_close(sums.float(), observation.sums[key], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_neither_shards_nor_offloading_change_captured_inputs(folders, name):
    path, inputs_of_block = folders[name], {0: FAMILIES[name].input_names[:2], 2: FAMILIES[name].input_names[-1:]}
    expected = captured(local_chain(path), inputs_of_block)
    assert list(expected) == [(block, name) for block, names in inputs_of_block.items() for name in names]
    for options in ({"n_shards": 2}, {"n_shards": 3}, {"budget": budget_for(path, 1)}):
        assert same(captured(local_chain(path, **options), inputs_of_block), expected)


def test_blocks_after_the_last_chosen_one_do_not_run(folders, monkeypatch):
    chain = local_chain(folders["xglm"])
    runner = chain.shards[0].runner
    run, step = [], runner.step
    monkeypatch.setattr(runner, "step", lambda block, *args: run.append(block) or step(block, *args))
    captured(chain, {1: ("fc1",)})
    assert set(run) == {0, 1}


def test_messages_between_shards_can_be_pickled(folders):
    shards = local_chain(folders["xglm"], n_shards=2).shards
    results = [
        run_visitor(shards, CaptureVisitor(batch(), {0: ("fc1",), 2: ("fc2",)}), pickled=pickled)
        for pickled in (False, True)
    ]
    assert same(results[1].inputs, results[0].inputs)


def test_a_non_finite_activation_is_an_error_that_names_block_and_input(folders):
    shard = load_shard(folders["xglm"], range(3), n_blocks=3, dtype="float32")
    with torch.no_grad():
        shard.runner.modules[1].fc1.bias.fill_(float("inf"))
    with pytest.raises(StatisticsError, match="not finite") as caught:
        run_visitor([shard], CaptureVisitor(batch(), {1: ("fc2",)}))
    assert (caught.value.context["block"], caught.value.context["input"]) == (1, "fc2")
