"""Queries that answer a question at once: counted again from the records in plain Python."""

import statistics
from collections import defaultdict
from typing import Any

import pytest

from catalog.queries import ask
from catalog.store import Catalog
from mlprune.numeric.significance import holm
from mlprune.storage import Store
from tests.catalog_data import LANGUAGES, STARTED

Rows = dict[str, list[dict[str, Any]]]


def answers(catalog: Catalog, name: str, *pairs: str) -> list[dict[str, Any]]:
    return ask(catalog, name, pairs).as_dicts()


def to_dense(rows: Rows) -> list[dict[str, Any]]:
    """Comparisons of accuracy with dense on test."""
    dense = next(row["variant_id"] for row in rows["variants"] if row["sparsity"] == 0)
    wanted = {"baseline_id": dense, "task": "facts", "metric": "accuracy", "split": "test"}
    return [row for row in rows["comparisons"] if wanted.items() <= row.items()]


def test_which_source_language_helps_which(catalog: Catalog, rows: Rows) -> None:
    sets = {row["demonstration_set_id"]: row for row in rows["demonstration_sets"]}
    variants = {row["variant_id"]: row for row in rows["variants"]}
    cells: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in to_dense(rows):
        variant = variants[row["variant_id"]]
        if variant["score"] == "wanda":
            made_from = sets[variant["demonstration_set_id"]]
            cells[made_from["kind"], made_from["source_language"], row["language"]].append(row["difference"])
    found = {
        (row["set_kind"], row["source_language"], row["language"]): row
        for row in answers(catalog, "source_language_effects")
    }
    assert set(found) == set(cells)
    for (kind, source, language), values in cells.items():
        row = found[kind, source, language]
        others = [
            statistics.fmean(more)
            for (other_kind, other, evaluated), more in cells.items()
            if (other_kind, evaluated) == (kind, language) and other != source
        ]
        assert row["difference"] == pytest.approx(statistics.fmean(values))
        assert row["standard_deviation"] == pytest.approx(statistics.stdev(values))
        assert row["share_above_dense"] == sum(value > 0 for value in values) / len(values)
        assert row["against_others"] == pytest.approx(statistics.fmean(values) - statistics.fmean(others))
        assert row["is_own_language"] is (source == language)


def test_losses_are_as_significant_as_gains(catalog: Catalog, rows: Rows) -> None:
    family = to_dense(rows)
    adjusted = holm([row["p_value"] for row in family])
    expected = {
        row["evaluation_id"]: ("gain" if row["difference"] > 0 else "loss", p)
        for row, p in zip(family, adjusted, strict=True)
        if p <= 0.05 and row["difference"] != 0
    }
    found = answers(catalog, "significant_changes")
    assert {row["evaluation_id"]: (row["change"], row["p_holm"]) for row in found} == expected
    assert {change for change, _ in expected.values()} == {"gain", "loss"}
    assert [row["change"] for row in found] == sorted((row["change"] for row in found), reverse=True)
    gains = answers(catalog, "significant_changes", "change=gain")
    assert {row["evaluation_id"]: row["p_holm"] for row in gains} == {
        row["evaluation_id"]: row["p_holm"] for row in answers(catalog, "significant_gains")
    }


def test_the_front_is_what_the_view_calls_efficient(catalog: Catalog) -> None:
    efficient = catalog.query("SELECT variant_id FROM pareto WHERE task = 'facts' AND is_efficient")
    front = answers(catalog, "pareto_front")
    assert {row["variant_id"] for row in front} == {row["variant_id"] for row in efficient}
    values = [(row["english_value"], row["others_value"]) for row in front]
    assert values == sorted(values, reverse=True)
    assert [other for _, other in values] == sorted(other for _, other in values)
    assert len(answers(catalog, "pareto_front", "with_beaten=true")) > len(front)


def test_the_matrix_has_every_ordered_pair_and_dense_beside_it(catalog: Catalog, rows: Rows) -> None:
    dense = next(row["variant_id"] for row in rows["variants"] if row["sparsity"] == 0)
    variant = next(row["variant_id"] for row in rows["variants"] if row["score"] == "contrast")
    known = {
        (row["variant_id"], row["language"], row["reference_language"]): row["value"]
        for row in rows["rank_consistency"]
        if row["split"] == "test"
    }
    for chosen, pairs in ((dense, ()), (variant, (f"variant_id={variant}",))):
        found = answers(catalog, "rank_consistency_matrix", *pairs)
        assert len(found) == len(LANGUAGES) * (len(LANGUAGES) - 1)
        for row in found:
            key = (row["language"], row["reference_language"])
            assert row["value"] == known[chosen, *key]
            assert row["change"] == known[chosen, *key] - known[dense, *key]


