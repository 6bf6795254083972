"""Sensitivity analyses of a tiny model with a harmless block, from the recipe to the records, and their units."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlprune.capabilities.sensitivity.losses import SensitivityJob, Unit, units_of
from mlprune.errors import RecipeError
from mlprune.planning import build_plan, pending_jobs
from mlprune.pruning.spec import Scope
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.prune.composed import ComposeVariantJob
from mlprune.steps.rescore.verify import verify_variant
from tests.mlprune.capabilities.sensitivity.planted import HARMLESS, planted_recipe, write_planted_inputs
from tests.tiny_recipes import FinishedRun, finished_run

N_BLOCKS, BLOCK_WEIGHTS = 3, 4 * 16 * 16 + 2 * 16 * 64


@pytest.fixture(scope="module")
def run(tiny_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    folder = write_planted_inputs(tiny_inputs, tmp_path_factory.mktemp("planted"))
    return finished_run(folder, planted_recipe(), name="planted")


def losses_of(run: FinishedRun, **wanted: object) -> dict[str, dict[str, Any]]:
    """Unit -> row of one analysis and group."""
    rows = [row for row in run.rows("sensitivity") if all(row[name] == value for name, value in wanted.items())]
    units = {row["unit"]: row for row in rows}
    assert len(units) == len(rows)
    return units


def test_a_harmless_block_has_no_loss_in_any_language_and_no_influence(run: FinishedRun) -> None:
    blocks = run.rows("sensitivity")
    harmless = [row for row in blocks if row["block"] == HARMLESS]
    assert len(harmless) == len(blocks) / N_BLOCKS > 0
    for row in harmless:
        assert (row["loss"], row["p_value"], row["p_max_t"]) == (0.0, 1.0, 1.0)
    perplexities = losses_of(run, metric="perplexity", group_kind="all")
    assert all(row["loss"] != 0 for unit, row in perplexities.items() if unit != str(HARMLESS))
    influences = {row["block"]: row for row in run.rows("block_influence")}
    assert list(influences) == [0, 1, 2]
    assert influences[HARMLESS]["influence"] == influences[HARMLESS]["ci_high"] == 0.0
    for block in (0, 2):
        row = influences[block]
        assert 0 < row["ci_low"] <= row["influence"] <= row["ci_high"] < 2


def test_losses_are_those_of_the_stored_predictions(run: FinishedRun) -> None:
    values = {
        (row["variant_id"], row["language"], row["metric"]): row["value"]
        for row in run.rows("metrics")
        if row["metric"] in ("accuracy", "perplexity")
    }
    checked = 0
    for row in run.rows("sensitivity"):
        if row["group_kind"] != "language":
            continue
        probe, dense = (values[row[key], row["group_name"], row["metric"]] for key in ("variant_id", "baseline_id"))
        expected = np.log(probe / dense) if row["metric"] == "perplexity" else dense - probe
        assert row["loss"] == pytest.approx(expected, abs=1e-9)
        assert row["ci_low"] <= row["loss"] <= row["ci_high"]
        checked += 1
    assert checked == N_BLOCKS * (3 + 2)


def test_a_unit_says_what_it_removes(run: FinishedRun) -> None:
    blocks = losses_of(run, metric="accuracy", group_kind="all")
    assert tuple(blocks) == ("0", "1", "2")
    for block, row in enumerate(blocks.values()):
        assert (row["block"], row["layer"], row["n_weights"]) == (block, None, BLOCK_WEIGHTS)
        assert row["n_removed"] == 0.75 * BLOCK_WEIGHTS
        assert row["removed_share"] == 0.25
        pruned = {place for (place, _), kept in run.keep_masks(row["variant_id"]).items() if not kept.all()}
        assert pruned == {block}


def test_agreement_has_a_row_for_every_pair_of_languages(run: FinishedRun) -> None:
    rows = run.rows("sensitivity_agreement")
    pairs = {(row["metric"], row["language"], row["other_language"]) for row in rows}
    of_facts = {("accuracy", "en", "fr"), ("accuracy", "en", "sw"), ("accuracy", "fr", "sw")}
    assert pairs == {*of_facts, ("perplexity", "en", "fr")}
    (row,) = (row for row in rows if row["metric"] == "perplexity")
    assert row["n_units"] == N_BLOCKS
    assert -1 <= row["ci_low"] <= row["corrected"] <= row["ci_high"] <= 1


def test_a_schedule_gives_the_harmless_block_the_highest_sparsity_and_keeps_the_total(run: FinishedRun) -> None:
    losses = losses_of(run, metric="perplexity", group_kind="all")
    (variant,) = run.named("by-need")
    rows = run.store.require("variants", variant.id).rows["variant_layers"]
    removed = [sum(row["n_removed"] for row in rows if row["block"] == block) for block in range(N_BLOCKS)]
    by_loss = sorted(range(N_BLOCKS), key=lambda block: losses[str(block)]["loss"])
    assert sorted(removed, reverse=True) == [removed[block] for block in by_loss]
    assert max(removed) - min(removed) == pytest.approx(0.25 * BLOCK_WEIGHTS, rel=0.2)
    share = sum(removed) / (N_BLOCKS * BLOCK_WEIGHTS)
    assert 0.5 - 1 / 16 < share <= 0.5  # rows of 16 weights are rounded down


def test_probes_have_the_ids_of_entries_written_by_hand_and_one_ordering(run: FinishedRun) -> None:
    by_hand = planted_recipe()
    del by_hand["sensitivity"]
    wanda = {"score": "wanda", "demonstrations": "mt", "propagation": "dense", "sparsity": 0.75}
    by_hand["variants"] = [{"name": "b", **wanda, "scope": {"blocks": [0]}}]
    plan = build_plan(parse_recipe(by_hand, folder=run.folder))
    (variant,) = (one for one in plan.variants.values() if not one.is_dense)
    assert losses_of(run, metric="accuracy", group_kind="all")["0"]["variant_id"] == variant.id
    assert sum(isinstance(job, ComposeVariantJob) for job in run.plan.jobs) == N_BLOCKS
    assert not pending_jobs(run.plan.jobs, run.store)


def test_jobs_come_after_those_that_they_need_and_are_planned_once(run: FinishedRun) -> None:
    made: set[Any] = set()
    for job in run.plan.jobs:
        assert set(job.needs) <= made
        assert not set(job.makes) & made
        made |= set(job.makes)
    assert sum(isinstance(job, EvaluateJob) for job in run.plan.jobs) == 1 + N_BLOCKS + 1


def test_every_kind_of_unit_sparsity_and_task_is_one_analysis_with_a_name(tiny_inputs: Path) -> None:
    recipe = planted_recipe()
    recipe["variants"] = []
    recipe["sensitivity"][0] |= {"by": ["block_layer", "layer"], "sparsity": [0.5, 0.75], "tasks": ["facts"]}
    plan = build_plan(parse_recipe(recipe, folder=tiny_inputs))
    jobs = [job for job in plan.jobs if isinstance(job, SensitivityJob)]
    analyses = [(kind, sparsity, n) for kind, n in (("block_layer", 18), ("layer", 6)) for sparsity in (0.5, 0.75)]
    assert [(job.units, job.sparsity, len(job.probes)) for job in jobs] == analyses
    assert {job.dense[0].task.task for job in jobs} == {"facts"}
    assert {name.id for name in plan.names if (name.kind, name.name) == ("sensitivity", "where")} == {
        job.identity.id for job in jobs
    }


@pytest.mark.parametrize(
    ("schedule", "context"),
    [
        ({"from": "wher"}, "nearest='where'"),
        ({"from": "where", "at": 0.5}, "0.75"),
        ({"from": "where", "task": "perplexity", "group": "sw"}, "expected"),
    ],
)
def test_losses_that_are_not_measured_are_refused(tiny_inputs: Path, schedule: dict[str, Any], context: str) -> None:
    recipe = planted_recipe()
    recipe["variants"] = [{**recipe["variants"][0], "sparsity": 0.5, "schedule": schedule}]
    with pytest.raises(RecipeError, match=context):
        build_plan(parse_recipe(recipe, folder=tiny_inputs))


def test_masks_of_the_schedule_can_be_rebuilt_and_keep_the_losses(run: FinishedRun) -> None:
    (variant,) = run.named("by-need")
    record = run.store.require("variants", variant.id)
    assert verify_variant(run.store, record, run.folder / "model").is_equal
    (losses,) = {row["sensitivity_id"] for row in losses_of(run, metric="perplexity", group_kind="all").values()}
    (ordering,) = (one for one in run.store.records("masks") if one.optional_parent("losses"))
    assert ordering.parent("losses") == losses
    assert losses in {name.id for name in run.plan.names if name.kind == "sensitivity"}


LAYERS = ("q", "fc1")


def test_units_cover_every_layer_of_the_scope_once() -> None:
    for scope in (Scope(), Scope((0, 2)), Scope((), ("fc1",)), Scope((1,), ("q",))):
        inside = [(block, layer) for block in range(3) for layer in LAYERS if scope.includes(block, layer)]
        for kind in ("block", "layer", "block_layer"):
            units = units_of(kind, scope, n_blocks=3, layers=LAYERS)
            assert len({unit.name for unit in units}) == len(units)
            assert [sum(unit.includes(*place) for unit in units) for place in inside] == [1] * len(inside)


def test_a_unit_is_named_after_its_block_its_layer_or_both() -> None:
    assert [unit.name for unit in (Unit(3), Unit(layer="fc1"), Unit(3, "fc1"))] == ["3", "fc1", "3.fc1"]
    assert Unit(3, "fc1").columns == {"unit": "3.fc1", "block": 3, "layer": "fc1"}


@pytest.fixture(scope="module")
def far(tiny_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Sensitivity by distance from the dense model, with a schedule that reads it."""
    recipe = planted_recipe()
    sentences = {"task": "perplexity", "path": "corpus", "languages": ["en", "fr"], "limit": 8, "distance": True}
    base = {"score": "magnitude"}
    recipe["sensitivity"] = [
        {"name": "far", "base": base, "sparsity": 0.75, "split": "test", "metric": "divergence"},
        {"name": "worse", "base": base, "sparsity": 0.75, "split": "test"},
    ]
    schedule = {"from": "far", "spread": 0.125, "group": "all"}
    recipe |= {"demonstrations": [], "evaluations": [sentences]}
    recipe["variants"] = [{"name": "by-need", **base, "sparsity": 0.5, "schedule": schedule}]
    return finished_run(write_planted_inputs(tiny_inputs, tmp_path_factory.mktemp("far")), recipe, name="far")


