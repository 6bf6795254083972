"""Inputs of a recipe: opened and checked before anything else, base models by their id, and devices."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mlprune.errors import BadInputError, CorpusError, ModelError, RecipeError
from mlprune.models.import_record import ImportRecord, Origin, SourceFile
from mlprune.models.loading import inspect_model
from mlprune.recipe.loading import parse_recipe
from mlprune.recipe.models import ComputeConfig, CorpusConfig
from mlprune.steps import inputs
from mlprune.steps.inputs import (
    Accelerators,
    base_model_identity,
    corpus_ref,
    device_and_dtype,
    find_base_model,
    is_same_text,
    local_accelerators,
    open_corpus,
    open_inputs,
    require_base_model,
    resolved_device,
    resolved_dtype,
    with_devices,
)
from mlprune.store.store import Store
from tests.refusals import refused
from tests.tiny_models import POSITIONS, save_tiny_model
from tests.tiny_recipes import small_recipe, tiny_recipe
from tests.valid_recipe import changed, parse

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
    "unknown model type": (lambda model: edit_json(model / "config.json", model_type="lama"), "no such model type"),
    "no model type": (lambda model: edit_json(model / "config.json", model_type=None), "no such model type"),
    "other sizes": (lambda model: edit_json(model / "config.json", d_model=32), "does not fit the config"),
    "only pickles": (only_pickles, "mlprune import"),
    "damaged weights": (lambda model: (model / "model.safetensors").write_bytes(b"x" * 99), "cannot be read"),
    "no tokenizer": (lambda model: (model / "tokenizer.json").unlink(), "tokenizer"),
    "damaged tokenizer": (lambda model: (model / "tokenizer.json").write_bytes(b"{"), "tokenizer cannot be read"),
    "no end of sequence": (without_end, "no end-of-sequence token"),
}


@pytest.mark.thorough("runs a model for every case")
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
    if what not in ("no folder", "other sizes"):
        assert str(own_inputs / "model") in str(caught.value)


@pytest.mark.parametrize("path", ["nothing", "corpus/fr.txt"])
def test_a_corpus_path_without_parallel_text_is_one_line(own_inputs: Path, path: str) -> None:
    recipe = small_recipe()
    recipe["corpus"]["path"] = path
    with refused(CorpusError, path=str(own_inputs / path)):
        open_inputs(parse_recipe(recipe, folder=own_inputs))


def test_demonstrations_are_never_longer_than_the_models_positions(own_inputs: Path) -> None:
    recipe = small_recipe()
    recipe["demonstrations"][0]["max_tokens"] = POSITIONS
    open_inputs(parse_recipe(recipe, folder=own_inputs))
    recipe["demonstrations"][0]["max_tokens"] = POSITIONS + 1
    with refused(RecipeError, demonstrations="mt", got=POSITIONS + 1):
        open_inputs(parse_recipe(recipe, folder=own_inputs))


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
    versions = {"mlprune": "0.2.0", "torch": "2.13.0", "weight_format": "pytorch", "source": origin.hub_id}
    changes: dict[str, Any] = {"dtype": None, "dropped": (), "renamed": {}, "shared": {}}
    ImportRecord(**versions, origin=origin, files=files, **changes).write(own_inputs / "model")
    after = open_inputs(parse_recipe(recipe, folder=own_inputs))
    assert after.base == before.base
    assert after.base_row == {
        **before.base_row,
        "source": "facebook/xglm-564M",
        "folder": "model",
        "dtype": "float32",
        "chat_template_sha256": None,
        "imported_from": "facebook/xglm-564M",
        "imported_revision": "c" * 40,
        "import_sources": {"pytorch_model.bin": "f" * 64},
    }


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_tiny_model(folder, "gpt2")
    return folder


def id_of(folder: Path) -> str:
    return base_model_identity(inspect_model(folder)).id


def test_a_folder_with_other_weights_is_refused(model: Path, tmp_path: Path) -> None:
    base_model_id = id_of(model)
    assert require_base_model(model, base_model_id).family == "gpt2"
    other = save_tiny_model(tmp_path / "other", "gpt2", seed=5)
    with refused(BadInputError, path=str(other), expected=base_model_id, got=id_of(other)):
        require_base_model(other, base_model_id)


def test_the_newest_folder_that_a_run_used_and_that_is_unchanged_is_found(model: Path, tmp_path: Path) -> None:
    base_model_id = id_of(model)
    copies = [tmp_path / name for name in ("first", "second", "third")]
    for copy in copies:
        shutil.copytree(model, copy)
    store = Store(tmp_path / "store")
    for number, copy in enumerate(copies):
        store.write_run_file(f"2026010{number}T000000-abc", "run", {"models": {base_model_id: str(copy)}})
    store.write_run_file("20260109T000000-abc", "run", {"models": {"another": str(tmp_path)}})
    (tmp_path / "store" / "runs" / "20260109T000000-abc" / "job-0.json").write_text("{}")
    (tmp_path / "store" / "runs" / "20260108").mkdir()
    (tmp_path / "store" / "runs" / "20260108" / "run.json").write_text("no JSON")
    assert find_base_model(store, base_model_id) == copies[2]
    shutil.rmtree(copies[2])
    assert find_base_model(store, base_model_id) == copies[1]
    save_tiny_model(copies[1], "gpt2", seed=5)
    assert find_base_model(store, base_model_id) == copies[0]


def test_a_base_model_that_no_run_used_asks_for_its_folder(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="--base-model PATH"):
        find_base_model(Store(tmp_path / "store"), "0" * 20)


def corpus_of(folder: Path) -> CorpusConfig:
    return CorpusConfig(kind="parallel_text", path=str(folder / "corpus"))


def test_a_corpus_is_opened_once(tiny_inputs: Path) -> None:
    assert open_corpus(corpus_of(tiny_inputs)) is open_corpus(corpus_of(tiny_inputs))
    assert len(open_corpus(CorpusConfig(kind="cldr", lines=16)).lines("fr")) == 16


def test_two_paths_are_the_same_text_if_they_lead_to_the_same_file(tiny_inputs: Path, tmp_path: Path) -> None:
    corpus, built_in = corpus_of(tiny_inputs), CorpusConfig(kind="cldr", lines=16)
    link, copy = tmp_path / "link", tmp_path / "copy"
    link.symlink_to(tiny_inputs / "corpus")
    shutil.copytree(tiny_inputs / "corpus", copy)
    assert is_same_text(corpus, corpus.model_copy(update={"path": str(link)}), "fr")
    assert not is_same_text(corpus, corpus.model_copy(update={"path": str(copy)}), "fr")
    assert not is_same_text(corpus, corpus.model_copy(update={"path": str(link)}), "xx")
    assert not is_same_text(corpus, built_in, "fr")
    assert is_same_text(built_in, CorpusConfig(kind="cldr", lines=16), "fr")


NONE = Accelerators(exist=False, have_bfloat16=True)
AMPERE = Accelerators(exist=True, have_bfloat16=True)
VOLTA = Accelerators(exist=True, have_bfloat16=False)


@pytest.mark.parametrize(
    ("compute", "accelerators", "device"),
    [
        ({}, NONE, "cpu"),
        ({}, AMPERE, "cuda"),
        ({"device": "cpu"}, AMPERE, "cpu"),
        ({"device": "cuda"}, NONE, "cuda"),
        ({"gpus_per_actor": 0}, AMPERE, "cpu"),
        ({"gpus_per_actor": 0.5}, NONE, "cuda"),
    ],
)
def test_a_recipe_decides_the_device_and_otherwise_the_machines_do(
    compute: dict[str, Any], accelerators: Accelerators, device: str
) -> None:
    assert resolved_device(ComputeConfig(**compute), accelerators) == device


@pytest.mark.parametrize(
    ("dtype", "device", "accelerators", "resolved"),
    [
        ("auto", "cpu", AMPERE, "float32"),
        ("auto", "cuda", AMPERE, "bfloat16"),
        ("auto", "cuda", NONE, "bfloat16"),
        ("auto", "cuda", VOLTA, "float32"),
        ("float32", "cuda", AMPERE, "float32"),
        ("float16", "cuda", VOLTA, "float16"),
        ("bfloat16", "cpu", NONE, "bfloat16"),
    ],
)
def test_an_automatic_dtype_is_bfloat16_on_accelerators_that_have_it(
    dtype: Any, device: Any, accelerators: Accelerators, resolved: str
) -> None:
    assert resolved_dtype(dtype, device, accelerators) == resolved


def test_a_resolved_recipe_stays_as_it_is_on_other_machines() -> None:
    recipe = with_devices(parse(changed("model.dtype", "auto")), AMPERE)
    assert (recipe.compute.device, recipe.model.dtype) == ("cuda", "bfloat16")
    assert with_devices(recipe, NONE) == recipe


def test_accelerators_of_this_machine_are_looked_at_only_for_what_is_automatic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[None] = []
    monkeypatch.setattr(inputs, "local_accelerators", lambda: looked.append(None) or AMPERE)
    automatic = parse(changed("model.dtype", "auto"))
    assert device_and_dtype(with_devices(automatic, VOLTA)) == ("cuda", "float32")
    assert looked == []
    assert device_and_dtype(automatic) == ("cuda", "bfloat16")
    assert looked == [None]


@pytest.mark.parametrize(("capabilities", "expected"), [([], NONE), ([(8, 0)], AMPERE), ([(9, 0), (7, 5)], VOLTA)])
def test_the_accelerators_of_this_machine_have_bfloat16_if_all_do(
    capabilities: list[tuple[int, int]], expected: Accelerators, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(capabilities))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
    monkeypatch.setattr(torch.cuda, "get_device_capability", capabilities.__getitem__)
    assert local_accelerators() == expected
