"""Everything that is observed of a model against plain hooks: sums, states, neurons, influence, captured inputs."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from mlprune.capabilities.baselines.hidden_means import HiddenSumVisitor, StateSums
from mlprune.corpus.calibration import pad_batch
from mlprune.errors import StatisticsError
from mlprune.models.chain import Chain
from mlprune.models.inference.decoding import StoppingCriteria, decode
from mlprune.models.inference.observation import (
    CaptureVisitor,
    InfluenceSums,
    InfluenceVisitor,
    StatisticsVisitor,
)
from mlprune.models.local_chain import local_chain
from mlprune.models.messages import TokenBatch
from mlprune.models.shard import Shard
from tests.chains import LENGTHS, text_batch, whole_batch
from tests.pretended_gpus import pretended_gpus
from tests.refusals import refused
from tests.tiny_models import ALL_FAMILY_NAMES, ARCHITECTURES, FAMILY_NAMES, HIDDEN, save_tiny_model


def observe(chain, batch):
    return next(chain.stream(StatisticsVisitor, [batch]))


def reference_observation(path, architecture, tokens, counted):
    """Sums by (block, layer) and magnitudes of one text alone, from plain hooks on the model in float64."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64).eval()
    inputs, hidden = {}, []
    for block, module in enumerate(model.get_submodule(architecture.blocks)):
        for layer in architecture.layers:
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


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_statistics_of_a_padded_batch_are_those_of_plain_hooks_on_single_texts(folders, name):
    architecture, batch = ARCHITECTURES[name], text_batch()
    observation = observe(local_chain(folders[name]), batch)
    assert set(observation.sums) == {(block, group) for block in range(3) for group in architecture.input_names}
    assert observation.n_tokens.tolist() == batch.counted.sum(1).tolist()
    for row, length in enumerate(LENGTHS):
        tokens, counted = batch.token_ids[row, :length], batch.counted[row, :length]
        sums, magnitudes = reference_observation(folders[name], architecture, tokens, counted)
        for (block, layer), expected in sums.items():
            observed = observation.sums[block, architecture.block(block).input_of(layer)][row]
            assert observed.dtype == torch.float32
            torch.testing.assert_close(observed.double(), expected, rtol=2e-5, atol=1e-6)
        torch.testing.assert_close(observation.magnitudes[:, row].double(), magnitudes, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_padding_tokens_and_batch_size_do_not_change_statistics(folders, name):
    chain = local_chain(folders[name])
    whole = observe(chain, text_batch())
    other_padding = observe(chain, text_batch(pad=200))
    halves = [observe(chain, text_batch(rows)) for rows in (range(2), range(2, 4))]
    for key, sums in whole.sums.items():
        assert torch.equal(other_padding.sums[key], sums)
        torch.testing.assert_close(torch.cat([half.sums[key] for half in halves]), sums, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_non_finite_activation_is_an_error_that_names_block_and_input(broken_folder, threads, n_threads):
    threads(n_threads)
    with refused(StatisticsError, block=1, feature=5):
        list(local_chain(broken_folder).stream(StatisticsVisitor, [text_batch()] * 8))


def counts_of_observing(folder, batch):
    """Host operations and waits of a pretended GPU, and the observation."""
    with pretended_gpus() as ledger:
        chain = local_chain(folder)
        ledger.clear()
        observation = observe(chain, batch)
        assert ledger.blocking_uploads == 0, ledger.blocking
        return ledger.operations, ledger.waits, observation


def test_observing_24_blocks_of_an_accelerator_takes_few_operations_and_few_waits(tmp_path):
    """Neither depends on the width, as long as a batch is reduced in one piece; 24 blocks are extrapolated."""
    token_ids = torch.randint(3, 250, (1, 512), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(token_ids, dtype=torch.bool)
    counts = []
    for blocks in (1, 2):
        folder = save_tiny_model(tmp_path / str(blocks), blocks=blocks, positions=512)
        counts.append(counts_of_observing(folder, TokenBatch(token_ids, mask, mask))[:2])
    (operations, waits), (more_operations, more_waits) = counts
    assert operations + 23 * (more_operations - operations) <= 4000
    assert 1 <= waits == more_waits <= 10


def test_large_sums_are_copied_before_the_last_block_to_free_their_memory(folders, monkeypatch):
    expected = counts_of_observing(folders["xglm"], text_batch())[2]
    monkeypatch.setattr("mlprune.numeric.activations.accelerator_statistics.MAX_BYTES", 1)
    _, waits, observation = counts_of_observing(folders["xglm"], text_batch())
    assert waits > 3
    assert all(torch.equal(sums, expected.sums[key]) for key, sums in observation.sums.items())


def captured(chain, inputs_of_block):
    return next(chain.stream(partial(CaptureVisitor, inputs_of_block=inputs_of_block), [whole_batch()])).inputs


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_squares_of_captured_inputs_sum_to_the_observed_statistics(folders, name):
    chain, names = local_chain(folders[name]), ARCHITECTURES[name].input_names
    inputs = captured(chain, dict.fromkeys(range(3), names))
    observation = next(chain.stream(StatisticsVisitor, [whole_batch()]))
    assert list(inputs) == [(block, name) for block in range(3) for name in names]
    for key, rows in inputs.items():
        assert [len(tokens) for tokens in rows] == list(LENGTHS[:3])
        sums = torch.stack([tokens.double().square().sum(dim=0) for tokens in rows])
        torch.testing.assert_close(sums.float(), observation.sums[key], rtol=1e-6, atol=1e-7)


def test_blocks_after_the_last_chosen_one_do_not_run(folders, monkeypatch):
    chain = local_chain(folders["xglm"])
    runner = chain.shards[0].runner
    run, step = [], runner.step
    monkeypatch.setattr(runner, "step", lambda block, *args: run.append(block) or step(block, *args))
    captured(chain, {1: ("fc1",)})
    assert set(run) == {0, 1}


TEXTS = [[5, 9, 77, 30, 8, 4], [100, 3, 50], [7]]


def influence_by_hooks(path: Path, name: str) -> torch.Tensor:
    """[blocks, texts] sums over tokens, each text run alone in float32 and compared in float64."""
    model = AutoModelForCausalLM.from_pretrained(path).eval()
    blocks = list(model.get_submodule(ARCHITECTURES[name].blocks))
    sums = torch.zeros(len(blocks), len(TEXTS), dtype=torch.float64)
    text = 0

    for number, block in enumerate(blocks):

        def compare(_: Any, args: Any, kwargs: Any, output: Any, *, number: int = number) -> None:
            before = args[0] if args else kwargs["hidden_states"]
            after = output[0] if isinstance(output, tuple) else output
            pairs = zip(before[0].double(), after[0].double(), strict=True)
            cosines = [float(x @ y) / (float(x @ x) * float(y @ y)) ** 0.5 for x, y in pairs]
            sums[number, text] = sum(1 - cosine for cosine in cosines)

        block.register_forward_hook(compare, with_kwargs=True)
    with torch.no_grad():
        for text in range(len(TEXTS)):
            model(input_ids=torch.tensor([TEXTS[text]]), use_cache=False)
    return sums


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", ALL_FAMILY_NAMES)
def test_influence_in_a_padded_batch_is_that_of_each_text_alone(folders: dict[str, Path], name: str) -> None:
    folder = folders[name]
    (influence,) = local_chain(folder, n_shards=2).stream(InfluenceVisitor, [pad_batch(TEXTS)])
    assert isinstance(influence, InfluenceSums)
    assert influence.n_tokens.tolist() == [6, 3, 1]
    torch.testing.assert_close(influence.sums, influence_by_hooks(folder, name), rtol=1e-4, atol=1e-5)


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
    blocks = list(model.get_submodule(ARCHITECTURES[name].blocks))
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
    outputs = decode(chain, TEXTS, StoppingCriteria(3, 0), pad_id=1)
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
