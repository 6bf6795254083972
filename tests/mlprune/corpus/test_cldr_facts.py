"""CLDR's names: complete in every language, and what they are about is true."""

import itertools
import string
from collections.abc import Callable

import pytest

from mlprune.corpus import cldr_facts, cldr_sentences
from mlprune.corpus.cldr_facts import N_CANDIDATES, TEMPLATES, facts, is_held_out, item, sentence
from mlprune.corpus.templates import language_label
from mlprune.demo import train

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
