"""Declarations that were registered outside a store, and the store that is compared with them."""

import json
from pathlib import Path

import pytest

from catalog.queries import answer_user_query
from catalog.registered import registered_differences
from catalog.store import Catalog
from mlprune.errors import BadInputError
from mlprune.store.store import Store
from tests.mlprune.steps.questions.test_declarations import finish, planned, start


def register(store: Store, path: Path) -> Path:
    with Catalog.open(store) as catalog:
        catalog.fold()
        result = answer_user_query(catalog, "declarations").result
    path.write_text(json.dumps([dict(zip(result.columns, row, strict=True)) for row in result.rows]))
    return path


def test_a_store_keeps_what_was_registered(tiny_inputs: Path, tmp_path: Path) -> None:
    store, plan = Store(tmp_path / "store"), planned(tiny_inputs)
    record = start(plan, store)
    path = register(store, tmp_path / "declared.json")
    (row,) = json.loads(path.read_text())
    assert (row["record_id"], row["question_id"], row["is_primary"]) == (record.id, plan.questions[0].id, True)
    finish(plan, store)
    start(planned(tiny_inputs, margin=0.03), store)
    assert list(registered_differences(store, path)) == []


def test_a_question_that_was_declared_otherwise_is_found(tiny_inputs: Path, tmp_path: Path) -> None:
    first, other = Store(tmp_path / "first"), Store(tmp_path / "other")
    start(planned(tiny_inputs), first)
    path = register(first, tmp_path / "declared.json")
    finish(planned(tiny_inputs), other)
    start(planned(tiny_inputs), other)
    found = "\n".join(registered_differences(other, path))
    assert "is_primary" in found
    assert "declared_after" in found
    assert len(list(registered_differences(Store(tmp_path / "empty"), path))) == 1


@pytest.mark.parametrize("text", ["no json", "[1]", "{}"])
def test_a_file_without_declarations_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "declared.json"
    path.write_text(text)
    with pytest.raises(BadInputError) as caught:
        list(registered_differences(Store(tmp_path / "store"), path))
    assert caught.value.context["path"] == str(path)
