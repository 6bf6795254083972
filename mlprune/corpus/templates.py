"""How a sentence is written into a demonstration or a prompt: the one place that knows the format.

docs/method.md section 1 (Kim et al., arXiv 2409.16911): `"{Language}: {sentence}" E`, languages named in English.
"""

from babel import Locale

from mlprune.errors import CorpusError


def language_label(language: str) -> str:
    """CLDR's English name of a language tag, without its script: "Chinese" for zh and for zh-Hant.

    Raises:
        CorpusError: CLDR does not know the language.
    """
    name = Locale("en").languages.get(language.split("-", maxsplit=1)[0])
    if name is None:
        raise CorpusError("CLDR has no name for a language", got=language, expected="an ISO 639 code such as fr")
    return str(name)


def labelled(language: str, sentence: str, end: str) -> str:
    """One side of a shot: `"{Language}: {sentence}"` and the end-of-sequence token."""
    return f"{language_label(language)}: {sentence}{end}"
