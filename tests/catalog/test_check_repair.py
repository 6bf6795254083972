"""Repair of a store: what is damaged is set aside, with the results of records that were wrong when they were read."""

from pathlib import Path

import duckdb
import pytest

from catalog.check import Repair, check, repair
from catalog.store import Catalog
from mlprune.store.store import Store
from tests.records import made_up_record

pytestmark = pytest.mark.thorough("checks many damaged copies of a store")

NAME = {"recipe": "study", "kind": "variant", "name": "all", "id": "f0"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", quarantine=True)


def test_a_record_that_does_not_fit_the_catalog_is_set_aside_with_what_was_computed_from_it(store: Store) -> None:
    wrong = made_up_record("outliers", rows={"outlier_ratios": [{"block": "first"}]})
    result = made_up_record("mask_blocks", {"ordering": "f0", "block": 0}, parents={"outliers": wrong.id})
    recipe = made_up_record("recipes", {"name": "study"})
    for record in (wrong, result, recipe):
        store.write_record(record)
    damages, _ = check(Store(store.uri))
    assert damages[0].location == wrong.path
    assert repair(store, damages) == Repair(tuple(sorted((wrong.path, result.path))), rebuilt=False, recipes=("study",))
    assert check(store)[0] == []


def test_a_catalog_that_differs_from_the_records_is_rebuilt(store: Store) -> None:
    store.write_record(made_up_record("recipes", {"name": "study"}, rows={"names": [NAME]}))
    with Catalog.open(store) as catalog:
        catalog.fold()
    with duckdb.connect(str(Path(store.uri) / "catalog.duckdb")) as connection:
        connection.execute("DELETE FROM names")
    damages, _ = check(store)
    assert [damage.location for damage in damages] == ["names"]
    assert repair(store, damages) == Repair((), rebuilt=True, recipes=("study",))
    assert check(store)[0] == []
