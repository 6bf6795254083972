"""Pass rates against a plain script, with a detector that knows three words of each language."""

from collections.abc import Callable

import numpy as np
import pytest

from mlprune.errors import BadInputError
from mlprune.evaluation import languages
from mlprune.evaluation.inference.methods import compare, measure
from mlprune.evaluation.languages import judged_lines, judged_share, line_pass_rate, pass_sums, word_pass_rate
from mlprune.evaluation.scoring.translation import Translations
from mlprune.evaluation.task_metrics import METRICS, task_metrics
from tests.refusals import refused

WORDS = {"fr": "le", "en": "the", "ru": "это"}
FRENCH, ENGLISH = "le chat dort sur le lit", "the cat sleeps on the bed"
RUSSIAN, MIXED = "это кошка и это дом", "это кошка и это house"


@pytest.fixture(autouse=True)
def detector(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str | None]:
    """A detector that goes by one word of each language."""

    def detect(text: str) -> str | None:
        return next((code for code, word in WORDS.items() if word in text.split()), None)

    monkeypatch.setattr(languages, "language_detector", lambda name: detect)
    monkeypatch.setattr(languages, "detected_languages", lambda: ("en", "fr", "ru"))
    return detect


def translations(texts: list[str]) -> Translations:
    ids = tuple(str(number) for number in range(len(texts)))
    return Translations(ids, tuple(texts), ("",) * len(texts))


def test_short_lines_are_not_judged_and_punctuation_is_not_a_word() -> None:
    assert judged_lines("le chat\n- - - - - -\n le chat, dort sur lui!", "fr") == ["le chat dort sur lui"]
    assert judged_lines("1 2 3 4 5 6\n", "fr") == judged_lines("", "fr") == []
    assert judged_lines("猫在睡觉。\n一只大猫在那张床上睡觉", "zh") == ["一只大猫在那张床上睡觉"]


def test_a_text_passes_if_all_its_judged_lines_do() -> None:
    texts = [FRENCH, f"{FRENCH}\n{FRENCH}", f"{FRENCH}\n{ENGLISH}", ENGLISH, "le chat", "a b c d e f"]
    sums = pass_sums(texts, "fr", detector="d-1")
    passed = [[1, 1], [1, 1], [1, 0], [1, 0], [0, 0], [1, 0]]
    assert sums[:, [0, 1, 3]].tolist() == [[*row, 1] for row in passed]
    total = sums.sum(axis=0)
    assert (float(line_pass_rate(total)), float(judged_share(total))) == (2 / 5, 5 / 6)


def test_english_words_fail_texts_whose_lines_pass() -> None:
    sums = pass_sums([RUSSIAN, MIXED, f"{RUSSIAN} USA ok", FRENCH], "ru", detector="d-1").sum(axis=0)
    assert float(line_pass_rate(sums)) == 3 / 4
    assert float(word_pass_rate(sums)) == 2 / 3


def test_a_script_of_one_language_decides_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(languages, "language_detector", lambda name: pytest.fail("the detector was asked"))
    sums = pass_sums(["一只大猫在那张床上睡觉", "一只大猫在 sleeping 床上睡觉", ENGLISH], "zh", detector="d-1")
    assert sums[:, :3].tolist() == [[1, 1, 1], [1, 1, 0], [1, 0, 0]]


def test_without_judged_texts_nothing_failed() -> None:
    total = pass_sums(["oui", ""], "fr", detector="d-1").sum(axis=0)
    assert [float(value(total)) for value in (line_pass_rate, word_pass_rate, judged_share)] == [1.0, 1.0, 0.0]


def test_rates_have_intervals_and_paired_differences() -> None:
    names = ("line_pass_rate@d-1", "judged_share@d-1")
    metrics = task_metrics("translation", "fr", names=names)
    mixed, right = translations([FRENCH, ENGLISH] * 15), translations([FRENCH] * 30)
    values = measure(metrics, mixed)
    rate = values["line_pass_rate"]
    assert rate.value == 0.5
    assert rate.interval is not None
    assert 0.2 < rate.interval.low < 0.5 < rate.interval.high < 0.8
    assert values["judged_share"].value == 1.0
    difference = compare(metrics, mixed, right)["line_pass_rate"]
    assert difference.difference == -0.5
    assert difference.p_value < 0.001
    assert [metric.signature for metric in metrics] == ["d-1", "d-1"]
    assert metrics[0].statistics is metrics[1].statistics


def test_languages_without_a_rate_are_refused() -> None:
    for language in ("fr", "pt-BR"):
        with refused(BadInputError, metric="word_pass_rate") as caught:
            task_metrics("translation", language, names=("word_pass_rate@d-1",))
        assert "--language" in str(caught.value)
    with refused(BadInputError, expected=("en", "fr", "ru"), got="yo"):
        task_metrics("translation", "yo", names=("line_pass_rate@d-1",))
    with refused(BadInputError, expected=("en", "fr", "ru"), got="yo"):
        pass_sums([FRENCH], "yo", detector="d-1")
    assert np.isfinite(METRICS["line_pass_rate"].value(np.zeros(4)))
