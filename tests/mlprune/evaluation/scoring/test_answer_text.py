"""Answers in generated texts, against a plain implementation of MLQA's rules and by hand in many scripts."""

import re
import string
import unicodedata
from collections import Counter
from decimal import Decimal

import pytest

from mlprune.descriptions import AnswerRule
from mlprune.evaluation.scoring.answer_text import (
    choice_letter,
    extracted,
    is_match,
    last_boxed,
    last_number,
    number_readings,
    token_f1,
    tokens,
)

PUNCTUATION = {chr(code) for code in range(0x20000) if unicodedata.category(chr(code))[0] == "P"} | set(
    string.punctuation
)
MLQA_ARTICLES = {
    "en": r"\b(a|an|the)\b",
    "es": r"\b(un|una|unos|unas|el|la|los|las)\b",
    "vi": r"\b(của|là|cái|chiếc|những)\b",
    "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "ar": r"\sال^|ال",
}
ANSWERS = {
    "en": ["The Denver Broncos.", "an apple, a day", "308 points", "U.S. — the 'Great' war", "don't"],
    "es": ["los Broncos de Denver", "¿Quién? ¡El rey!", "la Casa Blanca"],
    "de": ["die Denver Broncos", "Straße des 17. Juni", "„Das Boot“"],
    "vi": ["những con mèo", "của tôi là cái này", "Hà Nội"],
    "ar": ["الملك فهد", "في القاهرة، مصر", "سؤال؟"],
    "hi": ["नई दिल्ली।", "महात्मा गांधी", "अंक 308"],
    "zh": ["丹佛野马队", "《西游记》 是 小说", "NFL冠军", "二〇一五年", "308 分"],
}


def mlqa_tokens(text: str, language: str) -> list[str]:
    """MLQA's script, in the order of its steps: lower, punctuation, articles, white space."""
    plain = "".join(char for char in text.lower() if char not in PUNCTUATION)
    plain = re.sub(MLQA_ARTICLES[language], " ", plain) if language in MLQA_ARTICLES else plain
    if language != "zh":
        return plain.split()
    spaced = re.sub("([\u4e00-\u9fa5])", r" \1 ", plain)
    return spaced.split()


def mlqa_f1(answer: str, reference: str, language: str) -> float:
    ours, theirs = mlqa_tokens(answer, language), mlqa_tokens(reference, language)
    remaining, n_common = list(theirs), 0
    for token in ours:
        if token in remaining:
            remaining.remove(token)
            n_common += 1
    if n_common == 0:
        return 0.0
    precision, recall = n_common / len(ours), n_common / len(theirs)
    return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("language", sorted(ANSWERS))
def test_f1_and_exact_match_are_those_of_mlqa_in_its_languages(language: str) -> None:
    texts = ANSWERS[language]
    for answer in texts:
        for reference in texts:
            pair = f"{answer} {reference}"
            for one in (answer, pair):
                expected = mlqa_f1(one, reference, language)
                assert token_f1(one, [reference], language) == pytest.approx(expected, abs=1e-12), (one, reference)
                is_equal = mlqa_tokens(one, language) == mlqa_tokens(reference, language)
                assert is_match(one, [reference], language) == is_equal


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("東京タワー", "ja", ["東", "京", "タ", "ワ", "ー"]),
        ("กรุงเทพ", "th", ["ก", "รุ", "ง", "เ", "ท", "พ"]),
        ("ຫ້ອງ", "lo", ["ຫ້", "ອ", "ງ"]),
        ("서울 특별시", "ko", ["서울", "특별시"]),
        ("हिन्दी में", "hi", ["हिन्दी", "में"]),
        ("İSTANBUL IŞIK", "tr", ["istanbul", "ışık"]),
        ("I II", "en", ["i", "ii"]),
        ("cafe\u0301 CAFÉ", "fr", ["café", "café"]),
        ("\u200fمرحبا\u200f", "fa", ["مرحبا"]),
        ("١٢ และ ๑๒ १२", "th", ["12", "แ", "ล", "ะ", "12", "12"]),
    ],
)
def test_tokens_of_other_scripts(text: str, language: str, expected: list[str]) -> None:
    assert list(tokens(text, language)) == expected


