from typing import Any

from catalog.report.summary.methods_text import bibtex_entry, methods_of, methods_paragraph
from catalog.store import Catalog


def fact(topic: str, name: str, detail: str, n: int = 1) -> dict[str, Any]:
    return {"topic": topic, "name": name, "detail": detail, "n": n}


def test_the_paragraph_names_models_variants_sets_tests_families_code_and_snapshot(catalog: Catalog) -> None:
    methods = methods_of(catalog)
    for part in (
        "tiny (4,096 prunable weights)",
        "wanda on translation (12; sparsity 0.1, 0.3, 0.5)",
        "monolingual (4; 2 demonstrations, 4 shots, seeds 0)",
        "Tango's score test of paired proportions",
        "together (primary, 1 test)",
        "late (exploratory, 39 tests, Holm)",
        "mlprune 0.1.0 (c0ffee, CPython 3.11.7, numpy 2.4, torch 2.9)",
        f"snapshot {catalog.snapshot_id()}",
    ):
        assert part in methods.paragraph
    assert catalog.snapshot_id() in methods.bibtex


def test_metrics_of_the_same_test_are_listed_together_with_its_interval_and_draws() -> None:
    facts = {
        "model": [fact("model", "tiny", "9 prunable weights")],
        "pooled": [
            fact("pooled", "accuracy", "sign_flip with interval sign_flip", 9999),
            fact("pooled", "exact_match", "sign_flip with interval sign_flip", 9999),
            fact("pooled", "bleu", "randomization with interval bca", 999),
        ],
    }
    text = methods_paragraph(facts, snapshot="s")
    assert (
        "accuracy, exact_match by sign flips of clusters (9,999 draws), interval by the inversion of the test" in text
    )
    assert "bleu by paired approximate randomization (999 draws), interval by BCa bootstrap of clusters" in text
    assert "No question was declared before the run" in text


def test_an_empty_store_has_no_paragraph() -> None:
    assert methods_paragraph({}, snapshot="s") == ""


def test_the_citation_is_balanced_bibtex_with_every_version_that_ran() -> None:
    entry = bibtex_entry({"code": [fact("code", "0.2.0", ""), fact("code", "0.3.0", "")]}, snapshot="abc")
    assert entry.startswith("@software{mlprune,\n")
    assert entry.count("{") == entry.count("}")
    assert "version = {0.2.0 and 0.3.0}" in entry
    assert "catalog snapshot abc" in entry
