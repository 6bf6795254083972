"""Queries that answer one question each, compared with counts from the records in plain Python."""

import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from catalog.queries import run_user_query
from catalog.sql_files import statement
from catalog.store import Catalog
from mlprune.errors import QueryError
from mlprune.store.store import Store
from tests.catalog.families import corrected, exploratory, key_of
from tests.catalog.query_answers import answers
from tests.catalog_data import STARTED, declared_parameters, write_rows

Rows = dict[str, list[dict[str, Any]]]


def to_dense(rows: Rows) -> list[dict[str, Any]]:
    """Comparisons of accuracy with dense on test."""
    dense = next(row["variant_id"] for row in rows["variants"] if row["sparsity"] == 0)
    wanted = {"baseline_id": dense, "task": "facts", "metric": "accuracy", "split": "test"}
    return [row for row in rows["comparison_results"] if wanted.items() <= row.items()]


def test_which_source_language_helps_which(catalog: Catalog, rows: Rows) -> None:
    sets = {row["demonstration_set_id"]: row for row in rows["demonstration_sets"]}
    variants = {row["variant_id"]: row for row in rows["variants"]}
    cells: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in to_dense(rows):
        variant = variants[row["variant_id"]]
        if variant["score"] == "wanda":
            made_from = sets[variant["demonstration_set_id"]]
            way = (made_from["kind"], variant["propagation"], variant["sparsity"], row["language"])
            cells[*way, made_from["source_language"]] = row
    found = answers(catalog, "source_language_effects")
    keys = ("set_kind", "propagation", "sparsity", "language", "source_language")
    assert {tuple(row[key] for key in keys) for row in found} == set(cells)
    for row in found:
        *way, source = (row[key] for key in keys)
        stored = cells[*way, source]
        others = [cell["difference"] for key, cell in cells.items() if key[:-1] == tuple(way) and key[-1] != source]
        assert (row["difference"], row["ci_low"], row["p_value"]) == tuple(
            stored[name] for name in ("difference", "ci_low", "p_value")
        )
        assert (row["n_variants"], row["n_other_sources"]) == (1, len(others))
        assert row["against_others"] == pytest.approx(stored["difference"] - statistics.fmean(others))
        assert row["is_own_language"] is (source == row["language"])


def test_losses_are_as_significant_as_gains(catalog: Catalog, rows: Rows) -> None:
    family = to_dense(rows)
    families = exploratory(rows)
    expected = {
        row["evaluation_id"]: ("gain" if row["difference"] > 0 else "loss", families[key_of(row)].p_corrected)
        for row in family
        if families[key_of(row)].p_corrected <= 0.05 and row["difference"] != 0
    }
    found = answers(catalog, "significant_changes")
    assert {row["evaluation_id"]: (row["change"], row["p_corrected"]) for row in found} == expected
    assert {change for change, _ in expected.values()} == {"gain", "loss"}
    assert [row["change"] for row in found] == sorted((row["change"] for row in found), reverse=True)
    for change in ("gain", "loss"):
        chosen = answers(catalog, "significant_changes", f"change={change}")
        assert chosen == [row for row in found if row["change"] == change]


