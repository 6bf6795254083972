"""Variants whose score is a plug-in: one file, no change elsewhere, and its source in their ids."""

from pathlib import Path
from typing import Any

import pytest
import torch

from mlprune.errors import PluginError, RecipeError
from mlprune.methods.plugins import withdraw_files
from mlprune.models.checkpoint.weight_files import read_block
from mlprune.planning import Plan, build_plan
from mlprune.pruning.spec import ScheduleSpec
from mlprune.recipe.loading import load_recipe
from mlprune.steps.rescore.verify import verify_variant
from mlprune.steps.variants.scored_variant import ScoredVariant
from mlprune.store.store import Store
from tests.plugin_packages import CUBIC, on_path, write_distribution
from tests.refusals import refused
from tests.tiny_recipes import FinishedRun, copied_inputs, run_plan, small_recipe, write_recipe

ENTRY = {"score": "cubic", "demonstrations": "mt", "sparsity": 0.5}


def recipe_with(*variants: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """The small recipe with other variants and without evaluations."""
    return {**small_recipe(), "variants": list(variants), "evaluations": [], **keys}


def plan_file(folder: Path, text: str, *variants: dict[str, Any]) -> Plan:
    """Plan a recipe with a plug-in file."""
    (folder / "my_score.py").write_text(text, encoding="utf-8")
    path = write_recipe(folder, recipe_with(*variants, plugins=["my_score.py"]))
    return build_plan(load_recipe(path, allowed_plugins=[folder / "my_score.py"]))


def scored(plan: Plan) -> list[ScoredVariant]:
    return [one.spec for one in plan.variants.values() if isinstance(one.spec, ScoredVariant)]


@pytest.fixture(scope="module")
def run(tiny_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A finished run of the score with dense and sequential propagation, at its defaults and with another power."""
    folder = copied_inputs(tiny_inputs, tmp_path_factory.mktemp("plugin"))
    entry = {**ENTRY, "propagation": ["dense", "sequential"], "parameters": {"power": [3.0, 1.0]}}
    plan = plan_file(folder, CUBIC, entry)
    store = Store(folder / "store")
    run_plan(plan, store)
    return FinishedRun(folder / "recipe.yaml", plan, store)


def test_a_plugin_prunes_and_its_rows_name_its_source(run: FinishedRun) -> None:
    assert len(scored(run.plan)) == 4
    for spec in scored(run.plan):
        row = run.row("variants", spec.id)
        assert row["score"] == "cubic"
        assert row["achieved_sparsity"] == 0.5
        assert spec.score.plugin is not None
        assert row["plugins"] == {
            "score": {"name": "cubic", "file": "my_score.py", "sha256": spec.score.plugin.sha256},
        }
    parameters = {str(run.row("variants", spec.id)["score_parameters"]) for spec in scored(run.plan)}
    assert parameters == {"None", "{'power': 1.0}"}
    assert not any("text" in str(record.parameters) for record in run.store.records("variants"))


def test_the_masks_are_those_of_the_formula(run: FinishedRun, tmp_path: Path) -> None:
    """Power 1 is wanda: the masks of both propagations are equal to those of the built-in score."""
    path = write_recipe(run.folder, recipe_with({**ENTRY, "score": "wanda", "propagation": ["dense", "sequential"]}))
    plan = build_plan(load_recipe(path))
    store = Store(tmp_path / "wanda")
    run_plan(plan, store)
    built_in = FinishedRun(path, plan, store)
    linear = {spec.propagation: spec.id for spec in scored(run.plan) if dict(spec.score.settings)}
    for spec in scored(plan):
        row, of_plugin = built_in.row("variants", spec.id), run.row("variants", linear[spec.propagation])
        assert row["mask_sha256"] == of_plugin["mask_sha256"]
    cubic = {spec.propagation: spec.id for spec in scored(run.plan) if not dict(spec.score.settings)}
    weight = read_block(run.folder / "model", 0, dtype="float32")["fc1"]
    norms_free = (weight.abs() ** 3).topk(1, dim=1).indices
    kept = run.keep_masks(cubic["dense"])[0, "fc1"]
    assert kept.gather(1, norms_free).float().mean() > 0.9
    assert torch.equal(kept.sum(1), torch.full((len(kept),), weight.shape[1] // 2))


def test_the_id_changes_with_the_source_and_not_with_a_default(run: FinishedRun, tmp_path: Path) -> None:
    folder = copied_inputs(run.folder, tmp_path)
    ids = {
        name: [spec.id for spec in scored(plan_file(folder, text, {**ENTRY, **keys}))]
        for name, text, keys in (
            ("default", CUBIC, {}),
            ("written out", CUBIC, {"parameters": {"power": 3.0, "floor": 0.0}}),
            ("comment", CUBIC + "# a comment\n", {}),
            ("parameter", CUBIC, {"parameters": {"floor": 0.1}}),
        )
    }
    assert ids["default"] == ids["written out"]
    assert ids["default"][0] in {spec.id for spec in scored(run.plan)}
    assert len({ids[name][0] for name in ("default", "comment", "parameter")}) == 3


def test_a_record_is_read_without_the_plugin_and_rebuilt_with_it(run: FinishedRun) -> None:
    withdraw_files()
    dense = next(spec for spec in scored(run.plan) if spec.propagation == "dense")
    sweep = next(spec for spec in scored(run.plan) if spec.propagation == "sequential")
    for spec in (dense, sweep):  # this process has loaded the source
        assert verify_variant(run.store, run.store.require("variants", spec.id), run.folder / "model").is_equal


def test_an_installed_plugin_has_its_version_in_the_id_and_a_missing_one_is_named(
    tiny_inputs: Path, tmp_path: Path
) -> None:
    folder = copied_inputs(tiny_inputs, tmp_path)
    path = write_recipe(folder, recipe_with({**ENTRY, "propagation": "dense"}))

    def planned(version: str) -> ScoredVariant:
        with on_path(tmp_path / version) as site:
            module = f"cubic_{version.replace('.', '_')}"
            names = {"mlprune.scores": {"cubic": f"{module}:CUBIC"}}
            write_distribution(site, {f"{module}.py": CUBIC}, names, version=version)
            (spec,) = scored(build_plan(load_recipe(path)))
            return spec

    first, second = planned("1.0"), planned("1.1")
    assert first.id != second.id
    assert first.score.plugin is not None
    assert (first.score.plugin.distribution, first.score.plugin.version) == ("cubic-scores", "1.0")
    assert first.plugins["score"] == {"name": "cubic", **first.score.plugin.columns}
    with pytest.raises(PluginError, match=r"cubic-scores 1\.0"):
        _ = first.score.method


def test_a_plugin_that_returns_nonsense_fails_the_job_and_names_the_layer(tiny_inputs: Path, tmp_path: Path) -> None:
    folder = copied_inputs(tiny_inputs, tmp_path)
    nan = CUBIC.replace("inputs.norms.clamp(min=parameters.floor)", "float('nan')")
    plan = plan_file(folder, nan, {**ENTRY, "propagation": "dense"})
    with refused(PluginError, block=0, source="my_score.py"):
        run_plan(plan, Store(folder / "store"))


STRUCTURE_AND_REFINER = """
import torch

from mlprune.plugins import LayerInputs, Parameters, RefinedLayer, RefinerPlugin, StructurePlugin, parameter
from dataclasses import dataclass


@dataclass(frozen=True)
class Tiles(Parameters):
    rows: int = parameter(2, "rows of a tile", above=0)


def tiles(scores, sparsity, parameters):
    sums = scores.reshape(-1, parameters.rows, scores.shape[1]).sum(1)
    keep = torch.ones(sums.numel(), dtype=torch.bool)
    keep[sums.flatten().argsort(stable=True)[: int(sparsity * sums.numel())]] = False
    return keep.reshape(sums.shape).repeat_interleave(parameters.rows, dim=0)


def n_removed(shape, sparsity, parameters):
    return int(sparsity * shape[0] * shape[1] / parameters.rows) * parameters.rows


TILES = StructurePlugin("tiles of rows", parameters=Tiles, name="tiles", function=tiles, n_removed=n_removed)


def mirrored(inputs, keep, structure, parameters):
    return RefinedLayer(keep.flip(1))


MIRRORED = RefinerPlugin("the mask from right to left", needs=("squares",), name="mirrored", function=mirrored)
"""


@pytest.mark.thorough("runs a model for every case")
def test_structures_and_refiners_of_a_file_prune_and_are_rebuilt(tiny_inputs: Path, tmp_path: Path) -> None:
    folder = copied_inputs(tiny_inputs, tmp_path)
    wanda = {"score": "wanda", "demonstrations": "mt", "propagation": "dense"}
    entries = (
        {**wanda, "name": "plain", "sparsity": 0.5},
        {**wanda, "name": "tiles", "sparsity": [0.25, 0.5], "structure": "tiles", "parameters": {"rows": 4}},
        {**wanda, "name": "mirrored", "sparsity": 0.5, "refine": "mirrored"},
        {**wanda, "name": "swept", "sparsity": 0.5, "refine": "mirrored", "propagation": "sequential"},
    )
    plan = plan_file(folder, STRUCTURE_AND_REFINER, *entries)
    store = Store(folder / "store")
    run_plan(plan, store)
    run = FinishedRun(folder / "recipe.yaml", plan, store)
    for variant in run.named("tiles"):
        row = run.row("variants", variant.id)
        assert row["achieved_sparsity"] == row["sparsity"]
        assert row["plugins"]["structure"]["parameters"] == {"rows": 4}
        assert "tiles of my_score.py" in variant.label
        assert "rows 4" in variant.label
        for mask in run.keep_masks(variant.id).values():
            by_tile = mask.reshape(-1, 4, mask.shape[1])
            assert torch.equal(by_tile.all(1), by_tile.any(1))
    (plain,), (mirrored,) = run.named("plain"), run.named("mirrored")
    masks = run.keep_masks(plain.id)
    assert all(torch.equal(mask, masks[key].flip(1)) for key, mask in run.keep_masks(mirrored.id).items())
    for name in ("tiles", "mirrored", "swept"):
        for variant in run.named(name):
            record = store.require("variants", variant.id)
            assert verify_variant(store, record, folder / "model").is_equal
    assert run.row("variants", run.named("swept")[0].id)["plugins"]["refiner"]["name"] == "mirrored"


SCHEDULE = """
from dataclasses import dataclass

from mlprune.plugins import Parameters, SchedulePlugin, parameter


@dataclass(frozen=True)
class Slope(Parameters):
    slope: float = parameter(0.1, "half the distance between the first and the last block", at_least=0)


def sloped(inputs, parameters):
    last = max(layer.block for layer in inputs.layers) or 1
    return [inputs.sparsity + parameters.slope * (2 * layer.block / last - 1) for layer in inputs.layers]


SLOPED = SchedulePlugin("more in later blocks", parameters=Slope, name="sloped", function=sloped)
"""


def test_a_schedule_of_a_file_is_planned_and_its_records_are_rebuilt_without_it(
    tiny_inputs: Path, tmp_path: Path
) -> None:
    folder = copied_inputs(tiny_inputs, tmp_path)
    schedule = {"kind": "sloped", "parameters": {"slope": 0.25}}
    entry = {"score": "magnitude", "sparsity": 0.5, "schedule": schedule}
    plan = plan_file(folder, SCHEDULE, {**entry, "name": "sloped"}, {**entry, "name": "plain", "schedule": "sloped"})
    store = Store(folder / "store")
    run_plan(plan, store)
    run = FinishedRun(folder / "recipe.yaml", plan, store)
    (variant,) = run.named("sloped")
    row, layers = run.row("variants", variant.id), store.require("variants", variant.id).rows["variant_layers"]
    assert row["schedule"] == "sloped"
    assert row["schedule_parameters"] == {"slope": 0.25}
    assert row["plugins"]["schedule"]["file"] == "my_score.py"
    shares = {one["block"]: one["n_removed"] / one["n_weights"] for one in layers}
    assert shares[0] == pytest.approx(0.25, abs=0.02)
    assert shares[max(shares)] == pytest.approx(0.75, abs=0.02)
    withdraw_files()
    spec = ScheduleSpec.from_parameters(store.require("variants", variant.id).parameters["schedule"])  # type: ignore[arg-type]
    assert spec == variant.spec.schedule  # type: ignore[union-attr]
    assert verify_variant(store, store.require("variants", variant.id), folder / "model").is_equal
    with pytest.raises(RecipeError):
        plan_file(folder, SCHEDULE, {**entry, "schedule": {"kind": "uniform", "parameters": {"slope": 1}}})
