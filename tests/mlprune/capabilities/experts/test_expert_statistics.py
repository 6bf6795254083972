"""Stored statistics of experts: rows, queries, an expert of one script, unused experts, and equal bytes."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from catalog.queries import run_user_query
from catalog.sql_files import statement
from catalog.store import Catalog
from mlprune.capabilities.experts.expert_overlaps import ExpertOverlapJob
from mlprune.capabilities.experts.expert_statistics import (
    ExpertStatisticsJob,
    blocks_of,
    read_demonstrations,
    selected_sums,
)
from mlprune.capabilities.experts.routing_sums import ROLES, SUMS
from mlprune.errors import StatisticsError
from mlprune.models.chain import Chain
from mlprune.models.local_chain import local_chain
from mlprune.planning import build_plan
from mlprune.pruning.spec import StatisticsSelection
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.demonstrate.writing import DemonstrateJob
from mlprune.steps.rescore.stored_jobs import StoredJobs
from mlprune.steps.rescore.verify import Recheck
from mlprune.store.store import Store
from tests.chains import worker_threads
from tests.routing_recipe import DEAD, N_EXPERTS, OF_SCRIPT, routing_recipe
from tests.tiny_recipes import FinishedRun, copy_of


@pytest.fixture(scope="module")
def run(routing_run: FinishedRun) -> FinishedRun:
    return routing_run


def answers(run: FinishedRun, query: str, *pairs: str) -> list[dict[str, Any]]:
    with Catalog.in_memory(run.store) as catalog:
        return list(run_user_query(catalog, query, list(pairs)).as_dicts())


@pytest.mark.thorough("runs a model for every case")
def test_an_expert_of_one_script_is_found(run: FinishedRun) -> None:
    rows = answers(run, "experts_by_language", "kind=monolingual")
    of_one = [row for row in rows if row["share_of_languages"] == 1 and row["frequency"] > 0.3]
    assert [(row["language"], row["block"], row["expert"]) for row in of_one if row["block"] == 0] == [
        ("ru", 0, OF_SCRIPT)
    ]
    (in_french,) = [row for row in rows if (row["language"], row["block"], row["expert"]) == ("fr", 0, OF_SCRIPT)]
    assert in_french["frequency"] == 0.0


@pytest.mark.thorough("runs a model for every case")
def test_its_removal_costs_that_language_alone(run: FinishedRun) -> None:
    """One expert of each block that French does not use is removed; in block 0, that of the Cyrillic script."""
    (variant,) = run.named("french")
    rows = run.store.require("variants", variant.id).rows["variant_experts"]
    assert [row["removed"] for row in rows if row["block"] == 0] == [[OF_SCRIPT]]
    assert all(row["n_unused"] >= row["n_removed"] == 1 for row in rows)
    with Catalog.in_memory(run.store) as catalog:
        measured = catalog.query("SELECT variant_id, language, value FROM metrics WHERE metric = 'perplexity'")
    values = {(row["variant_id"], row["language"]): row["value"] for row in measured}
    (dense,) = [one.id for one in run.plan.variants.values() if one.is_dense]
    assert values[variant.id, "fr"] == values[dense, "fr"]
    assert values[variant.id, "ru"] > 1.2 * values[dense, "ru"]


def unused_of_set(run: FinishedRun, set_id: str) -> dict[int, set[int]]:
    """Return block -> experts that no token of a set chooses."""
    (job,) = [job for job in jobs(run) if job.demonstration_set_id == set_id]
    unused: dict[int, set[int]] = {block: set(range(N_EXPERTS)) for block in range(2)}
    for row in run.store.require(*job.identity.key).rows["expert_statistics"]:
        unused[row["block"]] -= {row["expert"]} if row["n_routed"] else set()
    return unused


@pytest.mark.thorough("runs a model for every case")
def test_dead_experts_are_listed_counted_and_removed_first(run: FinishedRun) -> None:
    unused_ones = answers(run, "experts_by_language", "only_unused=true")
    assert {row["n_routed"] for row in unused_ones} == {0}
    assert {(row["language"], row["block"]) for row in unused_ones if row["expert"] == DEAD} == {
        (row["language"], row["block"]) for row in answers(run, "experts_by_language")
    }
    for variant in run.named("removed"):
        unused = unused_of_set(run, variant.sets[0].id)
        for row in run.store.require("variants", variant.id).rows["variant_experts"]:
            of_block, removed = unused[row["block"]], set(row["removed"])
            assert row["n_unused"] == len(of_block) >= 1
            assert removed == set(sorted(of_block)[:2]) if len(of_block) >= 2 else of_block < removed
    with Catalog.in_memory(run.store) as catalog:
        counted = catalog.query("SELECT min(n_unused) AS n, count(*) AS k FROM variant_experts")
    assert [(row["n"] >= 1, row["k"]) for row in counted] == [
        (True, 2 * len([*run.named("removed"), *run.named("french")]))
    ]


@pytest.mark.thorough("runs a model for every case")
def test_rows_are_sums_of_the_stored_demonstrations_by_role(run: FinishedRun) -> None:
    n_rows = 0
    for record in run.store.records("expert_statistics"):
        rows = {(row["block"], row["expert"], row["role"]): row for row in record.rows["expert_statistics"]}
        for block, artefact in blocks_of(record).items():
            sums, n_tokens = read_demonstrations(run.store, artefact)
            for expert in range(N_EXPERTS):
                for index, role in enumerate(ROLES):
                    total = [sum(float(one[expert, index, place]) for one in sums) for place in range(len(SUMS))]
                    row = rows.pop((block, expert, role), None)
                    assert (row is None) == (int(n_tokens[:, index].sum()) == 0)
                    if row is not None:
                        assert [row[name] for name in SUMS] == total
                        assert row["n_tokens"] == int(n_tokens[:, index].sum())
                        n_rows += 1
        assert not rows
    assert n_rows == len(answers_table(run))


def answers_table(run: FinishedRun) -> list[dict[str, Any]]:
    with Catalog.in_memory(run.store) as catalog:
        return list(catalog.query("FROM expert_statistics"))


def test_tokens_of_a_translation_have_the_language_of_their_side(run: FinishedRun) -> None:
    (job,) = [job for job in jobs(run) if len(languages_of(run, job)) == 2]
    rows = run.store.require(*job.identity.key).rows["expert_statistics"]
    assert {(row["role"], row["language"]) for row in rows} >= {("source", "ru"), ("target", "fr")}
    routed = sum(row["n_routed"] for row in rows if row["block"] == 0)
    table = run.store.read_table(run.store.require("demonstration_sets", job.demonstration_set_id).artefacts[0])
    assert routed == sum(map(len, table["token_ids"]))


def jobs(run: FinishedRun) -> list[ExpertStatisticsJob]:
    found = [job for job in run.plan.jobs if isinstance(job, ExpertStatisticsJob)]
    return list({job.identity.id: job for job in found}.values())


def languages_of(run: FinishedRun, job: ExpertStatisticsJob) -> set[Any]:
    row = run.store.require("demonstration_sets", job.demonstration_set_id).rows["demonstration_sets"][0]
    return {row["source_language"], row["target_language"]} - {None}


def _same(chain: Chain) -> Chain:
    return chain


@pytest.mark.parametrize(("n_shards", "n_threads"), [(2, 1), (1, 3)])
def test_shards_and_threads_change_no_byte(run: FinishedRun, tmp_path: Path, n_shards: int, n_threads: int) -> None:
    store, job = copy_of(run.store, tmp_path / "store"), jobs(run)[-1]
    before = store.require(*job.identity.key)
    with worker_threads(n_threads):
        chain = local_chain(Path(run.plan.model.path), n_shards=n_shards)
        job.run(store, partial(_same, chain))
    assert store.require(*job.identity.key) == before


@pytest.mark.thorough("runs a model for every case")
def test_overlaps_are_in_the_catalog_and_made_again_from_their_record(run: FinishedRun) -> None:
    with Catalog.in_memory(run.store) as catalog:
        rows = catalog.query(statement("report", "expert_overlaps"))
    assert {(row["language_a"], row["language_b"]) for row in rows} <= {("fr", "ru"), ("ru", "fr")}
    assert [row["share"] for row in rows] == [0.25, 0.25, 0.5, 0.5]
    assert all(0 <= row["jaccard"] <= 1 and 0 < row["p_value"] <= 1 and row["n_top"] in (2, 4) for row in rows)
    for record in run.store.records("expert_overlaps"):
        job = StoredJobs(run.store, lambda _: run.folder / "model").job_of(record)
        assert job in [one for one in run.plan.jobs if isinstance(one, ExpertOverlapJob)]


def test_sets_of_equal_token_budgets_are_compared_whatever_their_numbers_of_texts(run: FinishedRun) -> None:
    budget = {"kind": "monolingual", "language": ["fr", "ru"], "shots": 2, "token_budget": 300, "max_tokens": 48}
    recipe = {**routing_recipe(), "demonstrations": [{"name": "budget", **budget}], "variants": []}
    recipe["analyses"] = {"experts": ["budget"], "overlap_shares": [0.5]}
    plan = build_plan(parse_recipe(recipe, folder=run.folder))
    first, second = (job.spec.samples for job in plan.jobs if isinstance(job, DemonstrateJob))
    assert first != second
    assert len([job for job in plan.jobs if isinstance(job, ExpertOverlapJob)]) == 1


def test_results_follow_from_their_inputs_and_a_changed_overlap_is_found(run: FinishedRun) -> None:
    recheck = Recheck(run.store, lambda _: run.folder / "model")
    assert {record.path: found for record in run.store.records() if (found := recheck.contradictions(record))} == {}
    record = next(iter(run.store.records("expert_overlaps")))
    rows = [{**row, "weighted": 0.5 * float(str(row["weighted"]))} for row in record.rows["expert_overlaps"]]
    assert recheck.contradictions(replace(record, rows={"expert_overlaps": rows}))


def test_tokens_that_a_set_does_not_have_cannot_be_selected(run: FinishedRun) -> None:
    (job, *_) = [job for job in jobs(run) if len(languages_of(run, job)) == 1]
    (artefact, *_) = run.store.require(*job.identity.key).artefacts
    with pytest.raises(StatisticsError):
        selected_sums(run.store, artefact, StatisticsSelection(token_scope="target"))
    sums, n_tokens = selected_sums(Store(run.store.uri), artefact, StatisticsSelection(n_demonstrations=2))
    every, tokens = read_demonstrations(run.store, artefact)
    assert torch.allclose(sums, every[:2].sum(dim=(0, 2)), rtol=1e-12)
    assert n_tokens == tokens[:2].sum()
