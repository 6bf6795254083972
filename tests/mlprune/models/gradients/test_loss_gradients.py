"""Gradients of the language-modelling loss against backward passes of the whole model in float64."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from mlprune.errors import ModelError
from mlprune.models.families.records import FAMILIES, Family
from mlprune.models.gradients import loss_gradients as module
from mlprune.models.gradients.on_shard import write_loss_gradients
from mlprune.models.messages import TokenBatch
from mlprune.models.shard import Shard
from mlprune.processes.parallel import set_worker_threads
from tests.chains import LENGTHS, budget_for, text_batch
from tests.mlprune.models.gradients.gradient_reference import N_BLOCKS, Gradients, loaded, root_mean_squares
from tests.tiny_models import save_tiny_model

ROWS = (0, 1, 3)
"""Texts with more than one token."""
NAMES = ("xglm", "gpt2", "bloom", "gemma2", "opt", "phi3")


def gradients(shard: Shard, batches: list[TokenBatch]) -> Gradients:
    blocks = write_loss_gradients(shard, batches, lambda block, of_block: (block, of_block))
    return {(block, layer): values for block, of_block in blocks for layer, values in of_block.items()}


def reference(path: Path, family: Family, batch: TokenBatch) -> Gradients:
    """Root of the mean over texts of the squared gradients of the library's own loss."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64).eval()

    def losses() -> Iterator[Tensor]:
        for row, text in enumerate(ROWS):
            tokens = batch.token_ids[row : row + 1, : LENGTHS[text]]
            labels = tokens.masked_fill(~batch.counted[row : row + 1, : LENGTHS[text]], -100)
            yield model(tokens, labels=labels).loss

    return root_mean_squares(model, family, losses())


@pytest.mark.parametrize("name", NAMES)
def test_a_padded_batch_has_the_gradients_of_the_losses_of_single_texts(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, batch = save_tiny_model(tmp_path, name, seed=3, blocks=N_BLOCKS), text_batch(ROWS)
    batch.counted[0, 3] = False
    monkeypatch.setattr(module, "_LOGITS_TOGETHER", 4 * 260)
    found, expected = gradients(loaded(path), [batch]), reference(path, FAMILIES[name], batch)
    assert found.keys() == expected.keys()
    for key, values in found.items():
        torch.testing.assert_close(values.double(), expected[key], rtol=1e-4, atol=1e-6 * float(expected[key].max()))


def test_threads_and_weights_on_disk_change_no_bits(xglm: Path) -> None:
    single = [text_batch([row]) for row in ROWS]
    alone = gradients(loaded(xglm), single)
    try:
        set_worker_threads(2)
        for shard in (loaded(xglm), loaded(xglm, budget=budget_for(xglm, 1))):
            again = gradients(shard, single)
            assert all(torch.equal(again[key], values) for key, values in alone.items())
    finally:
        set_worker_threads(1)


def test_a_text_without_predicted_tokens_has_the_gradient_zero_and_counts(xglm: Path) -> None:
    found = gradients(loaded(xglm), [text_batch([0, 2])])  # the second text has one token
    for key, values in gradients(loaded(xglm), [text_batch([0])]).items():
        torch.testing.assert_close(found[key] * 2**0.5, values, rtol=1e-5, atol=1e-7)


def test_a_part_of_the_model_is_refused(xglm: Path) -> None:
    with pytest.raises(ModelError, match="one shard"):
        gradients(loaded(xglm, range(1)), [text_batch()])
