"""Files of changed weights: round trip, together with their masks."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mlprune.errors import DamagedArtefactError
from mlprune.pruning.mask_files import Levels, mask_path, write_block_masks
from mlprune.pruning.scoring import described_levels
from mlprune.pruning.weight_files import StoredChanges, read_block_weights, weights_path, write_block_weights
from mlprune.store.records import Artefact
from mlprune.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def changed(dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {layer: torch.randn(3, 4, generator=generator).to(dtype) for layer in ("fc1", "self_attn.q_proj")}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_come_back_as_they_were_written(store: Store, dtype: torch.dtype) -> None:
    weights = changed(dtype)
    back = read_block_weights(store, write_block_weights(store, weights_path("abc", 7), weights))
    assert set(back) == set(weights)
    assert all(back[layer].dtype == dtype and torch.equal(back[layer], one) for layer, one in weights.items())


def test_safetensors_reads_the_file_of_a_block(store: Store, tmp_path: Path) -> None:
    transposed = {layer: one.t().contiguous().t() for layer, one in changed().items()}
    artefact = write_block_weights(store, weights_path("abc", 7), transposed)
    assert artefact.path == "weights/abc/block-007.safetensors"
    result = load_file(tmp_path / artefact.path)
    assert all(torch.equal(result[layer], one) for layer, one in changed().items())
    assert write_block_weights(store, weights_path("def", 0), changed()).sha256 == artefact.sha256


def test_a_shard_gets_masks_and_weights_from_the_store(store: Store) -> None:
    weights = changed()
    levels = {layer: described_levels((one > 0).byte(), (0.5,)) for layer, one in weights.items()}
    masks = write_block_masks(store, mask_path("abc", 0), levels)
    file = write_block_weights(store, weights_path("abc", 0), weights)
    changes = StoredChanges(store.uri, {0: masks}, {0: 0}, {0: file})(0)
    assert set(changes.masks) == set(changes.weights) == set(weights)
    assert all(torch.equal(changes.masks[layer].unpack(), one > 0) for layer, one in weights.items())
    assert all(torch.equal(changes.weights[layer], one) for layer, one in weights.items())


def test_equal_sources_have_equal_files_and_levels(store: Store) -> None:
    layer = described_levels((changed()["fc1"] > 0).byte(), (0.5,))
    masks, other = (write_block_masks(store, mask_path(name, 0), {"fc1": layer, name: layer}) for name in ("a", "b"))
    weights = write_block_weights(store, weights_path("a", 0), changed())
    given: list[tuple[Artefact, Levels, dict[int, Artefact]]] = [
        (masks, 0, {}),
        (other, 0, {}),
        (masks, 0, {0: weights}),
        (masks, {"fc1": 0}, {}),
        (masks, {}, {}),
    ]
    sources = [
        StoredChanges(store.uri, {0: file}, {0: levels}, by_block).source(0)
        for file, levels, by_block in (*given, (masks, {"fc1": 0}, {}))
    ]
    assert len(set(sources[:-1])) == len(given)
    assert sources[-1] == sources[3]
    only = StoredChanges(store.uri, {0: masks}, {0: {"fc1": 0}}, {})(0)
    assert list(only.masks) == ["fc1"]
    assert not StoredChanges(store.uri, {0: masks}, {0: {}}, {})(0).masks


def test_a_damaged_missing_or_foreign_file_is_an_error(store: Store, tmp_path: Path) -> None:
    artefact = write_block_weights(store, weights_path("abc", 0), changed())
    file = tmp_path / artefact.path
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(DamagedArtefactError, match="damaged"):
        read_block_weights(store, artefact)
    file.unlink()
    with pytest.raises(DamagedArtefactError, match="missing"):
        read_block_weights(store, artefact)
    foreign = store.write_bytes("weights/abc/block-001.safetensors", b"no tensors")
    with pytest.raises(DamagedArtefactError, match="damaged") as caught:
        read_block_weights(store, foreign)
    assert caught.value.context["path"] == foreign.path
