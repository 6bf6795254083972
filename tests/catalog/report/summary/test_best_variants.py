from typing import Any

from catalog.report.summary.best_variants import COLUMNS, best_variants_table

CHOSEN: dict[str, Any] = {"criterion": "fr", "label": "wanda fr-en 0.2", "win_share": 0.43, "n_candidates": 54}
CHOSEN |= {"n_tied": 1, "is_dense": False, "test_value": 0.4, "ci_low": 0.3, "ci_high": 0.5, "dense_value": 0.38}
CHOSEN |= {"difference": 0.02, "difference_ci_low": -0.01, "difference_ci_high": 0.05, "p_holm": 0.6}
CHOSEN |= {"optimism": 0.03, "english_difference": -0.1, "english_ci_low": -0.12, "english_ci_high": -0.08}
CHOSEN |= {"base_model_id": "m"}


def cells(**more: Any) -> dict[str, str]:
    (row,) = best_variants_table([CHOSEN | more], {"m": "tiny"})
    assert row.facets == {"model": "tiny"}
    return dict(zip(COLUMNS, row.cells, strict=True))


def test_a_chosen_variant_has_its_difference_on_test_and_its_share_of_wins() -> None:
    row = cells()
    assert (row["chosen for"], row["chosen on dev"]) == ("fr", "wanda fr-en 0.2")
    assert row["wins in resamples of dev"] == "43% of 54 candidates"
    assert row["difference (95% interval)"] == "+0.020 (-0.010 to +0.050)".replace("-", "\u2212")
    assert row["optimism of dev"] == "+0.030"


def test_dense_is_named_as_the_choice_without_a_difference() -> None:
    row = cells(is_dense=True, criterion="outside_english", n_tied=3, ci_low=None, ci_high=None, p_holm=None)
    assert row["chosen for"] == "mean outside English"
    assert row["chosen on dev"] == "dense: no pruned variant is better (3 tied)"
    assert (row["test (95% interval)"], row["difference (95% interval)"], row["p, Holm"]) == ("0.400", "", "")
