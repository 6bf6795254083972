"""Scripts of a text, by the Unicode names of its letters, and the languages that a script identifies."""

import unicodedata
from collections import Counter
from collections.abc import Mapping

from mlprune.languages import script_of

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
Bengali script or Tigrinya in Ethiopic, is not told apart. Simplified and traditional Chinese are not, either."""
WITHOUT_SPACES = ("Jpan", "Hans", "Hant", "Thai", "Laoo", "Mymr", "Khmr")
"""Scripts that do not separate words by spaces."""
KANA = ("HIRAGANA", "KATAKANA")
LEAST_KANA = 0.1
"""Share of kana in the letters of a text from which on its Chinese characters are Japanese."""


def main_scripts(text: str) -> tuple[str, ...]:
    """Return the scripts that most letters of a text belong to, by Unicode's names; none if it has no letters.

    Chinese characters with kana are Japanese, without kana simplified and traditional Chinese.
    """
    names = Counter(_name(character) for character in text if character.isalpha())
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


def _name(character: str) -> str:
    """Return the first word of a character's name, such as `CYRILLIC`."""
    return unicodedata.name(character, "").partition(" ")[0]
