"""Language-specific neurons in SQL, compared with the published formula as plain loops."""

import math
import random
from collections import defaultdict
from typing import Any

import pytest

from catalog.queries import run_user_query
from catalog.store import Catalog
from mlprune.store.store import Store
from tests.catalog_data import LANGUAGES, N_BLOCKS, N_NEURONS, write_rows

Rows = dict[str, list[dict[str, Any]]]
Counts = dict[str, dict[int, list[float]]]
"""Language -> block -> of every neuron the fraction of tokens at which it fires."""


def lape(shares: Counts, *, share: float, quantile: float) -> dict[tuple[str, int], list[int]]:
    """(language, block) -> its neurons, the lowest entropy first: Tang et al., arXiv:2402.16438, in plain loops."""
    everything = sorted(p for blocks in shares.values() for of_block in blocks.values() for p in of_block)
    threshold = everything[max(1, round(quantile * len(everything))) - 1]
    found = []
    neurons = [(block, place) for block, row in next(iter(shares.values())).items() for place in range(len(row))]
    for block, neuron in neurons:
        ps = [shares[language][block][neuron] for language in sorted(shares)]
        if not any(p > threshold for p in ps):
            continue
        total, entropy = sum(ps), 0.0
        for p in ps:
            if p > 0:
                entropy -= p / total * math.log(p / total)
        found.append((entropy, block, neuron))
    found = sorted(found)[: round(share * len(neurons))]
    own: dict[tuple[str, int], list[int]] = defaultdict(list)
    for _, block, neuron in found:
        for language, blocks in shares.items():
            if blocks[block][neuron] > threshold:
                own[language, block].append(neuron)
    return dict(own)


def shares_of(rows: Rows) -> Counts:
    languages = {row["demonstration_set_id"]: row["source_language"] for row in rows["demonstration_sets"]}
    found: Counts = defaultdict(dict)
    for row in rows["neuron_activity"]:
        found[languages[row["demonstration_set_id"]]][row["block"]] = [n / row["n_tokens"] for n in row["n_active"]]
    return found


def answered(catalog: Catalog, *pairs: str) -> dict[tuple[str, int], list[int]]:
    """Return (language, block) -> neurons, and check the counts of every row."""
    found = {}
    for row in run_user_query(catalog, "language_specific_neurons", pairs).as_dicts():
        neurons = [int(one) for one in (row["neurons"] or "").split()]
        assert row["n_neurons"] == len(neurons)
        assert (row["mean_probability"] is None) == (not neurons)
        found[row["language"], row["block"]] = neurons
    return found


@pytest.mark.parametrize(("share", "quantile"), [(0.01, 0.95), (0.1, 0.9), (0.25, 0.5), (1.0, 0.0), (0.0, 0.95)])
def test_the_query_finds_the_neurons_that_plain_loops_find(
    catalog: Catalog, rows: Rows, share: float, quantile: float
) -> None:
    expected = lape(shares_of(rows), share=share, quantile=quantile)
    found = answered(catalog, f"share={share}", f"quantile={quantile}")
    assert set(found) == {(language, block) for language in LANGUAGES for block in range(N_BLOCKS)}
    assert {key: neurons for key, neurons in found.items() if neurons} == expected
    assert bool(expected) == (share > 0)


def test_a_neuron_made_for_a_language_is_found_with_its_share_of_the_block(catalog: Catalog, rows: Rows) -> None:
    found = answered(catalog, "share=0.1", "quantile=0.9")
    for place, language in enumerate(LANGUAGES):
        for block in range(N_BLOCKS):
            assert found[language, block] == [place]
    shares = shares_of(rows)
    for row in run_user_query(catalog, "language_specific_neurons", ["share=0.1", "quantile=0.9"]).as_dicts():
        assert row["share_of_block"] == pytest.approx(1 / N_NEURONS)
        own = shares[row["language"]][row["block"]][int(row["neurons"])]
        assert row["mean_probability"] == pytest.approx(own)


