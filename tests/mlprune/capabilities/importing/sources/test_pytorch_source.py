"""PyTorch files are read as the tensors that were saved; those that ask for more than tensors are refused by name."""

import collections
import json
import os
import pickle
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mlprune.capabilities.importing.sources.pytorch_archive import (
    check_pickle_names,
    check_storage_sizes,
    record_checksums,
)
from mlprune.capabilities.importing.sources.pytorch_source import (
    INDEX_FILE,
    SINGLE_FILE,
    PytorchReader,
    load_tensors,
    open_pytorch,
    pytorch_checksums,
    require_safe_torch,
)
from mlprune.errors import ModelError
from tests.refusals import refused

LARGE = torch.arange(2**24, dtype=torch.float32).view(2**12, 2**12)
"""64 MiB."""


def resident_bytes() -> int:
    """Resident memory of this process, mapped pages included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def values(reader: PytorchReader, name: str) -> Tensor:
    spec = next(spec for spec in reader.specs if spec.name == name)
    return torch.cat([piece.clone() for piece in reader.pieces(spec)]).view(spec.shape)


def read(folder: Path, value: dict[str, Any], **options: Any) -> PytorchReader:
    torch.save(value, folder / SINGLE_FILE, **options)
    with open_pytorch(folder, lambda _: None) as reader:
        return reader


def test_views_and_transposed_tensors_are_read_in_row_major_order(tmp_path: Path) -> None:
    base = torch.arange(24.0).view(4, 6)
    tensors = {"base": base, "transposed": base.T, "part": base[1:3, 2:], "scalar": torch.tensor(3.0)}
    for is_archive in (True, False):
        reader = read(tmp_path, tensors, _use_new_zipfile_serialization=is_archive)
        assert all(torch.equal(values(reader, name), tensor) for name, tensor in tensors.items())


def test_tensors_of_one_storage_are_recognised(tmp_path: Path) -> None:
    tensor = torch.ones(3, 2)
    reader = read(tmp_path, {"a": tensor, "b": tensor, "c": torch.ones(3, 2), "d": tensor.T.contiguous().T})
    storages = {spec.name: spec.storage for spec in reader.specs}
    assert storages["a"] == storages["b"]
    assert len({storages[name] for name in "acd"}) == 3


def test_reading_a_tensor_leaves_none_of_its_pages_in_memory(tmp_path: Path) -> None:
    reader = read(tmp_path, {"a": LARGE, "b": LARGE.T})
    for spec in reader.specs:
        before = resident_bytes()
        assert sum(len(piece) for piece in reader.pieces(spec)) == LARGE.numel()
        assert resident_bytes() - before < LARGE.nbytes / 4, spec.name


def test_the_old_format_is_reported_with_its_memory(tmp_path: Path) -> None:
    lines: list[str] = []
    torch.save({"a": torch.ones(2)}, tmp_path / SINGLE_FILE, _use_new_zipfile_serialization=False)
    PytorchReader(tmp_path, lines.append)
    assert len(lines) == 1
    assert "read into memory" in lines[0]


@pytest.mark.parametrize("value", [[torch.ones(2)], {"a": 1.5}, {"model": {"a": torch.ones(2)}}, {1: torch.ones(2)}])
def test_other_values_than_a_dictionary_of_tensors_are_refused(tmp_path: Path, value: Any) -> None:
    torch.save(value, tmp_path / "w.bin")
    with pytest.raises(ModelError):
        load_tensors(tmp_path / "w.bin", is_mapped=True)


def test_the_error_of_a_file_that_torch_refuses_does_not_advise_to_load_it_without_care(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "w.bin", pickle_protocol=4)
    with pytest.raises(ModelError) as raised:
        load_tensors(tmp_path / "w.bin", is_mapped=True)
    assert "weights_only" not in str(raised.value)


def test_an_index_that_places_a_tensor_in_another_file_is_an_error(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "1.bin")
    torch.save({"b": torch.ones(2)}, tmp_path / "2.bin")
    (tmp_path / INDEX_FILE).write_text(json.dumps({"weight_map": {"a": "1.bin", "b": "1.bin", "c": "2.bin"}}))
    with refused(ModelError, n_missing=2):
        PytorchReader(tmp_path, lambda _: None)


def test_a_torch_with_a_vulnerable_loader_is_refused() -> None:
    for version in ("2.9.1", "2.5.0+cu124", "1.13.1"):
        with refused(ModelError, got=version):
            require_safe_torch(version)
    for version in ("2.10.0", "2.13.0+cpu", "3.0.0"):
        require_safe_torch(version)


def test_the_checksums_of_an_archive_cover_its_records(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(5.0)}, tmp_path / "w.bin")
    data = (tmp_path / "w.bin").read_bytes()
    checksums = {checksum.name.partition("/")[2]: checksum for checksum in pytorch_checksums(tmp_path / "w.bin")}
    stored = data[checksums["data/0"].begin : checksums["data/0"].end]
    assert stored == torch.arange(5.0).numpy().tobytes()
    torch.save({"a": torch.ones(2)}, tmp_path / "w.bin", _use_new_zipfile_serialization=False)
    assert pytorch_checksums(tmp_path / "w.bin") == ()


def test_an_archive_that_torch_would_not_write_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "compressed.bin", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data.pkl", b"x" * 99)
    with zipfile.ZipFile(tmp_path / "twice.bin", "w") as archive:
        archive.writestr("w/data.pkl", b"x")
        with pytest.warns(match="Duplicate"):
            archive.writestr("w/data.pkl", b"y")
    for file in tmp_path.iterdir():
        with pytest.raises(ModelError):
            record_checksums(file)


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
    with pytest.raises(ModelError):
        check_pickle_names(tmp_path / "w.bin")


def test_an_archive_with_two_pickles_is_refused_and_one_with_a_name_in_upper_case_is_read(tmp_path: Path) -> None:
    asking = b"cos\nsystem\n(S'touch ran'\ntR."
    with zipfile.ZipFile(tmp_path / "two.bin", "w") as archive:
        for folder in ("a", "b"):
            archive.writestr(f"{folder}/data.pkl", pickle.dumps({}, protocol=2))
    torch.save(TENSORS, tmp_path / "cases.bin")
    with zipfile.ZipFile(tmp_path / "cases.bin", "a") as archive:
        archive.writestr("cases/DATA.PKL", asking)
    for name in ("two.bin", "cases.bin"):
        with pytest.raises(ModelError):
            check_pickle_names(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "upper.bin", "w") as archive:
        archive.writestr("w/DATA.PKL", asking)
    with refused(ModelError, expected="a file of tensors"):
        check_pickle_names(tmp_path / "upper.bin")


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
    with pytest.raises(ModelError, match=f"data/{key}"), open_pytorch(tmp_path, print):
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
    with pytest.raises(ModelError):
        check_storage_sizes(path)