def test_the_matrix_has_every_pair_once_with_the_change_from_dense(catalog: Catalog, rows: Rows) -> None:
    dense = next(row["variant_id"] for row in rows["variants"] if row["sparsity"] == 0)
    variant = next(row["variant_id"] for row in rows["variants"] if row["score"] == "contrast")
    known = {
        (row["variant_id"], row["language"], row["reference_language"]): row
        for row in rows["rank_consistency"]
        if row["split"] == "test"
    }
    for chosen, pairs in ((dense, ()), (variant, (f"variant_id={variant}",))):
        found = answers(catalog, "rank_consistency_matrix", *pairs)
        assert len({frozenset((row["language"], row["reference_language"])) for row in found}) == len(found) == 6
        for row in found:
            key = (row["language"], row["reference_language"])
            assert row["value"] == known[chosen, *key]["value"]
            assert row["dense_value"] == pytest.approx(known[dense, *key]["value"])
            assert row["change"] == known[chosen, *key].get("difference")
        p_values = sorted(row["p_value"] for row in found if row["p_value"] is not None)
        p_corrected = sorted(row["p_corrected"] for row in found if row["p_corrected"] is not None)
        assert p_corrected == pytest.approx([values.p_corrected for values in corrected(p_values)])
        assert {row["n_family"] for row in found} == {len(p_values)}


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
    found = answers(catalog, "mask_overlap_by_layer", "by_pair=true", "sparsity=0.3", "kind=translation")
    (row,) = (row for row in found if (row["score"], row["propagation"], row["block"]) == ("wanda", "dense", 1))
    assert (row["first"], row["second"], row["n_pairs"]) == ("es-en", "fr-en", 1)
    assert row["mean_jaccard"] == pytest.approx(statistics.fmean(values))


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_the_cost_of_a_shared_ordering_is_divided_among_its_variants(full_store: Store, rows: Rows) -> None:
    variant = next(row for row in rows["variants"] if (row["score"], row["sparsity"]) == ("contrast", 0.3))
    evaluation = next(row for row in rows["evaluations"] if row["variant_id"] == variant["variant_id"])
    ordering_ids = {row["variant_id"]: row["ordering_id"] for row in rows["ordering_variants"]}
    ordering_id = ordering_ids[variant["variant_id"]]
    n_sharing = sum(other == ordering_id for other in ordering_ids.values())
    block_id = write_rows(full_store, "mask_blocks", parameters={"ordering": ordering_id, "block": 0}, rows={})
    made = (
        ("variants", variant["variant_id"], 2.0, 0.5),
        ("masks", ordering_id, 3.0, 0.5),
        ("mask_blocks", block_id, 6.0, 1.5),
        ("evaluations", evaluation["evaluation_id"], 4.0, 1.0),
        ("evaluations", evaluation["evaluation_id"], 1.0, 1.0),
    )
    for n, (kind, record_id, elapsed_s, memory) in enumerate(made):
        job = {"run_id": "run-9", "job_id": str(n), "step": "any", "record_kind": kind, "record_id": record_id}
        job |= {"status": "done", "started_at": STARTED, "elapsed_s": elapsed_s, "peak_memory_gib": memory}
        job["cpu_s"] = elapsed_s / 2
        full_store.write_run_file("run-9", f"job-{n}", job)
    with Catalog.open(full_store) as catalog:
        catalog.fold()
        found = {row["variant_id"]: row for row in answers(catalog, "cost_of_variants", "run_id=run-9")}
    row = found[variant["variant_id"]]
    assert n_sharing == len(found) > 1
    assert (row["own_s"], row["shared_s"], row["evaluate_s"]) == (2.0, 9.0 / n_sharing, 5.0)
    assert row["total_s"] == pytest.approx(7.0 + 9.0 / n_sharing)
    assert (row["prune_cpu_s"], row["evaluate_cpu_s"]) == (1.0 + 4.5 / n_sharing, 2.5)
    assert (row["peak_memory_gib"], row["n_tries"]) == (1.5, 5)


def test_lineage_has_every_file_that_a_number_was_made_from(catalog: Catalog, filled: Store, rows: Rows) -> None:
    variant = next(row for row in rows["variants"] if row["score"] == "contrast")
    evaluation = next(row for row in rows["evaluations"] if row["variant_id"] == variant["variant_id"])
    ordering_ids = {row["variant_id"]: row["ordering_id"] for row in rows["ordering_variants"]}
    waiting, reached = [("evaluations", evaluation["evaluation_id"])], set()
    kinds = {record_id: kind for kind, record_id in filled.record_names()}
    while waiting:
        kind, record_id = waiting.pop()
        reached.add(record_id)
        record = filled.require(kind, record_id)
        parents = [one for value in record.parents.values() for one in ([value] if isinstance(value, str) else value)]
        parents += [ordering_ids[record_id]] if record_id in ordering_ids else []
        waiting += [(kinds[one], one) for one in parents if one not in reached]
    files = {
        artefact.path: artefact.sha256
        for record_id in reached
        for artefact in filled.require(kinds[record_id], record_id).artefacts
    }
    found = answers(catalog, "lineage_of_metric", f"evaluation_id={evaluation['evaluation_id']}")
    assert {row["id"] for row in found} == reached
    assert {row["path"]: row["sha256"] for row in found if row["path"]} == files
    assert {"predictions", "masks", "statistics", "demonstrations"} <= {path.split("/")[0] for path in files}