def counted(store: Store, language: str | None, counts: list[int], *, n_tokens: int, seed: int = 0) -> None:
    """One set of one block, and how often its neurons fire."""
    kind = "monolingual" if language else "code"
    row = {"demonstration_set_id": "@id", "kind": kind, "source_language": language, "seed": seed}
    parameters = {"language": language, "seed": seed}
    set_id = write_rows(store, "demonstration_sets", parameters=parameters, rows={"demonstration_sets": [row]})
    own = {"neuron_activity_id": "@id", "base_model_id": "m", "demonstration_set_id": set_id, "block": 0}
    rows = {"neuron_activity": [{**own, "n_tokens": n_tokens, "n_active": counts}]}
    write_rows(store, "neuron_activity", parameters=parameters, rows=rows)


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_sets_of_a_language_are_combined_and_can_be_selected_by_seed_and_kind(tmp_path: Any) -> None:
    store, draw = Store(tmp_path / "store"), random.Random(5)
    rows = {key: [draw.randrange(40) for _ in range(30)] for key in (("fr", 0), ("fr", 1), ("sw", 0), ("sw", 1))}
    for (language, seed), counts in rows.items():
        counted(store, language, counts, n_tokens=40 * (1 + seed), seed=seed)
    code = [draw.randrange(40) for _ in range(30)]
    counted(store, None, code, n_tokens=40)
    options = {"share": 0.2, "quantile": 0.5}
    pairs = [f"{name}={value}" for name, value in options.items()]
    pooled = {
        language: {0: [(a + b) / 120 for a, b in zip(rows[language, 0], rows[language, 1], strict=True)]}
        for language in ("fr", "sw")
    }
    first = {language: {0: [n / 40 for n in rows[language, 0]]} for language in ("fr", "sw")}
    with_code = {**pooled, "code": {0: [n / 40 for n in code]}}
    with Catalog.open(store) as catalog:
        for asked, expected in (((), with_code), (("kind=monolingual",), pooled)):
            assert {k: v for k, v in answered(catalog, *pairs, *asked).items() if v} == lape(expected, **options)
        found = answered(catalog, *pairs, "kind=monolingual", "seed=0")
        assert {key: neurons for key, neurons in found.items() if neurons} == lape(first, **options)


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_neurons_that_are_never_active_belong_to_no_language(tmp_path: Any) -> None:
    store = Store(tmp_path / "store")
    counted(store, "fr", [0, 9, 0, 5], n_tokens=10)
    counted(store, "sw", [0, 0, 8, 5], n_tokens=10)
    with Catalog.open(store) as catalog:
        assert answered(catalog, "share=1", "quantile=0.6") == {("fr", 0): [1], ("sw", 0): [2]}


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_removed_shares_are_means_over_a_languages_neurons_and_over_the_block(tmp_path: Any) -> None:
    store = Store(tmp_path / "store")
    counted(store, "fr", [0, 9, 0, 5, 9], n_tokens=10)
    counted(store, "sw", [0, 0, 8, 5, 0], n_tokens=10)
    variant = {"variant_id": "@id", "base_model_id": "m", "score": "wanda", "sparsity": 0.5}
    variant_id = write_rows(store, "variants", parameters={}, rows={"variants": [variant]})
    removals = {"variant_id": variant_id, "block": 0, "n_before": 10, "n_after": 4}
    removals |= {"removed_before": [5, 1, 6, 5, 2], "removed_after": [2, 0, 4, 2, 1]}
    write_rows(store, "neuron_removals", parameters={}, rows={"neuron_removals": [removals]})
    with Catalog.open(store) as catalog:
        options = ["share=1", "quantile=0.6", f"variant_id={variant_id}"]
        found = {
            row["language"]: row for row in run_user_query(catalog, "language_specific_neurons", options).as_dicts()
        }
        unasked = run_user_query(catalog, "language_specific_neurons", options[:2]).as_dicts()
    assert {one: row["neurons"] for one, row in found.items()} == {"fr": "1 4", "sw": "2"}
    assert (found["fr"]["removed_before"], found["fr"]["removed_after"]) == pytest.approx((0.15, 0.125))
    assert (found["sw"]["removed_before"], found["sw"]["removed_after"]) == pytest.approx((0.6, 1.0))
    for row in found.values():
        assert (row["block_removed_before"], row["block_removed_after"]) == pytest.approx((0.38, 0.45))
    assert {row["removed_before"] for row in unasked} == {row["block_removed_after"] for row in unasked} == {None}
