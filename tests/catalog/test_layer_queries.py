"""Queries of layer errors and of refined layers, compared with plain loops over the rows of a store."""

from collections import defaultdict
from pathlib import Path
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
                parents = {"variant": variant_id, "gram_matrices": f"gram-{language}"}
                write_rows(store, "layer_errors", parameters={}, parents=parents, rows={"layer_errors": errors})
    return Catalog.in_memory(store)


@pytest.mark.thorough("fills and folds catalogs of its own")
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
    assert not answers(catalog_of_errors, "layer_error_by_language", "kind=code")


@pytest.mark.parametrize("layer", [None, "fc1"])
def test_methods_are_ranked_among_variants_of_equal_sparsity_and_structure(
    catalog_of_errors: Catalog, layer: str | None
) -> None:
    rows = answers(catalog_of_errors, "layer_error_by_language", *([f"layer={layer}"] if layer else []))
    groups: dict[Any, Errors] = defaultdict(dict)
    for (score, language), errors in ERRORS.items():
        kept = {key: one for key, one in errors.items() if layer in (None, key[1])}
        groups[(*VARIANTS[score], language)][score, language] = kept
    assert len(rows) == len(ERRORS)
    for row in rows:
        language = row["demonstrations"]
        group = groups[row["sparsity"], row["structure"], language]
        means = {score: fmean(errors.values()) for (score, _), errors in group.items()}
        mean = means[row["score"]]
        assert row["mean_error"] == pytest.approx(mean)
        assert row["rank_of_method"] == 1 + sum(other < mean for other in means.values())
        assert row["ratio_to_best"] == (pytest.approx(mean / min(means.values())) if mean else None)
        own = group[row["score"], language]
        assert row["n_best"] == sum(one == min(errors[key] for errors in group.values()) for key, one in own.items())
    only = answers(catalog_of_errors, "layer_error_by_language", "sparsity=0.7")
    assert {row["score"] for row in only} == {"magnitude"}


Changes = dict[tuple[int, str, str], tuple[float, float]]
"""(block, layer, language) -> error before and after."""

CHANGES: Changes = {
    (0, "fc1", "fr"): (0.10, 0.05),
    (0, "fc2", "fr"): (0.30, 0.18),
    (1, "fc1", "fr"): (0.20, 0.12),
    (0, "fc1", "sw"): (0.10, 0.13),
    (0, "fc2", "sw"): (0.20, 0.19),
    (1, "fc1", "sw"): (0.00, 0.00),
}


@pytest.fixture
def refined(tmp_path: Path) -> Catalog:
    """The catalog of a variant over French and Swahili that was refined by Gram swaps."""
    store = Store(tmp_path / "store")
    base_id, sets = write_base_and_sets(store, ("fr", "sw"))
    variant = {"variant_id": "@id", "base_model_id": base_id, "score": "wanda", "structure": "row", "sparsity": 0.5}
    variant |= {"achieved_sparsity": 0.5, "refiner": "gram_swaps", "aggregation": "mean", "propagation": "dense"}
    links = [
        {"variant_id": "@id", "demonstration_set_id": set_id, "role": "calibration", "weight": 0.5}
        for set_id in sets.values()
    ]
    rows = {"variants": [variant], "variant_demonstrations": links, "variant_layers": [], "variant_parents": []}
    variant_id = write_rows(store, "variants", parameters={}, rows=rows)
    for block in (0, 1):
        layers = [
            {"variant_id": variant_id, "block": block, "layer": layer, "demonstration_set_id": sets[language]}
            | {"error_before": before, "error_after": after, "n_swaps": 7, "n_rows_changed": 3}
            for (of_block, layer, language), (before, after) in CHANGES.items()
            if of_block == block
        ]
        write_rows(store, "mask_blocks", parameters={"block": block}, rows={"refined_layers": layers})
    return Catalog.in_memory(store)


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_the_language_whose_errors_grew_pays_for_the_swaps(refined: Catalog) -> None:
    errors: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for (_, _, language), pair in CHANGES.items():
        errors[language].append(pair)
    with refined:
        rows = answers(refined, "refinement_by_language")
    assert [(row["language"], row["rank"], row["n_worse"]) for row in rows] == [("sw", 1, 1), ("fr", 2, 0)]
    for row in rows:
        pairs = errors[row["language"]]
        assert row["mean_before"] == pytest.approx(fmean(before for before, _ in pairs))
        assert row["mean_after"] == pytest.approx(fmean(after for _, after in pairs))
        assert row["mean_change"] == pytest.approx(fmean(after / before - 1 for before, after in pairs if before))
        assert (row["n_layers"], row["n_swaps"], row["weight"], row["refiner"]) == (3, 21, 0.5, "gram_swaps")


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_every_layer_has_its_change_per_set(refined: Catalog) -> None:
    with refined:
        rows = answers(refined, "refinement_by_language", "by_layer=true")
    found = {(row["block"], row["layer"], row["demonstrations"]): row["mean_change"] for row in rows}
    assert found == {
        key: pytest.approx(after / before - 1) if before else None for key, (before, after) in CHANGES.items()
    }


