"""Variants without whole blocks: plan, choice, evaluation, export and load, against models of transformers."""

import functools
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from catalog.store import Catalog
from mlprune.api.masked_model import load_masked_model
from mlprune.capabilities.publishing.export import export_variant
from mlprune.capabilities.publishing.publish import Publication, publish_variants
from mlprune.errors import BadInputError, RecipeError
from mlprune.models.fewer_blocks import remove_blocks
from mlprune.models.inference.decoding import MIN_PREFIX, StoppingCriteria, decode
from mlprune.models.loading import inspect_model
from mlprune.models.local_chain import local_chain
from mlprune.recipe.variants import VariantConfig
from mlprune.steps.evaluate.model_evaluation import apply_variant
from mlprune.steps.rescore.verify import verify_variant
from mlprune.steps.variants.variant_rows import removed_blocks
from tests.refusals import refused
from tests.scored_texts import scored, scored_alone, some_texts
from tests.tiny_models import ARCHITECTURES, PAD, save_tiny_model, tiny_model
from tests.tiny_recipes import (
    FinishedRun,
    copied_inputs,
    finished_run,
    plan_of,
    reference_model,
    small_recipe,
    write_recipe,
)

N_BLOCKS = 5
N_SHARDS = {"xglm": 1, "llama": 3, "gemma3_text": 1, "bloom": 3}
"""Architecture -> shards of the chain on which its variants are run."""
RunOf = Callable[[str], FinishedRun]


def blocks_recipe(*, is_evaluated: bool = True) -> dict[str, Any]:
    """Every score, also with a scope, and two draws."""
    recipe = small_recipe() if is_evaluated else {**small_recipe(), "evaluations": []}
    blocks = {"structure": "blocks", "sparsity": 0.4}
    recipe["variants"] = [
        {"name": "influence", "score": "block_influence", "demonstrations": "mt", **blocks, "against": ["random"]},
        {"name": "random", "score": "random", "seed": [0, 1], **blocks},
        {"name": "inner", "score": "block_influence", "demonstrations": "mt", **blocks, "scope": {"blocks": ["1-3"]}},
        {"name": "given", "score": "given", "scope": {"blocks": [0, 3]}},
    ]
    return recipe


@pytest.fixture(scope="module")
def run_of(tiny_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> RunOf:
    """The finished run of the recipe on a model of a type; only that of XGLM has evaluations."""

    @functools.cache
    def finished(family: str) -> FinishedRun:
        folder = copied_inputs(tiny_inputs, tmp_path_factory.mktemp(family))
        save_tiny_model(folder / "model", family, seed=3, blocks=N_BLOCKS)
        return finished_run(folder, blocks_recipe(is_evaluated=family == "xglm"), name="blocks")

    return finished


@pytest.fixture(scope="module", params=N_SHARDS)
def blocks_run(request: pytest.FixtureRequest, run_of: RunOf) -> FinishedRun:
    return run_of(request.param)


@pytest.fixture(scope="module")
def xglm_run(run_of: RunOf) -> FinishedRun:
    return run_of("xglm")


def blocks_of(run: FinishedRun, name: str) -> list[tuple[int, ...]]:
    return [removed_blocks(run.store.require("variants", one.id)) for one in run.named(name)]


class PassBy(nn.Module):
    """A block without any effect, with the attributes of the block that the model's code reads."""

    def __init__(self, block: nn.Module, *, returns_tuple: bool) -> None:
        super().__init__()
        self.attention_type = getattr(block, "attention_type", None)
        self._returns_tuple = returns_tuple

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        return (hidden_states,) if self._returns_tuple else hidden_states


def wide(model: Any) -> Any:
    """Return a model in float64; XGLM's code runs in float32 only."""
    return model.eval() if model.config.model_type == "xglm" else model.double().eval()


def reference_logits(folder: Path, removed: Iterable[int], token_ids: torch.Tensor) -> torch.Tensor:
    """The logits of transformers' model with modules without any effect in place of some blocks."""
    model = wide(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32))
    architecture = ARCHITECTURES[model.config.model_type]
    blocks = model.get_submodule(architecture.blocks)
    for block in removed:
        blocks[block] = PassBy(blocks[block], returns_tuple=architecture.block(block).n_returned is not None)
    with torch.no_grad():
        logits: torch.Tensor = model(token_ids, use_cache=False).logits
    return logits


TOKEN_IDS = torch.randint(3, 250, (2, 17), generator=torch.Generator().manual_seed(1))


def test_each_score_removes_the_blocks_that_it_should(blocks_run: FinishedRun) -> None:
    rows = blocks_run.rows("block_influence")
    influence = {int(row["block"]): float(row["influence"]) for row in rows}
    lowest = sorted(influence, key=lambda block: influence[block])
    assert blocks_of(blocks_run, "influence") == [tuple(sorted(lowest[:2]))]
    assert blocks_of(blocks_run, "inner") == [tuple(block for block in lowest if block in (1, 2, 3))[:1]]
    assert blocks_of(blocks_run, "given") == [(0, 3)]
    draws = blocks_of(blocks_run, "random")
    assert [len(blocks) for blocks in draws] == [2, 2]
    assert draws[0] != draws[1]


