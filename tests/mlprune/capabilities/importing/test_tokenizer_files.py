"""An import always writes a tokenizer.json that encodes as the published tokenizer does."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from mlprune.capabilities.importing import sentencepiece_tokenizer as sentencepiece_module
from mlprune.capabilities.importing.sentencepiece_tokenizer import (
    BPE,
    PieceKind,
    fairseq_model,
    read_sentencepiece,
    sentencepiece_tokenizer,
)
from mlprune.capabilities.importing.tokenizer_files import write_tokenizer
from mlprune.errors import ModelError
from mlprune.models.loading import load_tokenizer
from tests.refusals import refused
from tests.sentencepiece_models import TEXTS, train_sentencepiece
from tests.tiny_models import tiny_tokenizer


def _folders(tmp_path: Path, **config: Any) -> tuple[Path, Path]:
    """A source without tokenizer, and the folder of the imported model."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (target / "config.json").write_text(json.dumps(config))
    return source, target


def _ids(folder: Path, text: str) -> list[int]:
    return list(load_tokenizer(folder)(text)["input_ids"])


def test_a_sentencepiece_model_alone_becomes_the_tokenizer_of_xglm(tmp_path: Path) -> None:
    source, target = _folders(tmp_path, model_type="xglm", vocab_size=908)
    train_sentencepiece(source / "sentencepiece.bpe", model_type="unigram")
    library = sentencepiece.SentencePieceProcessor(model_file=str(source / "sentencepiece.bpe.model"))
    write_tokenizer(source, target, print)
    for text in TEXTS:
        assert _ids(target, text) == [2, *(number + 1 for number in library.encode(text))]
    assert len(load_tokenizer(target)) == 908
    assert (target / "sentencepiece.bpe.model").read_bytes() == (source / "sentencepiece.bpe.model").read_bytes()


def test_a_sentencepiece_model_of_a_llama_starts_texts_with_its_first_token(tmp_path: Path) -> None:
    config = {"model_type": "llama", "vocab_size": 901, "bos_token_id": 1, "eos_token_id": 2}
    source, target = _folders(tmp_path, **config)
    train_sentencepiece(source / "tokenizer", model_type="bpe", byte_fallback=True)
    (source / "added_tokens.json").write_text('{"<|user|>": 900}')
    library = sentencepiece.SentencePieceProcessor(model_file=str(source / "tokenizer.model"))
    write_tokenizer(source, target, print)
    assert _ids(target, TEXTS[0]) == [1, *library.encode(TEXTS[0])]
    assert _ids(target, "<|user|>")[-1] == 900
    assert load_tokenizer(target).eos_token == "</s>"


def test_vocabulary_and_merges_become_a_byte_level_tokenizer(tmp_path: Path) -> None:
    source, target = _folders(tmp_path, model_type="gpt2", vocab_size=400, eos_token_id=0, bos_token_id=0)
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<|end|>"], initial_alphabet=alphabet)
    trained.train_from_iterator(TEXTS, trainer)
    trained.model.save(str(source))
    write_tokenizer(source, target, print)
    for text in TEXTS:
        assert _ids(target, text) == trained.encode(text).ids
    assert load_tokenizer(target).eos_token == "<|end|>"
    assert sorted(path.name for path in target.iterdir()) == [
        "config.json",
        "merges.txt",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
    ]


def test_a_published_tokenizer_json_is_copied(tmp_path: Path) -> None:
    source, target = _folders(tmp_path, model_type="xglm", vocab_size=260)
    tiny_tokenizer().save_pretrained(source)
    write_tokenizer(source, target, print)
    assert (target / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()


def test_a_tokenizer_of_another_model_or_with_a_setting_of_the_wrong_type_is_refused(tmp_path: Path) -> None:
    source, target = _folders(tmp_path, model_type="xglm", vocab_size=600)
    tiny_tokenizer().save_pretrained(source)
    with pytest.raises(ModelError):
        write_tokenizer(source, target, print)
    (target / "config.json").write_text(json.dumps({"model_type": "xglm", "vocab_size": 260}))
    settings = json.loads((source / "tokenizer_config.json").read_text())
    (source / "tokenizer_config.json").write_text(json.dumps({**settings, "model_max_length": "long"}))
    with pytest.raises(ModelError):
        write_tokenizer(source, target, print)


def test_a_source_without_tokenizer_is_refused_with_the_files_looked_for(tmp_path: Path) -> None:
    source, target = _folders(tmp_path, model_type="xglm", vocab_size=260)
    (source / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ModelError) as caught:
        write_tokenizer(source, target, print)
    assert "sentencepiece.bpe.model" in caught.value.context["expected"]
    assert caught.value.context["got"] == ["tokenizer_config.json"]


def test_an_added_token_that_does_not_follow_the_vocabulary_is_refused(tmp_path: Path) -> None:
    source, target = _folders(tmp_path, model_type="llama", vocab_size=903, bos_token_id=1, eos_token_id=2)
    train_sentencepiece(source / "tokenizer", model_type="bpe")
    (source / "added_tokens.json").write_text('{"<|user|>": 902}')
    with refused(ModelError, got=900):
        write_tokenizer(source, target, print)


@pytest.mark.parametrize("text", ["#version: 0.2\na b c\n", "#version: 0.2\nq zzz\n"])
def test_merges_of_another_vocabulary_are_refused(tmp_path: Path, text: str) -> None:
    source, target = _folders(tmp_path, model_type="gpt2", vocab_size=4, eos_token_id=0)
    (source / "vocab.json").write_text('{"<|end|>": 0, "a": 1, "b": 2, "c": 3}')
    (source / "merges.txt").write_text(text)
    with pytest.raises(ModelError):
        write_tokenizer(source, target, print)


def test_pieces_and_settings_are_those_of_the_library(tmp_path: Path) -> None:
    path = train_sentencepiece(tmp_path / "m", model_type="bpe", byte_fallback=True, add_dummy_prefix=False)
    library = sentencepiece.SentencePieceProcessor(model_file=str(path))
    model = read_sentencepiece(path)
    numbers = range(library.get_piece_size())
    assert [piece.text for piece in model.pieces] == [library.id_to_piece(number) for number in numbers]
    assert [piece.score for piece in model.pieces] == [library.get_score(number) for number in numbers]
    kinds = [piece.kind for piece in model.pieces]
    assert [kind == PieceKind.BYTE for kind in kinds] == [library.is_byte(number) for number in numbers]
    assert [kind == PieceKind.CONTROL for kind in kinds] == [library.is_control(number) for number in numbers]
    assert (model.model_type, model.byte_fallback, model.add_dummy_prefix) == (BPE, True, False)
    assert model.remove_extra_whitespaces
    assert model.character_map


def _piece(text: bytes) -> bytes:
    length = len(text).to_bytes(1) if len(text) < 128 else bytes([len(text) & 0x7F | 0x80, len(text) >> 7])
    field = b"\x0a" + length + text
    outer = len(field).to_bytes(1) if len(field) < 128 else bytes([len(field) & 0x7F | 0x80, len(field) >> 7])
    return b"\x0a" + outer + field


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a model",
        b"\x0a\xff\xff\xff\xff\x0f",
        b"\xff" * 40,
        b"\x08\x01",
        b"\x80" * 400_000,
        b"\x0b" * 400_000,
        b"\x0a\x02\x18\x01",
        _piece(b"\xff"),
        _piece(b"a" * 513),
        _piece(b"a") * (sentencepiece_module.MAX_PIECES + 1),
    ],
    ids=[
        "empty",
        "text",
        "long field",
        "unknown fields",
        "no pieces",
        "long number",
        "nested groups",
        "no text",
        "not UTF-8",
        "long piece",
        "many pieces",
    ],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.model").write_bytes(data)
    with pytest.raises(ModelError, match="not a sentencepiece model") as caught:
        read_sentencepiece(tmp_path / "m.model")
    assert "\n" not in str(caught.value)


