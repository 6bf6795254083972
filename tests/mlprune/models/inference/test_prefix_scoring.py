"""Scores of texts with shared prefixes against transformers on each text alone."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers.cache_utils import CacheLayerMixin

from mlprune.errors import ShapeError
from mlprune.evaluation.scoring.batches import ScoredText
from mlprune.models.inference import block_runner
from mlprune.models.inference.block_runner import KeyValueCaches
from mlprune.models.inference.prefix_scoring import ScoringVisitor
from mlprune.models.local_chain import local_chain
from mlprune.models.messages import Continuations, ScoringBatch
from mlprune.processes.parallel import set_worker_threads
from tests.pretended_gpus import pretended_gpus
from tests.scored_texts import one_batch, scored, scored_alone, some_texts
from tests.tiny_models import ALL_FAMILY_NAMES, FAMILY_NAMES, save_tiny_model
from tests.tiny_recipes import reference_model

TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """One thread, as in every worker."""
    set_worker_threads(1)


def with_greedy(model: Any, texts: list[ScoredText]) -> list[ScoredText]:
    """The texts, and some of them with the likeliest token in place of the last."""
    changed = []
    for text in texts[::4]:
        with torch.no_grad():
            last = int(model(input_ids=torch.tensor([text.inputs])).logits[0, -1].argmax())
        changed.append(ScoredText((*text.inputs, last), len(text.inputs)))
    return [*texts, *changed]


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("family", ALL_FAMILY_NAMES)
def test_a_text_with_a_shared_prefix_scores_as_it_does_alone(family: str, folders: dict[str, Path]) -> None:
    folder = folders[family]
    model, chain = reference_model(folder), local_chain(folder)
    texts = with_greedy(model, some_texts(heads=(20, 1) if family in FAMILY_NAMES else (7, 1)))
    expected = scored_alone(model, texts)
    assert {is_greedy for _, is_greedy in expected} == {True, False}
    for batch_tokens in (40, 10_000):
        scores = scored(chain, texts, batch_tokens=batch_tokens)
        assert [value for value, _ in scores] == pytest.approx([value for value, _ in expected], abs=TOLERANCE)
        assert [is_greedy for _, is_greedy in scores] == [is_greedy for _, is_greedy in expected]


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_shards_give_the_scores_of_one_shard_bit_for_bit(family: str, folders: dict[str, Path]) -> None:
    folder = folders[family]
    whole, cut = (scored(local_chain(folder, n_shards=n), some_texts(), batch_tokens=100) for n in (1, 3))
    assert whole == cut


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_caches_that_share_their_empty_layers_give_the_scores_of_whole_caches_bit_for_bit(
    family: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = local_chain(folders[family])
    sharing = scored(chain, some_texts(), batch_tokens=100)

    def whole(caches: KeyValueCaches, block: int, layer: object) -> object:
        cache = caches.new()
        cache.layers[block] = copy.copy(layer)
        return cache

    monkeypatch.setattr(KeyValueCaches, "_with_layer", whole)
    assert scored(chain, some_texts(), batch_tokens=100) == sharing


@pytest.mark.thorough("runs a model for every case")
def test_the_copied_layers_of_caches_grow_linearly_with_the_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[object] = []

    def counting(value: Any) -> Any:
        if isinstance(value, CacheLayerMixin):
            counted.append(value)
        return copy.copy(value)

    monkeypatch.setattr(block_runner, "copy", SimpleNamespace(copy=counting, deepcopy=counting))
    n_copies = []
    for n_blocks in (2, 4, 8):
        chain = local_chain(save_tiny_model(tmp_path / f"model-{n_blocks}", "llama", blocks=n_blocks))
        counted.clear()
        scored(chain, some_texts())
        n_copies.append(len(counted))
    assert n_copies[2] - n_copies[1] == 2 * (n_copies[1] - n_copies[0]) > 0


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_padding_tokens_do_not_change_a_bit(family: str, folders: dict[str, Path]) -> None:
    chain, plain = local_chain(folders[family]), one_batch(some_texts())
    groups = tuple(
        Continuations(torch.where(group.mask, group.token_ids, 77), group.mask, group.parent) for group in plain.groups
    )
    prefixes = torch.where(plain.prefix_mask, plain.prefix_ids, 77)
    filled = ScoringBatch(prefixes, plain.prefix_mask, groups, plain.states, plain.targets)
    assert not torch.equal(filled.prefix_ids, plain.prefix_ids)
    assert any(not torch.equal(a.token_ids, b.token_ids) for a, b in zip(groups, plain.groups, strict=True))
    first, second = chain.stream(ScoringVisitor, [plain, filled])
    assert torch.equal(first.log_probs, second.log_probs)


def batch(**changes: Any) -> ScoringBatch:
    group = Continuations(torch.tensor([[4, 5]]), torch.ones(1, 2, dtype=torch.bool), torch.tensor([0]))
    parts: dict[str, Any] = {
        "prefix_ids": torch.tensor([[1, 2]]),
        "prefix_mask": torch.ones(1, 2, dtype=torch.bool),
        "groups": (group,),
        "states": torch.tensor([1, 2, 3]),
        "targets": torch.tensor([4, 5, 6]),
    }
    return ScoringBatch(**{**parts, **changes})


def test_inconsistent_shapes_are_rejected() -> None:
    none = torch.empty(0, dtype=torch.int64)
    for changes in (
        {"prefix_ids": torch.empty(0, 2, dtype=torch.int64)},
        {"prefix_mask": torch.ones(1, 3, dtype=torch.bool)},
        {"targets": torch.tensor([4])},
        {"states": none, "targets": none},
    ):
        with pytest.raises(ShapeError):
            batch(**changes)
    for token_ids, mask, parent in (((1, 0), (1, 0), 1), ((1, 2), (1, 3), 1), ((1, 2), (1, 2), 2)):
        with pytest.raises(ShapeError):
            Continuations(torch.zeros(token_ids).long(), torch.ones(mask).bool(), torch.zeros(parent).long())


def test_a_whole_batch_on_a_pretended_gpu_has_the_bits_of_the_cpu_and_waits_a_few_times(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "model", "xglm", blocks=2)
    batch = one_batch(some_texts())
    (expected,) = local_chain(folder).stream(ScoringVisitor, [batch])
    with pretended_gpus() as ledger:
        chain = local_chain(folder)
        ledger.clear()
        (result,) = chain.stream(ScoringVisitor, [batch])
        assert ledger.waits <= 4, ledger.by_line()
        assert ledger.kernels <= 100 + 2 * 35 * (1 + len(batch.groups)), ledger.by_line()
        assert ledger.blocking_uploads == 0, ledger.blocking
        assert ledger.uploads == 5 + 4 * len(batch.groups)  # a group's parents are copied once, not for each block
    assert torch.equal(result.log_probs, expected.log_probs)
    assert torch.equal(result.is_greedy, expected.is_greedy)
