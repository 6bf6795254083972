"""Hashes of the files of a model."""

import hashlib
import os

import pytest

from mlprune.errors import ModelError
from mlprune.models.checkpoint.content_hashes import content_hashes, file_sha256
from mlprune.models.checkpoint.weight_files import (
    WeightFiles,
)
from mlprune.models.families.records import FAMILIES
from tests.tiny_models import save_tiny_model


def test_content_hashes_cover_config_tokenizer_and_weights_and_change_with_the_files(tmp_path):
    path = save_tiny_model(tmp_path / "m")
    (path / "README.md").write_text("not part of the model")
    before = content_hashes(path, WeightFiles(path, FAMILIES["xglm"]).file_names)
    assert sorted(before) == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert before["config.json"] == hashlib.sha256((path / "config.json").read_bytes()).hexdigest()
    config = path / "config.json"
    config.write_text(config.read_text() + " ")
    after = content_hashes(path, WeightFiles(path, FAMILIES["xglm"]).file_names)
    assert after["config.json"] != before["config.json"]
    assert after["model.safetensors"] == before["model.safetensors"]


def test_a_hash_is_cached_until_size_or_time_of_the_file_changes(tmp_path):
    file = tmp_path / "f"
    file.write_bytes(b"one")
    status = file.stat()
    first = file_sha256(file)
    file.write_bytes(b"two")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert file_sha256(file) == first
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert file_sha256(file) == hashlib.sha256(b"two").hexdigest()
    with pytest.raises(ModelError, match="cannot be read"):
        file_sha256(tmp_path / "none")
