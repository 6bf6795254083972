"""Statistics in parts: written as they fill, read back as one."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mlprune.errors import DamagedArtefactError, StatisticsError
from mlprune.records import Artefact, Record
from mlprune.steps.statistics_files import SCHEMA, read_block_statistics, write_part
from mlprune.storage import Store

N = 5


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def sums(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"fc1": torch.rand(N, 4, generator=generator), "fc2": torch.rand(N, 6, generator=generator)}


def part(store: Store, found: dict[str, Tensor], rows: slice, *, block: int = 2, role: str = "") -> Artefact:
    kept = {name: one[rows] for name, one in found.items()}
    n_tokens = torch.arange(10, 10 + N)[rows]
    return write_part(store, "abc", block, first=rows.start, sums=kept, n_tokens=n_tokens, role=role)


def record(*artefacts: Artefact) -> Record:
    return Record("statistics", "abc", 1, {}, artefacts=artefacts)


def same(found: object, expected: dict[str, Tensor]) -> bool:
    assert isinstance(found, dict)
    return list(found) == list(expected) and all(torch.equal(found[name], one) for name, one in expected.items())


def test_a_part_is_one_row_for_each_input_and_demonstration(store: Store) -> None:
    artefact = part(store, sums(), slice(1, 3))
    assert (artefact.path, artefact.n_rows) == ("statistics/abc/block-002.part-00001.parquet", 4)
    columns = store.read_table(artefact)
    assert list(columns) == list(SCHEMA)
    assert columns["block"] == [2] * 4
    assert columns["input"] == ["fc1", "fc1", "fc2", "fc2"]
    assert columns["demonstration"] == [1, 2, 1, 2]
    assert columns["n_tokens"] == [11, 12, 11, 12]
    assert columns["sum_sq"][3].tolist() == sums()["fc2"][2].tolist()


@pytest.mark.parametrize("cuts", [[5], [1, 5], [2, 3, 5], [1, 2, 3, 4, 5]])
def test_parts_merge_into_the_whole_however_they_were_cut_and_listed(store: Store, cuts: list[int]) -> None:
    artefacts = [part(store, sums(), slice(a, b)) for a, b in zip([0, *cuts], cuts, strict=False)]
    assert same(read_block_statistics(store, record(*artefacts), 2), sums())
    assert same(read_block_statistics(store, record(*reversed(artefacts)), 2), sums())


def test_blocks_roles_and_other_files_do_not_mix(store: Store) -> None:
    everything = record(
        part(store, sums(1), slice(0, N), block=1),
        part(store, sums(2), slice(0, N), block=2),
        part(store, sums(3), slice(0, N), block=2, role="contrast"),
        store.write_bytes("masks/abc/block-002.parquet", b"x"),
    )
    assert same(read_block_statistics(store, everything, 1), sums(1))
    assert same(read_block_statistics(store, everything, 2), sums(2))
    assert same(read_block_statistics(store, everything, 2, role="contrast"), sums(3))


def test_a_missing_or_repeated_part_is_an_error(store: Store) -> None:
    first, middle, last = (part(store, sums(), slice(a, b)) for a, b in ((0, 2), (2, 4), (4, 5)))
    with pytest.raises(StatisticsError, match="missing"):
        read_block_statistics(store, record(first, last), 2)
    with pytest.raises(StatisticsError, match="overlapping"):
        read_block_statistics(store, record(first, middle, middle, last), 2)


def test_a_damaged_part_is_noticed(store: Store) -> None:
    artefact = part(store, sums(), slice(0, N))
    with pytest.raises(DamagedArtefactError, match="damaged"):
        read_block_statistics(store, record(dataclasses.replace(artefact, sha256="00")), 2)
