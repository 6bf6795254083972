"""A GGUF file alone is a source; files next to it are not part of it."""

import os
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
from tests.tiny_models import save_tiny_model


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


@pytest.mark.parametrize("name", ["README.md", "LICENSE", "config.json", "model.safetensors", "tokenizer.json"])
def test_a_link_out_of_the_source_and_a_pipe_are_refused(tmp_path: Path, name: str) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    save_tiny_model(source, "xglm")
    (tmp_path / "secret").write_text("secret")
    (source / name).unlink(missing_ok=True)
    for make in (lambda path: path.symlink_to(tmp_path / "secret"), os.mkfifo):
        make(source / name)
        with pytest.raises(ModelError) as caught:
            import_model(source, out, report=print)
        assert caught.value.context["path"] == str(source / name)
        assert not out.exists()
        (source / name).unlink()


def test_links_of_a_snapshot_in_the_cache_of_a_hub_are_followed(tmp_path: Path) -> None:
    repository = tmp_path / "models--a--b"
    (repository / "blobs").mkdir(parents=True)
    (repository / "blobs" / "0a1b").write_text("{}")
    snapshot = repository / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").symlink_to("../../blobs/0a1b")
    with source_folder(snapshot) as folder:
        assert folder == snapshot
    (snapshot / "README.md").symlink_to(tmp_path)
    (snapshot / "LICENSE").symlink_to("../../../other")
    with pytest.raises(ModelError), source_folder(snapshot):
        pass
