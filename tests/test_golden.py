"""Runs, catalog and command line are those that are pinned in `tests/golden/pinned`; the comparison finds changes."""

import base64
import copy
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import torch
from safetensors.torch import load_file

from catalog.sql_files import statement
from catalog.store import Catalog
from infra.pages.frozen import thawed
from mlprune.numeric.weights.scores import SCORE_FUNCTIONS, wanda_scores
from mlprune.store.store import Store
from tests.catalog.query_answers import all_answers
from tests.golden import __main__ as exact
from tests.golden import contract
from tests.golden.comparison import Contract, arrays_agree, differences, differing_entries
from tests.tiny_models import save_tiny_model
from tests.tiny_recipes import STORED_WEIGHTS, FinishedRun, run_here

FOLDERS = ("records", "predictions")
RUNS = {
    "tiny": "tiny_run",
    "small": "small_run",
    "methods": "method_run",
    "derived": "derived_run",
    "baselines": "baseline_run",
}


@pytest.mark.parametrize("recipe", RUNS)
def test_the_run_of_a_tiny_recipe_is_the_pinned_one_on_every_processor(
    recipe: str, request: pytest.FixtureRequest
) -> None:
    found = contract.run_contract(request.getfixturevalue(RUNS[recipe]).store)
    assert differences(found, contract.read(recipe)) == []


