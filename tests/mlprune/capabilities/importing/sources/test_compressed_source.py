"""Folders of compressed-tensors are read as the values that the library computes; other ones are refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from safetensors.torch import load_file, save_file
from torch import Tensor

from mlprune.capabilities.importing.model_import import import_model
from mlprune.capabilities.importing.sources import compressed_source
from mlprune.capabilities.importing.sources.compressed_source import CompressedReader, open_compressed
from mlprune.errors import ModelError
from mlprune.models.checkpoint.weight_files import SINGLE_FILE, read_json_object
from mlprune.models.import_record import QuantisedTensor
from tests.refusals import refused
from tests.tiny_models import save_tiny_model

N_ROWS, N_INPUTS, GROUP = 37, 96, 32
"""Rows that fill no whole words of packed zero points."""
ACTIVATIONS = {"num_bits": 8, "type": "int", "symmetric": True, "dynamic": True, "strategy": "token"}


def scheme_of(
    bits: int, strategy: str, *, symmetric: bool = True, group: int | None = GROUP, **of_group: Any
) -> QuantizationScheme:
    size = group if strategy == "group" else None
    weights = QuantizationArgs(num_bits=bits, symmetric=symmetric, strategy=strategy, group_size=size)
    return QuantizationScheme(targets=["Linear"], weights=weights, **of_group)


def compressed(weight: Tensor, scheme: QuantizationScheme, layout: str) -> tuple[dict[str, Tensor], Tensor]:
    """The tensors that the library stores of a weight, and the values that it reads from them."""
    args, (n_rows, n_inputs) = scheme.weights, weight.shape
    groups = {"group": (n_rows, -1, args.group_size or 1), "channel": (n_rows, 1, n_inputs), "tensor": (1, 1, -1)}
    grouped, middle = weight.reshape(groups[args.strategy]), 2 ** (args.num_bits - 1)
    low, high = grouped.amin(-1).clamp(max=0), grouped.amax(-1).clamp(min=0)
    if args.symmetric:
        scale = torch.maximum(-low, high) / (middle - 1)
        zero = torch.zeros_like(scale, dtype=torch.int8)
    else:
        scale = (high - low) / (2 * middle - 1)
        zero = (torch.round(-low / scale) - middle).clamp(-middle, middle - 1).to(torch.int8)
    if args.strategy == "tensor":
        scale, zero = scale.view(1), zero.view(1)
    compressor = BaseCompressor.get_value_from_registry(layout)
    stored = compressor.compress({"weight": weight, "weight_scale": scale, "weight_zero_point": zero}, scheme)
    return stored, compressor.decompress(stored, scheme)["weight"]


def config_of(scheme: QuantizationScheme, layout: str, **changes: Any) -> dict[str, Any]:
    group = scheme.model_dump(mode="json")
    own = {"quant_method": "compressed-tensors", "format": layout, "quantization_status": "compressed"}
    return {"quantization_config": {**own, "config_groups": {"group_0": group}, "ignore": ["lm_head"], **changes}}


def write_folder(folder: Path, stored: dict[str, Tensor], config: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    tensors = {f"layer.{name}": tensor.contiguous() for name, tensor in stored.items()}
    save_file({**tensors, "norm.weight": torch.ones(3)}, folder / SINGLE_FILE)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def read(folder: Path) -> dict[str, Tensor]:
    reader = CompressedReader(folder)
    return {spec.name: torch.cat(list(reader.pieces(spec))).view(spec.shape) for spec in reader.specs}


@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "asymmetric"])
@pytest.mark.parametrize("strategy", ["group", "channel", "tensor"])
@pytest.mark.parametrize("bits", [4, 8, 3])
@pytest.mark.parametrize("layout", ["pack-quantized", "int-quantized"])
def test_values_are_those_of_the_library_in_every_layout(
    layout: str, bits: int, strategy: str, symmetric: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheme = scheme_of(bits, strategy, symmetric=symmetric)
    for dtype in (torch.float32, torch.bfloat16):
        weight = torch.randn(N_ROWS, N_INPUTS, generator=torch.Generator().manual_seed(bits)).to(dtype)
        stored, expected = compressed(weight, scheme, layout)
        folder = write_folder(tmp_path / str(dtype), stored, config_of(scheme, layout))
        monkeypatch.setattr(compressed_source, "PIECE_BYTES", 5 * N_INPUTS * dtype.itemsize)
        values = read(folder)
        assert set(values) == {"layer.weight", "norm.weight"}
        assert values["layer.weight"].dtype == dtype
        assert torch.equal(values["layer.weight"], expected)


def test_pieces_are_bounded_and_the_record_has_bits_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scheme = scheme_of(4, "group", symmetric=False)
    stored, _ = compressed(torch.randn(N_ROWS, N_INPUTS), scheme, "pack-quantized")
    reader = CompressedReader(write_folder(tmp_path / "x", stored, config_of(scheme, "pack-quantized")))
    monkeypatch.setattr(compressed_source, "PIECE_BYTES", 4 * N_INPUTS * 7)
    spec = next(spec for spec in reader.specs if spec.codes is not None)
    assert max(len(piece) for piece in reader.pieces(spec)) == 7 * N_INPUTS
    n_bytes = sum(stored[name].nbytes for name in ("weight_packed", "weight_scale", "weight_zero_point"))
    assert spec.codes == QuantisedTensor("int4", 4, n_bytes, GROUP, is_symmetric=False)


def test_layers_have_the_group_whose_target_names_them(tmp_path: Path) -> None:
    first, second = scheme_of(4, "group"), scheme_of(8, "channel")
    made = {"a.": compressed(torch.randn(8, 64), first, "pack-quantized")}
    made["b."] = compressed(torch.randn(8, 64), second, "pack-quantized")
    groups = {"one": first.model_dump(mode="json"), "two": {**second.model_dump(mode="json"), "targets": ["re:.*b$"]}}
    config = config_of(first, "mixed-precision", config_groups=groups)
    for group in groups.values():
        group["format"] = "pack-quantized"
    stored = {prefix + name: tensor for prefix, (tensors, _) in made.items() for name, tensor in tensors.items()}
    values = read(write_folder(tmp_path / "x", stored, config))
    assert all(torch.equal(values[f"layer.{prefix}weight"], expected) for prefix, (_, expected) in made.items())


def test_quantised_activations_are_not_read_and_the_summary_says_so(tmp_path: Path) -> None:
    scheme = scheme_of(8, "channel", input_activations=QuantizationArgs(**ACTIVATIONS))
    stored, expected = compressed(torch.randn(8, 64), scheme, "int-quantized")
    folder = write_folder(tmp_path / "x", {**stored, "input_scale": torch.ones(1)}, config_of(scheme, "int-quantized"))
    lines: list[str] = []
    with open_compressed(folder, lines.append) as reader:
        assert "activations" in reader.quantization
    assert "activations" in lines[0]
    assert torch.equal(read(folder)["layer.weight"], expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "float-quantized"},
        {"format": "nvfp4-pack-quantized"},
        {"sparsity_config": {"format": "sparse-24-bitmask"}},
        {"quantization_status": "frozen"},
        {"config_groups": {}},
        {"config_groups": {"g": {"targets": ["Linear"], "weights": {"num_bits": 4, "strategy": "block"}}}},
        {"config_groups": {"g": {"targets": ["Linear"], "weights": {"num_bits": 16, "strategy": "channel"}}}},
        {"config_groups": {"g": {"targets": ["Linear"], "weights": 3}}},
        {"config_groups": 5},
    ],
)
def test_other_formats_are_refused_before_a_tensor_is_read(changes: dict[str, Any], tmp_path: Path) -> None:
    scheme = scheme_of(4, "group")
    folder = write_folder(tmp_path / "x", {}, config_of(scheme, "pack-quantized", **changes))
    with refused(ModelError, path=str(folder / "config.json")):
        CompressedReader(folder)


def _without(name: str) -> Callable[[dict[str, Tensor]], None]:
    def change(tensors: dict[str, Tensor]) -> None:
        del tensors[name]

    return change


def _with(name: str, value: Tensor) -> Callable[[dict[str, Tensor]], None]:
    def change(tensors: dict[str, Tensor]) -> None:
        tensors[name] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        _without("weight_scale"),
        _without("weight_shape"),
        _without("weight_zero_point"),
        _with("weight_packed", torch.zeros(N_ROWS, 3, dtype=torch.int32)),
        _with("weight_shape", torch.tensor([N_ROWS, 2 * N_INPUTS])),
        _with("weight_shape", torch.tensor([N_ROWS])),
        _with("weight_shape", torch.tensor([2**40, -3])),
        _with("weight_scale", torch.ones(N_ROWS, 7)),
        _with("weight_scale", torch.ones(N_ROWS, 3, dtype=torch.int32)),
        _with("weight_zero_point", torch.zeros(N_ROWS, 3, dtype=torch.int32)),
    ],
)
def test_tensors_that_do_not_fit_together_are_named(change: Callable[..., None], tmp_path: Path) -> None:
    scheme = scheme_of(4, "group", symmetric=False)
    stored, _ = compressed(torch.randn(N_ROWS, N_INPUTS), scheme, "pack-quantized")
    change(stored)
    with refused(ModelError, path=str(tmp_path / "x" / SINGLE_FILE)):
        CompressedReader(write_folder(tmp_path / "x", stored, config_of(scheme, "pack-quantized")))


def test_scales_that_are_not_finite_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    model = save_tiny_model(tmp_path / "model", "llama", hidden=64, blocks=1)
    scheme, tensors = scheme_of(4, "group"), load_file(model / SINGLE_FILE)
    name = next(name for name in tensors if name.endswith("q_proj.weight"))
    stored, _ = compressed(tensors.pop(name), scheme, "pack-quantized")
    stored["weight_scale"][3, 1] = torch.nan
    save_file(
        {**tensors, **{name.removesuffix("weight") + key: one for key, one in stored.items()}}, model / SINGLE_FILE
    )
    config = {**read_json_object(model / "config.json"), **config_of(scheme, "pack-quantized")}
    (model / "config.json").write_text(json.dumps(config))
    with refused(ModelError, tensor=name):
        import_model(model, tmp_path / "out", report=lambda _: None)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_of_another_method_is_refused_by_its_name(tmp_path: Path) -> None:
    model = save_tiny_model(tmp_path / "model", "llama", blocks=1)
    config = {**read_json_object(model / "config.json"), "quantization_config": {"quant_method": "gptq", "bits": 4}}
    (model / "config.json").write_text(json.dumps(config))
    with refused(ModelError, got="gptq"):
        import_model(model, tmp_path / "out", report=lambda _: None)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
