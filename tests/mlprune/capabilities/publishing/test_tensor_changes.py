"""A growing file is a safetensors file, whatever the order of its tensors."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file

from mlprune.capabilities.publishing.tensor_changes import GrowingFile

DTYPES = (torch.uint8, torch.bfloat16, torch.float16, torch.float32, torch.float64)


@settings(max_examples=15, deadline=None)
@given(
    chosen=st.lists(st.tuples(st.sampled_from(DTYPES), st.integers(1, 7), st.integers(1, 5)), min_size=1, max_size=6)
)
def test_tensors_are_read_as_they_were_added(
    chosen: list[tuple[torch.dtype, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("growing") / "x.safetensors"
    file = GrowingFile(path, {"format": "test"})
    tensors = {
        f"t{number}": torch.arange(rows * columns).reshape(rows, columns).to(dtype)
        for number, (dtype, rows, columns) in enumerate(chosen)
    }
    for name, tensor in tensors.items():
        file.add(name, tensor)
    file.finish()
    read = load_file(path)
    assert set(read) == set(tensors)
    assert all(torch.equal(read[name], tensor) and read[name].dtype == tensor.dtype for name, tensor in tensors.items())
    with safe_open(path, framework="pt") as opened:
        assert opened.metadata() == {"format": "test"}
    assert [one.name for one in path.parent.iterdir()] == ["x.safetensors"]


def test_without_tensors_there_is_no_file(tmp_path: Path) -> None:
    GrowingFile(tmp_path / "x.safetensors", {}).finish()
    assert list(tmp_path.iterdir()) == []
