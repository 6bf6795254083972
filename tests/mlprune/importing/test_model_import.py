"""Imports of tiny checkpoints in all forms in which models of the paper are published."""

from pathlib import Path

import pytest
import torch

from mlprune.importing import import_model
from mlprune.models.checkpoint.weight_files import WeightFiles, family_at
from tests.published_models import EXTRA_BUFFERS, model_tensors, publish, published_tensors
from tests.tiny_models import FAMILY_NAMES, save_tiny_model


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_a_pickled_checkpoint_becomes_the_model_it_was_saved_from(tmp_path: Path, family: str) -> None:
    model = save_tiny_model(tmp_path / "model", family)
    tensors = published_tensors(model, family, has_buffers=True, has_head=True)
    source = publish(tmp_path / "source", model, tensors)
    imported = import_model(source, tmp_path / "out", report=print)
    assert imported.record.dropped == EXTRA_BUFFERS[family]
    files = WeightFiles(tmp_path / "out", family_at(tmp_path / "out"))
    expected = model_tensors(model)
    assert set(files.names) == set(expected)
    assert all(torch.equal(files.read(name, torch.float32), tensor) for name, tensor in expected.items())