def test_a_file_of_many_empty_pieces_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    (tmp_path / "m.model").write_bytes(b"\x0a\x00" * (9 << 20))
    with pytest.raises(ModelError) as caught:
        read_sentencepiece(tmp_path / "m.model")
    assert "16 MiB" in caught.value.context["reason"]


def test_models_that_are_cut_off_of_words_or_in_another_order_are_refused(tmp_path: Path) -> None:
    path = train_sentencepiece(tmp_path / "m", model_type="unigram")
    model = read_sentencepiece(path)
    with pytest.raises(ModelError):
        fairseq_model(replace(model, pieces=model.pieces[1:]), vocab_size=1000)
    path.write_bytes(path.read_bytes()[:-3])
    of_words = train_sentencepiece(tmp_path / "words", model_type="word", vocab_size=30)
    for other in (path, of_words):
        with pytest.raises(ModelError):
            read_sentencepiece(other)


ODD_TEXTS = (
    " leading",
    "trailing  ",
    "two  spaces",
    "tab\tand\nline",
    "▁x y",
    "",
    "  ",
    "ﬁ ½ Å ｆｕｌｌ １２",
    "\U0001f9ff\U0001f9ff x \U0001f9ff",
    "<x>a <x> b",
    "a<x>",
    "　全角 한국어",
)
PLAIN: dict[str, Any] = {
    "add_dummy_prefix": False,
    "remove_extra_whitespaces": False,
    "normalization_rule_name": "identity",
    "byte_fallback": True,
}


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize("options", [{}, {"user_defined_symbols": ["<x>"]}, PLAIN], ids=["default", "symbols", "plain"])
def test_texts_get_the_ids_that_sentencepiece_gives_them(tmp_path: Path, kind: str, options: dict[str, Any]) -> None:
    path = train_sentencepiece(tmp_path / "m", model_type=kind, **options)
    library = sentencepiece.SentencePieceProcessor(model_file=str(path))
    tokenizer = sentencepiece_tokenizer(read_sentencepiece(path))
    for text in (*TEXTS, *ODD_TEXTS):
        assert tokenizer.encode(text).ids == library.encode(text), text
    ids = library.encode(TEXTS[0])
    assert tokenizer.decode(ids) == library.decode(ids)


def test_ids_of_xglm_are_those_of_fairseq(tmp_path: Path) -> None:
    path = train_sentencepiece(tmp_path / "m", model_type="unigram")
    library = sentencepiece.SentencePieceProcessor(model_file=str(path))
    n_pieces = library.get_piece_size()
    tokenizer = sentencepiece_tokenizer(fairseq_model(read_sentencepiece(path), vocab_size=n_pieces + 8))
    assert [tokenizer.id_to_token(number) for number in range(4)] == ["<s>", "<pad>", "</s>", "<unk>"]
    assert tokenizer.id_to_token(n_pieces + 7) == "<madeupword6>"
    assert tokenizer.get_vocab_size() == n_pieces + 8
    for text in (*TEXTS, "unknown \U0001f9ff"):
        expected = [3 if number == 0 else number + 1 for number in library.encode(text)]
        assert tokenizer.encode(text).ids == expected


def test_control_pieces_are_special_tokens(tmp_path: Path) -> None:
    model = read_sentencepiece(train_sentencepiece(tmp_path / "m", model_type="bpe"))
    tokenizer = sentencepiece_tokenizer(model)
    assert model.pieces[2].kind == PieceKind.CONTROL
    assert tokenizer.encode("a</s>").tokens[-1] == "</s>"
