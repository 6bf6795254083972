"""Queries of quantised variants and of variants without neurons, compared with plain loops over the rows of a store."""

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from catalog.store import Catalog
from mlprune.store.store import Store
from tests.catalog.query_answers import answers
from tests.catalog_data import evaluation_of, write_base_and_sets, write_rows

ACCURACIES = {
    "dense": {"fr": 0.60, "sw": 0.40},
    "half": {"fr": 0.55, "sw": 0.30},
    "half 4 bits": {"fr": 0.50, "sw": 0.20},
    "half 8 bits": {"fr": 0.55, "sw": 0.31},
    "without fr": {"fr": 0.30, "sw": 0.38},
    "random 0": {"fr": 0.56, "sw": 0.36},
    "random 1": {"fr": 0.58, "sw": 0.38},
    "only fr": {"fr": 0.59, "sw": 0.10},
}
NEURONS = {
    "without fr": {"action": "remove", "of": "fr"},
    "random 0": {"action": "random", "of": "fr"},
    "random 1": {"action": "random", "of": "fr"},
    "only fr": {"action": "only", "of": "fr"},
}


class Derived:
    """A store with the variants, evaluated in two languages and compared with dense and with their parents."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.base_id, _ = write_base_and_sets(store, ("fr", "sw"))
        self.ids: dict[str, str] = {}
        self.metrics: dict[tuple[str, str], dict[str, Any]] = {}
        self.add("dense", sparsity=0.0)
        self.add("half", sparsity=0.5, score="magnitude", structure="row")
        for bits in (4, 8):
            more = {"bits": bits, "quantisation_group": 128, "weights_changed": True}
            self.add(f"half {bits} bits", "half", sparsity=0.5, score="magnitude", structure="row", **more)
        for name, neurons in NEURONS.items():
            self.add(name, sparsity=0.01, neurons=neurons, seed=int(name.endswith("1")) if "random" in name else None)

    def add(self, name: str, parent: str | None = None, **row: Any) -> None:
        """Write a variant, its evaluations, and its comparisons with dense and its parent."""
        keys = {"variant_id": "@id", "base_model_id": self.base_id, "achieved_sparsity": row["sparsity"]}
        links = [{"variant_id": "@id", "parent_variant_id": self.ids[parent], "role": "unquantised"}] if parent else []
        rows = {"variants": [{**keys, **row}], "variant_parents": links}
        self.ids[name] = write_rows(self.store, "variants", parameters={"name": name}, rows=rows)
        for language, accuracy in ACCURACIES[name].items():
            values = {"accuracy": accuracy}
            (metric,) = evaluation_of(
                self.store, self.ids[name], task="facts", language=language, split="test", values=values
            )
            self.metrics[name, language] = metric
            for baseline in dict.fromkeys(("dense", parent)):
                if baseline and baseline != name:
                    self._compare(metric, self.metrics[baseline, language])

    def _compare(self, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
        keys = {key: ours[key] for key in ("variant_id", "evaluation_id", "task", "language", "split", "metric")}
        keys |= {"baseline_id": theirs["variant_id"], "baseline_evaluation_id": theirs["evaluation_id"]}
        values = {"difference": ours["value"] - theirs["value"], "p_value": 0.5, "scoring_rule": "mean", "n": 40}
        row = {"comparison_id": "@id", **keys, **values, "scale": "difference", "profile": "corrected"}
        row["protocol_id"] = "protocol of facts"
        parents = {"evaluations": [ours["evaluation_id"]], "baseline_evaluations": [theirs["evaluation_id"]]}
        write_rows(self.store, "comparisons", parameters={}, parents=parents, rows={"comparison_results": [row]})


@pytest.fixture(scope="module")
def derived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    store = Store(Path(tmp_path_factory.mktemp("derived")))
    Derived(store)
    with Catalog.in_memory(store) as catalog:
        yield catalog


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_the_cost_of_rounding_is_the_difference_to_the_same_masks(derived: Catalog) -> None:
    rows = answers(derived, "quantisation_cost")
    assert len(rows) == 4
    for row in rows:
        parent, own = ACCURACIES["half"], ACCURACIES[f"half {row['bits']} bits"]
        assert row["unquantised_value"] == parent[row["language"]]
        assert row["value"] == own[row["language"]]
        assert row["difference"] == pytest.approx(own[row["language"]] - parent[row["language"]])
        assert (row["sparsity"], row["quantisation_group"], row["n"]) == (0.5, 128, 40)
        others = [own[language] - parent[language] for language in own]
        assert row["rank"] == 1 + sum(other < row["difference"] - 1e-9 for other in others)
    assert answers(derived, "quantisation_cost", "metric=f1_macro") == []


def test_the_effect_of_neurons_stands_next_to_the_mean_of_its_random_controls(derived: Catalog) -> None:
    rows = derived.query("FROM mean_changes('facts') WHERE method LIKE 'without%' AND group_kind = 'language'")
    found = {(row["settings"], row["group_name"]): row for row in rows}
    effects = {"without the neurons of fr": ["without fr"], "without as many random": ["random 0", "random 1"]}
    for beginning, names in effects.items():
        for language in ("fr", "sw"):
            (row,) = [row for (text, of), row in found.items() if text.startswith(beginning) and of == language]
            dense = ACCURACIES["dense"][language]
            assert row["difference"] == pytest.approx(fmean(ACCURACIES[name][language] - dense for name in names))
            assert row["n_variants"] == len(names)
