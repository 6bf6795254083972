"""The detector: its version in names, another version, and a missing package."""

from importlib.metadata import PackageNotFoundError

import pytest

from mlprune.errors import BadInputError
from mlprune.evaluation import languages as detector_module
from mlprune.evaluation.languages import (
    detected_languages,
    installed_detector,
    is_in_script_of,
    language_detector,
    main_scripts,
    script_suffices,
)
from mlprune.evaluation.task_metrics import with_detectors
from tests.refusals import refused


def test_a_missing_detector_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(detector_module, "version", missing)
    assert with_detectors(("bleu", "chrf")) == ("bleu", "chrf")
    with refused(BadInputError, expected="pip install 'mlprune[language]'", got=None) as caught:
        with_detectors(("bleu", "line_pass_rate"))
    assert "pip install 'mlprune[language]'" in str(caught.value)


def test_the_version_is_part_of_the_name_and_another_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector_module, "version", lambda package: "9.9")
    assert with_detectors(("line_pass_rate", "bleu")) == ("line_pass_rate@py3langid-9.9", "bleu")
    for name, expected in (("py3langid-0.3.0", "py3langid==0.3.0"), ("other-1", "py3langid-VERSION")):
        with refused(BadInputError, got="py3langid-9.9") as caught:
            language_detector(name)
        assert expected in str(caught.value)


@pytest.mark.thorough("scores many texts or draws")
def test_sentences_are_detected() -> None:
    pytest.importorskip("py3langid")
    detect = language_detector(installed_detector())
    assert {"en", "fr", "sw", "hi", "tr", "nb"} <= set(detected_languages())
    assert not {"arz", "no"} & set(detected_languages())
    sentences = {
        "fr": "Les enfants jouent dans le jardin derrière la maison.",
        "sw": "Watoto wanacheza katika bustani nyuma ya nyumba kubwa.",
        "hi": "बच्चे घर के पीछे बगीचे में खेल रहे हैं और गा रहे हैं।",
    }
    assert {tag: detect(sentence) for tag, sentence in sentences.items()} == {tag: tag for tag in sentences}


@pytest.mark.parametrize(
    ("text", "scripts"),
    [
        ("Le chat dort.", ("Latn",)),
        ("Кошка спит, the cat.", ("Cyrl",)),
        ("बिल्ली सो रही है", ("Deva",)),
        ("猫在睡觉", ("Hans", "Hant")),
        ("日本語の文です。猫が寝ている", ("Jpan",)),
        ("他写了一个の字,然后继续读书", ("Hans", "Hant")),
        ("고양이가 잔다", ("Hang",)),
        ("แมวหลับ", ("Thai",)),
        ("12 ... 34", ()),
        ("", ()),
    ],
)
def test_most_letters_decide(text: str, scripts: tuple[str, ...]) -> None:
    assert main_scripts(text) == scripts


def test_a_language_is_expected_in_its_usual_script_or_that_of_its_tag() -> None:
    assert is_in_script_of("猫在睡觉", "zh-Hant")
    assert not is_in_script_of("The cat sleeps.", "hi")
    assert is_in_script_of("Mačka spava.", "sr-Latn")
    assert not is_in_script_of("Mačka spava.", "sr")
    assert is_in_script_of("anything", "xx-Brai")
    assert not is_in_script_of("Кошка спит.", "pt-BR")


def test_scripts_of_several_languages_do_not_suffice() -> None:
    assert [tag for tag in ("fr", "ru", "ar", "hi", "zh", "ja", "th", "ko", "el") if script_suffices(tag)] == [
        "zh",
        "ja",
        "th",
        "ko",
        "el",
    ]