def test_a_job_that_makes_several_records_is_divided_among_them(full_store: Store, rows: Rows) -> None:
    contrast_id = next(row["variant_id"] for row in rows["variants"] if row["score"] == "contrast")
    ordering_id = next(row["ordering_id"] for row in rows["ordering_variants"] if row["variant_id"] == contrast_id)
    variants = [row["variant_id"] for row in rows["ordering_variants"] if row["ordering_id"] == ordering_id]
    makes = [["masks", ordering_id], *(["variants", one] for one in variants)]
    job = {"step": "sweep", "record_kind": "variants", "record_id": variants[-1], "makes": makes, "status": "done"}
    job |= {"started_at": STARTED, "elapsed_s": 12.0, "n_tokens": 600, "attempt": 2, "retries": 1}
    full_store.write_run_file("run-9", "job-0", job)
    with Catalog.open(full_store) as catalog:
        found = answers(catalog, "cost_of_variants", "run_id=run-9")
        evaluation = next(row for row in rows["evaluations"] if row["variant_id"] == variants[0])
        lineage = answers(catalog, "lineage_of_metric", f"evaluation_id={evaluation['evaluation_id']}")
    assert {row["variant_id"] for row in found} == set(variants)
    assert len(variants) > 1
    for row in found:
        assert row["total_s"] == pytest.approx(12.0 / len(variants))
        assert (row["n_tokens"], row["n_tries"], row["n_retries"]) == (600 / len(variants), 1, 1)
    assert {row["id"] for row in lineage if row["run_id"] == "run-9"} == {ordering_id, variants[0]}


def test_lineage_has_the_code_and_the_libraries(catalog: Catalog, rows: Rows) -> None:
    made = answers(catalog, "runs")[0]
    variant_id = catalog.query("SELECT record_id FROM jobs WHERE status = 'done' ORDER BY job_id")[0]["record_id"]
    evaluation = next(row for row in rows["evaluations"] if row["variant_id"] == variant_id)
    found = answers(catalog, "lineage_of_metric", f"evaluation_id={evaluation['evaluation_id']}")
    row = next(one for one in found if one["id"] == variant_id)
    assert (row["git_commit"], row["is_modified"], row["torch"], row["numpy"]) == ("c0ffee", False, "2.9", "2.4")
    assert (row["run_id"], row["recipe"], row["host"]) == (made["run_id"], "artificial", "node-1")
    assert {one["environment_id"] for one in found if one["id"] != variant_id} == {None}
    packages = catalog.query(statement("publish", "packages"), {"environment_id": row["environment_id"]})
    assert [one["requirement"] for one in packages] == ["numpy==2.4", "torch==2.9"]


def test_lineage_has_the_sentences(catalog: Catalog, filled: Store, rows: Rows) -> None:
    variant = next(row for row in rows["variants"] if row["score"] == "contrast")
    evaluation = next(row for row in rows["evaluations"] if row["variant_id"] == variant["variant_id"])
    sql = "FROM demonstrations SEMI JOIN origins($id) AS o ON o.id = demonstration_set_id"
    found = catalog.query(sql, {"id": evaluation["evaluation_id"]})
    expected = []
    for set_id in (variant["demonstration_set_id"], variant["contrast_set_id"]):
        columns = filled.read_table(filled.require("demonstration_sets", set_id).artefacts[0])
        expected += [
            (set_id, int(number), len(tokens), [int(one) for one in sentences], text)
            for number, tokens, sentences, text in zip(
                *(columns[name] for name in ("demonstration", "token_ids", "sentence_ids", "text")), strict=True
            )
        ]
    names = ("demonstration_set_id", "demonstration", "n_tokens", "sentence_ids", "text")
    assert sorted(tuple(row[name] for name in names) for row in found) == sorted(expected)


def predictions(store: Store, evaluation_id: str) -> dict[str, dict[str, Any]]:
    """Example -> right candidate, chosen candidates and rank of the right one, read from the file itself."""
    columns = store.read_table(store.require("evaluations", evaluation_id).artefacts[0])
    found: dict[str, dict[str, Any]] = defaultdict(lambda: {"chosen": []})
    for example, candidate, is_gold, rank in zip(
        *(columns[name] for name in ("example_id", "candidate", "is_gold", "rank")), strict=True
    ):
        one = found[example]
        one["chosen"] += [candidate] if rank == 1 else []
        if is_gold:
            one.update(gold=candidate, rank=int(rank))
    return found


