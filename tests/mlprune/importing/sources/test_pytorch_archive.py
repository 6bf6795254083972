"""Pickles that ask for more than tensors: refused by name, never run."""

import collections
import os
import pickle
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mlprune.errors import ModelError
from mlprune.importing.sources.pytorch_archive import check_pickle_names, check_storage_sizes
from mlprune.importing.sources.pytorch_source import open_pytorch
from tests.refusals import refused

TENSORS = {"a.weight": torch.ones(2, 2)}


class Calls:
    """An object whose pickle calls a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


MALICIOUS = {
    "os.system": Calls(os.system, "touch ran"),
    "builtins.eval": Calls(eval, "open('ran', 'w')"),
    "subprocess.Popen": [{"nested": (Calls(subprocess.Popen, ["touch", "ran"]),)}],
    "builtins.getattr": Calls(getattr, Calls(eval, "open('ran', 'w')"), "name"),
    "torch.hub.load": Calls(torch.hub.load, "someone/something", "model"),
    "torch.nn.modules.linear.Linear": torch.nn.Linear(2, 2),
}


@pytest.mark.parametrize("name", MALICIOUS)
@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}, {"pickle_protocol": 4}])
def test_a_file_that_asks_for_a_function_or_class_is_refused_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, options: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({**TENSORS, "b.weight": MALICIOUS[name]}, tmp_path / "w.bin", **options)
    with refused(ModelError, expected="a file of tensors") as raised:
        check_pickle_names(tmp_path / "w.bin")
    assert name in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["w.bin"]


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"cos\nsystem\n(S'touch ran'\ntR.", "os.system"),
        (b"(S'touch ran'\nios\nsystem\n.", "os.system"),
        (b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94h\x00h\x01\x93.", "os.system"),
        (b"\x80\x02\x82\x07.", "extension 7"),
        (b"cos\nsystem\nthen damage", "os.system"),
    ],
)
def test_names_of_handwritten_pickles_are_found(tmp_path: Path, data: bytes, name: str) -> None:
    (tmp_path / "old.bin").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "new.bin", "w") as archive:
        archive.writestr("archive/data.pkl", data)
    for file in ("old.bin", "new.bin"):
        with refused(ModelError, expected="a file of tensors") as raised:
            check_pickle_names(tmp_path / file)
        assert name in str(raised.value)


def test_files_of_tensors_are_accepted(tmp_path: Path) -> None:
    module = torch.nn.Linear(2, 2)
    accepted = [TENSORS, collections.OrderedDict(TENSORS), module.state_dict(), dict(module.named_parameters())]
    for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.bool, torch.int64, torch.uint8):
        accepted.append({"a": torch.ones(2).to(dtype)})
    for value in accepted:
        for is_archive in (True, False):
            torch.save(value, tmp_path / "w.bin", _use_new_zipfile_serialization=is_archive)
            check_pickle_names(tmp_path / "w.bin")


@pytest.mark.parametrize("data", [b"", b"\x80", b"noise", pickle.dumps({"a": 1}), b"PK\x03\x04 cut"])
def test_a_file_that_is_not_of_pytorch_is_one_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "w.bin").write_bytes(data)
    with pytest.raises(ModelError, match="damaged"):
        check_pickle_names(tmp_path / "w.bin")


def test_an_archive_with_two_pickles_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.bin", "w") as archive:
        for folder in ("a", "b"):
            archive.writestr(f"{folder}/data.pkl", pickle.dumps({}, protocol=2))
    with pytest.raises(ModelError, match="damaged"):
        check_pickle_names(tmp_path / "w.bin")


def test_a_record_whose_name_differs_only_in_case_is_refused(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "w.bin")
    with zipfile.ZipFile(tmp_path / "w.bin", "a") as archive:
        archive.writestr("w/DATA.PKL", b"cos\nsystem\n(S'touch ran'\ntR.")
    with pytest.raises(ModelError, match="occur twice"):
        check_pickle_names(tmp_path / "w.bin")


def test_a_pickle_with_a_name_in_upper_case_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.bin", "w") as archive:
        archive.writestr("w/DATA.PKL", b"cos\nsystem\n(S'touch ran'\ntR.")
    with refused(ModelError, expected="a file of tensors"):
        check_pickle_names(tmp_path / "w.bin")


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
    with refused(ModelError, expected="24 bytes", got="0 bytes"):
        check_storage_sizes(path)


def test_a_damaged_pickle_is_an_error_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save(VALUES, path)
    rewritten(path, lambda name, value: b"\x80\x02K\x05Q." if name.endswith("data.pkl") else value)
    with pytest.raises(ModelError, match="damaged"):
        check_storage_sizes(path)
