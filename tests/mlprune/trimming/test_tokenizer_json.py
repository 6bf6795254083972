"""Trimmed tokenizers keep the tokens of every text whose tokens are kept."""

import json
import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from mlprune import demo
from mlprune.errors import BadInputError
from mlprune.trimming.tokenizer_json import TokenizerJson, byte_alphabet

LINES = {
    "en": ["the other weather is not there yet", "another mother gathers those feathers", "3 birds, and there: more!"],
    "sw": ["ndege watatu wanaruka angani leo", "watoto wanasoma vitabu shuleni", "habari za asubuhi, ndugu"],
    "el": ["τα παιδιά διαβάζουν βιβλία", "η θάλασσα είναι ήρεμη σήμερα", "καλημέρα σας"],
}
EMBEDDED = Path(demo.__file__).parent / "xglm-cldr-2m" / "tokenizer.json"


def all_lines() -> list[str]:
    return [line for lines in LINES.values() for line in lines] * 3


def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=["<pad>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(all_lines(), trainer)
    end = tokenizer.token_to_id("</s>")
    tokenizer.post_processor = processors.TemplateProcessing(single="</s> $A", special_tokens=[("</s>", end)])
    return tokenizer


def byte_fallback() -> Tokenizer:
    """Return BPE on characters; unknown ones become bytes, as in Gemma."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    names = ["<unk>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer.train_from_iterator(all_lines(), trainers.BpeTrainer(vocab_size=500, special_tokens=names))
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = data["added_tokens"][:2]
    return Tokenizer.from_str(json.dumps(data))


def unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=150, special_tokens=["<unk>", "</s>"], unk_token="<unk>")
    tokenizer.train_from_iterator(all_lines(), trainer)
    return tokenizer


def embedded() -> Tokenizer:
    return Tokenizer.from_file(str(EMBEDDED))


KINDS = {"byte-level": byte_level, "byte-fallback": byte_fallback, "unigram": unigram, "embedded": embedded}


def parsed(tokenizer: Tokenizer) -> TokenizerJson:
    return TokenizerJson(json.loads(tokenizer.to_str()))


def kept_for(tokenizer: Tokenizer, languages: list[str]) -> frozenset[int]:
    source = parsed(tokenizer)
    lines = [line for language in languages for line in LINES[language]]
    return source.closed({number for line in lines for number in tokenizer.encode(line).ids} | source.required())


def loaded(data: dict) -> Tokenizer:
    return Tokenizer.from_str(json.dumps(data))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("languages", [["en"], ["en", "sw"], ["el"]])
def test_lines_of_kept_languages_have_the_same_tokens_and_text(kind: str, languages: list[str]) -> None:
    tokenizer = KINDS[kind]()
    kept = kept_for(tokenizer, languages)
    new_ids = {old: new for new, old in enumerate(sorted(kept))}
    in_place, small = (loaded(parsed(tokenizer).trimmed(kept, new_ids=ids)) for ids in (None, new_ids))
    assert small.get_vocab_size() == len(kept) < tokenizer.get_vocab_size()
    for line in [line for language in languages for line in LINES[language]]:
        ids = tokenizer.encode(line).ids
        assert in_place.encode(line).ids == ids
        assert small.encode(line).ids == [new_ids[number] for number in ids]
        assert small.encode(line).tokens == tokenizer.encode(line).tokens
        assert small.decode(small.encode(line).ids) == tokenizer.decode(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_any_text_has_only_kept_tokens_and_both_forms_agree(kind: str) -> None:
    tokenizer = KINDS[kind]()
    kept = kept_for(tokenizer, ["sw"])
    new_ids = {old: new for new, old in enumerate(sorted(kept))}
    in_place, small = (loaded(parsed(tokenizer).trimmed(kept, new_ids=ids)) for ids in (None, new_ids))
    draw = random.Random(0)
    characters = "".join({*"".join(all_lines()), *"日本 ü\t"})
    for _ in range(100):
        text = "".join(draw.choices(characters, k=draw.randrange(1, 30)))
        ids = in_place.encode(text).ids
        assert set(ids) <= kept
        assert [new_ids[number] for number in ids] == small.encode(text).ids
        if kind in ("byte-level", "byte-fallback"):
            assert small.decode(small.encode(text).ids) == tokenizer.decode(tokenizer.encode(text).ids)


def test_a_token_is_kept_with_all_tokens_it_is_merged_from() -> None:
    vocabulary = {token: number for number, token in enumerate(["a", "b", "c", "ab", "bc", "abc", "cc"])}
    data = {"model": {"type": "BPE", "vocab": vocabulary, "merges": ["b c", ["a", "bc"], "a b"]}}
    source = TokenizerJson(data)
    assert {source.tokens[number] for number in source.closed([vocabulary["abc"]])} == {"a", "b", "c", "bc", "abc"}
    assert source.closed([vocabulary["cc"]]) == frozenset(), "no merge builds it"
    trimmed = source.trimmed(source.closed([vocabulary["abc"]]))
    assert trimmed["model"]["merges"] == ["b c", ["a", "bc"]]


def test_whole_words_without_merges_stay_where_the_tokenizer_looks_them_up() -> None:
    model = {"type": "BPE", "vocab": {"c": 0, "cc": 1}, "merges": [], "ignore_merges": True}
    assert TokenizerJson({"model": model}).closed([1]) == {1}


def test_special_byte_and_named_tokens_are_always_kept() -> None:
    source = parsed(byte_level())
    required = source.required(ids=[7, 10_000])
    assert {source.ids[token] for token in byte_alphabet()} <= required
    assert {0, 1, 7} <= required
    assert 10_000 not in required
    assert source.data["model"]["vocab"]["<pad>"] == 0


def test_added_tokens_of_the_chat_template_are_kept() -> None:
    tokenizer = byte_level()
    tokenizer.add_tokens(["<turn>", "<never>"])
    source = parsed(tokenizer)
    required = source.required(chat_template="{{ '<turn>' + text }}")
    assert tokenizer.token_to_id("<turn>") in required
    assert tokenizer.token_to_id("<never>") not in required


@pytest.mark.parametrize(
    "model",
    [
        {"type": "WordPiece", "vocab": {"a": 0}},
        {"type": "WordLevel", "vocab": {"a": 0}},
        {"type": "BPE", "vocab": {"a": 0}, "merges": [], "end_of_word_suffix": "</w>"},
        {"type": "BPE", "vocab": {"a": 0}, "merges": [], "continuing_subword_prefix": "##"},
    ],
)
def test_other_tokenizers_are_refused_with_a_reason(model: dict) -> None:
    with pytest.raises(BadInputError) as caught:
        TokenizerJson({"model": model}).require_trimmable()
    assert set(caught.value.context) & {"got", "setting"}