def of_facts(rows: Rows) -> tuple[str, str]:
    """An evaluation of a pruned variant, and the dense model's on the same."""
    dense = next(row["variant_id"] for row in rows["variants"] if row["sparsity"] == 0)
    wanted = {"task": "facts", "language": "sw", "split": "test"}
    same = [row for row in rows["evaluations"] if wanted.items() <= row.items()]
    pruned = next(row["evaluation_id"] for row in same if row["variant_id"] != dense)
    return pruned, next(row["evaluation_id"] for row in same if row["variant_id"] == dense)


def test_examples_are_those_of_the_stored_predictions(catalog: Catalog, filled: Store, rows: Rows) -> None:
    evaluation_id, _ = of_facts(rows)
    expected = predictions(filled, evaluation_id)
    found = {
        row["example_id"]: row for row in answers(catalog, "examples_of_evaluation", f"evaluation_id={evaluation_id}")
    }
    assert set(found) == set(expected)
    for example, row in found.items():
        right = expected[example]["chosen"] == [expected[example]["gold"]]
        assert (row["gold"], row["gold_rank"]) == (expected[example]["gold"], expected[example]["rank"])
        assert row["chosen"].split(" | ") == expected[example]["chosen"]
        assert row["is_right"] is right
    assert len({row["is_right"] for row in found.values()}) == 2


def test_a_question_about_missing_or_damaged_files_is_an_error(full_store: Store, rows: Rows) -> None:
    evaluation_id, _ = of_facts(rows)
    with Catalog.open(full_store) as catalog:
        with pytest.raises(QueryError, match="no record with this id has files in this folder"):
            run_user_query(catalog, "examples_of_evaluation", ["evaluation_id=0"])
        full_store.write_bytes(f"predictions/{evaluation_id}.parquet", b"other bytes")
        with pytest.raises(QueryError, match="a file that the query reads cannot be used"):
            run_user_query(catalog, "examples_of_evaluation", [f"evaluation_id={evaluation_id}"])


def test_answers_name_their_question_and_why_it_is_exploratory(catalog: Catalog, rows: Rows) -> None:
    found = answers(catalog, "answers_to_questions", "only_declared=false", "all_answers=true")
    assert len(found) == len(rows["answers"])
    assert found[0]["status"] == "primary"
    for row in found:
        assert row["p_claim"] == row["p_corrected" if row["claim"] == "gain" else "p_margin_corrected"]
        assert row["answer"] == row["verdict"]
        assert (row["title"] in row["question"]) == (row["place"] == 1)
    statuses = {row["name"]: row["status"] for row in found}
    assert statuses == {
        "together": "primary",
        "late": "exploratory: 3 results existed before it was declared",
        "": "exploratory: not declared",
    }
    assert {row["name"] for row in found if row["label"].startswith("mean of")} == {"together"}
    assert {row["claim"]: row["ci_level"] for row in found} == {
        claim: 0.95 if claim == "gain" else 0.9 for claim in {row["claim"] for row in found}
    }
    places = [row["place"] for row in found if row["name"] == "late"]
    assert places == [*range(1, len(places) + 1)]


def test_by_default_each_declared_question_has_one_row_with_its_tally(catalog: Catalog) -> None:
    found = answers(catalog, "answers_to_questions")
    assert [row["name"] for row in found] == ["together", "late"]
    tallies = {row["question_id"]: row["answer"] for row in catalog.query("FROM internal.question_answers")}
    for row in found:
        assert (row["place"], row["question"], row["answer"]) == (1, row["title"], tallies[row["question_id"]])


def test_titles_are_made_of_the_names_in_plain_words(catalog: Catalog) -> None:
    titles = {row["name"]: row["title"] for row in catalog.query("FROM internal.described_questions")}
    assert titles[""] == "Is accuracy on facts outside English higher with a pruned variant than without pruning?"
    assert all(title.endswith("?") and "outside_english" not in title for title in titles.values())


def asked(name: str, **columns: Any) -> dict[str, Any]:
    """A row of a declared question about gains in Swahili, on average over variants."""
    row = {"question_id": f"id of {name}", "name": name, "variants": "wanda-on-sw-en", "against": "english"}
    row |= {"task": "perplexity", "metric": "perplexity", "group_kind": "language", "group_name": "sw"}
    row |= {"claim": "gain", "over": "mean", "split": "test", "criterion_id": "c", "recipe": "mine"}
    return {**row, "is_declared": True, "is_primary": True, "declared_after": 0, **columns}


