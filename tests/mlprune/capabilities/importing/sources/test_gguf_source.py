"""GGUF files are read as the models and tokenizers that they were written from; damaged ones are refused."""

import struct
from pathlib import Path

import gguf
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from mlprune.capabilities.importing.sources import gguf_file
from mlprune.capabilities.importing.sources.gguf_config import (
    gguf_config,
    prepare_gguf,
    word_splitting,
    write_gguf_tokenizer,
)
from mlprune.capabilities.importing.sources.gguf_file import GgufHeader, find_gguf, read_header
from mlprune.capabilities.importing.sources.gguf_source import ARCHITECTURES, open_gguf
from mlprune.errors import ModelError
from tests.gguf_files import write_gguf
from tests.refusals import refused
from tests.tiny_models import tiny_tokenizer


def _read(folder: Path) -> dict[str, torch.Tensor]:
    with open_gguf(folder, print) as reader:
        return {spec.name: torch.cat(list(reader.pieces(spec))).view(spec.shape) for spec in reader.specs}


def _rounded(tensor: torch.Tensor) -> torch.Tensor:
    """The values of a matrix after 8-bit quantisation."""
    if tensor.dim() == 1:
        return tensor
    kind = gguf.GGMLQuantizationType.Q8_0
    return torch.from_numpy(gguf.dequantize(gguf.quantize(tensor.numpy(), kind), kind))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_weights_and_logits_are_those_of_the_model_that_the_file_was_written_from(
    tmp_path: Path, architecture: str
) -> None:
    model = write_gguf(tmp_path / "tiny.gguf", architecture)
    tensors = _read(tmp_path)
    assert set(tensors) == set(model.state_dict())
    expected = {name: _rounded(tensor) for name, tensor in model.state_dict().items()}
    for name, tensor in expected.items():
        torch.testing.assert_close(tensors[name], tensor, rtol=0, atol=2e-7)
    model.load_state_dict(expected)
    imported = AutoModelForCausalLM.from_config(gguf_config(read_header(tmp_path / "tiny.gguf"))).eval()
    imported.load_state_dict(tensors)
    tokens = torch.arange(3, 43).view(2, 20)
    torch.testing.assert_close(imported(tokens).logits, model(tokens).logits, rtol=1e-4, atol=1e-4)


def test_rows_are_dequantised_in_pieces_of_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_gguf(tmp_path / "tiny.gguf", "qwen2")
    expected = _read(tmp_path)
    monkeypatch.setattr("mlprune.capabilities.importing.sources.gguf_source.PIECE_BYTES", 4 * 32 * 7)
    with open_gguf(tmp_path, print) as reader:
        for spec in reader.specs:
            pieces = list(reader.pieces(spec))
            assert all(piece.nbytes <= 4 * 32 * 7 for piece in pieces) or len(spec.shape) == 1
            assert torch.equal(torch.cat(pieces).view(spec.shape), expected[spec.name])


def test_a_setting_that_would_change_the_model_is_refused(tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf", "qwen2", changes={"rope.scaling.factor": 8.0})
    with refused(ModelError, got={"rope.scaling.factor": 8.0}):
        gguf_config(read_header(tmp_path / "tiny.gguf"))


def test_an_unknown_architecture_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "tiny.gguf", "mamba")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with refused(ModelError, expected=list(ARCHITECTURES)):
        gguf_config(read_header(tmp_path / "tiny.gguf"))


