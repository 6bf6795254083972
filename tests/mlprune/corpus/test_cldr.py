"""The built-in corpus and its facts."""

import hashlib
import itertools
import random
import string
from collections.abc import Callable

import pytest

from mlprune.corpus import cldr_facts, cldr_sentences
from mlprune.corpus.cldr_facts import N_CANDIDATES, TEMPLATES, facts, is_held_out, item, sentence
from mlprune.corpus.cldr_sentences import SENTENCES, amount, corpus, name, quantity
from mlprune.corpus.templates import language_label
from mlprune.demo import train
from mlprune.hashing import canonical_json

TABLES: tuple[Callable[[], dict[str, dict[str, str]]], ...] = (
    cldr_facts.territories,
    cldr_facts.continents,
    cldr_facts.language_names,
    cldr_facts.currencies,
    cldr_facts.cities,
    cldr_facts.months,
)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_every_name_exists_in_every_language(table: Callable[[], dict[str, dict[str, str]]]) -> None:
    for code, names in table().items():
        assert tuple(names) == cldr_facts.LANGUAGES
        assert all(isinstance(name, str) and name.strip() == name and name for name in names.values())
        if table is not cldr_facts.months:
            assert code not in names.values()


def test_the_tables_are_large_enough_for_a_corpus() -> None:
    sizes = {table.__name__: len(table()) for table in TABLES}
    assert sizes["continents"] == 5
    assert sizes["months"] == 12
    assert min(sizes["territories"], sizes["cities"]) > 200
    assert min(sizes["language_names"], sizes["currencies"]) > 100


def test_some_names_are_what_they_are() -> None:
    japan = cldr_facts.territories()["JP"]
    assert [japan[language] for language in ("en", "fr", "es", "zh")] == ["Japan", "Japon", "Japón", "日本"]
    assert [japan[language] for language in ("hi", "sw", "ru", "ar")] == ["जापान", "Japani", "Япония", "اليابان"]
    assert cldr_facts.language_names()["sw"]["fr"] == "swahili"
    assert cldr_facts.months()["3"]["es"] == "marzo"


def test_some_facts_are_what_they_are() -> None:
    assert cldr_facts.current_currencies()["JP"] == "JPY"
    assert cldr_facts.current_currencies()["FR"] == "EUR"
    assert cldr_facts.official_languages()["BR"] == ("pt",)
    assert set(cldr_facts.official_languages()["CH"]) >= {"de", "fr", "it"}
    assert cldr_facts.zones()["KE"] == "Africa/Nairobi"
    assert cldr_facts.cities()["Africa/Nairobi"]["fr"] == "Nairobi"


def test_only_places_people_would_ask_about_are_territories() -> None:
    assert not cldr_facts.PSEUDO_TERRITORIES & set(cldr_facts.territories())
    assert all(len(code) == 2 and code.isupper() for code in cldr_facts.territories())


def test_a_territory_with_several_time_zones_has_none_here() -> None:
    assert not {"US", "RU", "BR", "AU"} & set(cldr_facts.zones())


END = "</s>"
N_DOCUMENTS = 2000


def test_a_fact_is_the_same_item_in_every_language() -> None:
    for fact in facts():
        items = [item(fact, language) for language in cldr_facts.LANGUAGES]
        assert {one["id"] for one in items} == {fact.fact_id}
        assert {one["answer"] for one in items} == {fact.answer}
        assert {len(one["candidates"]) for one in items} == {len(fact.candidates)}  # type: ignore[arg-type]


def test_the_true_object_is_offered_once_among_others_of_its_relation() -> None:
    for fact in facts():
        assert len(fact.candidates) == (5 if fact.relation == "continent" else N_CANDIDATES)
        assert len(set(fact.candidates)) == len(fact.candidates)
        assert fact.candidates[fact.answer] == fact.object


def test_no_other_candidate_is_true_too() -> None:
    official = cldr_facts.official_languages()
    for fact in facts():
        if fact.relation == "language":
            assert set(fact.candidates) & set(official[fact.subject]) == {fact.object}