@pytest.mark.thorough("runs a model for every case")
def test_an_export_and_a_loaded_model_have_the_logits_of_the_model_without_the_blocks(
    blocks_run: FinishedRun, tmp_path: Path
) -> None:
    folder = blocks_run.folder / "model"
    for number, name in enumerate(("influence", "inner", "given")):
        (variant,) = blocks_run.named(name)
        (removed,) = blocks_of(blocks_run, name)
        expected = reference_logits(folder, removed, TOKEN_IDS)
        export_variant(blocks_run.store, variant.id, folder, tmp_path / str(number))
        exported = wide(AutoModelForCausalLM.from_pretrained(tmp_path / str(number), dtype=torch.float32))
        loaded = wide(load_masked_model(blocks_run.store, variant.id, folder))
        assert inspect_model(tmp_path / str(number)).n_blocks == N_BLOCKS - len(removed)
        tolerance = 1e-9 if expected.dtype == torch.float64 else 1e-5
        for model in (exported, loaded):
            with torch.no_grad():
                torch.testing.assert_close(model(TOKEN_IDS).logits, expected, atol=tolerance, rtol=tolerance)
            assert model.config.num_hidden_layers == N_BLOCKS - len(removed)
            decode = functools.partial(model.generate, TOKEN_IDS, max_new_tokens=5, do_sample=False)
            assert torch.equal(decode(use_cache=True), decode(use_cache=False))
        loaded.save_pretrained(tmp_path / f"{number}-saved")
        assert inspect_model(tmp_path / f"{number}-saved").n_blocks == N_BLOCKS - len(removed)


PROMPTS = [[1, 50, 60, 70, 80], [1, 9], [7], [1, 100, 101, 102, 103, 104, 105]]
PREFIX = [1, *range(30, 30 + MIN_PREFIX)]


@pytest.mark.thorough("runs a model for every case")
def test_a_chain_scores_and_decodes_like_the_export(blocks_run: FinishedRun, tmp_path: Path) -> None:
    """With caches of shared prefixes, also if the first block, whose cache sizes the masks, is removed."""
    folder = blocks_run.folder / "model"
    prompts = [*PROMPTS, *([*PREFIX, *prompt[1:], 8] for prompt in PROMPTS)]
    decoded = functools.partial(decode, prompts=prompts, stopping=StoppingCriteria(6, -1), pad_id=PAD)
    chain = local_chain(folder, n_shards=N_SHARDS[inspect_model(folder).family])
    dense = decoded(chain)
    for name in ("influence", "given"):
        (variant,) = blocks_run.named(name)
        export_variant(blocks_run.store, variant.id, folder, tmp_path / name)
        apply_variant(chain, blocks_run.store, variant.id)
        smaller = local_chain(tmp_path / name)
        assert decoded(chain) == decoded(smaller) != dense
        values = [value for value, _ in scored(chain, some_texts(), batch_tokens=40)]
        alone = [value for value, _ in scored_alone(reference_model(tmp_path / name), some_texts())]
        assert values == pytest.approx(alone, abs=1e-5)
    apply_variant(chain, blocks_run.store, next(iter(blocks_run.plan.variants)))
    assert decoded(chain) == dense


@pytest.mark.thorough("runs a model for every case")
def test_the_catalog_has_the_blocks_and_the_share_of_their_weights(xglm_run: FinishedRun) -> None:
    (given,) = xglm_run.named("given")
    with Catalog.in_memory(xglm_run.store) as catalog:
        rows = {row["variant_id"]: row for row in catalog.query("FROM variants")}
        labels = {row["variant_id"]: str(row["label"]) for row in catalog.query("FROM described_variants")}
        evaluated = {row["variant_id"] for row in catalog.query("FROM evaluations")}
        compared = {row["variant_id"] for row in catalog.query("FROM internal.comparisons")}
    row = rows[given.id]
    assert (row["score"], row["structure"], row["sparsity"]) == ("given", "blocks", 0.4)
    assert (row["n_removed_blocks"], row["removed_blocks"]) == (2, [0, 3])
    assert row["achieved_sparsity"] == pytest.approx(0.4)
    assert "blocks" in labels[given.id]
    planned = set(xglm_run.plan.variants)
    assert evaluated == planned
    assert planned - compared == {one.id for one in xglm_run.plan.variants.values() if one.is_dense}
    influence, draws = xglm_run.named("influence"), xglm_run.named("random")
    assert rows[influence[0].id]["demonstration_set_id"] == influence[0].sets[0].id
    assert [rows[one.id]["seed"] for one in draws] == [0, 1]


