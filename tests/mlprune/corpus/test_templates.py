"""The words around a sentence."""

import pytest

from mlprune.corpus import cldr
from mlprune.corpus.templates import labelled, language_label
from mlprune.errors import CorpusError
from mlprune.terms import ISO_639_3


@pytest.mark.parametrize(
    ("tag", "label"),
    [
        ("en", "English"),
        ("fr", "French"),
        ("sw", "Swahili"),
        ("zh", "Chinese"),
        ("zh-Hant", "Chinese"),
        ("ar", "Arabic"),
    ],
)
def test_a_language_has_its_english_name_without_its_script(tag: str, label: str) -> None:
    assert language_label(tag) == label


def test_every_language_with_a_short_code_and_all_of_the_corpus_have_a_name() -> None:
    for tag in (*ISO_639_3.values(), *cldr.LANGUAGES):
        assert language_label(tag)[0].isupper()


@pytest.mark.parametrize("tag", ["xx", "frensh", ""])
def test_a_language_without_a_name_is_a_bad_input(tag: str) -> None:
    with pytest.raises(CorpusError, match="no name for a language") as caught:
        language_label(tag)
    assert caught.value.context["got"] == tag


def test_one_side_of_a_shot_is_label_sentence_and_end() -> None:
    assert labelled("fr", "Ça va ?", "</s>") == "French: Ça va ?</s>"