def test_the_place_of_the_answer_gives_nothing_away() -> None:
    six = [fact.answer for fact in facts() if len(fact.candidates) == N_CANDIDATES]
    counts = [six.count(place) / len(six) for place in range(N_CANDIDATES)]
    assert all(0.11 < count < 0.23 for count in counts)


@pytest.mark.parametrize("language", cldr_facts.LANGUAGES)
def test_an_item_filled_with_its_answer_is_the_sentence(language: str) -> None:
    for fact in facts():
        one = item(fact, language)
        prompt, candidates = str(one["prompt"]), one["candidates"]
        assert prompt.count("<mask>") == 1
        assert isinstance(candidates, list)
        filled = prompt.replace("<mask>", candidates[fact.answer])
        assert filled[0].upper() + filled[1:] == sentence(fact, language)


@pytest.mark.parametrize("relation", TEMPLATES)
def test_every_template_exists_in_every_language_with_both_gaps(relation: str) -> None:
    assert tuple(TEMPLATES[relation]) == cldr_facts.LANGUAGES
    for template in TEMPLATES[relation].values():
        gaps = [name for _, name, _, _ in string.Formatter().parse(template) if name]
        assert sorted(gaps) == ["object", "subject"]


def test_a_sentence_about_another_object_names_it() -> None:
    japan = next(fact for fact in facts() if fact.fact_id == "currency:JP")
    assert sentence(japan, "en") == "The currency of Japan is the Japanese Yen."
    assert sentence(japan, "fr", "EUR") == "Japon a pour monnaie : euro."


def test_about_half_of_the_facts_are_held_out_in_every_relation() -> None:
    all_facts = facts()
    assert 0.45 < sum(is_held_out(fact.fact_id) for fact in all_facts) / len(all_facts) < 0.55
    for relation in ("currency", "language", "city", "continent"):
        of_relation = [is_held_out(fact.fact_id) for fact in all_facts if fact.relation == relation]
        assert 0.4 < sum(of_relation) / len(of_relation) < 0.6


def test_facts_are_ordered_and_have_unique_descriptive_ids() -> None:
    ids = [fact.fact_id for fact in facts()]
    assert ids == sorted(set(ids))
    assert all(fact.fact_id == f"{fact.relation}:{fact.subject}" for fact in facts())


def test_no_fact_has_equal_subject_and_object() -> None:
    for fact in facts():
        if fact.relation == "city":
            for language in cldr_facts.LANGUAGES:
                assert cldr_facts.territories()[fact.subject][language] != cldr_facts.cities()[fact.object][language]


@pytest.fixture(scope="module")
def sentences_trained_on() -> set[str]:
    """All sentences of many training documents, without their labels."""
    labels = tuple(f"{language_label(language)}: " for language in cldr_facts.LANGUAGES)
    found = set()
    for document in itertools.islice(train.documents("test", end=END, shots=4), N_DOCUMENTS):
        for part in document.split(END):
            label = next((one for one in labels if part.startswith(one)), "")
            found.add(part.removeprefix(label))
    return found


def test_training_never_shows_a_held_out_fact_outside_english(sentences_trained_on: set[str]) -> None:
    held_out = [fact for fact in facts() if is_held_out(fact.fact_id)]
    for language in cldr_facts.LANGUAGES[1:]:
        assert not sentences_trained_on & {sentence(fact, language) for fact in held_out}
    assert len(sentences_trained_on & {sentence(fact, "en") for fact in held_out}) > 200


def test_training_shows_the_other_facts_in_every_language(sentences_trained_on: set[str]) -> None:
    seen = [fact for fact in facts() if not is_held_out(fact.fact_id)]
    for language in cldr_facts.LANGUAGES:
        assert len(sentences_trained_on & {sentence(fact, language) for fact in seen}) > 50


def test_training_never_shows_a_line_of_the_built_in_corpus(sentences_trained_on: set[str]) -> None:
    for lines in cldr_sentences.corpus().values():
        assert not sentences_trained_on & set(lines)


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


@pytest.mark.thorough("computes many cases")
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
