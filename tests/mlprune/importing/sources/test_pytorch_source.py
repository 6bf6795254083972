import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mlprune.errors import ModelError
from mlprune.importing.sources.pytorch_archive import record_checksums
from mlprune.importing.sources.pytorch_source import (
    INDEX_FILE,
    SINGLE_FILE,
    PytorchReader,
    load_tensors,
    open_pytorch,
    pytorch_checksums,
    require_safe_torch,
)
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
    with pytest.raises(ModelError, match=r"does not contain a dictionary|not dense tensors"):
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


@pytest.mark.parametrize("version", ["2.9.1", "2.5.0+cu124", "1.13.1"])
def test_a_torch_with_a_vulnerable_loader_is_refused(version: str) -> None:
    with pytest.raises(ModelError, match=f"got='{version}'".replace("+", r"\+")):
        require_safe_torch(version)


@pytest.mark.parametrize("version", ["2.10.0", "2.13.0+cpu", "3.0.0"])
def test_a_torch_with_a_repaired_loader_is_accepted(version: str) -> None:
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
        with pytest.raises(ModelError, match="damaged"):
            record_checksums(file)
