"""Queries about sensitivity, compared with plain computation over the rows of the records."""

from typing import Any

import pytest
from scipy import stats

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


@pytest.mark.parametrize("pair", [("en", "fr"), ("fr", "en"), ("sw", "es")])
def test_a_pair_needs_what_one_or_both_languages_need(catalog: Catalog, rows: Rows, pair: tuple[str, str]) -> None:
    first, second = pair
    found = answers(catalog, "units_needed_by_pair", f"first={first}", f"second={second}")
    losses = losses_of(rows)
    assert {row["block"] for row in found} == set(range(N_BLOCKS))
    for row in found:
        needing = [name for name in pair if losses[name, row["block"]]["p_max_t"] < 0.05]
        assert row["needed_by"] == {0: "neither", 2: "both"}.get(len(needing), needing[0] if needing else "")
        assert row["first_low"] == losses[first, row["block"]]["ci_low"]
        assert row["second_loss"] == losses[second, row["block"]]["loss"]


def test_agreement_has_one_row_per_pair_and_no_correction_below_ten_units(catalog: Catalog, rows: Rows) -> None:
    found = answers(catalog, "sensitivity_agreement_matrix")
    assert len(found) == len(rows["sensitivity_agreement"]) == len(LANGUAGES) * (len(LANGUAGES) - 1) // 2
    shown = {(row["n_units"], row["rank_correlation"], row["corrected"], row["ci_low"]) for row in found}
    assert shown == {(9, 0.5, None, None), (10, 0.5, 0.6, -0.2)}


def test_influence_is_paired_with_the_loss_of_its_language_and_correlated_by_ranks(
    catalog: Catalog, rows: Rows
) -> None:
    languages = {row["demonstration_set_id"]: row["source_language"] for row in rows["demonstration_sets"]}
    losses, found = losses_of(rows), answers(catalog, "influence_and_sensitivity")
    assert len(found) == len(rows["block_influence"]) == len(LANGUAGES) * N_BLOCKS
    for row in found:
        of_set = [one for one in rows["block_influence"] if one["demonstration_set_id"] == row["demonstration_set_id"]]
        assert row["language"] == languages[row["demonstration_set_id"]]
        own = [losses[row["language"], one["block"]]["loss"] for one in of_set]
        expected = stats.spearmanr([one["influence"] for one in of_set], own).statistic
        assert row["rank_correlation"] == pytest.approx(expected)
        assert row["loss"] == losses[row["language"], row["block"]]["loss"]
