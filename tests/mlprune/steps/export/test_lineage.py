"""Lineage of records: all that they were made from, each once."""

from mlprune.steps.export.lineage import lineage_table, with_ancestors
from tests.tiny_recipes import FinishedRun


def test_a_variant_is_followed_by_all_it_was_made_from_each_once(tiny_run: FinishedRun) -> None:
    variant = next(record for record in tiny_run.store.records("variants") if record.rows["variants"][0]["score"])
    lineage = with_ancestors(tiny_run.store, [variant, variant])
    ids = [record.id for record in lineage]
    assert ids[0] == variant.id
    assert len(set(ids)) == len(ids)
    assert {"base_models", "demonstration_sets", "statistics"} <= {record.kind for record in lineage}
    assert len(lineage_table(tiny_run.store, lineage).splitlines()) == len(ids) + 2
