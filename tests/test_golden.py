"""Ids, records, catalog and command line are those that are pinned in `tests/golden/pinned`."""

import warnings
from typing import Any

import pytest

from infra.pages.frozen import thawed
from tests.golden import contract

RUNS = {
    "tiny": "tiny_run",
    "small": "small_run",
    "methods": "method_run",
    "derived": "derived_run",
    "baselines": "baseline_run",
}


@pytest.mark.parametrize("recipe", RUNS)
def test_every_id_and_record_of_a_tiny_recipe_is_the_pinned_one(recipe: str, request: pytest.FixtureRequest) -> None:
    pinned = contract.read(recipe)
    records = contract.store_contract(request.getfixturevalue(RUNS[recipe]).store)
    assert {kind: sorted(ids) for kind, ids in records.items()} == {
        kind: sorted(ids) for kind, ids in pinned["records"].items()
    }
    assert _hashes(records, 0) == _hashes(pinned["records"], 0)
    if contract.arithmetic() == pinned["arithmetic"]:
        assert _hashes(records, 1) == _hashes(pinned["records"], 1)
    else:
        warnings.warn("this machine computes other bits than the one that pinned the bytes", stacklevel=1)


@pytest.mark.parametrize("name", ["demo", "study"])
def test_the_records_of_a_frozen_store_and_their_catalog_are_the_pinned_ones(name: str) -> None:
    with thawed(name) as store:
        assert contract.frozen_contract(store) == contract.read(f"frozen-{name}")


def test_tables_views_macros_and_queries_have_at_least_the_pinned_columns() -> None:
    found, pinned = contract.catalog_contract(), contract.read("catalog")
    for group in ("tables", "views"):
        for name, columns in pinned[group].items():
            assert {column: found[group][name].get(column) for column in columns} == columns, name
    for name, columns in pinned["macros"].items():
        assert set(columns) <= set(found["macros"][name]), name
    for name, query in pinned["queries"].items():
        assert query["parameters"] == found["queries"][name]["parameters"][: len(query["parameters"])], name
        assert set(query["columns"]) <= set(found["queries"][name]["columns"]), name


def test_every_pinned_command_has_its_options_and_defaults() -> None:
    found = contract.command_contract()
    for name, parameters in contract.read("commands").items():
        missing = [one for one in parameters if one not in found[name]]
        assert not missing, name


def _hashes(records: dict[str, Any], place: int) -> dict[str, str]:
    return {f"{kind}/{one}": hashes[place] for kind, ids in records.items() for one, hashes in ids.items()}
