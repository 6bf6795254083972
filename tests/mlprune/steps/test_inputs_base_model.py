"""Base models by their id: the folder of one is found and checked."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from mlprune.errors import BadInputError
from mlprune.models.loading import inspect_model
from mlprune.recipe import ComputeConfig, CorpusConfig
from mlprune.steps import inputs
from mlprune.steps.inputs import (
    Accelerators,
    base_model_identity,
    device_and_dtype,
    find_base_model,
    is_same_text,
    local_accelerators,
    open_corpus,
    require_base_model,
    resolved_device,
    resolved_dtype,
    with_devices,
)
from mlprune.store.store import Store
from tests.tiny_models import save_tiny_model
from tests.valid_recipe import changed, parse


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
    save_tiny_model(tmp_path / "other", "gpt2", seed=5)
    with pytest.raises(BadInputError) as caught:
        require_base_model(tmp_path / "other", base_model_id)
    context = caught.value.context
    assert context == {
        "path": str(tmp_path / "other"),
        "expected": base_model_id,
        "got": id_of(tmp_path / "other"),
    }


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
    with pytest.raises(BadInputError, match="--model PATH"):
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
