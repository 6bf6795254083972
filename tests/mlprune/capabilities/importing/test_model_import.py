"""Imports of tiny checkpoints in all forms in which models of the paper are published."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from mlprune.capabilities.importing import model_import
from mlprune.capabilities.importing.model_import import import_model
from mlprune.errors import ModelError
from mlprune.models.checkpoint.weight_files import DTYPES, WeightFiles, architecture_at
from mlprune.models.import_record import IMPORT_FILE, Origin, read_import_record
from mlprune.models.loading import inspect_model
from tests.published_models import (
    EMBEDDING,
    EXTRA_BUFFERS,
    HEAD,
    PICKLED,
    PREFIX,
    model_tensors,
    publish,
    published_tensors,
)
from tests.refusals import refused
from tests.tiny_models import FAMILY_NAMES, save_tiny_model

ORIGIN = Origin("facebook/xglm-564M", "main", "a" * 40)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny model of each family of the paper."""
    folder = tmp_path_factory.mktemp("models")
    return {family: save_tiny_model(folder / family, family) for family in FAMILY_NAMES}


def import_silently(source: Path, out: Path, **options: object) -> model_import.ImportedModel:
    return import_model(source, out, report=lambda _: None, **options)  # type: ignore[arg-type]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def imported_tensors(folder: Path, dtype: str = "float32") -> dict[str, Tensor]:
    files = WeightFiles(folder, architecture_at(folder))
    return {name: files.read(name, DTYPES[dtype]) for name in files.names}  # type: ignore[index]


