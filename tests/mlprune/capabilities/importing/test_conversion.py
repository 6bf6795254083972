"""Names of tensors, the files that are written, and damaged sources: one error, and nothing is left."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mlprune.capabilities.importing.conversion import OutputTensor, write_shards
from mlprune.capabilities.importing.model_import import import_model
from mlprune.capabilities.importing.sources.weight_format import TensorSpec, row_pieces
from mlprune.capabilities.importing.tensor_names import ModelLayout, TensorPlan, file_name, model_name, plan_tensors
from mlprune.errors import ModelError
from tests.published_models import PICKLED_INDEX, publish, published_tensors
from tests.tiny_models import save_tiny_model

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
    with pytest.raises(ModelError):
        write_shards(tmp_path, [output("a", torch.tensor([1e6]), dtype=torch.float16)], progress=lambda _: None)


def test_a_source_with_too_few_values_is_an_error(tmp_path: Path) -> None:
    short = OutputTensor("a", (5,), torch.float32, pieces=lambda: iter([torch.ones(4)]))
    with pytest.raises(ModelError):
        write_shards(tmp_path, [short], progress=lambda _: None)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "xglm")


def fails(source: Path, out: Path) -> ModelError:
    """The error of an import."""
    with pytest.raises(ModelError) as raised:
        import_model(source, out, report=lambda _: None)
    assert not list(out.parent.glob(f"{out.name}*")), "nothing is left"
    assert raised.value.context["path"]
    return raised.value


def with_map(source: Path, **more: str) -> None:
    index = source / PICKLED_INDEX
    index.write_text(json.dumps({"weight_map": {**json.loads(index.read_text())["weight_map"], **more}}))


def with_changed_byte(shard: Path) -> None:
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)


def with_width(config: Path, d_model: int) -> None:
    config.write_text(json.dumps({**json.loads(config.read_text()), "d_model": d_model}))


SHARD = "pytorch_model-00002-of-00003.bin"
DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing shard": lambda source: (source / SHARD).unlink(),
    "truncated shard": lambda source: os.truncate(source / SHARD, (source / SHARD).stat().st_size // 2),
    "changed byte": lambda source: with_changed_byte(source / SHARD),
    "traversal": lambda source: with_map(source, x="../x.bin"),
    "index is not JSON": lambda source: (source / PICKLED_INDEX).write_text("{"),
    "index without map": lambda source: (source / PICKLED_INDEX).write_text("{}"),
    "tensor missing in shard": lambda source: with_map(source, x=SHARD),
    "Git LFS pointer": lambda source: (source / SHARD).write_text("version https://git-lfs.github.com/spec/v1\n"),
    "no config": lambda source: (source / "config.json").unlink(),
    "another model's config": lambda source: with_width(source / "config.json", 32),
}


@pytest.mark.thorough("imports checkpoints of many forms")
@pytest.mark.usefixtures("without_child")
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_source_is_one_error_and_leaves_nothing(tmp_path: Path, model: Path, damage: Any) -> None:
    source = publish(tmp_path / "source", model, published_tensors(model, "xglm"), n_files=3)
    damage(source)
    fails(source, tmp_path / "out")


@pytest.mark.usefixtures("without_child")
def test_tensors_that_do_not_fit_the_model_are_named(tmp_path: Path, model: Path) -> None:
    tensors = published_tensors(model, "xglm")
    block = "model.layers.1.fc1.weight"
    wrong = {
        "adapter.weight": {**tensors, "adapter.weight": torch.ones(2)},
        block: {name: tensor for name, tensor in tensors.items() if name != block},
        "model.layers.0.fc2.weight": {**tensors, "model.layers.0.fc2.weight": torch.ones(2, 2)},
        "model.layers.0.fc2.bias": {**tensors, "model.layers.0.fc2.bias": torch.ones(16, dtype=torch.int8)},
    }
    for name, saved in wrong.items():
        source = publish(tmp_path / f"source of {name}", model, saved)
        assert name in str(fails(source, tmp_path / "out"))


@pytest.mark.usefixtures("without_child")
def test_a_full_disk_is_noticed_before_anything_is_written(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = publish(tmp_path / "source", model, published_tensors(model, "xglm"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 5, 5))
    assert "GB free" in str(fails(source, tmp_path / "out"))


EMBEDDING, HEAD, LAYER = "model.embed.weight", "head.weight", "model.layers.0.fc.weight"
LAYOUT = ModelLayout(
    parameters={EMBEDDING: (5, 2), LAYER: (3, 2), HEAD: (5, 2)},
    buffers=("model.rotary.table",),
    tied={HEAD: EMBEDDING},
    prefix="model.",
    renamed=((HEAD, "embed_out.weight"),),
)


def spec(name: str, *shape: int, storage: object = None, dtype: torch.dtype = torch.float32) -> TensorSpec:
    return TensorSpec(name, shape, dtype, file="w.bin", storage=(storage or name,))


def plan(*specs: TensorSpec, layout: ModelLayout = LAYOUT) -> TensorPlan:
    return plan_tensors(specs, layout, where=Path("source"))


def test_a_published_name_is_found_with_and_without_the_prefix_and_under_its_older_name() -> None:
    names = {"layers.0.fc.weight": LAYER, LAYER: LAYER, "embed_out.weight": HEAD, "model.head.weight": HEAD, "x": None}
    assert {name: model_name(name, LAYOUT) for name in names} == names


def test_a_parameter_that_checkpoints_know_under_another_name_is_written_under_that_name() -> None:
    assert [file_name(name, LAYOUT) for name in (HEAD, LAYER)] == ["embed_out.weight", LAYER]


def test_tensors_are_written_in_the_order_of_the_source_under_the_names_of_the_model() -> None:
    done = plan(spec("layers.0.fc.weight", 3, 2), spec("embed.weight", 5, 2))
    assert [name for name, _ in done.written] == [LAYER, EMBEDDING]
    assert done.renamed(LAYOUT) == {"layers.0.fc.weight": LAYER, "embed.weight": EMBEDDING}
    assert done.shared == {HEAD: EMBEDDING}


def test_a_tied_tensor_is_written_once_whichever_name_the_source_has() -> None:
    same = plan(spec(EMBEDDING, 5, 2, storage=1), spec(HEAD, 5, 2, storage=1), spec(LAYER, 3, 2))
    only_head = plan(spec(HEAD, 5, 2), spec(LAYER, 3, 2))
    for done in (same, only_head):
        assert [name for name, _ in done.written] == [EMBEDDING, LAYER]
        assert done.shared == {HEAD: EMBEDDING}
        assert done.stored_twice == ()


def test_tied_tensors_with_values_of_their_own_are_left_to_a_comparison() -> None:
    done = plan(spec(EMBEDDING, 5, 2), spec(HEAD, 5, 2), spec(LAYER, 3, 2))
    assert done.stored_twice == ((HEAD, EMBEDDING),)
    assert [name for name, _ in done.written] == [EMBEDDING, HEAD, LAYER]
    assert [name for name, _ in done.without(HEAD, shares=EMBEDDING).written] == [EMBEDDING, LAYER]


def test_tensors_of_one_storage_that_the_config_does_not_tie_are_both_written() -> None:
    untied = replace(LAYOUT, tied={})
    done = plan(spec(EMBEDDING, 5, 2, storage=1), spec(HEAD, 5, 2, storage=1), spec(LAYER, 3, 2), layout=untied)
    assert [name for name, _ in done.written] == [EMBEDDING, HEAD, LAYER]


@pytest.mark.parametrize(
    "buffer",
    [
        *("h.0.attn.bias", "transformer.h.11.attn.masked_bias", "gpt_neox.layers.3.attention.bias"),
        *("model.embed_positions.weights", "embed_positions._float_tensor", "rotary.table", "model.rotary.table"),
        *("layers.0.self_attn.rotary_emb.inv_freq", "model.decoder.version"),
    ],
)
def test_buffers_of_older_versions_are_dropped_and_listed(buffer: str) -> None:
    done = plan(spec(EMBEDDING, 5, 2), spec(LAYER, 3, 2), spec(buffer, 4, 4, dtype=torch.bool))
    assert done.dropped == (buffer,)
    assert [name for name, _ in done.written] == [EMBEDDING, LAYER]


@pytest.mark.parametrize(
    ("specs", "named"),
    [
        ([spec(LAYER, 3, 2)], EMBEDDING),
        ([spec(EMBEDDING, 5, 2), spec(LAYER, 2, 3)], LAYER),
        ([spec(EMBEDDING, 5, 2), spec(LAYER, 3, 2), spec("classifier.weight", 1)], "classifier.weight"),
        ([spec(EMBEDDING, 5, 2), spec(LAYER, 3, 2), spec("layers.0.fc.weight", 3, 2)], "layers.0.fc.weight"),
        ([spec(EMBEDDING, 5, 2), spec(LAYER, 3, 2, dtype=torch.int8)], LAYER),
        ([spec(EMBEDDING, 5, 2), spec(LAYER, 3, 2, dtype=torch.float8_e4m3fn)], LAYER),
    ],
)
def test_a_source_that_does_not_fit_the_model_is_refused_by_the_name_of_the_tensor(
    specs: list[TensorSpec], named: str
) -> None:
    with pytest.raises(ModelError) as raised:
        plan(*specs)
    assert named in str(raised.value)
