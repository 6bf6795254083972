"""Languages of generated texts: detector, scripts, and the shares in the right language.

The language detector py3langid: an optional package that contains its model.

Its name and version are part of the names of the metrics that need it, and so of the ids of their evaluations.

Language confusion: the shares of generated texts whose lines and words are in the right language.

Marchisio et al. 2024, arXiv:2406.20052. A line is judged if it has at least five words. A text passes its lines if all
its judged lines are in the expected language. Of these texts, one passes its words if no judged line contains an
English word; this rate exists only for languages that are not written in Latin letters. Texts without a judged line do
not count.

Deviations from the published code: the detector is py3langid instead of fastText's lid.176, which no package contains;
a script that only one language has decides without it; an English word is a run of more than three lower-case Latin
letters, without a list of words; in scripts without spaces, ten letters count as five words instead of a segmentation;
and texts are not cut at `Q:`, which belongs to the paper's prompts.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from mlprune.errors import BadInputError
from mlprune.evaluation.scoring.translation import Translations
from mlprune.languages import script_of
from mlprune.numeric.arrays import Array

PACKAGE = "py3langid"
INSTALL = "pip install 'mlprune[language]'"
VARIANTS: Mapping[str, str] = {"ary": "ar", "arz": "ar", "no": "nb"}
"""Code of the detector -> tag of a recipe: Moroccan and Egyptian Arabic count as Arabic."""
Detect = Callable[[str], str]
"""Text -> tag of its language; `zxx` for none."""
SCRIPTS: Mapping[str, tuple[str, ...]] = {
    "Latn": ("LATIN",),
    "Cyrl": ("CYRILLIC",),
    "Grek": ("GREEK",),
    "Arab": ("ARABIC",),
    "Hebr": ("HEBREW",),
    "Deva": ("DEVANAGARI",),
    "Beng": ("BENGALI",),
    "Guru": ("GURMUKHI",),
    "Gujr": ("GUJARATI",),
    "Taml": ("TAMIL",),
    "Telu": ("TELUGU",),
    "Knda": ("KANNADA",),
    "Mlym": ("MALAYALAM",),
    "Sinh": ("SINHALA",),
    "Thai": ("THAI",),
    "Laoo": ("LAO",),
    "Mymr": ("MYANMAR",),
    "Khmr": ("KHMER",),
    "Ethi": ("ETHIOPIC",),
    "Geor": ("GEORGIAN",),
    "Armn": ("ARMENIAN",),
    "Hang": ("HANGUL",),
    "Jpan": ("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "CJK"),
    "Hans": ("CJK",),
    "Hant": ("CJK",),
}
"""ISO 15924 code -> first words of the Unicode names of its letters."""
OF_ONE_LANGUAGE = tuple(script for script in SCRIPTS if script not in ("Latn", "Cyrl", "Arab", "Deva"))
"""Scripts that are taken to identify a language of a recipe: another language in one of them, such as Assamese in
Bengali script or Tigrinya in Ethiopic, is not distinguished. Simplified and traditional Chinese are not, either."""
WITHOUT_SPACES = ("Jpan", "Hans", "Hant", "Thai", "Laoo", "Mymr", "Khmr")
"""Scripts that do not separate words by spaces."""
KANA = ("HIRAGANA", "KATAKANA")
LEAST_KANA = 0.1
"""Share of kana in the letters of a text from which on its Chinese characters are Japanese."""
LEAST_WORDS = 5
"""Words of the shortest line that is judged; twice as many letters in scripts without spaces."""
ENGLISH_WORD = re.compile(r"(?<![A-Za-z])[a-z]{4,}(?![A-Za-z])")
PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation, "") | {"—": " ", "،": ""})


def installed_detector() -> str:
    """Return the name and version of the detector, such as `py3langid-0.4.0`.

    Raises:
        BadInputError: it is not installed.
    """
    try:
        return f"{PACKAGE}-{version(PACKAGE)}"
    except PackageNotFoundError as err:
        message = "the language detector is not installed"
        raise BadInputError(message, package=PACKAGE, expected=INSTALL, got=None) from err


@cache
def language_detector(detector: str) -> Detect:
    """Return the detector of the given name and version. The installed version is looked up once per process.

    Raises:
        BadInputError: another version is installed, or none.
    """
    installed = installed_detector()
    if installed != detector:
        name, _, number = detector.partition("-")
        expected = f"pip install '{PACKAGE}=={number}'" if name == PACKAGE else f"{PACKAGE}-VERSION"
        message = "these values were computed by another language detector"
        raise BadInputError(message, expected=expected, detector=detector, got=installed)
    return _detect


@cache
def detected_languages() -> tuple[str, ...]:
    """Return the tags of the languages that the installed detector knows.

    Raises:
        BadInputError: it is not installed.
    """
    installed_detector()
    from py3langid import rank  # noqa: PLC0415 - optional

    return tuple(sorted({VARIANTS.get(code, code) for code, _ in rank("")}))


def _detect(text: str) -> str:
    from py3langid import classify  # noqa: PLC0415 - optional

    code = str(classify(text)[0])
    return VARIANTS.get(code, code)


def main_scripts(text: str) -> tuple[str, ...]:
    """Return the scripts that most letters of a text belong to, by Unicode's names; none if it has no letters.

    Chinese characters with kana are Japanese, without kana simplified and traditional Chinese.
    """
    names = Counter(unicodedata.name(letter, "").partition(" ")[0] for letter in text if letter.isalpha())
    total = sum(names.values())
    fitting = [script for script, parts in SCRIPTS.items() if 2 * sum(names[part] for part in parts) > total]
    is_japanese = sum(names[part] for part in KANA) >= LEAST_KANA * total
    wrong = ("Hans", "Hant") if is_japanese else ("Jpan",)
    return tuple(script for script in fitting if script not in wrong)


def expected_script(language: str) -> str:
    """Return the script of a language; the region of a tag such as `pt-BR` is not one."""
    script = script_of(language)
    return script if len(script) == len("Latn") else script_of(language.partition("-")[0])


def is_in_script_of(text: str, language: str) -> bool:
    """Whether most letters of a text belong to the script of a language; true for scripts that are not in the table."""
    script = expected_script(language)
    return script not in SCRIPTS or script in main_scripts(text)


def script_suffices(language: str) -> bool:
    """Whether the script of a text identifies a language."""
    return expected_script(language) in OF_ONE_LANGUAGE


def judged_lines(text: str, language: str) -> list[str]:
    """Return the lines of a text that are long enough to be judged, without punctuation."""
    lines = (line.strip() for line in text.translate(PUNCTUATION).splitlines())
    return [line for line in lines if _is_long(line, language)]


def _is_long(line: str, language: str) -> bool:
    n_words = sum(any(map(str.isalpha, word)) for word in line.split())
    if expected_script(language) in WITHOUT_SPACES:
        return max(sum(map(str.isalpha, line)), 2 * n_words) >= 2 * LEAST_WORDS
    return n_words >= LEAST_WORDS


def is_in_language(line: str, language: str, *, detector: str) -> bool:
    """Whether a line is in a language: by its script if that decides, else by the detector.

    Raises:
        BadInputError: the detector does not know the language, is another version, or is not installed.
    """
    if not is_in_script_of(line, language):
        return False
    return script_suffices(language) or language_detector(detector)(line) == language.partition("-")[0]


def pass_sums(texts: Sequence[str], language: str, *, detector: str) -> Array:
    """Return four columns, [n, 4]: 1 for each text that is judged, passes its lines, passes its words, and 1 for each.

    Args:
        texts: [n] generated texts.
        language: the expected language.
        detector: name and version, as `installed_detector` returns.
    Raises:
        BadInputError: as in `is_in_language`.
    """
    check_language(language)
    rows = np.zeros((len(texts), 4))
    rows[:, 3] = 1
    for number, text in enumerate(texts):
        lines = judged_lines(text, language)
        passes_lines = bool(lines) and all(is_in_language(line, language, detector=detector) for line in lines)
        passes_words = passes_lines and not any(ENGLISH_WORD.search(line) for line in lines)
        rows[number, :3] = bool(lines), passes_lines, passes_words
    return rows


def check_language(language: str) -> None:
    """Refuse a language that neither its script nor the detector identifies.

    Raises:
        BadInputError: the detector does not know it, or is not installed.
    """
    if not script_suffices(language) and language.partition("-")[0] not in detected_languages():
        raise BadInputError("the detector does not know the language", expected=detected_languages(), got=language)


@lru_cache(maxsize=64)
def translation_passes(language: str, detector: str) -> Callable[[Translations], Array]:
    """Return the statistics of translations into a language; one function, so that metrics share the sums."""

    def statistics(predictions: Translations) -> Array:
        return pass_sums(predictions.outputs, language, detector=detector)

    return statistics


def has_word_rate(language: str) -> bool:
    """Whether English words can be distinguished from those of a language by their letters."""
    return expected_script(language) != "Latn"


def line_pass_rate(sums: Array) -> Array:
    """[...] from [..., 4] sums: texts that pass their lines, of those that are judged; 1 if none is."""
    return _rate(sums[..., 1], sums[..., 0])


def word_pass_rate(sums: Array) -> Array:
    """[...] from [..., 4] sums: texts that also pass their words, of those that pass their lines; 1 if none does."""
    return _rate(sums[..., 2], sums[..., 1])


def judged_share(sums: Array) -> Array:
    """[...] from [..., 4] sums: share of the texts that are judged."""
    return _rate(sums[..., 0], sums[..., 3])


def _rate(passed: Array, counted: Array) -> Array:
    return np.asarray(np.divide(passed, counted, out=np.ones(np.shape(counted)), where=counted > 0))