def assert_equal(got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert set(got) == set(expected)
    assert all(torch.equal(got[name], tensor) for name, tensor in expected.items())


FORMS = [
    ({"has_prefix": True, "has_buffers": False, "has_head": False}, {"n_files": 1, "is_archive": True}),
    ({"has_prefix": True, "has_buffers": True, "has_head": True}, {"n_files": 3, "is_archive": True}),
    ({"has_prefix": False, "has_buffers": True, "has_head": False}, {"n_files": 2, "is_archive": False}),
    ({"has_prefix": False, "has_buffers": True, "has_head": True}, {"n_files": 1, "is_archive": False}),
]


@pytest.mark.thorough("imports checkpoints of many forms")
@pytest.mark.usefixtures("without_child")
@pytest.mark.parametrize(("contents", "files"), FORMS, ids=range(len(FORMS)))
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_every_published_form_becomes_the_model_it_was_saved_from(
    tmp_path: Path, models: dict[str, Path], family: str, contents: dict[str, bool], files: dict[str, Any]
) -> None:
    model, out = models[family], tmp_path / "out"
    source = publish(tmp_path / "source", model, published_tensors(model, family, **contents), **files)
    record = import_silently(source, out).record
    assert_equal(imported_tensors(out), model_tensors(model))
    buffers = {name.removeprefix("" if contents["has_prefix"] else PREFIX[family]) for name in EXTRA_BUFFERS[family]}
    assert set(record.dropped) == (buffers if contents["has_buffers"] else set())
    assert record.shared == {HEAD: EMBEDDING[family]}
    assert bool(record.renamed) != contents["has_prefix"]
    assert inspect_model(out).content["config.json"] == inspect_model(model).content["config.json"]


@pytest.mark.usefixtures("without_child")
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_an_imported_model_computes_what_transformers_computes_from_the_pickle(
    tmp_path: Path, models: dict[str, Path], family: str
) -> None:
    tensors = published_tensors(models[family], family, has_buffers=True, has_head=True)
    half = {name: tensor.half() for name, tensor in tensors.items()}
    source = publish(tmp_path / "source", models[family], half, n_files=2)
    import_silently(source, tmp_path / "out")
    tokens = torch.randint(3, 250, (4, 12), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, got = (
            AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(tokens).logits.log_softmax(-1)
            for folder in (source, tmp_path / "out")
        )
    assert torch.equal(got, expected)


@pytest.mark.usefixtures("without_child")
def test_weights_are_converted_on_the_way_and_the_config_says_so(tmp_path: Path, models: dict[str, Path]) -> None:
    tensors = published_tensors(models["xglm"], "xglm", has_head=True)
    source = publish(tmp_path / "source", models["xglm"], tensors)
    import_silently(source, tmp_path / "out", dtype="bfloat16")
    expected = {name: tensor.bfloat16() for name, tensor in model_tensors(models["xglm"]).items()}
    assert_equal(load_file(tmp_path / "out" / "model.safetensors"), expected)
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto").dtype == torch.bfloat16


@pytest.mark.usefixtures("without_child")
def test_files_that_can_be_read_already_are_linked(tmp_path: Path, models: dict[str, Path]) -> None:
    source = tmp_path / "source"
    shutil.copytree(models["gpt2"], source)
    (source / PICKLED).write_bytes(b"not read: the folder has safetensors")
    tensors = published_tensors(models["gpt2"], "gpt2", has_prefix=False, has_buffers=True)
    save_file(tensors, source / "model.safetensors")
    imported = import_silently(source, tmp_path / "out")
    assert (source / "model.safetensors").samefile(tmp_path / "out" / "model.safetensors")
    assert imported.record.weight_format == "safetensors"
    assert len(imported.record.dropped) == len(EXTRA_BUFFERS["gpt2"])
    assert_equal(imported_tensors(tmp_path / "out"), tensors)


@pytest.mark.usefixtures("without_child")
def test_safetensors_are_rewritten_to_convert_them(tmp_path: Path, models: dict[str, Path]) -> None:
    import_silently(models["bloom"], tmp_path / "out", dtype="float16")
    expected = {name: tensor.half() for name, tensor in model_tensors(models["bloom"]).items()}
    assert_equal(load_file(tmp_path / "out" / "model.safetensors"), expected)


@pytest.mark.usefixtures("without_child")
def test_the_record_names_the_source_and_does_not_change_the_id(tmp_path: Path, models: dict[str, Path]) -> None:
    source = publish(tmp_path / "source", models["xglm"], published_tensors(models["xglm"], "xglm"))
    (source / "LICENSE").write_text("MIT")
    (source / "modeling.py").write_text("raise SystemExit")
    imported = import_silently(source, tmp_path / "out", origin=ORIGIN)
    record = read_import_record(tmp_path / "out")
    assert record == imported.record
    assert record is not None
    assert (record.source, record.origin) == ("facebook/xglm-564M", ORIGIN)
    assert set(record.files) == {PICKLED, "config.json", "tokenizer.json", "tokenizer_config.json"}
    content = inspect_model(tmp_path / "out").content
    assert IMPORT_FILE not in content
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *content,
        "generation_config.json",
        "LICENSE",
        IMPORT_FILE,
    }


@pytest.mark.usefixtures("without_child")
def test_the_same_import_again_does_nothing_and_another_one_is_refused(
    tmp_path: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = publish(tmp_path / "source", models["xglm"], published_tensors(models["xglm"], "xglm"))
    first = import_silently(source, tmp_path / "out")
    monkeypatch.setattr(model_import, "run_child", None)
    again = import_silently(source, tmp_path / "out")
    assert (again.record, again.result) == (first.record, None)
    with pytest.raises(ModelError):
        import_silently(source, tmp_path / "out", dtype="float16")
    other = publish(tmp_path / "other", models["bloom"], published_tensors(models["bloom"], "bloom"))
    with pytest.raises(ModelError):
        import_silently(other, tmp_path / "out")
    (source / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"tokenizer_config\.json"):
        import_silently(source, tmp_path / "out")
    with pytest.raises(ModelError):
        import_silently(source, models["xglm"])


@pytest.mark.usefixtures("without_child")
def test_what_a_killed_import_left_is_removed(tmp_path: Path, models: dict[str, Path]) -> None:
    source = publish(tmp_path / "source", models["xglm"], published_tensors(models["xglm"], "xglm"))
    left = tmp_path / "out.writing-01234567"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    import_silently(source, tmp_path / "out")
    assert names_in(tmp_path) == ["out", "source"]


@pytest.mark.usefixtures("without_child")
def test_a_head_that_differs_from_the_embedding_is_kept_as_transformers_keeps_it(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    tensors = published_tensors(models["gpt2"], "gpt2", has_head=True)
    tensors[HEAD] = tensors[HEAD] + 1
    source = publish(tmp_path / "source", models["gpt2"], tensors)
    imported = import_silently(source, tmp_path / "out")
    assert imported.record.shared == {}
    assert_equal(imported_tensors(tmp_path / "out"), tensors)
    loaded = AutoModelForCausalLM.from_pretrained(source)
    assert torch.equal(loaded.lm_head.weight, tensors[HEAD])


@pytest.mark.usefixtures("without_child")
def test_an_equal_head_in_another_file_is_stored_once(tmp_path: Path, models: dict[str, Path]) -> None:
    tensors = published_tensors(models["gpt2"], "gpt2", has_head=True)
    tensors[HEAD] = tensors[HEAD].clone()
    source = publish(tmp_path / "source", models["gpt2"], tensors, n_files=2)
    imported = import_silently(source, tmp_path / "out")
    assert imported.record.shared == {HEAD: EMBEDDING["gpt2"]}
    assert_equal(imported_tensors(tmp_path / "out"), model_tensors(models["gpt2"]))


def test_errors_name_the_source_and_not_the_temporary_folder(tmp_path: Path, models: dict[str, Path]) -> None:
    source = publish(tmp_path / "source", models["gpt2"], published_tensors(models["gpt2"], "gpt2"))
    (source / "tokenizer.json").write_text("{}")
    with refused(ModelError, path=str(source)):
        import_silently(source, tmp_path / "out")
    assert names_in(tmp_path) == ["source"]


def test_a_quantised_model_is_refused_before_its_weights_are_read(tmp_path: Path, models: dict[str, Path]) -> None:
    source = publish(tmp_path / "source", models["gpt2"], published_tensors(models["gpt2"], "gpt2"))
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "gptq"}}))
    with refused(ModelError, path=str(source / "config.json")):
        import_silently(source, tmp_path / "out")
