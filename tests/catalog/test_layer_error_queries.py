"""Queries of layer errors, compared with plain loops over the rows of a store."""

from collections import defaultdict
from statistics import fmean, median
from typing import Any

import pytest

from catalog.store import Catalog
from mlprune.store.store import Store
from tests.catalog.query_answers import answers
from tests.catalog_data import write_base_and_sets, write_rows

VARIANTS = {"wanda": (0.5, "row"), "alps": (0.5, "row"), "ria": (0.5, "matrix"), "magnitude": (0.7, "row")}
"""Score -> sparsity and structure."""
LAYERS = ((0, "fc1"), (0, "fc2"), (1, "fc1"))

Errors = dict[tuple[str, str], dict[tuple[int, str], float]]
"""(score, language) -> (block, layer) -> error."""

ERRORS: Errors = {
    ("wanda", "fr"): dict(zip(LAYERS, (0.1, 0.3, 0.2), strict=True)),
    ("wanda", "sw"): dict(zip(LAYERS, (0.4, 0.1, 0.4), strict=True)),
    ("alps", "fr"): dict(zip(LAYERS, (0.05, 0.1, 0.2), strict=True)),
    ("alps", "sw"): dict(zip(LAYERS, (0.5, 0.2, 0.5), strict=True)),
    ("ria", "fr"): dict(zip(LAYERS, (0.0, 0.0, 0.0), strict=True)),
    ("magnitude", "fr"): dict(zip(LAYERS, (0.6, 0.9, 0.7), strict=True)),
}


@pytest.fixture(scope="module")
def catalog_of_errors(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """The catalog of four variants with errors in French, two of them also in Swahili."""
    store = Store(tmp_path_factory.mktemp("errors"))
    base_id, sets = write_base_and_sets(store, ("fr", "sw"))
    for score, (sparsity, structure) in VARIANTS.items():
        variant = {"variant_id": "@id", "base_model_id": base_id, "score": score, "structure": structure}
        variant |= {"sparsity": sparsity, "achieved_sparsity": sparsity}
        made = {"variants": [variant], "variant_demonstrations": [], "variant_layers": [], "variant_parents": []}
        variant_id = write_rows(store, "variants", parameters={"score": score}, rows=made)
        for language, set_id in sets.items():
            keys = {"variant_id": variant_id, "demonstration_set_id": set_id, "n_weights": 64}
            errors = [
                {**keys, "block": block, "layer": layer, "error": error}
                for (block, layer), error in ERRORS.get((score, language), {}).items()
            ]
            if errors:
                parents = {"variant": variant_id, "set": set_id}
                write_rows(store, "layer_errors", parameters={}, parents=parents, rows={"layer_errors": errors})
    return Catalog.in_memory(store)


def test_languages_are_ranked_by_the_mean_error_of_a_variant(catalog_of_errors: Catalog) -> None:
    rows = answers(catalog_of_errors, "layer_error_by_language")
    assert {(row["label"].split()[0], row["language"]) for row in rows} == set(ERRORS)
    for row in rows:
        score = row["label"].split()[0]
        errors = ERRORS[score, row["language"]]
        means = [fmean(of.values()) for (name, _), of in ERRORS.items() if name == score]
        mean = fmean(errors.values())
        assert row["mean_error"] == pytest.approx(mean)
        assert row["median_error"] == pytest.approx(median(errors.values()))
        assert row["rank"] == 1 + sum(other > mean for other in means)
        assert row["ratio_to_least"] == (pytest.approx(mean / min(means)) if min(means) else None)
        worst = max(errors.values())
        assert row["worst_error"] == worst
        assert (row["worst_block"], row["worst_layer"]) == next(key for key, one in errors.items() if one == worst)
        assert row["n_layers"] == len(LAYERS)


def test_a_language_or_kind_can_be_selected(catalog_of_errors: Catalog) -> None:
    rows = answers(catalog_of_errors, "layer_error_by_language", "language=fr")
    assert {(row["label"].split()[0], row["rank"]) for row in rows if row["label"].split()[0] in ("wanda", "alps")} == {
        ("wanda", 2),
        ("alps", 2),
    }
    assert not answers(catalog_of_errors, "layer_error_by_language", "kind=code")


@pytest.mark.parametrize("layer", [None, "fc1"])
def test_methods_are_ranked_among_variants_of_equal_sparsity_and_structure(
    catalog_of_errors: Catalog, layer: str | None
) -> None:
    rows = answers(catalog_of_errors, "layer_error_by_method", *([f"layer={layer}"] if layer else []))
    groups: dict[Any, Errors] = defaultdict(dict)
    for (score, language), errors in ERRORS.items():
        kept = {key: one for key, one in errors.items() if layer in (None, key[1])}
        groups[(*VARIANTS[score], language)][score, language] = kept
    assert len(rows) == len(ERRORS)
    for row in rows:
        language = row["set_label"]
        group = groups[row["sparsity"], row["structure"], language]
        means = {score: fmean(errors.values()) for (score, _), errors in group.items()}
        mean = means[row["score"]]
        assert row["mean_error"] == pytest.approx(mean)
        assert row["rank"] == 1 + sum(other < mean for other in means.values())
        assert row["ratio_to_best"] == (pytest.approx(mean / min(means.values())) if mean else None)
        own = group[row["score"], language]
        assert row["n_best"] == sum(one == min(errors[key] for errors in group.values()) for key, one in own.items())
    only = answers(catalog_of_errors, "layer_error_by_method", "sparsity=0.7")
    assert [row["score"] for row in only] == ["magnitude"]