@pytest.mark.parametrize(
    "digits",
    ["०१२३४५६७८९", "٠١٢٣٤٥٦٧٨٩", "۰۱۲۳۴۵۶۷۸۹", "๐๑๒๓๔๕๖๗๘๙", "০১২৩৪৫৬৭৮৯", "౦౧౨౩౪౫౬౭౮౯", "０１２３４５６７８９"],
)
def test_digits_of_other_scripts_are_numbers(digits: str) -> None:
    written = "1205".translate(str.maketrans("0123456789", digits))
    assert last_number(f"... {written}।") == "1205"
    assert is_match(written, ["1,205"], "en")
    assert is_match("1205", [written], "en")
    assert not is_match(written, ["1206"], "en")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("18", {"18"}),
        ("-18", {"-18"}),
        ("−3.5", {"-3.5"}),
        ("1,234", {"1234", "1.234"}),
        ("1.234", {"1234", "1.234"}),
        ("1,234.50", {"1234.5"}),
        ("1.234,50", {"1234.5"}),
        ("1,234,567", {"1234567"}),
        ("0.125", {"0.125"}),
        ("12,5", {"12.5"}),
        ("114 200", {"114200", "200"}),
        ("114\u202f200,5", {"114200.5"}),
        ("1’000", {"1000"}),
        ("١٬٢٣٤٫٥", {"1234.5"}),
        ("$70,000", {"70000", "70"}),
        ("1,2,3", {"3"}),
        ("12 people", set()),
        ("", set()),
        ("twelve", set()),
    ],
)
def test_readings_of_numbers(text: str, expected: set[str]) -> None:
    assert number_readings(text) == {Decimal(number) for number in expected}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("5 + 6 = 11. The answer is 11.", "11"),
        ("答案是11。", "11"),
        ("she pays $2,125.", "2,125"),
        ("sie zahlt 2.125 €", "2.125"),
        ("il paie 114 200 €", "114 200"),
        ("5-3", "3"),
        ("it is -3", "-3"),
        ("in 2024-05", "05"),
        ("no number", ""),
    ],
)
def test_the_last_number_of_a_text(text: str, number: str) -> None:
    assert last_number(text) == number


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        ("(C) because", "C"),
        ("A good answer is (B).", "B"),
        ("the answer is D", "D"),
        ("Ｂ。", "B"),
        ("Because", ""),
        ("答案是C。", ""),
        ("答案：C。", "C"),
        ("b", ""),
    ],
)
def test_the_chosen_letter(text: str, letter: str) -> None:
    assert choice_letter(text, "ABCD") == letter


def test_boxed_answers_may_have_braces_and_the_last_complete_one_counts() -> None:
    assert last_boxed(r"so $\boxed{1}$ and \boxed{\frac{5}{4}}, \boxed{7") == r"\frac{5}{4}"
    assert last_boxed(r"\boxed{7") == ""


@pytest.mark.parametrize(
    ("extract", "expected"),
    [("first_line", "It is 7"), ("last_line", "or 8."), ("all", "It is 7\n\nor 8."), ("number", "8")],
)
def test_rules_of_extraction(extract: str, expected: str) -> None:
    rule = AnswerRule.model_validate({"extract": extract})
    assert extracted(["\n It is 7\n\nor 8. \n", " \n"], rule) == [expected, ""]


def test_an_expression_reads_its_group() -> None:
    rule = AnswerRule(extract="regex", pattern=r"is (?P<answer>[^\n]*)")
    assert extracted(["it is  7 \n", "none"], rule) == ["7", ""]


def test_empty_answers_match_nothing_and_marks_match_themselves() -> None:
    assert not is_match("", ["x"], "en")
    assert token_f1("", ["x"], "en") == 0.0
    assert is_match("+", ["+"], "en")
    assert not is_match("-", ["+"], "en")
    assert not is_match("", ["..."], "en")


def test_the_best_of_several_references_counts() -> None:
    references = ["the cat", "a big dog"]
    assert is_match("Cat", references, "en")
    assert token_f1("big cat", references, "en") == pytest.approx(2 / 3)
    assert Counter(tokens("a big dog", "en")) == Counter(["big", "dog"])
