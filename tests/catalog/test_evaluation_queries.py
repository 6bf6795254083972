"""Queries about evaluations: bias toward English, choice on dev, rules, and ranks over data sets."""

import re
import statistics
from collections import defaultdict
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

import catalog
from catalog.ranking import rank_variants
from catalog.store import Catalog
from mlprune.errors import QueryError
from mlprune.store.store import Store
from mlprune.vocabulary import METRIC_TRAITS
from tests.catalog.query_answers import answers
from tests.catalog_data import LANGUAGES, default_protocol, write_rows

Rows = dict[str, list[dict[str, Any]]]
CLASSES = {"en": 5, "fr": 5, "es": 5, "sw": 2}


def accuracies(rows: Rows, split: str = "test") -> dict[str, dict[str, float]]:
    """Variant -> language -> accuracy on facts."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for row in rows["metrics"]:
        if (row["task"], row["split"], row["metric"]) == ("facts", split, "accuracy"):
            found[row["variant_id"]][row["language"]] = row["value"]
    return found


def test_english_bias_is_the_mean_gap_and_the_worst_language(catalog: Catalog, rows: Rows) -> None:
    found = {row["variant_id"]: row for row in answers(catalog, "english_bias")}
    values = accuracies(rows)
    dense = next(row["variant_id"] for row in rows["variants"] if row["sparsity"] == 0)
    assert set(found) == set(values)
    for variant, row in found.items():
        own = values[variant]
        gaps = {language: own["en"] - own[language] for language in LANGUAGES if language != "en"}
        assert row["minus_english"] == pytest.approx(-statistics.mean(gaps.values()))
        assert row["worst_language"] == max(gaps, key=lambda language: (gaps[language], language))
        assert (row["worst_minus_english"], row["n_languages"]) == (
            pytest.approx(-max(gaps.values())),
            len(LANGUAGES) - 1,
        )
        parts = [values[variant][one] - values[dense][one] for one in LANGUAGES if one != "en"]
        assert row["others_change"] == pytest.approx(statistics.mean(parts))
        assert row["minus_english_change"] == pytest.approx(row["others_change"] - row["english_change"])
        if variant != dense:
            assert (
                row["minus_english_change_ci_low"] < row["minus_english_change"] < row["minus_english_change_ci_high"]
            )
            assert row["others_change_ci_low"] < row["others_change"] < row["others_change_ci_high"]
            assert row["english_change_ci_low"] < row["english_change"] < row["english_change_ci_high"]
        others = [own[language] for language in gaps]
        assert row["ratio_to_english"] == pytest.approx(statistics.mean(others) / own["en"])


@pytest.mark.parametrize("by", ["script", "resource_class"])
def test_english_bias_by_group_averages_the_languages_of_a_group(catalog: Catalog, rows: Rows, by: str) -> None:
    values = accuracies(rows)
    found = answers(catalog, "english_bias", f"by={by}")
    group_of = {language: "Latn" if by == "script" else str(CLASSES[language]) for language in LANGUAGES}
    assert {row["language_group"] for row in found} == {group_of[one] for one in LANGUAGES if one != "en"}
    for row in found:
        own = values[row["variant_id"]]
        members = [one for one in LANGUAGES if one != "en" and group_of[one] == row["language_group"]]
        assert row["languages"].split() == sorted(members)
        assert row["others_value"] == pytest.approx(statistics.mean(own[one] for one in members))
        assert row["minus_english"] == pytest.approx(row["others_value"] - own["en"])


def test_rank_consistency_is_biased_where_english_agrees_more_than_the_others(catalog: Catalog, rows: Rows) -> None:
    table: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for row in rows["rank_consistency"]:
        if row["split"] == "test":
            for a, b in permutations((row["language"], row["reference_language"])):
                table[row["variant_id"], a][b] = row["value"]
    found = answers(catalog, "rank_consistency_to_english")
    expected = {key for key in table if key[1] != "en" and len(table[key]) > 1}
    assert {(row["variant_id"], row["language"]) for row in found} == expected
    for row in found:
        own = table[row["variant_id"], row["language"]]
        others = statistics.mean(value for language, value in own.items() if language != "en")
        assert row["bias"] == pytest.approx(own["en"] - others)


def test_a_choice_on_dev_is_reported_on_test_with_the_optimism_of_dev(catalog: Catalog, rows: Rows) -> None:
    dev, test = accuracies(rows, "dev"), accuracies(rows)
    sparsities = {row["variant_id"]: row["sparsity"] for row in rows["variants"]}
    dense = next(variant for variant, sparsity in sparsities.items() if sparsity == 0)
    found = {row["criterion"]: row for row in answers(catalog, "best_by_language", "with_groups=true")}
    assert list(found) == [*sorted(LANGUAGES), "outside_english", "worst"]
    for language in LANGUAGES:
        row = found[language]
        best = min(dev, key=lambda one: (-dev[one][language], sparsities[one], one))
        assert (row["variant_id"], row["dev_value"]) == (best, dev[best][language])
        assert row["test_value"] == test[best][language]
        gains = [values[best][language] - values[dense][language] for values in (dev, test)]
        assert row["optimism"] == pytest.approx(gains[0] - gains[1])
    assert found["worst"]["dev_value"] == max(min(own.values()) for own in dev.values())
    assert {row["language"] for row in answers(catalog, "best_by_language")} == set(LANGUAGES)


@pytest.fixture
def empty(tmp_path: Path) -> Store:
    return Store(tmp_path / "own")


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_rules_are_compared_with_the_rule_mean(empty: Store) -> None:
    _two_rules(empty)
    with Catalog.open(empty) as catalog:
        found = {
            row["scoring_rule"]: row["value"] for row in answers(catalog, "values_by_variant", "all_protocols=true")
        }
        assert found == {"mean": 0.5, "pmi": 0.75}
        one = answers(catalog, "values_by_variant", "scoring_rule=pmi")
        assert [row["value"] for row in one] == [0.75]
        assert [row["value"] for row in answers(catalog, "values_by_variant")] == [0.5]
        assert answers(catalog, "values_by_variant", "protocol_id=another") == []


def _two_rules(store: Store) -> None:
    keys = {"variant_id": "v", "task": "facts", "language": "fr", "split": "test"}
    write_rows(
        store,
        "variants",
        parameters={},
        parents={},
        rows={"variants": [{"variant_id": "v", "base_model_id": "m", "sparsity": 0.5}]},
    )
    for rule, value in (("mean", 0.5), ("pmi", 0.75)):
        own = {**keys, "evaluation_id": rule}
        rows = {
            "evaluations": [{**own, **default_protocol("facts"), "scoring_rule": rule, "n_examples": 4}],
            "metrics": [{**own, "metric": "accuracy", "value": value, "ci_low": 0.0, "ci_high": 1.0, "n": 4}],
        }
        write_rows(store, "evaluations", parameters={"rule": rule}, parents={}, rows=rows)


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_ranks_of_two_rules_do_not_replace_each_other_and_missing_keys_are_empty(empty: Store) -> None:
    keys = {"variant_id": "v", "task": "facts", "language": "fr", "reference_language": "en", "split": "test"}
    old = {**keys, "n_items": 3, "n_skipped": 0, "value": 0.25}
    for rule, value in (("mean", 0.5), ("pmi", 0.75)):
        own = {**old, "value": value, "evaluation_id": f"{rule}-fr", "reference_evaluation_id": f"{rule}-en"}
        rows = {"rank_consistency": [{**own, "scoring_rule": rule}]}
        write_rows(empty, "rank_consistency", parameters={"rule": rule}, parents={}, rows=rows)
    write_rows(empty, "rank_consistency", parameters={}, parents={}, rows={"rank_consistency": [old]})
    with Catalog.open(empty) as catalog:
        found = catalog.query("SELECT scoring_rule, evaluation_id, value FROM rank_consistency ORDER BY value")
    assert [(row["scoring_rule"], row["evaluation_id"], row["value"]) for row in found] == [
        (None, "", 0.25),
        ("mean", "mean-fr", 0.5),
        ("pmi", "pmi-fr", 0.75),
    ]


def test_variants_are_ranked_over_languages(catalog: Catalog, rows: Rows) -> None:
    found = rank_variants(catalog, ["facts"]).as_dicts()
    values = accuracies(rows)
    assert {row["variant_id"] for row in found} == set(values)
    ranks: dict[str, list[float]] = defaultdict(list)
    for language in LANGUAGES:
        column = [own[language] for own in values.values()]
        for variant, own in values.items():
            above, equal = (sum(f(x, own[language]) for x in column) for f in (float.__gt__, float.__eq__))
            ranks[variant].append(above + (equal + 1) / 2)
    for row in found:
        assert row["average_rank"] == pytest.approx(statistics.mean(ranks[row["variant_id"]]))
        assert (row["n_variants"], row["n_data_sets"]) == (len(values), len(LANGUAGES))
        n, k, statistic = len(LANGUAGES), len(values), row["friedman_statistic"]
        assert row["iman_davenport"] == pytest.approx((n - 1) * statistic / (n * (k - 1) - statistic))
        p_value = stats.f.sf(row["iman_davenport"], k - 1, (k - 1) * (n - 1))
        assert row["iman_davenport_p_value"] == pytest.approx(p_value)
    assert [row["average_rank"] for row in found] == sorted(row["average_rank"] for row in found)


def test_for_perplexity_less_ranks_first(catalog: Catalog) -> None:
    found = rank_variants(catalog, ["perplexity"], metric="perplexity").as_dicts()
    assert found[0]["mean_value"] < found[-1]["mean_value"]


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_too_few_values_cannot_be_ranked(catalog: Catalog, empty: Store) -> None:
    with pytest.raises(QueryError, match="no evaluation matches"):
        rank_variants(catalog, ["xnli"])
    _two_rules(empty)
    with Catalog.open(empty) as own, pytest.raises(QueryError, match="not enough values to rank"):
        rank_variants(own, ["facts"])


def test_metrics_say_whether_higher_is_better_and_no_statement_names_those_metrics(methods_catalog: Catalog) -> None:
    lower = {name for name, traits in METRIC_TRAITS.items() if not traits.higher_is_better and not traits.key}
    lower -= {
        "ece_sum",
        "bias_ambiguous",
        "bias_disambiguated",
    }  # on request, and of a task that the store does not have
    found = methods_catalog.query("SELECT DISTINCT metric, higher_is_better FROM metrics")
    assert {row["metric"] for row in found if not row["higher_is_better"]} == lower
    assert {row["metric"] for row in found if row["higher_is_better"]} > {"accuracy"}
    files = [path.read_text() for path in Path(catalog.__file__).parent.rglob("*.sql")]
    assert not [found for text in files for found in re.findall(r"metric IN \(([^)]*)\) THEN -", text)]
