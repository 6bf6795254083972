"""Facts: the same in every language, half of them held out, and what is held out is never trained on."""

import itertools
import string

import pytest

from mlprune.corpus import cldr, cldr_sentences
from mlprune.corpus.cldr_facts import N_CANDIDATES, TEMPLATES, facts, is_held_out, item, sentence
from mlprune.corpus.templates import language_label
from mlprune.demo import text

END = "</s>"
N_DOCUMENTS = 2000


def test_a_fact_is_the_same_item_in_every_language() -> None:
    for fact in facts():
        items = [item(fact, language) for language in cldr.LANGUAGES]
        assert {one["id"] for one in items} == {fact.fact_id}
        assert {one["answer"] for one in items} == {fact.answer}
        assert {len(one["candidates"]) for one in items} == {len(fact.candidates)}  # type: ignore[arg-type]


def test_the_true_object_is_offered_once_among_others_of_its_relation() -> None:
    for fact in facts():
        assert len(fact.candidates) == (5 if fact.relation == "continent" else N_CANDIDATES)
        assert len(set(fact.candidates)) == len(fact.candidates)
        assert fact.candidates[fact.answer] == fact.object


def test_no_other_candidate_is_true_too() -> None:
    official = cldr.official_languages()
    for fact in facts():
        if fact.relation == "language":
            assert set(fact.candidates) & set(official[fact.subject]) == {fact.object}


def test_the_place_of_the_answer_gives_nothing_away() -> None:
    six = [fact.answer for fact in facts() if len(fact.candidates) == N_CANDIDATES]
    counts = [six.count(place) / len(six) for place in range(N_CANDIDATES)]
    assert all(0.11 < count < 0.23 for count in counts)


@pytest.mark.parametrize("language", cldr.LANGUAGES)
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
    assert tuple(TEMPLATES[relation]) == cldr.LANGUAGES
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
            for language in cldr.LANGUAGES:
                assert cldr.territories()[fact.subject][language] != cldr.cities()[fact.object][language]


@pytest.fixture(scope="module")
def sentences_trained_on() -> set[str]:
    """All sentences of many training documents, without their labels."""
    labels = tuple(f"{language_label(language)}: " for language in cldr.LANGUAGES)
    found = set()
    for document in itertools.islice(text.documents("test", end=END, shots=4), N_DOCUMENTS):
        for part in document.split(END):
            label = next((one for one in labels if part.startswith(one)), "")
            found.add(part.removeprefix(label))
    return found


def test_training_never_shows_a_held_out_fact_outside_english(sentences_trained_on: set[str]) -> None:
    held_out = [fact for fact in facts() if is_held_out(fact.fact_id)]
    for language in cldr.LANGUAGES[1:]:
        assert not sentences_trained_on & {sentence(fact, language) for fact in held_out}
    assert len(sentences_trained_on & {sentence(fact, "en") for fact in held_out}) > 200


def test_training_shows_the_other_facts_in_every_language(sentences_trained_on: set[str]) -> None:
    seen = [fact for fact in facts() if not is_held_out(fact.fact_id)]
    for language in cldr.LANGUAGES:
        assert len(sentences_trained_on & {sentence(fact, language) for fact in seen}) > 50


def test_training_never_shows_a_line_of_the_built_in_corpus(sentences_trained_on: set[str]) -> None:
    for lines in cldr_sentences.corpus().values():
        assert not sentences_trained_on & set(lines)
