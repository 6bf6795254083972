"""The built-in corpus: aligned, distinct, repeatable."""

import hashlib
import random

import pytest

from mlprune.corpus import cldr_facts
from mlprune.corpus.cldr_sentences import SENTENCES, amount, corpus, name, quantity
from mlprune.hashing import canonical_json

MOST_LINES = 5000
"""As many as a recipe may ask for."""


@pytest.mark.parametrize("kind", SENTENCES)
def test_one_draw_gives_one_clean_sentence_in_every_language(kind: str) -> None:
    rng = random.Random(0)
    for _ in range(30):
        drawn = SENTENCES[kind](rng)
        assert tuple(drawn) == cldr_facts.LANGUAGES
        for text in drawn.values():
            assert text
            assert text == " ".join(text.split())
            assert not set(text) & set("{}\u00a0\u202f")


def test_the_corpus_is_aligned_and_its_lines_are_distinct_in_every_language() -> None:
    found = corpus()
    assert tuple(found) == cldr_facts.LANGUAGES
    for lines in found.values():
        assert len(lines) == len(set(lines)) == 1000


def test_line_i_has_the_same_meaning_in_all_languages() -> None:
    found = corpus()
    line = found["en"].index("The meeting in Budapest is on Tuesday, August 8, 1967.")
    assert found["fr"][line] == "La réunion à Budapest aura lieu le mardi 8 août 1967."
    assert found["zh"][line] == "布达佩斯的会议在1967年8月8日星期二举行。"
    assert found["sw"][line] == "Mkutano wa Budapest ni Jumanne, 8 Agosti 1967."


def test_a_shorter_corpus_is_the_beginning_of_a_longer_one() -> None:
    short, long = corpus(40), corpus(1000)
    assert all(long[language][:40] == short[language] for language in cldr_facts.LANGUAGES)


def test_another_seed_gives_another_corpus_and_the_same_seed_the_same() -> None:
    again = corpus.__wrapped__(100, 0)
    assert again == corpus(100, 0)
    assert corpus(100, 1)["en"] != again["en"]


def test_the_longest_corpus_a_recipe_may_ask_for_can_be_made() -> None:
    found = corpus(MOST_LINES, 7)
    assert len(set(found["zh"])) == MOST_LINES


def test_amounts_and_quantities_carry_their_number_and_names_come_from_the_tables() -> None:
    rng = random.Random(3)
    assert any(character.isdigit() for character in amount(rng)["en"])
    assert any(character.isdigit() for character in quantity(rng)["sw"])
    assert name(rng, 4) in list(cldr_facts.months().values())
    assert name(rng, 0) in list(cldr_facts.territories().values())


def test_the_default_corpus_is_pinned_so_that_training_and_demonstrations_agree_on_it() -> None:
    text = canonical_json({language: list(lines) for language, lines in corpus().items()})
    assert hashlib.sha256(text.encode()).hexdigest()[:20] == "5d1957e897a23c70bc2e"