def test_a_title_is_the_one_of_the_recipe_or_made_of_plain_words(tmp_path: Path) -> None:
    rows = [
        asked("named", title="Does Swahili gain?"),
        asked("perplexity"),
        asked(
            "dense", against="dense", task="facts", metric="accuracy", over="each", group_kind="worst", group_name=""
        ),
        asked("margin", claim="noninferior", margin=0.05, group_kind="script", group_name="Latn"),
        asked(
            "equal", claim="equivalent", margin=0.02, task="facts", metric="accuracy", group_kind="all", group_name=""
        ),
    ]
    store = Store(tmp_path)
    write_rows(store, "recipes", parameters=declared_parameters(rows, []), rows={"questions": rows})
    with Catalog.in_memory(store) as filled:
        titles = {row["name"]: row["title"] for row in filled.query("FROM internal.described_questions")}
    assert titles == {
        "named": "Does Swahili gain?",
        "perplexity": "Is perplexity in Swahili lower with wanda on sw-en than with English?",
        "dense": "Is accuracy on facts in the worst language higher with a variant of wanda on sw-en "
        "than without pruning?",
        "margin": "Is perplexity in languages written in Latn less than 5.1 % higher with wanda on sw-en "
        "than with English?",
        "equal": "Does accuracy on facts in all languages on average differ by less than 2 points "
        "between wanda on sw-en and English?",
    }


def test_the_protocol_states_the_questions_and_the_sizes_of_all_exploratory_families(
    catalog: Catalog, rows: Rows
) -> None:
    found = answers(catalog, "protocol")
    assert {row["part"] for row in found} == {"evaluation", "question", "family", "choice", "seeds", "not known"}
    questions = {row["subject"]: row for row in found if row["part"] == "question"}
    titles = {row["name"]: row["title"] for row in catalog.query("FROM internal.described_questions WHERE is_declared")}
    declared = {titles[row["name"]]: row for row in rows["questions"] if row["is_declared"]}
    assert set(questions) == set(declared)
    assert {name for name, row in questions.items() if row["status"] == "primary"} == {
        name for name, row in declared.items() if row["is_primary"]
    }
    for row in questions.values():
        assert row["p_level"] == (None if row["n_family"] is None else pytest.approx(0.05 / row["n_family"]))
    assert sum(row["detail"].startswith("single languages") for row in found) == len(
        {(row["task"], row["metric"]) for row in rows["comparison_results"] if row["split"] == "test"}
    )
    of_accuracy = next(row for row in found if row["subject"] == "facts test accuracy" and "single" in row["detail"])
    sizes = {values.n_family for key, values in exploratory(rows).items() if "accuracy" in key}
    assert of_accuracy["n_family"] == max(sizes)
    assert 0 < of_accuracy["smallest_p"] < of_accuracy["p_level"]


def test_means_of_changes_are_over_seeds_and_never_over_baselines_or_groups(catalog: Catalog, rows: Rows) -> None:
    variants = {row["variant_id"]: row for row in rows["variants"]}
    expected: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for row in rows["aggregate_results"]:
        variant, baseline = variants[row["variant_id"]], variants[row["baseline_id"]]
        if variant["score"] == "random" and (row["task"], row["split"], row["metric"]) == ("facts", "test", "accuracy"):
            assert baseline["sparsity"] == 0
            expected[variant["sparsity"], row["group_kind"], row["group_name"]].append(row["difference"])
    found = {
        (row["sparsity"], row["group_kind"], row["group_name"]): row
        for row in catalog.query("FROM mean_changes('facts') WHERE method = 'random' AND group_kind <> 'language'")
    }
    assert found.keys() == expected.keys()
    for key, row in found.items():
        assert (row["baseline"], row["n_comparisons"]) == ("dense", len(expected[key]))
        assert row["difference"] == pytest.approx(statistics.fmean(expected[key]))
        assert (row["lowest"], row["highest"]) == (min(expected[key]), max(expected[key]))
    assert max(map(len, expected.values())) > 1
    sizes = "SELECT sum(n_comparisons) AS n FROM mean_changes('facts', of_split := 'dev')"
    n_rows = sum(
        (row["task"], row["split"], row["metric"]) == ("facts", "dev", "accuracy")
        for table in ("comparison_results", "aggregate_results")
        for row in rows[table]
    )
    assert [row["n"] for row in catalog.query(sizes)] == [n_rows]
