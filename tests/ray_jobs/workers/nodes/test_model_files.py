"""The files of a model on the driver's machine."""

from pathlib import Path

from ray_jobs.workers.nodes.model_files import model_files
from tests.tiny_models import save_tiny_model


def test_all_files_that_a_run_reads_are_described_and_the_weights_are_not_hashed(tmp_path: Path) -> None:
    model = save_tiny_model(tmp_path / "model", "xglm")
    files = model_files(model)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= files.sizes.keys()
    assert files.sizes["config.json"] == (model / "config.json").stat().st_size
    assert "config.json" in files.hashes
    assert "model.safetensors" not in files.hashes
