"""Recomputed frozen stores: they hold one version, whose answers say the same about the same questions."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from catalog.queries import run_user_query
from catalog.store import Catalog
from infra.pages.frozen import thawed
from infra.pages.recompute import recompute
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.store import Store

KINDS = ("comparisons", "answers")


def texts(store: Store, kinds: Sequence[str]) -> set[str]:
    return {record.to_json() for kind in kinds for record in store.records(kind)}


@pytest.mark.thorough("computes comparisons of a frozen store")
def test_a_frozen_store_has_the_comparisons_and_answers_of_today_only() -> None:
    with thawed("which-mix-float32") as store:
        before = texts(store, [*KINDS, "recipes"])
        assert recompute(store) == len(texts(store, KINDS))
        assert texts(store, [*KINDS, "recipes"]) == before


def answered(store: Store) -> list[str]:
    """Return the rows of answers without ids of records, which differ between versions."""
    ids = ("question_id", "comparison_id")
    rows = (row for record in store.records("answers") for row in record.rows["answers"])
    return sorted(str({name: value for name, value in row.items() if name not in ids}) for row in rows)


@pytest.mark.thorough("computes comparisons of a frozen store")
def test_a_store_of_an_earlier_version_keeps_its_answers_and_the_time_of_its_declarations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert isinstance(RECORD_KINDS, dict)
    with thawed("where-gemma") as store:
        before, ids = answered(store), {kind: store.record_ids(kind)[kind] for kind in KINDS}
        for kind in KINDS:
            later = replace(RECORD_KINDS[kind], version=RECORD_KINDS[kind].version + 1)
            monkeypatch.setitem(RECORD_KINDS, kind, later)
        recompute(store)
        for kind in KINDS:
            assert len(store.record_ids(kind)[kind]) == len(ids[kind])
            assert not store.record_ids(kind)[kind] & ids[kind]
        assert answered(store) == before
        with Catalog.in_memory(store) as catalog:
            declared = run_user_query(catalog, "declarations").as_dicts()
            rows = catalog.query("SELECT question_id, name FROM answers")
    asked = {(row["question_id"], row["name"]) for row in rows if row["name"]}
    assert {(row["question_id"], row["name"]) for row in declared} == asked
    assert all(row["recorded_at"] and row["n_evaluations"] == 0 for row in declared)