def test_random_draws_are_one_group_of_seeds(xglm_run: FinishedRun) -> None:
    first, second = (one.spec for one in xglm_run.named("random"))
    assert [first.own_seed("score"), second.own_seed("score")] == [0, 1]
    groups = [spec.without_seed("score", sets=(), parents=()) for spec in (first, second)]
    assert groups[0] == groups[1]


def test_what_needs_masks_is_refused_when_it_is_planned(xglm_run: FinishedRun) -> None:
    variants = blocks_recipe()["variants"]
    few = {"score": "random", "structure": "blocks", "sparsity": 0.1}
    for changes in (
        {"variants": [*variants, {"combine": "union", "of": ["random"]}]},
        {"analyses": {"neuron_variants": ["given"]}},
        {"analyses": {"layer_errors": {"demonstrations": ["mt"]}}},
        {"variants": [few]},
        {"variants": [{"score": "given", "scope": {"blocks": ["0-4"]}}]},
    ):
        recipe = {**blocks_recipe(), **changes}
        with pytest.raises(RecipeError):
            plan_of(write_recipe(xglm_run.folder, recipe, name="changed.yaml"))


def test_masks_of_removed_blocks_are_neither_verified_nor_published(xglm_run: FinishedRun, tmp_path: Path) -> None:
    record = xglm_run.store.require("variants", xglm_run.named("given")[0].id)
    model = xglm_run.folder / "model"
    with refused(BadInputError, got="removed blocks"):
        verify_variant(xglm_run.store, record, model)
    models = {record.parent("base_model"): model}
    with refused(BadInputError, variant_id=record.id):
        publish_variants(xglm_run.store, [Publication(record.id, "blocks")], models, tmp_path / "out")
    assert not (tmp_path / "out").exists()


RANDOM = {"score": "random", "structure": "blocks", "sparsity": 0.5}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"score": "given"}, "scope"),
        ({"score": "given", "scope": {"blocks": [1]}, "sparsity": 0.5}, "sparsity"),
        ({"score": "given", "scope": {"blocks": [1]}, "structure": "row"}, "structure"),
        ({"score": "block_influence", "sparsity": 0.5}, "demonstrations"),
        ({"score": "block_influence", "demonstrations": "mt"}, "sparsity"),
        ({**RANDOM, "score": "magnitude"}, "structure"),
        ({**RANDOM, "bits": 4}, "bits"),
        ({**RANDOM, "removes": "highest"}, "removes"),
        ({**RANDOM, "schedule": "owl"}, "schedule"),
        ({**RANDOM, "scope": {"layers": ["fc1"]}}, "layers"),
    ],
)
def test_keys_that_do_not_apply_to_blocks_are_refused(entry: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        VariantConfig.model_validate(entry)


def test_lists_by_block_are_written_although_the_config_leaves_them_out(tmp_path: Path) -> None:
    """Gemma 3 derives full and sliding attention from the numbers of the blocks."""
    save_tiny_model(tmp_path, "gemma3_text", blocks=8)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    del config["layer_types"]
    config["sliding_window_pattern"] = 3
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    expected = AutoConfig.from_pretrained(tmp_path).layer_types
    expected_logits = reference_logits(tmp_path, (1, 2), TOKEN_IDS)
    remove_blocks(tmp_path, ARCHITECTURES["gemma3_text"], (1, 2))
    smaller = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert smaller.config.layer_types == [expected[0], *expected[3:]]
    with torch.no_grad():
        torch.testing.assert_close(wide(smaller)(TOKEN_IDS).logits, expected_logits, atol=1e-9, rtol=1e-9)


@pytest.mark.thorough("runs a model for every case")
def test_files_of_several_weights_and_older_names_are_renumbered(tmp_path: Path) -> None:
    """GPT-2 checkpoints of the hub leave the first part of names out."""
    model = tiny_model("gpt2", seed=2, blocks=4)
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    save_tiny_model(tmp_path / "one", "gpt2", seed=2, blocks=4)
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) > 1
    expected = reference_logits(tmp_path, (0, 2), TOKEN_IDS)
    file = tmp_path / "one/model.safetensors"
    plain = {name.removeprefix("transformer."): tensor for name, tensor in load_file(file).items()}
    save_file(plain, file, metadata={"format": "pt"})
    for folder in (tmp_path, tmp_path / "one"):
        remove_blocks(folder, ARCHITECTURES["gpt2"], (0, 2))
        smaller = wide(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32))
        assert smaller.config.n_layer == 2
        with torch.no_grad():
            torch.testing.assert_close(smaller(TOKEN_IDS).logits, expected, atol=1e-9, rtol=1e-9)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text("utf-8"))
    assert set(index["weight_map"].values()) == {file.name for file in tmp_path.glob("*.safetensors")}


def test_attention_that_depends_on_the_number_of_a_block_is_refused(tmp_path: Path) -> None:
    save_tiny_model(tmp_path, "gpt2", scale_attn_by_inverse_layer_idx=True)
    with pytest.raises(BadInputError):
        remove_blocks(tmp_path, ARCHITECTURES["gpt2"], (1,))
