"""Queries about sensitivity, compared with plain computation over the rows of the records."""

from typing import Any

from catalog.store import Catalog
from tests.catalog.query_answers import answers
from tests.catalog_data import LANGUAGES, N_BLOCKS

Rows = dict[str, list[dict[str, Any]]]


def losses_of(rows: Rows) -> dict[tuple[str, int], dict[str, Any]]:
    """(language, block) -> its row."""
    return {(row["group_name"], row["block"]): row for row in rows["sensitivity"]}


def test_units_are_ranked_by_their_loss_in_each_language(catalog: Catalog, rows: Rows) -> None:
    found = answers(catalog, "sensitive_units")
    losses = losses_of(rows)
    assert {(row["group_name"], row["block"]) for row in found} == set(losses)
    for row in found:
        language, own = row["group_name"], losses[row["group_name"], row["block"]]
        others = [losses[language, block]["loss"] for block in range(N_BLOCKS)]
        assert row["rank"] == 1 + sum(loss > own["loss"] for loss in others)
        assert row["is_needed"] == (own["loss"] > 0 and own["p_max_t"] < 0.05)
        assert (row["loss"], row["ci_low"], row["ci_high"]) == (own["loss"], own["ci_low"], own["ci_high"])
    only = answers(catalog, "sensitive_units", "language=sw")
    assert [row["group_name"] for row in only] == ["sw"] * N_BLOCKS
    assert not answers(catalog, "sensitive_units", "sparsity=0.7")


def test_a_block_has_the_influence_on_texts_of_the_language(catalog: Catalog, rows: Rows) -> None:
    languages = {row["demonstration_set_id"]: row["source_language"] for row in rows["demonstration_sets"]}
    influences = {
        (languages[row["demonstration_set_id"]], row["block"]): row["influence"] for row in rows["block_influence"]
    }
    assert len(influences) == len(rows["block_influence"]) == len(LANGUAGES) * N_BLOCKS
    found = {(row["group_name"], row["block"]): row["influence"] for row in answers(catalog, "sensitive_units")}
    assert found == influences