def test_a_file_that_is_cut_off_is_refused_with_its_path(tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    write_gguf(file, "qwen2")
    data = file.read_bytes()
    for n_bytes in (0, 3, 24, 100, 5000, -200):
        file.write_bytes(data[:n_bytes])
        with refused(ModelError, path=str(file)):
            read_header(file)


def test_a_tensor_with_absurdly_many_dimensions_is_refused_before_they_are_read(tmp_path: Path) -> None:
    name = (1).to_bytes(8, "little") + b"a"
    header = b"GGUF" + (3).to_bytes(4, "little") + (1).to_bytes(8, "little") + bytes(8)
    (tmp_path / "tiny.gguf").write_bytes(header + name + (9).to_bytes(4, "little") + bytes(200))
    with pytest.raises(ModelError, match="9"):
        read_header(tmp_path / "tiny.gguf")


def _claims(n_tensors: int, n_entries: int, rest: bytes = b"") -> bytes:
    return gguf_file.MAGIC + struct.pack("<IQQ", 3, n_tensors, n_entries) + rest


@pytest.mark.thorough("imports checkpoints of many forms")
@pytest.mark.parametrize(
    "header",
    [
        _claims(0, 2**60),
        _claims(2**60, 0),
        _claims(0, 1, struct.pack("<Q1sIIQ", 1, b"a", 9, 8, 2**60)),
        _claims(0, 1, struct.pack("<Q1sIIQ", 1, b"a", 9, 9, 2**60)),
        _claims(0, 1, struct.pack("<Q1sIIQ", 1, b"a", 9, 0, 2**60)),
        _claims(0, 1, struct.pack("<Q", 2**30 - 100)),
    ],
    ids=["entries", "tensors", "texts", "lists", "numbers", "long key"],
)
def test_a_file_of_zeros_that_claims_to_have_very_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: bytes
) -> None:
    monkeypatch.setattr(gguf_file, "MAX_HEADER_BYTES", 1 << 20)
    with (tmp_path / "x.gguf").open("wb") as stream:
        stream.write(header)
        stream.truncate(1 << 30)
    with refused(ModelError, path=str(tmp_path / "x.gguf")):
        read_header(tmp_path / "x.gguf")


def test_without_the_gguf_package_the_message_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF")
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(ModelError, match=r"pip install -e '\.\[gguf\]'"):
        read_header(tmp_path / "tiny.gguf")


def test_a_folder_with_several_files_asks_for_one_of_them(tmp_path: Path) -> None:
    (tmp_path / "q4.gguf").touch()
    (tmp_path / "q8.gguf").touch()
    with refused(ModelError, got=["q4.gguf", "q8.gguf"]):
        find_gguf(tmp_path)


TEXTS = ("It's 2024, isn't it?  Two spaces", "¡Hola! 你好\n\n नमस्ते")


def test_the_tokenizer_of_a_byte_level_vocabulary_round_trips(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "target").mkdir()
    write_gguf(tmp_path / "source" / "tiny.gguf", "llama")
    prepare_gguf(tmp_path / "source", tmp_path / "target")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "target")
    assert tokenizer.get_vocab() == {**tiny_tokenizer().get_vocab(), "Ġa": 259}
    assert tokenizer.tokenize("x a") == ["x", "Ġa"]
    assert tokenizer.eos_token_id == 1
    for text in TEXTS:
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gpt-2", ["It", "'s", "Ġ2024", ",", "Ġ", "Ġx"]),
        ("smollm", ["It", "'s", "Ġ", "2", "0", "2", "4", ",", "Ġ", "Ġx"]),
        ("llama-bpe", ["It", "'s", "Ġ", "202", "4", ",", "Ġ", "Ġx"]),
        ("qwen2", ["It", "'s", "Ġ", "2", "0", "2", "4", ",", "Ġ", "Ġx"]),
    ],
)
def test_words_are_split_as_the_published_tokenizers_split_them(name: str, words: list[str]) -> None:
    assert [word for word, _ in word_splitting(name).pre_tokenize_str("It's 2024,  x")] == words


def test_an_unknown_splitting_asks_for_the_published_tokenizer(tmp_path: Path) -> None:
    metadata = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "viking"}
    with refused(ModelError, got="viking"):
        write_gguf_tokenizer(GgufHeader(tmp_path / "tiny.gguf", metadata, ()), tmp_path)
