"""Tokenizers without vocabulary, of other models, or for other texts are found."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from mlprune.errors import ModelError
from mlprune.models.loading import check_tokenizer, load_tokenizer
from mlprune.models.tokenizer_checks import SENTENCE, check_size, coverage
from tests.tiny_models import VOCABULARY, save_tiny_model, tiny_tokenizer


def _word_tokenizer(*words: str) -> PreTrainedTokenizerFast:
    """Tokenizer that knows only these words."""
    vocabulary = {word: number for number, word in enumerate(["</s>", "<unk>", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder without tokenizer."""
    path = save_tiny_model(tmp_path_factory.mktemp("model"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (path / name).unlink()
    return path


@pytest.mark.parametrize(
    ("files", "advice"), [((), "mlprune import SOURCE OUT"), (("sentencepiece.bpe.model",), "mlprune import /")]
)
def test_a_folder_without_tokenizer_json_is_refused_with_what_to_do(
    tmp_path: Path, files: tuple[str, ...], advice: str
) -> None:
    for name in ("config.json", *files):
        (tmp_path / name).write_text("{}")
    with pytest.raises(ModelError, match=advice) as caught:
        load_tokenizer(tmp_path)
    assert caught.value.context["expected"] == ["tokenizer.json", "vocab.json+merges.txt"]
    assert caught.value.context["got"] == ["config.json", *files]


def test_a_tokenizer_with_few_tokens_is_not_that_of_the_model(folder: Path) -> None:
    _word_tokenizer(*SENTENCE.split()).save_pretrained(folder)
    with pytest.raises(ModelError, match="far fewer tokens") as caught:
        check_tokenizer(folder)
    assert "260" in str(caught.value.context["expected"])


def test_a_tokenizer_that_does_not_know_english_is_damaged(folder: Path) -> None:
    _word_tokenizer(*(f"word{number}" for number in range(200))).save_pretrained(folder)
    with pytest.raises(ModelError, match="English sentence"):
        check_tokenizer(folder)


def test_tokens_beyond_the_embedding_are_refused(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    check_size(tokenizer, 259, path=tmp_path)
    with pytest.raises(ModelError, match="no embedding") as caught:
        check_size(tokenizer, 258, path=tmp_path)
    assert caught.value.context["largest_id"] == 258


def test_added_tokens_beyond_the_embedding_are_allowed_unless_texts_get_them(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["<image>"])
    check_size(tokenizer, 259, path=tmp_path)
    tokenizer.add_special_tokens({"eos_token": "<end>"})
    with pytest.raises(ModelError, match="no embedding"):
        check_size(tokenizer, 259, path=tmp_path)


def test_padded_embeddings_are_allowed(tmp_path: Path) -> None:
    check_size(tiny_tokenizer(), VOCABULARY * 5 // 4, path=tmp_path)


def test_coverage_counts_unknown_tokens_and_lost_characters() -> None:
    known = coverage(_word_tokenizer("one", "two"), ["one two", "two three"])
    assert known.unknown_share == 0.25
    assert known.reproduced_share == 9 / 14
    assert not known.is_sufficient


def test_differences_that_tokenizers_make_are_not_lost_characters() -> None:
    known = coverage(_word_tokenizer("one", "2"), ["ONE  ２"])
    assert known.unknown_share == 1
    tokenizer = tiny_tokenizer()
    known = coverage(tokenizer, ["ONE  ２ नमस्ते"])
    assert (known.unknown_share, known.reproduced_share) == (0, 1)
