"""Adopted checkpoints: own exports give back masks, values and results, and other checkpoints are refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from catalog.report.page import write_report
from catalog.store import Catalog
from mlprune.capabilities.adoption.difference import compare_checkpoint
from mlprune.capabilities.publishing.export import export_variant
from mlprune.errors import BadInputError, RecipeError
from mlprune.models.checkpoint.tensor_hashes import tensor_hashes
from mlprune.models.checkpoint.weight_files import WeightFiles, architecture_at, weight_name
from mlprune.planning import build_plan
from mlprune.recipe.loading import load_recipe
from mlprune.steps.rescore.verify import Recheck, has_masks_to_rebuild, verify_variant
from mlprune.store.store import Store
from tests.expert_models import save_expert_model
from tests.refusals import refused
from tests.tiny_models import ALL_FAMILY_NAMES, save_tiny_model
from tests.tiny_recipes import FinishedRun, finished_run, small_recipe, write_inputs, write_recipe

OWN: dict[str, dict[str, Any]] = {
    "wanda": {"score": "wanda", "sparsity": 0.5, "demonstrations": "mt", "propagation": "dense"},
    "two-four": {"score": "wanda", "structure": "2:4", "demonstrations": "mt", "propagation": "dense"},
    "sparsegpt": {"score": "sparsegpt", "sparsity": 0.5, "demonstrations": "mt", "propagation": "dense"},
    "blocks": {"score": "given", "structure": "blocks", "scope": {"blocks": [1]}},
}


class Adopted:
    """A finished run, exports of its variants, and a run that adopts them next to their own kind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_inputs(folder)
        variants = [{"name": name, **entry} for name, entry in OWN.items()]
        self.own = finished_run(folder, {**small_recipe(), "variants": variants}, name="own")
        for name in OWN:
            export_variant(self.own.store, self.variant(self.own, name), folder / "model", folder / f"pruned-{name}")
        adopted = [{"name": f"their-{name}", "adopt": f"pruned-{name}"} for name in OWN]
        adopted[0]["against"] = ["wanda"]
        self.run = finished_run(folder, {**small_recipe(), "variants": [*variants, *adopted]}, name="adopted")

    def variant(self, run: FinishedRun, name: str) -> str:
        """The id of the only variant of an entry."""
        (variant,) = run.named(name)
        return variant.id

    def evaluated(self, name: str) -> list[tuple[object, ...]]:
        """The metrics of a variant."""
        keys = ("task", "language", "metric", "value")
        rows = [row for row in self.run.rows("metrics") if row["variant_id"] == self.variant(self.run, name)]
        return sorted(tuple(row.get(key) for key in keys) for row in rows)


@pytest.fixture(scope="module")
def adopted(tmp_path_factory: pytest.TempPathFactory) -> Adopted:
    torch.set_num_threads(1)
    return Adopted(tmp_path_factory.mktemp("adopted"))


@pytest.mark.parametrize("name", OWN)
def test_an_own_export_gives_back_masks_blocks_and_results(name: str, adopted: Adopted, tmp_path: Path) -> None:
    run = adopted.run
    own, theirs = (adopted.variant(run, entry) for entry in (name, f"their-{name}"))
    rows = [run.row("variants", variant) for variant in (own, theirs)]
    for column in ("mask_sha256", "weights_changed", "achieved_sparsity", "removed_blocks"):
        assert rows[0].get(column) == rows[1].get(column), column
    assert own != theirs
    assert adopted.evaluated(name) == adopted.evaluated(f"their-{name}") != []

    export_variant(run.store, theirs, adopted.folder / "model", tmp_path / "again")
    hashes = [tensor_hashes(folder) for folder in (adopted.folder / f"pruned-{name}", tmp_path / "again")]
    assert hashes[0] == hashes[1]


def test_the_provenance_of_a_checkpoint_is_in_the_record_and_in_the_model_card(
    adopted: Adopted, tmp_path: Path
) -> None:
    theirs = adopted.variant(adopted.run, "their-wanda")
    record = adopted.run.store.require("variants", theirs)
    assert {"config.json", "model.safetensors"} <= set(record.contents)
    row = adopted.run.row("variants", theirs)
    assert (row["score"], row["score_parameters"]["source"]) == ("adopted", "pruned-wanda")
    export_variant(adopted.run.store, theirs, adopted.folder / "model", tmp_path / "out")
    assert "pruned-wanda" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.thorough("exports and adopts models")
def test_adopted_variants_are_compared_reported_and_checked_like_others(adopted: Adopted, tmp_path: Path) -> None:
    run = adopted.run
    own, theirs = (adopted.variant(run, name) for name in ("wanda", "their-wanda"))
    compared = {(row["variant_id"], row["baseline_id"]) for row in run.rows("comparison_results")}
    assert (theirs, own) in compared
    with Catalog.open(run.store) as catalog:
        rows = catalog.query("SELECT label, is_dense FROM internal.variant_descriptions WHERE score = 'adopted'")
        write_report(catalog, tmp_path / "report.html")
    assert len(rows) == len(OWN)
    assert not any(row["is_dense"] for row in rows)
    assert "pruned-wanda" in (tmp_path / "report.html").read_text()
    recheck = Recheck(run.store, lambda _: adopted.folder / "model")
    record = run.store.require("variants", theirs)
    assert recheck.contradictions(record) == []
    assert not has_masks_to_rebuild(record)
    with refused(BadInputError, variant_id=theirs):
        verify_variant(run.store, record, adopted.folder / "model")


