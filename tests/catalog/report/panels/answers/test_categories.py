from typing import Any

import numpy as np
import pytest

from catalog.report.exhibit_sources import run_exhibit
from catalog.report.figures import FIGURES
from catalog.report.panels.answers.categories import MAX_CATEGORIES, accuracy_interval, category_panels
from catalog.store import Catalog
from mlprune.numeric.statistics.proportions import effective_size, wilson_interval
from tests.catalog.report.rows import TASK, drawn, texts

(CATEGORIES,) = [exhibit for exhibit in FIGURES if exhibit.anchor == "categories"]
ROW: dict[str, Any] = {**TASK, "label": "wanda fr-en 0.5", "score": "wanda", "category": "city", "n": 10, "n_right": 6}
ROW |= {"n_dense_right": 8, "n_gained": 1, "n_lost": 3, "n_clusters": 10, "cluster_sizes": None}


def test_right_answers_of_a_category_are_those_of_its_items(catalog: Catalog) -> None:
    (source, sparsest) = run_exhibit(catalog, CATEGORIES)
    assert source.parameters["task"] == sparsest.parameters["task"] == "facts"
    answers = catalog.query(
        "FROM item_answers('facts', of_variant := $variant)", {"variant": source.parameters["variant_id"]}
    )
    dense = {
        (row["language"], row["example_id"]): row["is_right"]
        for row in catalog.query("FROM item_answers('facts', of_variant := 'dense')")
    }
    for row in source.rows:
        members = [a for a in answers if (a["language"], a["category"]) == (row["language"], row["category"])]
        before = [dense[one["language"], one["example_id"]] for one in members]
        assert (row["n"], row["n_right"]) == (len(members), sum(one["is_right"] for one in members))
        assert row["n_dense_right"] == sum(before)
        assert row["n_gained"] == sum(one["is_right"] and not was for one, was in zip(members, before, strict=True))
    assert {(row["language"], row["category"]) for row in source.rows} == {
        (language, category) for language in ("en", "es", "fr", "sw") for category in ("even", "odd")
    }


def test_the_second_variant_is_the_same_method_at_its_largest_sparsity(catalog: Catalog) -> None:
    ids = [source.parameters["variant_id"] for source in run_exhibit(catalog, CATEGORIES)]
    described = {row["variant_id"]: row for row in catalog.query("FROM variant_descriptions")}
    best, sparsest = (described[one] for one in ids)
    assert best["method_id"] == sparsest["method_id"]
    assert best["sparsity"] < sparsest["sparsity"] == 0.5
    means = catalog.query(
        "SELECT variant_id, avg(value) AS mean FROM metrics WHERE metric = 'accuracy' AND split = 'dev' "
        "AND language <> 'en' AND variant_id IN (SELECT variant_id FROM variants WHERE sparsity > 0) GROUP BY ALL"
    )
    largest = max(row["mean"] for row in means)
    assert next(row["mean"] for row in means if row["variant_id"] == ids[0]) == pytest.approx(largest)


def test_items_of_one_cluster_widen_the_interval() -> None:
    alone = accuracy_interval(ROW, "n_right", "cluster_rights")
    assert alone == wilson_interval(6, 10)
    clustered = {**ROW, "n_clusters": 2, "cluster_sizes": [5, 5], "cluster_rights": [5, 1]}
    credit = np.array([1, 1, 1, 1, 1, 1, 0, 0, 0, 0], dtype=float)
    size = effective_size(credit, np.repeat([0, 1], 5))
    together = accuracy_interval(clustered, "n_right", "cluster_rights")
    assert together == wilson_interval(0.6 * size, size)
    assert together.low < alone.low


def test_rows_state_their_items_and_the_gained_and_lost_ones() -> None:
    rows = [{**ROW, "category": f"relation {index}"} for index in range(MAX_CATEGORIES + 1)]
    (group,) = category_panels(rows)
    (panel,) = group.panels
    shown = texts(drawn(panel))
    assert "relation 0 (n = 10)" in shown
    assert shown.count("+1 −3") == MAX_CATEGORIES
    assert f"{MAX_CATEGORIES} of {MAX_CATEGORIES + 1} categories drawn" in panel.label
