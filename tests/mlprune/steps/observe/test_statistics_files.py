"""Statistics files: written in parts, read as a whole."""

import dataclasses
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mlprune.errors import DamagedArtefactError, StatisticsError, StoreError
from mlprune.numeric.activations.statistics import feature_norms, mean_squares
from mlprune.pruning.block_inputs import demonstration_weights
from mlprune.pruning.spec import StatisticsSelection
from mlprune.steps.observe import statistics_files
from mlprune.steps.observe.statistics_files import (
    LAYOUT,
    SCHEMA,
    DemonstrationSums,
    read_block_statistics,
    read_block_totals,
    write_part,
)
from mlprune.store.parquet import encode_numeric
from mlprune.store.records import Artefact
from mlprune.store.store import Store
from tests.refusals import refused

N = 5


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def sums(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"fc1": torch.rand(N, 4, generator=generator), "fc2": torch.rand(N, 6, generator=generator)}


def part(
    store: Store, found: dict[str, Tensor], demonstrations: Sequence[int], *, block: int = 2, role: str = ""
) -> Artefact:
    """The rows of some demonstrations, as they come."""
    kept = {name: one[list(demonstrations)] for name, one in found.items()}
    n_tokens = torch.arange(10, 10 + N)[list(demonstrations)]
    return write_part(store, "abc", block, DemonstrationSums(demonstrations, n_tokens, kept), role=role)


def same(found: object, expected: dict[str, Tensor]) -> bool:
    assert isinstance(found, dict)
    return list(found) == list(expected) and all(torch.equal(found[name], one) for name, one in expected.items())


def test_a_part_is_one_row_for_each_input_and_demonstration(store: Store) -> None:
    artefact = part(store, sums(), [1, 2])
    assert (artefact.path, artefact.n_rows) == ("statistics/abc/block-002.part-00001.parquet", 4)
    columns = store.read_table(artefact)
    assert list(columns) == list(SCHEMA)
    assert columns["block"] == [2] * 4
    assert columns["input"] == ["fc1", "fc1", "fc2", "fc2"]
    assert columns["demonstration"] == [1, 2, 1, 2]
    assert columns["n_tokens"] == [11, 12, 11, 12]
    assert columns["sum_sq"][3].tolist() == sums()["fc2"][2].tolist()


@pytest.mark.parametrize(
    "cuts", [[[0, 1, 2, 3, 4]], [[0], [1, 2, 3, 4]], [[4, 0], [2, 1], [3]], [[3], [1, 4], [0], [2]], [[4, 3, 2, 1, 0]]]
)
def test_parts_join_to_the_whole_for_any_split_and_order(store: Store, cuts: list[list[int]]) -> None:
    artefacts = [part(store, sums(), cut) for cut in cuts]
    for order in permutations(artefacts):
        assert same(read_block_statistics(store, order, 2), sums())


READINGS = [
    StatisticsSelection(),
    StatisticsSelection(n_demonstrations=3),
    StatisticsSelection(resample_seed=2),
    StatisticsSelection(n_demonstrations=4, resample_seed=1),
]


@pytest.mark.parametrize("cuts", [[[0, 1, 2, 3, 4]], [[0], [1, 2], [4, 3]], [[3, 4], [0, 1, 2]], [[4], [3], [2, 1, 0]]])
@pytest.mark.parametrize("reading", READINGS)
def test_totals_are_those_of_all_demonstrations_at_once_bit_for_bit(
    store: Store, cuts: list[list[int]], reading: StatisticsSelection
) -> None:
    artefacts = [part(store, sums(), cut) for cut in cuts]
    found = read_block_totals(store, artefacts, 2, selection=reading)
    weights = demonstration_weights(N, reading)
    for name, one in sums().items():
        assert torch.equal(found[name].norms(), feature_norms(one, weights))
        assert torch.equal(found[name].mean_squares(), mean_squares(one, weights))


def test_totals_read_one_part_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    artefacts = [part(store, sums(), [demonstration]) for demonstration in range(N)]
    monkeypatch.setattr(statistics_files, "read_block_statistics", None)
    read_block_totals(store, artefacts, 2, selection=StatisticsSelection())


def test_totals_with_a_missing_or_repeated_part_are_an_error(store: Store) -> None:
    first, middle, last = (part(store, sums(), one) for one in ((0, 1), (2, 3), (4,)))
    for parts in ([first, last], [first, middle, middle, last]):
        with pytest.raises(StatisticsError):
            read_block_totals(store, parts, 2, selection=StatisticsSelection())
    with refused(StatisticsError, block=1, role=""):
        read_block_totals(store, [first, middle, last], 1, selection=StatisticsSelection())


