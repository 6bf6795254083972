import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mlprune.errors import ModelError
from mlprune.importing.shard_writer import OutputTensor, write_shards
from mlprune.importing.sources.weight_format import row_pieces

GENERATOR = torch.Generator().manual_seed(0)
TENSORS = {
    "a.weight": torch.randn(5, 3, generator=GENERATOR),
    "b.bias": torch.randn(7, generator=GENERATOR).half(),
    "c.weight": torch.randn(4, 6, generator=GENERATOR).T,
    "d.scale": torch.tensor(2.0),
    "e.empty": torch.ones(0, 3),
}


def output(name: str, tensor: Tensor, *, dtype: torch.dtype | None = None) -> OutputTensor:
    def pieces() -> Iterator[Tensor]:
        return row_pieces(tensor)

    return OutputTensor(name, tuple(tensor.shape), dtype or tensor.dtype, pieces=pieces)


def written(folder: Path, tensors: dict[str, Tensor], *, max_bytes: int = 10**9) -> tuple[str, ...]:
    return write_shards(
        folder, [output(name, tensor) for name, tensor in tensors.items()], max_bytes=max_bytes, progress=lambda _: None
    )


def test_a_file_is_read_by_the_library_as_the_tensors_that_were_written(tmp_path: Path) -> None:
    assert written(tmp_path, TENSORS) == ("model.safetensors",)
    loaded = load_file(tmp_path / "model.safetensors")
    assert set(loaded) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)


def test_shards_are_not_larger_than_the_limit_and_the_index_names_them(tmp_path: Path) -> None:
    tensors = {f"{number}.weight": torch.full((10,), float(number)) for number in range(5)}
    names = written(tmp_path, tensors, max_bytes=80)
    assert names == (
        *(f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)),
        "model.safetensors.index.json",
    )
    index = json.loads((tmp_path / names[-1]).read_text())
    assert index["metadata"]["total_size"] == 200
    loaded = {name: load_file(tmp_path / file)[name] for name, file in index["weight_map"].items()}
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


def test_a_tensor_larger_than_the_limit_has_a_file_of_its_own(tmp_path: Path) -> None:
    tensors = {"a": torch.ones(2), "b": torch.ones(100), "c": torch.ones(2)}
    assert len(written(tmp_path, tensors, max_bytes=80)) == 4


def test_a_value_too_large_for_the_dtype_is_an_error_but_an_infinite_one_is_kept(tmp_path: Path) -> None:
    infinite = output("a", torch.tensor([float("inf"), 1.0]), dtype=torch.float16)
    write_shards(tmp_path, [infinite], progress=lambda _: None)
    assert torch.isinf(load_file(tmp_path / "model.safetensors")["a"][0])
    with pytest.raises(ModelError, match="dtype"):
        write_shards(tmp_path, [output("a", torch.tensor([1e6]), dtype=torch.float16)], progress=lambda _: None)


def test_a_source_with_too_few_values_is_an_error(tmp_path: Path) -> None:
    short = OutputTensor("a", (5,), torch.float32, pieces=lambda: iter([torch.ones(4)]))
    with pytest.raises(ModelError, match="another size"):
        write_shards(tmp_path, [short], progress=lambda _: None)
