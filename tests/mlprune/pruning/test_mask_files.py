"""Mask files: round trip of packed levels, and the fingerprint of the masks of a model."""

import hashlib
from itertools import permutations
from pathlib import Path

import pytest
import torch

from mlprune.errors import DamagedArtefactError
from mlprune.pruning import mask_files
from mlprune.pruning.level_cache import LevelCache
from mlprune.pruning.mask_files import (
    SCHEMA,
    fingerprint,
    mask_path,
    read_keep_masks,
    write_block_masks,
)
from mlprune.pruning.scoring import BlockLevels, described_levels
from mlprune.store.records import Artefact
from mlprune.store.store import Store

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


def test_one_sparsity_takes_one_bit_per_weight(store: Store) -> None:
    levels = {"fc1": described_levels(torch.ones(16, 16, dtype=torch.uint8), (0.5,))}
    artefact = write_block_masks(store, mask_path("one", 0), levels)
    assert store.read_table(artefact)["levels"] == [b"\xff" * 32]


def test_ten_sparsities_take_half_a_byte_a_weight(store: Store) -> None:
    drawn = torch.randint(0, 11, (64, 64), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    levels = {"fc1": described_levels(drawn, [number / 20 for number in range(10)])}
    (packed,) = store.read_table(write_block_masks(store, mask_path("ten", 0), levels))["levels"]
    assert len(packed) == 64 * 64 // 2


@pytest.mark.parametrize("kept_bytes", [2**20, 0])
@pytest.mark.parametrize("level", range(3))
def test_the_keep_masks_of_a_sparsity_are_the_levels_above_it(
    store: Store, monkeypatch: pytest.MonkeyPatch, level: int, kept_bytes: int
) -> None:
    monkeypatch.setattr(mask_files, "_CACHE", LevelCache(kept_bytes))
    levelss = levels()
    artefact = written(store, levelss)
    masks = read_keep_masks(store.uri, artefact, level, layers=("fc1",))
    assert list(masks) == ["fc1"]
    assert masks["fc1"].tolist() == [[one > level for one in row] for row in levelss["fc1"].packed.unpack().tolist()]


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
    with pytest.raises(DamagedArtefactError, match="damaged"):
        read_keep_masks(store.uri, artefact, 0)
    file.unlink()
    with pytest.raises(DamagedArtefactError, match="missing"):
        read_keep_masks(store.uri, artefact, 0, layers=())


def test_a_table_without_the_columns_of_a_mask_file_is_an_error(store: Store) -> None:
    artefact = store.write_table(mask_path("x", 0), {"layer": ["fc1"]}, {"layer": "string"})
    with pytest.raises(DamagedArtefactError, match="lacks columns"):
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
