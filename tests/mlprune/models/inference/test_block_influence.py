"""Influence of blocks against hooks on the model and plain float64 loops, for every family."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from mlprune.corpus.calibration import pad_batch
from mlprune.errors import StatisticsError
from mlprune.models.families.records import FAMILIES
from mlprune.models.inference.block_influence import InfluenceSums, InfluenceVisitor
from mlprune.models.local_chain import local_chain
from mlprune.models.shard import Shard
from tests.tiny_models import ALL_FAMILY_NAMES, HIDDEN, save_tiny_model

TEXTS = [[5, 9, 77, 30, 8, 4], [100, 3, 50], [7]]


def influence_by_hooks(path: Path, name: str) -> torch.Tensor:
    """[blocks, texts] sums over tokens, each text run alone in float32 and compared in float64."""
    model = AutoModelForCausalLM.from_pretrained(path).eval()
    blocks = list(model.get_submodule(FAMILIES[name].blocks))
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


@pytest.mark.parametrize("name", ALL_FAMILY_NAMES)
def test_influence_in_a_padded_batch_is_that_of_each_text_alone(tmp_path: Path, name: str) -> None:
    folder = save_tiny_model(tmp_path, name, seed=3)
    (influence,) = local_chain(folder, n_shards=2).stream(InfluenceVisitor, [pad_batch(TEXTS)])
    assert isinstance(influence, InfluenceSums)
    assert influence.n_tokens.tolist() == [6, 3, 1]
    torch.testing.assert_close(influence.sums, influence_by_hooks(folder, name), rtol=1e-4, atol=1e-5)


def test_a_state_that_is_not_finite_is_an_error_that_names_its_block(tmp_path: Path) -> None:
    chain = local_chain(save_tiny_model(tmp_path, "xglm", seed=3))
    chain.everywhere(Shard.set_shifts, {1: torch.full((HIDDEN,), torch.inf)})
    with pytest.raises(StatisticsError, match="block=1"):
        list(chain.stream(InfluenceVisitor, [pad_batch(TEXTS)]))