@pytest.mark.thorough("exports and adopts models")
def test_an_adopted_variant_can_be_combined_and_rounded(adopted: Adopted, tmp_path: Path) -> None:
    variants = [
        {"name": "theirs", "adopt": "pruned-wanda"},
        {"name": "rounded", "adopt": "pruned-wanda", "bits": 8},
        {"name": "random", "score": "random", "sparsity": 0.5},
        {"name": "both", "combine": "union", "of": ["theirs", "random"]},
    ]
    recipe = {**small_recipe(), "demonstrations": [], "variants": variants}
    run = finished_run(adopted.folder, recipe, name="combined")
    assert run.row("variants", adopted.variant(run, "rounded"))["bits"] == 8
    kept = [run.keep_masks(adopted.variant(run, name)) for name in ("theirs", "random", "both")]
    for key, mask in kept[2].items():
        assert torch.equal(mask, kept[0][key] | kept[1][key])


Change = Callable[[dict[str, Tensor]], None]


def changed_copy(source: Path, target: Path, change: Change, **settings: object) -> Path:
    """A copy of a model folder with changed tensors and settings."""
    shutil.copytree(source, target)
    tensors = load_file(target / "model.safetensors")
    change(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, target / "model.safetensors")
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**config, **settings}))
    return target


def zero_all(names: str) -> Change:
    """A change that sets the first row of some tensors to zero."""

    def change(tensors: dict[str, Tensor]) -> None:
        for name, tensor in tensors.items():
            if names in name:
                tensor[0] = 0

    return change


def nothing(_: dict[str, Tensor]) -> None:
    """No change."""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    save_tiny_model(tmp_path / "base", "xglm", blocks=3)
    return tmp_path / "base"