def test_the_distance_from_dense_is_the_loss_of_a_unit(far: FinishedRun) -> None:
    values = {
        (row["variant_id"], row["language"]): row["value"]
        for row in far.rows("metrics")
        if row["metric"] == "divergence"
    }
    for language in ("en", "fr"):
        losses = losses_of(far, metric="divergence", group_name=language)
        assert list(losses) == ["0", "1", "2"]
        for row in losses.values():
            assert row["loss"] == pytest.approx(values[row["variant_id"], language])
            assert row["scale"] == "nats"
            assert row["ci_low"] <= row["loss"] <= row["ci_high"]
            is_harmless = row["block"] == HARMLESS
            assert (row["loss"] == 0) == is_harmless
            assert (row["p_max_t"] == 1) == is_harmless
    agreements = {row["metric"] for row in far.rows("sensitivity_agreement")}
    assert agreements == {"divergence", "perplexity"}


def test_a_schedule_reads_distances_and_analyses_share_their_probes(far: FinishedRun) -> None:
    losses = losses_of(far, metric="divergence", group_kind="all")
    (variant,) = far.named("by-need")
    rows = far.store.require("variants", variant.id).rows["variant_layers"]
    removed = [sum(row["n_removed"] for row in rows if row["block"] == block) for block in range(N_BLOCKS)]
    by_loss = sorted(range(N_BLOCKS), key=lambda block: losses[str(block)]["loss"])
    assert by_loss[0] == HARMLESS
    assert sorted(removed, reverse=True) == [removed[block] for block in by_loss]
    assert sum(isinstance(job, EvaluateJob) for job in far.plan.jobs) == 1 + N_BLOCKS + 1
    made = [key for job in far.plan.jobs for key in job.makes]
    assert len(made) == len(set(made))


@pytest.mark.parametrize(
    ("metric", "context"),
    [("divergence", "distance: true"), ("chrf", "expected=.*perplexity"), ("f1_macro", "expected=.*perplexity")],
)
def test_a_metric_that_a_task_does_not_have_is_refused(tiny_inputs: Path, metric: str, context: str) -> None:
    recipe = planted_recipe()
    recipe["variants"] = []
    recipe["sensitivity"][0] |= {"tasks": ["perplexity"], "metric": metric}
    with pytest.raises(RecipeError, match=context):
        build_plan(parse_recipe(recipe, folder=tiny_inputs))
