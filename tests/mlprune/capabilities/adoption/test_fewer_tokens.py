"""Checkpoints with fewer tokens: exports are distinguished from other folders, token by token and row by row."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from mlprune import capabilities
from mlprune.capabilities.adoption.difference import compare_checkpoint
from mlprune.errors import BadInputError, RecipeError
from mlprune.models.checkpoint.weight_files import architecture_at
from mlprune.models.fewer_blocks import remove_blocks
from mlprune.models.loading import load_tokenizer
from mlprune.planning import build_plan
from mlprune.recipe.loading import load_recipe
from mlprune.store.store import Store
from mlprune.trimming.folder import kept_tokens, read_tokenizer, trim_folder, write_tokenizer
from tests.refusals import refused
from tests.tiny_recipes import small_recipe, write_recipe, write_texts
from tests.trimmable_models import save_model_with_merges

EMBEDDING = "model.embed_tokens.weight"
N_REMOVED = 5


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model_with_merges(tmp_path_factory.mktemp("base") / "model", "llama", blocks=1)


def trimmed(base: Path, folder: Path, *, n_removed: int = N_REMOVED, multiple: int = 1) -> tuple[Path, list[int]]:
    """Write the model without its last tokens, as an export does; returns the kept tokens too."""
    kept = list(range(len(load_tokenizer(base)) - n_removed))
    shutil.copytree(base, folder)
    trim_folder(folder, kept, multiple=multiple)
    new_ids = {number: number for number in kept}
    write_tokenizer(base, folder, kept, source=read_tokenizer(load_tokenizer(base)), new_ids=new_ids)
    return folder, kept


def changed_json(folder: Path, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    data = json.loads((folder / name).read_text("utf-8"))
    change(data)
    (folder / name).write_text(json.dumps(data), "utf-8")


@pytest.mark.parametrize(("n_removed", "multiple"), [(N_REMOVED, 1), (N_REMOVED, 64), (0, 64)])
def test_the_tokens_of_an_export_are_found_with_or_without_padding(
    base: Path, tmp_path: Path, n_removed: int, multiple: int
) -> None:
    folder, kept = trimmed(base, tmp_path / "small", n_removed=n_removed, multiple=multiple)
    tokens = kept_tokens(base, folder)
    assert tokens is not None
    assert list(tokens.ids) == kept
    assert compare_checkpoint(base, folder, tokens=tokens).is_none


def test_rows_of_tokens_that_have_columns_of_every_block_lose_both(tmp_path: Path) -> None:
    sizes = ("vocab_size", "vocab_size_per_layer_input")
    base = save_model_with_merges(tmp_path / "base", "gemma4_text", sizes=sizes)
    folder, _ = trimmed(base, tmp_path / "small")
    remove_blocks(folder, architecture_at(folder), (1,))
    assert compare_checkpoint(base, folder, tokens=kept_tokens(base, folder)).removed_blocks == (1,)


def test_a_checkpoint_with_all_tokens_has_no_fewer(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "copy")
    changed_json(tmp_path / "copy", "tokenizer.json", lambda _: None)
    assert kept_tokens(base, tmp_path / "copy") is None
    (tmp_path / "copy" / "tokenizer.json").unlink()
    (tmp_path / "copy" / "tokenizer_config.json").unlink()
    assert kept_tokens(base, tmp_path / "copy") is None


def test_a_token_that_the_base_model_does_not_have_is_refused(base: Path, tmp_path: Path) -> None:
    folder, _ = trimmed(base, tmp_path / "small")

    def rename(tokenizer: dict[str, Any]) -> None:
        vocabulary = tokenizer["model"]["vocab"]
        vocabulary["unheard"] = vocabulary.pop(max(vocabulary, key=vocabulary.__getitem__))
        tokenizer["model"]["merges"] = []

    changed_json(folder, "tokenizer.json", rename)
    assert kept_tokens(base, folder) is None
    with refused(BadInputError, path=str(folder), tokens=["unheard"]):
        compare_checkpoint(base, folder)


def swap(tokenizer: dict[str, Any]) -> None:
    vocabulary = tokenizer["model"]["vocab"]
    first, second = sorted(vocabulary, key=vocabulary.__getitem__)[-2:]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]


def without_a_special_token(tokenizer: dict[str, Any]) -> None:
    del tokenizer["model"]["vocab"]["<pad>"]
    tokenizer["added_tokens"] = [token for token in tokenizer["added_tokens"] if token["content"] != "<pad>"]


def without_merges(tokenizer: dict[str, Any]) -> None:
    tokenizer["model"]["merges"] = []


@pytest.mark.parametrize("change", [swap, without_a_special_token, without_merges])
def test_another_tokenizer_with_tokens_of_the_base_model_is_refused(
    base: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    folder, _ = trimmed(base, tmp_path / "small")
    changed_json(folder, "tokenizer.json", change)
    with refused(BadInputError, path=str(folder), base=str(base)) as caught:
        kept_tokens(base, folder)
    assert "next" in caught.value.context


@pytest.mark.parametrize("row", [7, -1], ids=["a token", "padding"])
def test_a_changed_row_of_the_embedding_is_refused(base: Path, tmp_path: Path, row: int) -> None:
    folder, _ = trimmed(base, tmp_path / "small", multiple=64)
    tensors = load_file(folder / "model.safetensors")
    tensors[EMBEDDING][row] += 1
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with refused(BadInputError, got=[EMBEDDING]):
        compare_checkpoint(base, folder, tokens=kept_tokens(base, folder))


def test_other_settings_are_refused(base: Path, tmp_path: Path) -> None:
    folder, _ = trimmed(base, tmp_path / "small")
    changed_json(folder, "config.json", lambda config: config.update(rms_norm_eps=0.5))
    with refused(BadInputError, got={"rms_norm_eps": 0.5}):
        compare_checkpoint(base, folder, tokens=kept_tokens(base, folder))


@pytest.mark.parametrize(
    ("changes", "others", "key"),
    [
        ({"keep": {"languages": "en"}}, [], "keep"),
        ({}, [{"combine": "union", "of": ["theirs", "m"]}, {"name": "m", "score": "magnitude", "sparsity": 0.5}], "of"),
    ],
)
def test_other_tokens_and_combined_masks_are_refused_by_the_plan(
    base: Path, tmp_path: Path, changes: dict[str, Any], others: list[dict[str, Any]], key: str
) -> None:
    shutil.copytree(base, tmp_path / "model")
    trimmed(base, tmp_path / "small")
    recipe = {**small_recipe(), "variants": [{"name": "theirs", "adopt": "small", **changes}, *others]}
    write_texts(tmp_path)
    with refused(RecipeError, variant="theirs", key=key):
        build_plan(load_recipe(write_recipe(tmp_path, recipe)))


def test_fewer_tokens_are_refused_if_no_capability_plans_them(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capabilities, "NAMES", ("adoption",))
    shutil.copytree(base, tmp_path / "model")
    trimmed(base, tmp_path / "small")
    write_texts(tmp_path)
    recipe = {**small_recipe(), "evaluations": [], "variants": [{"name": "theirs", "adopt": "small"}]}
    with refused(RecipeError, variant="theirs", key="adopt"):
        build_plan(load_recipe(write_recipe(tmp_path, recipe)))


def test_a_checkpoint_that_changes_between_plan_and_run_is_refused(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "model")
    folder, _ = trimmed(base, tmp_path / "small")
    write_texts(tmp_path)
    recipe = {**small_recipe(), "evaluations": [], "variants": [{"name": "theirs", "adopt": "small"}]}
    plan = build_plan(load_recipe(write_recipe(tmp_path, recipe)))
    (job,) = (job for job in plan.jobs if type(job).__name__ == "VocabularyJob")
    changed_json(folder, "config.json", lambda config: config.update(use_cache=False))
    with refused(BadInputError, path=str(folder)):
        job.run(Store(tmp_path / "store"), lambda: pytest.fail("no model is needed"))