LOSSES = {(0, "fr"): (0.10, 0.05), (0, "sw"): (0.20, 0.15), (1, "fr"): (0.30, 0.21), (1, "sw"): (0.00, 0.00)}
SETTINGS = [{}, {"steps": 12}]


@pytest.fixture
def reconstructed(tmp_path: Path) -> Catalog:
    """The catalog of Wanda on French and two reconstructions of it on French and Swahili."""
    store = Store(tmp_path / "store")
    base_id, sets = write_base_and_sets(store, ("fr", "sw"))
    variant = {"variant_id": "@id", "base_model_id": base_id, "score": "wanda", "structure": "row", "sparsity": 0.5}
    variant |= {"achieved_sparsity": 0.5, "propagation": "dense", "demonstration_set_id": sets["fr"]}
    link = {"variant_id": "@id", "demonstration_set_id": sets["fr"], "role": "demonstrations", "weight": 1.0}
    rows = {"variants": [variant], "variant_demonstrations": [link], "variant_layers": [], "variant_parents": []}
    parent = write_rows(store, "variants", parameters={}, rows=rows)
    for settings in SETTINGS:
        own = {**variant, "weights_changed": True, "reconstruction": {"unit": "block", **settings}}
        links = [
            {**link, "demonstration_set_id": one, "role": "reconstruction", "weight": 0.5} for one in sets.values()
        ]
        parents = [{"variant_id": "@id", "parent_variant_id": parent, "role": "unreconstructed"}]
        rows |= {"variants": [own], "variant_demonstrations": [link, *links], "variant_parents": parents}
        variant_id = write_rows(store, "variants", parameters={"reconstruct": settings}, rows=rows)
    for block in (0, 1):
        blocks = [
            {"variant_id": variant_id, "block": block, "demonstration_set_id": sets[language], "n_steps": 9}
            | {"loss_before": before, "loss_after": after, "step_length": 0.004}
            for (of_block, language), (before, after) in LOSSES.items()
            if of_block == block
        ]
        write_rows(store, "mask_blocks", parameters={"block": block}, rows={"reconstructed_blocks": blocks})
    return Catalog.in_memory(store)


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_every_block_has_its_losses_per_set(reconstructed: Catalog) -> None:
    with reconstructed:
        rows = answers(reconstructed, "reconstruction_by_block")
    found = {(row["block"], row["language"]): row["change"] for row in rows}
    assert found == {
        key: pytest.approx(after / before - 1) if before else None for key, (before, after) in LOSSES.items()
    }
    assert {(row["weight"], row["n_steps"], row["step_length"]) for row in rows} == {(0.5, 9, 0.004)}


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_labels_say_on_what_blocks_were_reconstructed(reconstructed: Catalog) -> None:
    with reconstructed:
        rows = reconstructed.select(
            "SELECT label, method_id FROM internal.variant_descriptions ORDER BY label"
        ).as_dicts()
    labels = [row["label"] for row in rows]
    assert labels == [
        "wanda fr 0.5",
        "wanda fr 0.5, reconstructed on fr + sw",
        "wanda fr 0.5, reconstructed on fr + sw, steps 12",
    ]
    assert len({row["method_id"] for row in rows}) == 3