def test_overlap_of_two_language_pairs_is_the_mean_of_their_layers(catalog: Catalog, rows: Rows) -> None:
    sets = {row["demonstration_set_id"]: row for row in rows["demonstration_sets"]}
    chosen = {
        row["variant_id"]
        for row in rows["variants"]
        if (row["score"], row["propagation"], row["sparsity"]) == ("wanda", "dense", 0.3)
        and sets[row["demonstration_set_id"]]["kind"] == "translation"
    }
    values = [
        row["jaccard"]
        for row in rows["mask_overlaps"]
        if {row["variant_a"], row["variant_b"]} <= chosen and row["block"] == 1
    ]
    found = answers(catalog, "mask_overlap_of_pairs", "sparsity=0.3", "kind=translation")
    (row,) = (row for row in found if (row["score"], row["propagation"], row["block"]) == ("wanda", "dense", 1))
    assert (row["first"], row["second"], row["n_pairs"]) == ("es-en", "fr-en", 1)
    assert row["mean_jaccard"] == pytest.approx(statistics.fmean(values))


def test_a_shared_ordering_is_paid_by_all_who_read_it(store: Store, rows: Rows) -> None:
    variant = next(row for row in rows["variants"] if (row["score"], row["sparsity"]) == ("contrast", 0.3))
    evaluation = next(row for row in rows["evaluations"] if row["variant_id"] == variant["variant_id"])
    n_sharing = sum(row["ordering_id"] == variant["ordering_id"] for row in rows["variants"])
    made = (
        ("variants", variant["variant_id"], 2.0, 0.5),
        ("masks", variant["ordering_id"], 9.0, 1.5),
        ("evaluations", evaluation["evaluation_id"], 4.0, 1.0),
        ("evaluations", evaluation["evaluation_id"], 1.0, 1.0),
    )
    for n, (kind, record_id, elapsed_s, memory) in enumerate(made):
        job = {"run_id": "run-9", "job_id": str(n), "step": "any", "record_kind": kind, "record_id": record_id}
        job |= {"status": "done", "started_at": STARTED, "elapsed_s": elapsed_s, "peak_memory_gib": memory}
        store.write_run_file("run-9", f"job-{n}", job)
    with Catalog.open(store) as catalog:
        catalog.fold()
        found = {row["variant_id"]: row for row in answers(catalog, "cost_of_variants", "run_id=run-9")}
        steps = answers(catalog, "cost_by_step", "run_id=run-9")
    row = found[variant["variant_id"]]
    assert n_sharing == len(found) > 1
    assert (row["own_s"], row["shared_s"], row["evaluate_s"]) == (2.0, 9.0 / n_sharing, 5.0)
    assert row["total_s"] == pytest.approx(7.0 + 9.0 / n_sharing)
    assert (row["peak_memory_gib"], row["n_tries"]) == (1.5, 4)
    assert [(one["n_tries"], one["elapsed_s"]) for one in steps] == [(4, 16.0)]


def test_lineage_reaches_every_file_a_number_was_made_from(catalog: Catalog, filled: Store, rows: Rows) -> None:
    variant = next(row for row in rows["variants"] if row["score"] == "contrast")
    evaluation = next(row for row in rows["evaluations"] if row["variant_id"] == variant["variant_id"])
    waiting, reached = [("evaluations", evaluation["evaluation_id"])], set()
    kinds = {record_id: kind for kind, record_id in filled.record_names()}
    while waiting:
        kind, record_id = waiting.pop()
        reached.add(record_id)
        record = filled.require(kind, record_id)
        parents = [one for value in record.parents.values() for one in ([value] if isinstance(value, str) else value)]
        parents += [row["ordering_id"] for row in record.rows.get("variants", ()) if row["ordering_id"]]
        waiting += [(kinds[one], one) for one in parents if one not in reached]
    files = {
        artefact.path: artefact.sha256
        for record_id in reached
        for artefact in filled.require(kinds[record_id], record_id).artefacts
    }
    found = answers(catalog, "lineage_of_files", f"evaluation_id={evaluation['evaluation_id']}")
    assert {row["id"] for row in found} == reached
    assert {row["path"]: row["sha256"] for row in found if row["path"]} == files
    assert {"predictions", "masks", "statistics", "demonstrations"} <= {path.split("/")[0] for path in files}
