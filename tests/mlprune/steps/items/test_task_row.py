"""What guessing achieves: the chance level and the most frequent label."""

import pytest

from mlprune.evaluation.tasks.items import ChoiceItem, TranslationItem, sentence_item
from mlprune.steps.items.task_row import Guessing, guessing


def item(n_candidates: int, gold: int) -> ChoiceItem:
    names = tuple("abcdef"[:n_candidates])
    return ChoiceItem(f"{n_candidates}{gold}", names, names, gold)


def test_chance_is_the_mean_over_items_of_one_by_the_number_of_candidates() -> None:
    items = [item(2, 0), item(4, 3), item(4, 3), item(5, 1)]
    expected = Guessing(15, 2, 5, (1 / 2 + 1 / 4 + 1 / 4 + 1 / 5) / 4, None)
    assert guessing(items, has_labels=False) == expected
    assert expected.chance == pytest.approx(0.3)


def test_the_majority_is_the_most_frequent_label() -> None:
    items = [item(3, gold) for gold in (2, 0, 2, 2, 1)]
    assert guessing(items, has_labels=True) == Guessing(15, 3, 3, pytest.approx(1 / 3), 3 / 5)


def test_sentences_and_translations_have_nothing_to_guess() -> None:
    assert guessing([sentence_item("0", "Un.")], has_labels=False) == Guessing()
    assert guessing([TranslationItem("0", "un", "one")], has_labels=False) == Guessing(None, None, None, None, None)
