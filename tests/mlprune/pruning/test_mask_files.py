"""Cache of decoded mask files: what stays, what is dropped first, and what is too large."""

import hashlib
from itertools import permutations
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mlprune.errors import DamagedArtefactError
from mlprune.numeric.masks.packed_masks import PackedLevels
from mlprune.pruning import mask_files
from mlprune.pruning.mask_files import (
    SCHEMA,
    FileKey,
    LevelCache,
    Levels,
    LevelsOfFile,
    StoredChanges,
    fingerprint,
    mask_path,
    read_block_weights,
    read_keep_masks,
    weights_path,
    write_block_masks,
    write_block_weights,
)
from mlprune.pruning.scoring import BlockLevels, described_levels
from mlprune.store.records import Artefact
from mlprune.store.store import Store
from tests.refusals import refused


def key_of(name: str) -> FileKey:
    return "store", Artefact(path=name, n_bytes=1, sha256=name, n_rows=1)


def levels_of(n_bytes: int) -> LevelsOfFile:
    return {"fc1": PackedLevels(bytes(n_bytes), (n_bytes, 8), 1)}


class Files:
    """Counts reads."""

    def __init__(self, cache: LevelCache) -> None:
        self.cache = cache
        self.read: list[str] = []

    def get(self, name: str, n_bytes: int) -> LevelsOfFile:
        def read() -> LevelsOfFile:
            self.read.append(name)
            return levels_of(n_bytes)

        return self.cache.get(key_of(name), read)


def test_a_file_is_read_once_while_it_stays_in_memory() -> None:
    files = Files(LevelCache(100))
    assert files.get("a", 20) is files.get("a", 20)
    assert files.read == ["a"]


def test_the_file_that_was_used_longest_ago_is_dropped_first() -> None:
    files = Files(LevelCache(50))
    for name in ("a", "b", "c", "d", "a", "e", "a", "b"):
        files.get(name, 12)
    assert files.read == ["a", "b", "c", "d", "e", "b"]


def test_a_file_larger_than_a_quarter_of_the_cache_is_not_kept() -> None:
    files = Files(LevelCache(100))
    for n_bytes in (25, 26):
        for _ in range(2):
            assert len(files.get(str(n_bytes), n_bytes)["fc1"].levels) == n_bytes
    assert files.read == ["25", "26", "26"]


def test_a_file_with_other_content_is_another_file() -> None:
    files = Files(LevelCache(100))
    files.get("a", 5)
    changed = ("store", Artefact(path="a", n_bytes=1, sha256="changed", n_rows=1))
    assert len(files.cache.get(changed, lambda: levels_of(6))["fc1"].levels) == 6


SPARSITIES = (0.25, 0.5, 0.75)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def levels(seed: int = 0) -> BlockLevels:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"fc1": (3, 5), "fc2": (7, 4)}
    return {
        layer: described_levels(
            torch.randint(0, 4, shape, generator=generator).to(torch.uint8),
            SPARSITIES,
            n_silent_features=index,
            n_dampings=None if index else 2,
        )
        for index, (layer, shape) in enumerate(shapes.items())
    }


def written(store: Store, levels: BlockLevels) -> Artefact:
    return write_block_masks(store, mask_path("abc", 7), levels)


@pytest.mark.parametrize("kept_bytes", [2**20, 0])
@pytest.mark.parametrize("level", range(3))
def test_masks_come_back_as_they_were_written(
    store: Store, monkeypatch: pytest.MonkeyPatch, level: int, kept_bytes: int
) -> None:
    monkeypatch.setattr(mask_files, "_CACHE", LevelCache(kept_bytes))
    levelss = levels()
    back = read_keep_masks(store.uri, written(store, levelss), level)
    assert list(back) == ["fc1", "fc2"]
    for layer, one in levelss.items():
        assert back[layer].dtype == torch.bool
        assert torch.equal(back[layer], one.packed.unpack() > level)
    some = read_keep_masks(store.uri, written(store, levelss), level, layers=("fc1",))
    assert list(some) == ["fc1"]
    assert torch.equal(some["fc1"], back["fc1"])


def test_a_file_has_columns_of_shapes_sparsities_counts_and_hashes(store: Store) -> None:
    levelss = levels()
    artefact = written(store, levelss)
    assert (artefact.path, artefact.n_rows) == ("masks/abc/block-007.parquet", 2)
    columns = store.read_table(artefact)
    assert list(columns) == list(SCHEMA)
    assert [shape.tolist() for shape in columns["shape"]] == [[3, 5], [7, 4]]
    assert [one.tolist() for one in columns["sparsities"]] == [list(SPARSITIES)] * 2
    for place, one in enumerate(levelss.values()):
        counts = [int((one.packed.unpack() <= level).sum()) for level in range(3)]
        assert columns["n_removed"][place].tolist() == counts
        assert list(columns["keep_sha256"][place]) == list(one.keep_sha256)
    assert (columns["n_silent_features"], columns["n_dampings"]) == ([0, 1], [2, None])
    assert [len(one) for one in columns["levels"]] == [2 * 2, 2 * 4]


def test_equal_levels_give_equal_bytes_and_different_levels_different_bytes(store: Store, tmp_path: Path) -> None:
    first = written(store, levels())
    assert written(Store(tmp_path / "other"), levels()) == first
    assert written(store, levels(seed=1)).sha256 != first.sha256


def test_a_damaged_or_missing_file_is_an_error(store: Store, tmp_path: Path) -> None:
    artefact = written(store, levels())
    file = tmp_path / artefact.path
    data = bytearray(file.read_bytes())
    data[40] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(DamagedArtefactError):
        read_keep_masks(store.uri, artefact, 0)
    file.unlink()
    with pytest.raises(DamagedArtefactError):
        read_keep_masks(store.uri, artefact, 0, layers=())


def test_a_table_without_the_columns_of_a_mask_file_is_an_error(store: Store) -> None:
    artefact = store.write_table(mask_path("x", 0), {"layer": ["fc1"]}, {"layer": "string"})
    with pytest.raises(DamagedArtefactError):
        read_keep_masks(store.uri, artefact, 0)


def test_a_fingerprint_is_the_hash_of_a_line_for_every_layer() -> None:
    layers = [(0, "fc1", "aa"), (0, "fc2", "bb"), (1, "fc1", "cc")]
    text = "0 fc1 aa\n0 fc2 bb\n1 fc1 cc\n"
    assert fingerprint(layers) == hashlib.sha256(text.encode()).hexdigest()


def test_masks_that_change_places_have_another_fingerprint() -> None:
    places = [(0, "fc1"), (0, "fc2"), (1, "fc1")]
    levels = [
        fingerprint([(*place, mask) for place, mask in zip(places, masks, strict=True)])
        for masks in permutations(["aa", "bb", "cc"])
    ]
    assert len(set(levels)) == 6


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
    with pytest.raises(DamagedArtefactError):
        read_block_weights(store, artefact)
    file.unlink()
    with pytest.raises(DamagedArtefactError):
        read_block_weights(store, artefact)
    foreign = store.write_bytes("weights/abc/block-001.safetensors", b"no tensors")
    with refused(DamagedArtefactError, path=foreign.path):
        read_block_weights(store, foreign)
