"""Templates of demonstrations and prompts."""

from collections.abc import Callable

import pytest

from mlprune.corpus import cldr_facts
from mlprune.corpus.templates import LABELLED, PLAIN, endonym, fill_template, format_labelled, language_label
from mlprune.errors import CorpusError
from mlprune.languages import ISO_639_3
from tests.refusals import refused


@pytest.mark.parametrize(
    ("tag", "label"),
    [
        ("en", "English"),
        ("fr", "French"),
        ("sw", "Swahili"),
        ("zh", "Chinese"),
        ("zh-Hant", "Chinese"),
        ("cmn-Hans", "Chinese"),
        ("ar", "Arabic"),
    ],
)
def test_a_language_has_its_english_name_without_its_script(tag: str, label: str) -> None:
    assert language_label(tag) == label


@pytest.mark.thorough("computes many cases")
def test_every_language_with_a_short_code_and_all_of_the_corpus_have_a_name() -> None:
    for tag in (*ISO_639_3.values(), *cldr_facts.LANGUAGES):
        assert language_label(tag)[0].isupper()
        assert endonym(tag)


@pytest.mark.parametrize("tag", ["xx", "frensh", ""])
@pytest.mark.parametrize("name_of", [language_label, endonym])
def test_a_language_without_a_name_is_a_bad_input(name_of: Callable[[str], str], tag: str) -> None:
    with refused(CorpusError, got=tag):
        name_of(tag)


def test_one_side_of_a_shot_is_label_sentence_and_end() -> None:
    assert format_labelled("fr", "Ça va ?", "</s>") == "French: Ça va ?</s>"


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("en", "English"),
        ("fr", "français"),
        ("sw", "Kiswahili"),
        ("zh", "中文"),
        ("zh-Hant", "中文"),
        ("ru", "русский"),
    ],
)
def test_a_language_has_its_own_name_without_its_script(tag: str, name: str) -> None:
    assert endonym(tag) == name


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (LABELLED, "French: Ça {va} ?</s>"),
        (PLAIN, "Ça {va} ?</s>"),
        ("{endonym} = {text}\n", "français = Ça {va} ?\n"),
        ("{{{text}}} {text}{end}{end}", "{Ça {va} ?} Ça {va} ?</s></s>"),
    ],
)
def test_a_template_is_filled_to_the_letter(template: str, expected: str) -> None:
    assert fill_template(template, "Ça {va} ?", language="fr", end="</s>") == expected


def test_a_template_without_a_language_needs_none() -> None:
    assert fill_template("<{text}>", "a", language=None, end="</s>") == "<a>"
    assert fill_template("<{text}>", "a", language="no such", end="</s>") == "<a>"
    for name in ("language", "endonym"):
        with refused(CorpusError, expected="a language"):
            fill_template(f"{{{name}}}: {{text}}", "a", language=None, end="")


@pytest.mark.parametrize(
    "template", ["{lang}: {text}", "{}{text}", "{0}{text}", "{text!r}", "{text:>9}", "{text.upper}"]
)
def test_an_unknown_placeholder_is_an_error_that_lists_the_known_ones(template: str) -> None:
    with refused(CorpusError, expected=["{language}", "{endonym}", "{text}", "{end}"]):
        fill_template(template, "a", language="fr", end="")


@pytest.mark.parametrize(
    ("template", "message"), [("{language}: {end}", "no placeholder for the text"), ("{text", "cannot be")]
)
def test_a_template_without_a_text_or_with_a_lone_brace_is_an_error(template: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        fill_template(template, "a", language="fr", end="")
