"""Which sentences make which demonstration, and the text of it, against docs/method.md section 1 written out."""

import hashlib

import pytest

from mlprune.corpus.demonstrations import (
    chosen_files,
    chosen_lines,
    code_demonstrations,
    monolingual_demonstrations,
    translation_demonstrations,
)
from mlprune.errors import CorpusError

FRENCH = ["zéro", "un", "deux", "trois"]
ENGLISH = ["zero", "one", "two", "three"]


def test_demonstration_i_takes_the_places_i_k_to_i_k_plus_k_minus_1_of_the_hashed_order() -> None:
    order = sorted(range(30), key=lambda line: hashlib.sha256(f"5:{line}".encode()).hexdigest())
    found = chosen_lines(30, shots=3, samples=7, seed=5)
    assert found == [tuple(order[3 * i : 3 * i + 3]) for i in range(7)]


def test_no_sentence_is_in_two_demonstrations() -> None:
    used = [line for chosen in chosen_lines(40, shots=4, samples=10, seed=0) for line in chosen]
    assert sorted(used) == list(range(40))


def test_more_samples_keep_the_first_ones() -> None:
    assert chosen_lines(40, shots=2, samples=20, seed=0)[:5] == chosen_lines(40, shots=2, samples=5, seed=0)


def test_left_out_lines_are_passed_over_and_the_order_of_the_others_stays() -> None:
    whole = [line for (line,) in chosen_lines(20, shots=1, samples=20, seed=0)]
    found = [line for (line,) in chosen_lines(20, shots=1, samples=15, seed=0, left_out={0, 3, 7, 11, 19})]
    assert found == [line for line in whole if line not in {0, 3, 7, 11, 19}]


def test_too_few_sentences_are_an_error_that_counts_them() -> None:
    assert len(chosen_lines(12, shots=4, samples=3, seed=0)) == 3
    with pytest.raises(CorpusError, match="too short") as caught:
        chosen_lines(12, shots=4, samples=3, seed=0, left_out={5})
    assert (caught.value.context["expected"], caught.value.context["got"]) == ("12 sentences (3 x 4)", 11)


def test_a_translation_demonstration_is_written_as_the_method_says() -> None:
    (found,) = translation_demonstrations(("fr", "en"), (FRENCH, ENGLISH), lines=[(2, 0)], end="</s>")
    assert found.text == "French: deux</s>English: two</s>French: zéro</s>English: zero</s>"
    assert (found.kind, found.sentence_ids) == ("translation", (2, 0))


def test_a_monolingual_demonstration_is_written_as_the_method_says() -> None:
    found = monolingual_demonstrations("zh-Hant", FRENCH, lines=[(3, 1), (0, 2)], end="|")
    assert [one.text for one in found] == ["Chinese: trois|Chinese: un|", "Chinese: zéro|Chinese: deux|"]
    assert [(one.kind, one.sentence_ids) for one in found] == [("monolingual", (3, 1)), ("monolingual", (0, 2))]


def test_code_demonstrations_are_the_files_as_they_are_in_hashed_order() -> None:
    files = {name: f"# {name}\n" for name in ("a/b.py", "a.py", "z.py", "b.py")}
    names = chosen_files(list(files), samples=3, seed=3)
    assert names == sorted(files, key=lambda name: hashlib.sha256(f"3:{name}".encode()).hexdigest())[:3]
    found = code_demonstrations(files, names)
    assert [one.text for one in found] == [f"# {name}\n" for name in names]
    assert {(one.kind, one.sentence_ids) for one in found} == {("code", ())}


def test_too_few_files_are_an_error() -> None:
    with pytest.raises(CorpusError, match="too few") as caught:
        chosen_files(["a.py"], samples=2, seed=0)
    assert caught.value.context["got"] == 1
