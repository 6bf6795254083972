"""Composed variants in the catalog: their ordering and levels, their origins and costs, the check and the repair."""

from pathlib import Path
from typing import Any

import pytest

from catalog.check import Damage, check, repair
from catalog.queries import run_user_query
from catalog.store import Catalog
from mlprune.steps.prune.composed import ComposeVariantJob
from mlprune.store.store import Store
from tests.catalog_data import STARTED
from tests.composed_variants import PLACES, Both
from tests.records import made_up_record
from tests.tiny_recipes import copy_of, results, run_jobs


@pytest.fixture(scope="module")
def folded(both_runs: Both, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The store with compositions and its catalog. Tests add run files only."""
    folder = tmp_path_factory.mktemp("folded") / "store"
    copy_of(both_runs.composed, folder)
    return Store(folder, quarantine=True)


def job_of(both: Both, name: str) -> ComposeVariantJob:
    variant_id = both.named(name)
    return next(job for job in both.compositions if job.variant.id == variant_id)


def query(store: Store, sql: str, **values: Any) -> list[dict[str, Any]]:
    with Catalog.open(store) as catalog:
        catalog.fold()
        return catalog.query(sql, values)


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_store_with_compositions_is_sound(folded: Store) -> None:
    assert check(folded) == ([], [])


def test_pruned_layers_have_the_sparsity_of_their_level(folded: Store) -> None:
    found = query(
        folded,
        """SELECT c.variant_id, l.level, n_removed / n_weights AS removed_share, v.sparsity, n.block, n.layer
        FROM variant_layers AS n JOIN compositions AS c USING (variant_id)
        LEFT JOIN composed_layers AS l USING (composition_id, block, layer)
        LEFT JOIN ordering_variants AS o ON o.ordering_id = c.ordering_id AND o.level = l.level
        LEFT JOIN variants AS v ON v.variant_id = o.variant_id""",
    )
    assert {row["level"] for row in found} == {None, 0, 1, 2}
    assert all(row["removed_share"] == (row["sparsity"] or 0) for row in found)


def test_a_composed_variant_is_read_from_its_library_at_no_single_level(folded: Store, both_runs: Both) -> None:
    job = job_of(both_runs, "row by-both")
    sql = "SELECT ordering_id, level FROM internal.variant_orderings WHERE variant_id = $variant_id"
    found = query(folded, sql, variant_id=job.variant.id)
    assert found == [{"ordering_id": job.ordering_id, "level": None}]


def test_the_origins_of_every_record_end_and_lead_over_the_composition_to_the_statistics(
    folded: Store, both_runs: Both
) -> None:
    job = job_of(both_runs, "row by-both")
    kinds = {"mask_compositions": 1, "masks": 2, "statistics": 3, "demonstration_sets": 1, "base_models": 1}
    with Catalog.open(folded) as catalog:
        found = catalog.query("SELECT kind, n_steps FROM origins($id)", {"id": job.variant.id})
        assert {row["kind"]: row["n_steps"] for row in found} == {"variants": 0, **kinds}
        assert len(found) == 1 + len(kinds)
        ancestors = catalog.query(
            "SELECT kind FROM internal.variant_ancestors WHERE variant_id = $id AND id <> $id", {"id": job.variant.id}
        )
        assert {row["kind"] for row in ancestors} == set(kinds)


def test_the_origins_of_a_variant_whose_masks_name_it_end(folded: Store, both_runs: Both) -> None:
    union, composed = both_runs.named("union"), job_of(both_runs, "row by-both")
    found = query(folded, "SELECT id, n_steps FROM origins($id)", id=union)
    steps = {row["id"]: row["n_steps"] for row in found}
    assert len(steps) == len(found)
    assert (steps[union], steps[composed.variant.id], steps[composed.composition.id]) == (0, 1, 2)
    masks = next(record.id for record in folded.records("masks") if record.parents.get("variant") == union)
    of_masks = {row["id"]: row["n_steps"] for row in query(folded, "SELECT id, n_steps FROM origins($id)", id=masks)}
    assert of_masks == {one: 0 if one == masks else n_steps + 1 for one, n_steps in steps.items()}


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_long_lists_of_sparsities_have_short_settings_of_their_own(both_runs: Both, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    record = both_runs.composed.require("variants", both_runs.named("row by-both"))
    (row,) = record.rows["variants"]
    for sparsity in (0.5, 0.6):
        given = {"block_layers": [[f"{block}.fc1", sparsity] for block in range(24)]}
        changed = made_up_record("variants", {"schedule_parameters": given})
        rows = {"variants": [{**row, "variant_id": changed.id, "schedule_parameters": given}]}
        store.write_record(made_up_record("variants", {"schedule_parameters": given}, rows=rows))
    found = query(store, "SELECT settings, label, method_id FROM internal.variant_descriptions")
    assert all(one["settings"].startswith("given schedule, block layers for 24 #") for one in found)
    assert [len({one[name] for one in found}) for name in ("settings", "label", "method_id")] == [2, 2, 2]
    assert max(len(one["settings"]) for one in found) < 50


def test_the_cost_of_a_library_is_divided_among_all_variants_that_it_has(folded: Store, both_runs: Both) -> None:
    job = job_of(both_runs, "row block")
    made = (
        {"makes": [["masks", job.ordering_id]], "elapsed_s": 9.0 * (3 + len(PLACES))},
        {"makes": [list(key) for key in job.makes], "elapsed_s": 2.0},
    )
    for number, values in enumerate(made):
        kind, record_id = values["makes"][0]
        row = {"run_id": "run-9", "job_id": str(number), "step": "prune", "record_kind": kind, "record_id": record_id}
        folded.write_run_file("run-9", f"job-{number}", row | values | {"status": "done", "started_at": STARTED})
    with Catalog.open(folded) as catalog:
        catalog.fold()
        rows = run_user_query(catalog, "cost_of_variants", ["run_id=run-9"]).as_dicts()
    costs = {row["variant_id"]: (row["own_s"], row["shared_s"]) for row in rows}
    assert len(costs) == 3 + len(PLACES)
    assert costs.pop(job.variant.id) == (2.0, 9.0)
    assert set(costs.values()) == {(0.0, 9.0)}


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_wrong_composed_variant_is_set_aside_with_its_library_and_made_again(both_runs: Both, tmp_path: Path) -> None:
    copy_of(both_runs.composed, tmp_path / "store")
    store = Store(tmp_path / "store", quarantine=True)
    expected = results(store)
    job = job_of(both_runs, "row by-both")
    wrong = Damage("its masks differ", f"records/variants/{job.variant.id}.json", is_wrong_content=True)
    set_aside = repair(store, [wrong]).set_aside
    assert {f"records/{kind}/{record_id}.json" for kind, record_id in (*job.makes, *job.needs)} <= set(set_aside)
    others = [one.composition.id for one in both_runs.compositions if one.ordering_id != job.ordering_id]
    assert all(store.has_record("mask_compositions", one) for one in others)
    run_jobs(both_runs.jobs, store, model=both_runs.plan.model)
    made = results(store)
    paths = [f"records/{kind}/{record_id}.json" for one in both_runs.jobs for kind, record_id in one.makes]
    assert {path: made.get(path) for path in paths} == {path: expected[path] for path in paths}