@pytest.mark.parametrize(("name", "options"), [("xglm", {}), ("small", {"blocks": 2, "seed": 5})])
def test_the_stored_weights_are_those_of_the_tiny_models(name: str, options: dict[str, int], tmp_path: Path) -> None:
    drawn = load_file(save_tiny_model(tmp_path, **options) / "model.safetensors")
    stored = load_file(STORED_WEIGHTS / f"{name}.safetensors")
    assert drawn.keys() == stored.keys()
    for key, tensor in drawn.items():
        torch.testing.assert_close(stored[key], tensor, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def pinned() -> Contract:
    """The pinned contract of the small recipe."""
    return cast(Contract, contract.read("small"))


def test_last_bits_of_all_numbers_are_no_difference(pinned: Contract) -> None:
    assert differences(_with_numbers(pinned, lambda value: value * (1 + 3e-7) + 1e-9), pinned) == []


def test_numbers_that_differ_by_a_thousandth_are_differences_of_every_record_and_file(pinned: Contract) -> None:
    found = _with_numbers(pinned, lambda value: value * 1.001 + 0.01)
    with_numbers = [
        name for group in ("records", "files") for name, entry in pinned[group].items() if any(entry[-1].values())
    ]
    assert {text.split()[0] for text in differences(found, pinned)} == set(with_numbers)


@pytest.mark.parametrize(("change", "n_differences"), [(0.002, 0), (0.02, 1)])
def test_a_p_value_may_differ_by_a_few_draws(pinned: Contract, change: float, n_differences: int) -> None:
    found = copy.deepcopy(pinned)
    numbers = next(entry[2] for entry in found["records"].values() if "comparison_results.p_value" in entry[2])
    numbers["comparison_results.p_value"][0] += change
    assert len(differences(found, pinned)) == n_differences


@pytest.mark.parametrize(("group", "place"), [("records", 0), ("records", 1), ("files", 0)])
def test_an_exact_value_that_differs_is_a_difference(pinned: Contract, group: str, place: int) -> None:
    found = copy.deepcopy(pinned)
    name = next(iter(found[group]))
    found[group][name][place] = "0123456789abcdef"
    assert [text.split(":")[0] for text in differences(found, pinned)] == [name]


@pytest.mark.parametrize("group", ["records", "files", "masks"])
def test_a_missing_or_new_name_is_a_difference(pinned: Contract, group: str) -> None:
    found = copy.deepcopy(pinned)
    name = next(iter(found[group]))
    found[group]["new"] = found[group].pop(name)
    assert len(differences(found, pinned)) == 2


def test_a_column_without_its_numbers_is_a_difference(pinned: Contract) -> None:
    found = copy.deepcopy(pinned)
    numbers = next(entry[2] for entry in found["records"].values() if entry[2])
    del numbers[next(iter(numbers))]
    assert len(differences(found, pinned)) == 1


def test_near_ties_may_differ_in_masks_but_not_many_entries(pinned: Contract) -> None:
    n_entries = differing_entries(pinned["masks"], pinned["masks"])[1]
    found = copy.deepcopy(pinned)
    name, (_, _, packed) = next(iter(found["masks"].items()))
    flipped = bytearray(base64.b64decode(packed))
    flipped[0] ^= 0b11
    found["masks"][name][2] = base64.b64encode(flipped).decode()
    assert differing_entries(found["masks"], pinned["masks"]) == (2, n_entries)
    found["records"][next(iter(found["records"]))][1] = "another value"
    assert differences(_with_numbers(found, lambda value: value * 1.01), pinned) == []
    assert differences(_with_numbers(found, lambda value: value * 1.2 + 1), pinned) != []
    inverted = bytes(byte ^ 0xFF for byte in base64.b64decode(packed))
    found["masks"][name][2] = base64.b64encode(inverted).decode()
    assert len(differences(found, pinned)) == 1


def test_a_changed_formula_of_a_score_is_a_difference(
    small_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pinned: Contract
) -> None:
    monkeypatch.setitem(SCORE_FUNCTIONS, "wanda", lambda inputs, _: wanda_scores(inputs.weight, inputs.norms**0.9))
    run_here(small_run.recipe_path, Store(tmp_path))
    assert differences(contract.run_contract(Store(tmp_path)), pinned)


def test_a_digest_of_an_array_changes_with_one_value_and_with_the_order() -> None:
    values = [1 + number / 1000 for number in range(500)]
    digest = contract.array_digest(values)
    assert arrays_agree(contract.array_digest([value * (1 + 1e-7) for value in values]), digest)
    for changed in ([*values[:250], values[250] * 1.01, *values[251:]], [*values[1:], values[0]], values[:-1]):
        assert not arrays_agree(contract.array_digest(changed), digest)


def test_the_exact_comparison_lists_each_file_whose_bytes_differ(
    small_run: FinishedRun, copied_store: Callable[[Store], Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = copied_store(small_run.store)
    monkeypatch.setattr(exact, "finished_stores", lambda recipes: [("small", store)])
    exact.write_exact(tmp_path / "before")
    assert exact.changed_files(tmp_path / "before") == []
    paths = [next(path for path in contract.exact_contract(store) if path.startswith(f"{name}/")) for name in FOLDERS]
    for path in paths:
        store.write(path, b"other bytes")
    assert exact.changed_files(tmp_path / "before") == [f"small: {path}" for path in sorted(paths)]


@pytest.mark.parametrize("name", ["demo", pytest.param("study", marks=pytest.mark.thorough("fills a large catalog"))])
def test_the_records_of_a_frozen_store_their_catalog_and_its_answers_are_the_pinned_ones(name: str) -> None:
    with thawed(name) as store, Catalog.in_memory(store) as catalog:
        catalog.fold()
        assert contract.frozen_contract(catalog) == contract.read(f"frozen-{name}")
        assert differences(contract.answer_contract(all_answers(catalog)), contract.read(f"answers-{name}")) == []


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


def _with_numbers(value: Contract, change: Callable[[float], float]) -> Contract:
    """A copy of a contract in which every number of a row or of an array is changed, but no count."""
    found = copy.deepcopy(value)
    for entry in found["records"].values():
        for column, numbers in entry[2].items():
            entry[2][column] = [change(number) for number in numbers]
    for entry in found["files"].values():
        for column, (count, *numbers) in entry[1].items():
            entry[1][column] = [count, *(change(number) for number in numbers)]
    return found


@pytest.mark.parametrize("recipe", RUNS)
def test_no_value_of_a_tiny_recipe_contradicts_another_one(recipe: str, request: pytest.FixtureRequest) -> None:
    with Catalog.open(request.getfixturevalue(RUNS[recipe]).store) as catalog:
        catalog.fold()
        assert catalog.select(statement("fold", "contradictions")).rows == ()