def test_zeros_count_as_removed_only_in_layers_that_differ(base: Path, tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    zeros = changed_copy(base, tmp_path / "given" / "base", zero_all("fc1.weight"))
    theirs = changed_copy(zeros, tmp_path / "theirs", zero_all("fc2.weight"))
    difference = compare_checkpoint(zeros, theirs)
    width = load_file(base / "model.safetensors")["model.layers.0.fc2.weight"].shape[1]
    assert difference.n_removed == 3 * width
    assert not difference.weights_changed


def test_changed_weights_and_biases_are_found(base: Path, tmp_path: Path) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        for name, tensor in list(tensors.items()):
            tensors[name] = tensor * (2 if "fc1" in name else 1)

    theirs = changed_copy(base, tmp_path / "theirs", change)
    difference = compare_checkpoint(base, theirs)
    assert (difference.n_removed, difference.weights_changed, difference.biases_changed) == (0, True, True)


def test_equal_values_in_another_dtype_are_equal(tmp_path: Path) -> None:
    base = save_tiny_model(tmp_path / "base", "xglm", blocks=2, dtype=torch.float16)

    def change(tensors: dict[str, Tensor]) -> None:
        tensors.update({name: tensor.float() for name, tensor in tensors.items()})
        zero_all("fc1.weight")(tensors)

    difference = compare_checkpoint(base, changed_copy(base, tmp_path / "single", change))
    assert (difference.weights_changed, difference.biases_changed) == (False, False)
    assert difference.n_removed > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_copy_that_is_rounded_to_another_dtype_is_refused_by_its_dtype(
    base: Path, tmp_path: Path, dtype: torch.dtype
) -> None:
    def rounded(tensors: dict[str, Tensor]) -> None:
        zero_all("fc1.weight")(tensors)
        tensors.update({name: tensor.to(dtype) for name, tensor in tensors.items()})

    def other(tensors: dict[str, Tensor]) -> None:
        tensors["model.embed_tokens.weight"][5] += 1
        rounded(tensors)

    with refused(BadInputError, expected="float32", got=str(dtype).removeprefix("torch.")) as caught:
        compare_checkpoint(base, changed_copy(base, tmp_path / "rounded", rounded))
    assert "float32" in str(caught.value.context["next"])
    with pytest.raises(BadInputError) as of_revision:
        compare_checkpoint(base, changed_copy(base, tmp_path / "other", other))
    assert "revision" in str(of_revision.value.context["next"])


@pytest.mark.thorough("exports and adopts models")
def test_zeros_are_counted_in_the_layers_of_every_architecture(tmp_path: Path) -> None:
    saved = dict.fromkeys(ALL_FAMILY_NAMES, save_tiny_model) | {"qwen3_moe": save_expert_model}
    for family, save in saved.items():
        base = save(tmp_path / family / "base", family, blocks=2)
        architecture, n_zeros = architecture_at(base), 0
        files = WeightFiles(base, architecture)
        shutil.copytree(base, tmp_path / family / "theirs")
        tensors = load_file(base / "model.safetensors")
        for block in range(architecture.n_blocks):
            layer = architecture.block(block).layers[0]
            (part,) = files.parts(weight_name(architecture, block, layer))
            rows = part.view_of(tensors[part.name])
            rows[:3] = 0
            n_zeros += rows[:3].numel()
        save_file(tensors, tmp_path / family / "theirs" / "model.safetensors", metadata={"format": "pt"})
        difference = compare_checkpoint(base, tmp_path / family / "theirs")
        assert (difference.n_removed, difference.weights_changed) == (n_zeros, False), family


@pytest.mark.thorough("exports and adopts models")
def test_checkpoints_that_are_no_pruned_form_of_the_base_model_are_refused(base: Path, tmp_path: Path) -> None:
    def other_embedding(tensors: dict[str, Tensor]) -> None:
        tensors["model.embed_tokens.weight"][5] += 1

    revision = changed_copy(base, tmp_path / "revision", other_embedding)
    with refused(BadInputError, n_tensors=1, got=["model.embed_tokens.weight"]) as caught:
        compare_checkpoint(base, revision)
    assert "next" in caught.value.context
    same = changed_copy(base, tmp_path / "same", nothing)
    with refused(BadInputError, path=str(same)):
        compare_checkpoint(base, same)
    scaled = changed_copy(base, tmp_path / "scaled", zero_all("fc1"), scale_embedding=False)
    with refused(BadInputError, got={"scale_embedding": False}):
        compare_checkpoint(base, scaled)
    save_tiny_model(tmp_path / "narrow", "xglm", blocks=3, hidden=32)
    with pytest.raises(BadInputError, match="shapes"):
        compare_checkpoint(base, tmp_path / "narrow")
    save_tiny_model(tmp_path / "gpt2", "gpt2", blocks=3)
    with refused(BadInputError, expected="xglm", got="gpt2"):
        compare_checkpoint(base, tmp_path / "gpt2")
    save_tiny_model(tmp_path / "fewer", "xglm", blocks=2, seed=7)
    with refused(BadInputError, path=str(tmp_path / "fewer")):
        compare_checkpoint(base, tmp_path / "fewer")


def test_copies_that_only_one_of_the_two_stores_are_no_difference(base: Path, tmp_path: Path) -> None:
    def with_copies(tensors: dict[str, Tensor]) -> None:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
        tensors["model.embed_positions.weights"] = torch.zeros(2, 2)

    published = changed_copy(base, tmp_path / "published", with_copies)
    theirs = changed_copy(base, tmp_path / "theirs", zero_all("fc1.weight"))
    assert compare_checkpoint(published, theirs).n_removed > 0
    theirs = changed_copy(theirs, tmp_path / "with-copies", with_copies)
    assert compare_checkpoint(base, theirs).n_removed > 0


def test_another_tokenizer_is_refused_and_another_layout_of_its_file_is_not(base: Path, tmp_path: Path) -> None:
    theirs = changed_copy(base, tmp_path / "theirs", zero_all("fc1"))
    tokenizer = json.loads((theirs / "tokenizer.json").read_text())
    (theirs / "tokenizer.json").write_text(json.dumps(tokenizer, indent=7))
    assert compare_checkpoint(base, theirs).n_removed > 0
    vocabulary = tokenizer["model"]["vocab"]
    first, second = list(vocabulary)[-2:]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    (theirs / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(BadInputError, match="tokenizer"):
        compare_checkpoint(base, theirs)


def test_masks_or_rounding_of_a_checkpoint_without_blocks_are_refused_by_the_plan(adopted: Adopted) -> None:
    for further in (
        [{"name": "theirs", "adopt": "pruned-blocks", "bits": 8}],
        [{"name": "theirs", "adopt": "pruned-blocks"}, {"name": "both", "combine": "union", "of": ["theirs"]}],
    ):
        recipe = {**small_recipe(), "variants": further}
        path = write_recipe(adopted.folder, recipe, name="refused.yaml")
        with refused(RecipeError, variant="theirs"):
            build_plan(load_recipe(path))


def test_a_checkpoint_that_changes_between_plan_and_run_is_refused(adopted: Adopted, tmp_path: Path) -> None:
    copy = shutil.copytree(adopted.folder / "pruned-wanda", adopted.folder / "changing")
    recipe = {**small_recipe(), "variants": [{"name": "theirs", "adopt": "changing"}]}
    plan = build_plan(load_recipe(write_recipe(adopted.folder, recipe, name="changing.yaml")))
    (job,) = (job for job in plan.jobs if type(job).__name__ == "AdoptJob")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "use_cache": False}))
    with refused(BadInputError, path=str(copy)):
        job.run(Store(tmp_path / "store"), lambda: pytest.fail("no model is needed"))
