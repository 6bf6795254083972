"""How a sentence is written into a demonstration or a prompt: the one place that knows the format.

METHOD section 1 (Kim et al., arXiv 2409.16911): `"{Language}: {sentence}" E`, languages named in English.
"""

from babel import Locale


def language_label(language: str) -> str:
    """CLDR's English name of a language tag, without its script: "Chinese" for zh and for zh-Hant."""
    name = Locale("en").languages.get(language.split("-")[0])
    if name is None:
        raise KeyError(language)
    return str(name)


def labelled(language: str, sentence: str, end: str) -> str:
    """One side of a shot: `"{Language}: {sentence}"` and the end-of-sequence token."""
    return f"{language_label(language)}: {sentence}{end}"
