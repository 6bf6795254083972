"""New embeddings and heads run as in a model that has them, wherever they are, and the dense ones come back."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mlprune.errors import ShapeError
from mlprune.evaluation.scoring.batches import ScoredText, plan_texts
from mlprune.evaluation.scoring.candidates import score_texts
from mlprune.models.chain import Chain
from mlprune.models.local_chain import local_chain
from mlprune.models.masks.block_changes import BlockChanges
from mlprune.models.placement.budget import MemoryBudget, smallest_budget
from mlprune.models.placement.memory_estimate import GROUP_BYTES, footprint
from mlprune.models.shard import Shard
from tests.tiny_models import save_tiny_model

TEXTS = ([5, 9, 20, 31, 7, 12], [3, 8, 21, 2, 9])


@dataclass(frozen=True)
class NewEmbeddings:
    """Changes of a variant with dense blocks."""

    values: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, block: int) -> BlockChanges:
        return BlockChanges({})

    def source(self, block: int) -> str:
        return "none"

    def embeddings(self) -> dict[str, Tensor]:
        return self.values


def scores(chain: Chain) -> list[float]:
    batches = plan_texts([ScoredText(tuple(ids), 1) for ids in TEXTS], batch_tokens=64, device="cpu")
    return [float(value) for one in score_texts(chain, batches) for value in one.log_likelihoods]


def changed_copy(model: Path, target: Path) -> dict[str, Tensor]:
    """Write a copy of a model with other embeddings, and return these."""
    tensors = load_file(model / "model.safetensors")
    names = [name for name in tensors if name.endswith(("embed_tokens.weight", "lm_head.weight"))]
    new = {name: tensors[name] + 0.3 * torch.randn_like(tensors[name]) for name in names}
    target.mkdir()
    save_file({**tensors, **new}, target / "model.safetensors", metadata={"format": "pt"})
    (target / "config.json").write_text((model / "config.json").read_text())
    return new


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize(
    "places",
    [{}, {"n_shards": 2}, {"budget": None}],
    ids=["one shard", "two shards", "on disk"],
)
def test_a_chain_computes_what_the_changed_model_computes_and_is_dense_again(
    places: dict[str, object], tied: bool, tmp_path: Path
) -> None:
    model = save_tiny_model(tmp_path / "model", "llama", tie_word_embeddings=tied)
    new = changed_copy(model, tmp_path / "changed")
    assert len(new) == 2 - tied
    if "budget" in places:
        sizes = footprint(model, "float32")
        n_bytes = smallest_budget(sizes, range(len(sizes.blocks)), working_bytes=GROUP_BYTES)
        places = {"budget": MemoryBudget(n_bytes, GROUP_BYTES)}
    chain = local_chain(model, **places)  # type: ignore[arg-type]
    assert bool(chain.limit) == ("budget" in places)
    dense, expected = scores(chain), scores(local_chain(tmp_path / "changed"))
    assert dense != expected
    chain.everywhere(Shard.exchange_changes, NewEmbeddings(new))
    assert scores(chain) == expected
    chain.everywhere(Shard.exchange_changes, NewEmbeddings())
    assert scores(chain) == dense
    chain.everywhere(Shard.exchange_changes, NewEmbeddings(new))
    chain.everywhere(Shard.exchange_changes, NewEmbeddings({name: one / 2 for name, one in new.items()}))
    assert scores(chain) not in (dense, expected)
    chain.everywhere(Shard.set_keep_masks, None)
    assert scores(chain) == dense


def test_embeddings_of_another_shape_are_refused(tmp_path: Path) -> None:
    chain = local_chain(save_tiny_model(tmp_path / "model", "llama"))
    name = next(iter(chain.shards[0].runner.embeddings._sources.values()))
    with pytest.raises(ShapeError):
        chain.everywhere(Shard.exchange_changes, NewEmbeddings({name: torch.zeros(3, 4)}))
