"""Language confusion: the shares of generated texts whose lines and words are in the right language.

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
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from mlprune.errors import BadInputError
from mlprune.evaluation.languages.detector import detected_languages, language_detector
from mlprune.evaluation.languages.scripts import (
    WITHOUT_SPACES,
    expected_script,
    is_in_script_of,
    script_suffices,
)
from mlprune.evaluation.scoring.translation import Translations
from mlprune.numeric.evaluation.metrics import Array

LEAST_WORDS = 5
"""Words of the shortest line that is judged; twice as many letters in scripts without spaces."""
ENGLISH_WORD = re.compile(r"(?<![A-Za-z])[a-z]{4,}(?![A-Za-z])")
PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation, "") | {"—": " ", "،": ""})


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
    """Whether English words can be told from those of a language by their letters."""
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
