"""What a recipe reads is opened and checked before anything else."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import BadInputError, CorpusError, ModelError, RecipeError
from mlprune.importing.import_folder import ImportRecord, Origin, SourceFile
from mlprune.recipe import CorpusConfig, parse_recipe
from mlprune.steps.inputs import corpus_ref, open_inputs
from tests.tiny_models import POSITIONS, save_tiny_model
from tests.tiny_recipes import small_recipe, tiny_recipe

Change = Callable[[Path], object]


def edit_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def without_end(model: Path) -> None:
    config = json.loads((model / "tokenizer_config.json").read_text())
    for key in ("eos_token", "bos_token"):
        config.pop(key, None)
    (model / "tokenizer_config.json").write_text(json.dumps(config))
    (model / "special_tokens_map.json").unlink(missing_ok=True)


def only_pickles(model: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")


MODELS: dict[str, tuple[Change, str]] = {
    "no folder": (shutil.rmtree, "not a folder"),
    "no config": (lambda model: (model / "config.json").unlink(), "lacks a file"),
    "config of other bytes": (lambda model: (model / "config.json").write_bytes(b"{"), "not JSON"),
    "config that is a list": (lambda model: (model / "config.json").write_text("[]"), "not a JSON object"),
    "unknown family": (lambda model: edit_json(model / "config.json", model_type="mixtral"), "unknown model type"),
    "no family": (lambda model: edit_json(model / "config.json", model_type=None), "unknown model type"),
    "other sizes": (lambda model: edit_json(model / "config.json", d_model=32), "does not fit the config"),
    "only pickles": (only_pickles, "mlprune import"),
    "damaged weights": (lambda model: (model / "model.safetensors").write_bytes(b"x" * 99), "cannot be read"),
    "no tokenizer": (lambda model: (model / "tokenizer.json").unlink(), "tokenizer"),
    "damaged tokenizer": (lambda model: (model / "tokenizer.json").write_bytes(b"{"), "tokenizer cannot be read"),
    "no end of sequence": (without_end, "no end-of-sequence token"),
}


@pytest.mark.parametrize("what", MODELS)
def test_an_unusable_model_is_one_line(own_inputs: Path, what: str) -> None:
    change, message = MODELS[what]
    change(own_inputs / "model")
    recipe = small_recipe()
    recipe["model"]["path"] = "./model"
    with pytest.raises(ModelError, match=message) as caught:
        open_inputs(parse_recipe(recipe, folder=own_inputs))
    assert isinstance(caught.value, BadInputError)
    assert len(str(caught.value).splitlines()) == 1
    if what not in ("no folder", "unknown family", "no family", "other sizes"):
        assert str(own_inputs / "model") in str(caught.value)


@pytest.mark.parametrize("path", ["nothing", "corpus/fr.txt"])
def test_a_corpus_path_without_parallel_text_is_one_line(own_inputs: Path, path: str) -> None:
    recipe = small_recipe()
    recipe["corpus"]["path"] = path
    with pytest.raises(CorpusError) as caught:
        open_inputs(parse_recipe(recipe, folder=own_inputs))
    assert caught.value.context["path"] == str(own_inputs / path)


def test_demonstrations_are_never_longer_than_the_models_positions(own_inputs: Path) -> None:
    recipe = small_recipe()
    recipe["demonstrations"][0]["max_tokens"] = POSITIONS
    open_inputs(parse_recipe(recipe, folder=own_inputs))
    recipe["demonstrations"][0]["max_tokens"] = POSITIONS + 1
    with pytest.raises(RecipeError) as caught:
        open_inputs(parse_recipe(recipe, folder=own_inputs))
    assert (caught.value.context["demonstrations"], caught.value.context["got"]) == ("mt", POSITIONS + 1)


def test_a_mixed_set_has_no_length_of_its_own(own_inputs: Path) -> None:
    recipe = parse_recipe(tiny_recipe(), folder=own_inputs)
    assert recipe.sets_named("mixed")[0].max_tokens > POSITIONS
    assert open_inputs(recipe).model.max_positions == POSITIONS


def test_a_model_without_an_end_to_its_positions_takes_any_length(own_inputs: Path) -> None:
    shutil.rmtree(own_inputs / "model")
    save_tiny_model(own_inputs / "model", "bloom")
    recipe = small_recipe()
    recipe["demonstrations"][0]["max_tokens"] = 100_000
    assert open_inputs(parse_recipe(recipe, folder=own_inputs)).model.max_positions is None


def test_the_model_is_named_by_its_content(own_inputs: Path, tmp_path: Path) -> None:
    def base_id(path: Path) -> str:
        recipe = small_recipe()
        recipe["model"]["path"] = str(path)
        return open_inputs(parse_recipe(recipe, folder=own_inputs)).base.id

    first = base_id(own_inputs / "model")
    shutil.copytree(own_inputs / "model", tmp_path / "renamed")
    (tmp_path / "renamed" / "README.md").write_text("does not count")
    assert base_id(tmp_path / "renamed") == first
    assert base_id(save_tiny_model(tmp_path / "other", "xglm", seed=1)) != first
    edit_json(tmp_path / "renamed" / "tokenizer_config.json", model_max_length=64)
    assert base_id(tmp_path / "renamed") != first


def test_what_is_known_of_the_inputs_is_passed_on(own_inputs: Path) -> None:
    inputs = open_inputs(parse_recipe(small_recipe(), folder=own_inputs))
    assert (inputs.model.family, inputs.model.n_blocks, inputs.model.dtype) == ("xglm", 3, "float32")
    assert inputs.model.path == str(own_inputs / "model")
    assert inputs.base_row["base_model_id"] == inputs.base.id == inputs.model.base_model_id
    assert inputs.corpus.lines("fr")[3] == "3 chats"
    recipe = small_recipe()
    recipe["corpus"] = {"kind": "cldr", "lines": 24, "seed": 3}
    assert corpus_ref(parse_recipe(recipe, folder=own_inputs)) == CorpusConfig(kind="cldr", lines=24, seed=3)


def test_the_row_of_an_imported_model_says_what_it_was_imported_from_and_its_id_does_not(own_inputs: Path) -> None:
    recipe = small_recipe()
    recipe["model"]["path"] = "./model"
    before = open_inputs(parse_recipe(recipe, folder=own_inputs))
    files = {"pytorch_model.bin": SourceFile(sha256="f" * 64, n_bytes=7)}
    origin = Origin("facebook/xglm-564M", "main", commit="c" * 40)
    ImportRecord(
        mlprune="0.2.0",
        torch="2.13.0",
        weight_format="pytorch",
        source=origin.hub_id,
        origin=origin,
        dtype=None,
        files=files,
        dropped=(),
        renamed={},
        shared={},
    ).write(own_inputs / "model")
    after = open_inputs(parse_recipe(recipe, folder=own_inputs))
    assert after.base == before.base
    assert after.base_row == {
        **before.base_row,
        "source": "facebook/xglm-564M",
        "imported_from": "facebook/xglm-564M",
        "imported_revision": "c" * 40,
        "import_sources": {"pytorch_model.bin": "f" * 64},
    }
