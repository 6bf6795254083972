"""A GGUF file alone is a source; files next to it are not part of it."""

from pathlib import Path

import pytest
import torch

from mlprune.errors import ModelError
from mlprune.importing import import_model
from mlprune.importing.conversion import convert
from mlprune.importing.source_folder import source_folder
from mlprune.models.checkpoint.weight_files import WeightFiles, family_at
from mlprune.models.loading import inspect_model, load_tokenizer
from tests.gguf_files import write_gguf


@pytest.fixture
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(job: object, **_: object) -> object:
        return convert(job, lambda *_: None, has_network=False)  # type: ignore[arg-type]

    monkeypatch.setattr("mlprune.importing.model_import.run_child", run)


@pytest.mark.usefixtures("_in_this_process")
def test_a_gguf_file_becomes_a_model_folder_without_the_files_next_to_it(tmp_path: Path) -> None:
    model = write_gguf(tmp_path / "tiny.gguf", "gemma3")
    (tmp_path / "other.gguf").write_bytes(b"of another model")
    (tmp_path / "tokenizer.json").write_text("of another model")
    out = tmp_path / "out"
    imported = import_model(tmp_path / "tiny.gguf", out, dtype="bfloat16", report=print)
    assert imported.record.source == "tiny.gguf"
    assert imported.record.quantization == "Q8_0: 16, F32: 13"
    assert list(imported.record.files) == ["tiny.gguf"]
    weights = WeightFiles(out, family_at(out)).read("model.norm.weight", torch.float32)
    assert torch.equal(weights, ((model.model.norm.weight + 1) - 1).detach().bfloat16().float())
    assert inspect_model(out).family == "gemma3_text"
    assert load_tokenizer(out).eos_token_id == 1
    assert import_model(tmp_path / "tiny.gguf", out, dtype="bfloat16", report=print).result is None


@pytest.mark.parametrize("name", ["missing", "notes.txt"])
def test_another_path_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ModelError, match="not a folder"), source_folder(tmp_path / name):
        pass


@pytest.mark.parametrize("n_bytes", [3, 100, 5000])
def test_errors_about_a_gguf_file_name_the_file_and_no_temporary_folder(tmp_path: Path, n_bytes: int) -> None:
    write_gguf(tmp_path / "tiny.gguf", "qwen2")
    data = (tmp_path / "tiny.gguf").read_bytes()
    (tmp_path / "tiny.gguf").write_bytes(data[:n_bytes])
    with pytest.raises(ModelError) as caught:
        import_model(tmp_path / "tiny.gguf", tmp_path / "out", report=print)
    assert caught.value.context["path"] == str(tmp_path / "tiny.gguf")