def test_a_part_is_named_after_its_first_demonstration_and_has_all_in_order(store: Store) -> None:
    mixed = part(store, sums(), [4, 2, 3])
    assert mixed.path == "statistics/abc/block-002.part-00002.parquet"
    columns = store.read_table(mixed)
    assert columns["demonstration"] == [2, 3, 4, 2, 3, 4]
    assert columns["n_tokens"] == [12, 13, 14] * 2
    assert columns["sum_sq"][0].tolist() == sums()["fc1"][2].tolist()
    assert part(store, sums(), [2, 3, 4]) == mixed


def test_blocks_roles_and_other_files_do_not_mix(store: Store) -> None:
    everyone = range(N)
    everything = [
        part(store, sums(1), everyone, block=1),
        part(store, sums(2), everyone, block=2),
        part(store, sums(3), everyone, block=2, role="contrast"),
        part(store, sums(4), everyone, block=2, role="set-1"),
        part(store, sums(5), everyone, block=2, role="set-2"),
        store.write_bytes("masks/abc/block-002.parquet", b"x"),
    ]
    assert same(read_block_statistics(store, everything, 1), sums(1))
    assert same(read_block_statistics(store, everything, 2), sums(2))
    for role, seed in (("contrast", 3), ("set-1", 4), ("set-2", 5)):
        assert same(read_block_statistics(store, everything, 2, role=role), sums(seed))


def test_a_missing_or_repeated_part_is_an_error(store: Store) -> None:
    first, middle, last = (part(store, sums(), one) for one in ((0, 1), (2, 3), (4,)))
    with refused(StatisticsError, block=2, missing=[2, 3]):
        read_block_statistics(store, [first, last], 2)
    with refused(StatisticsError, block=2, input="fc1"):
        read_block_statistics(store, [first, middle, middle, last], 2)
    with refused(StatisticsError, block=1, role=""):
        read_block_statistics(store, [first, middle, last], 1)
    with refused(StatisticsError, block=2, role="contrast"):
        read_block_statistics(store, [first, middle, last], 2, role="contrast")


def test_a_damaged_part_is_noticed(store: Store) -> None:
    artefact = part(store, sums(), range(N))
    with refused(DamagedArtefactError, expected="00"):
        read_block_statistics(store, [dataclasses.replace(artefact, sha256="00")], 2)


def test_only_the_files_of_the_block_are_opened(store: Store) -> None:
    others = [part(store, sums(), range(N), block=block) for block in (0, 1, 3)]
    for one in others:
        store.delete(one.path)
    assert same(read_block_statistics(store, [*others, part(store, sums(), range(N))], 2), sums())


def test_files_without_a_version_are_read(store: Store) -> None:
    columns = store.read_table(part(store, sums(), range(N)))
    old = store.write_table("statistics/abc/block-002.part-00000.parquet", columns, SCHEMA)
    assert same(read_block_statistics(store, [old], 2), sums())


def test_a_file_of_a_newer_version_is_refused_in_one_clear_line(store: Store) -> None:
    columns = store.read_table(part(store, sums(), range(N)))
    data, _ = encode_numeric(columns, dataclasses.replace(LAYOUT, version=LAYOUT.version + 1))
    newer = store.write_bytes("statistics/abc/block-002.part-00000.parquet", data)
    with refused(StoreError, path=newer.path, got=LAYOUT.version + 1):
        read_block_statistics(store, [newer], 2)


def test_another_table_instead_of_a_part_is_damage(store: Store) -> None:
    schema = {"block": "int32", "input": "string"}
    other = store.write_table("statistics/abc/block-002.part-00000.parquet", {"block": [2], "input": ["fc1"]}, schema)
    with pytest.raises(DamagedArtefactError):
        read_block_statistics(store, [other], 2)


@pytest.mark.parametrize("n_kept", [0, 10, -1])
def test_a_truncated_part_is_noticed(store: Store, n_kept: int) -> None:
    artefact = part(store, sums(), range(N))
    path = Path(store.uri) / artefact.path
    path.write_bytes(path.read_bytes()[:n_kept])
    with pytest.raises(DamagedArtefactError):
        read_block_statistics(store, [artefact], 2)
    path.unlink()
    with pytest.raises(DamagedArtefactError):
        read_block_statistics(store, [artefact], 2)
