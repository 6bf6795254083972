import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from mlprune.errors import ModelError
from mlprune.importing.sources.pytorch_source import open_pytorch
from mlprune.importing.sources.storage_sizes import check_storage_sizes

VALUES = {"a": torch.arange(600.0), "b": torch.ones(7, dtype=torch.bfloat16), "c": nn.Parameter(torch.ones(3, 2))}


def rewritten(path: Path, change: Callable[[str, bytes], bytes | None]) -> None:
    """Replace the records of a PyTorch file; those without a new value are left out."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, value in records.items():
            changed = change(name, value)
            if changed is not None:
                archive.writestr(name, changed)


def test_a_file_of_torch_has_records_of_the_right_sizes(tmp_path: Path) -> None:
    torch.save(nn.Linear(3, 2).state_dict() | VALUES | {"view": VALUES["a"][9:12]}, tmp_path / "pytorch_model.bin")
    check_storage_sizes(tmp_path / "pytorch_model.bin")


@pytest.mark.parametrize("key", ["0", "1"])
def test_a_record_that_is_shorter_than_its_storage_is_refused(tmp_path: Path, key: str) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save(VALUES, path)
    rewritten(path, lambda name, value: value[:-2] if name.endswith(f"data/{key}") else value)
    with (
        pytest.raises(ModelError, match=rf"shorter than the tensors.*record='\S+/data/{key}'"),
        open_pytorch(tmp_path, print),
    ):
        pass


def test_a_storage_without_a_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save(VALUES, path)
    rewritten(path, lambda name, value: None if name.endswith("data/2") else value)
    with pytest.raises(ModelError, match="got='0 bytes'"):
        check_storage_sizes(path)


def test_a_damaged_pickle_is_an_error_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save(VALUES, path)
    rewritten(path, lambda name, value: b"\x80\x02K\x05Q." if name.endswith("data.pkl") else value)
    with pytest.raises(ModelError, match="damaged"):
        check_storage_sizes(path)
