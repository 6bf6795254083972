"""Random damage of a soak: every kind changes a store, and the same seed gives the same damage."""

import random
from pathlib import Path

import pytest

from infra.soak.damage import DAMAGES, damage_store, fresh_copy


@pytest.fixture
def store(tmp_path: Path) -> Path:
    for number, name in enumerate(("records/variants/a.json", "masks/b.parquet", "catalog.duckdb")):
        path = tmp_path / "store" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]) * 10)
    return tmp_path / "store"


def state(store: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(store)): path.read_bytes() if path.is_file() else None for path in store.rglob("*")}


@pytest.mark.parametrize("name", DAMAGES)
def test_every_damage_changes_a_file(store: Path, name: str) -> None:
    before = state(store)
    DAMAGES[name](store / "masks/b.parquet", store / "records/variants/a.json")
    assert state(store) != before
    assert state(store)["catalog.duckdb"] == before["catalog.duckdb"]


def test_the_seed_determines_the_damage_and_all_kinds_occur(store: Path, tmp_path: Path) -> None:
    seen = set()
    for seed in range(40):
        texts = []
        for copy in ("one", "two"):
            fresh_copy(store, tmp_path / copy)
            texts.append(damage_store(tmp_path / copy, random.Random(seed)))
        assert texts[0] == texts[1]
        assert state(tmp_path / "one") == state(tmp_path / "two")
        seen.add(texts[0].partition(" ")[0])
    assert seen == set(DAMAGES)


def test_a_store_without_files_is_not_damaged(tmp_path: Path) -> None:
    assert damage_store(tmp_path, random.Random(0)) == ""
