"""How a text is written into a demonstration or a prompt: the one place that knows the format.

docs/method.md section 1 (Kim et al., arXiv 2409.16911): `"{Language}: {sentence}" E`, languages named in English. A
recipe may bring a template of its own; it is filled once for each side of each shot.
"""

import string

from babel import Locale, UnknownLocaleError

from mlprune.errors import CorpusError

LABELLED = "{language}: {text}{end}"
"""One side of a shot in the paper: what translation and monolingual sets use."""

PLAIN = "{text}{end}"
"""A text as it is, then the end-of-sequence token: what text and task sets use."""

PLACEHOLDERS = ("language", "endonym", "text", "end")
"""CLDR's English name of the language, its name in itself, the text, the end-of-sequence token E."""


def language_label(language: str) -> str:
    """CLDR's English name of a language tag, without its script: "Chinese" for zh and for zh-Hant.

    Raises:
        CorpusError: CLDR does not know the language.
    """
    name = Locale("en").languages.get(language.split("-", maxsplit=1)[0])
    if name is None:
        raise CorpusError("CLDR has no name for a language", got=language, expected="an ISO 639 code such as fr")
    return str(name)


def endonym(language: str) -> str:
    """CLDR's name of a language in the language itself, without its script: "français" for fr.

    Raises:
        CorpusError: CLDR has no locale of the language, or the locale does not name it.
    """
    code = language.split("-", maxsplit=1)[0]
    try:
        name = Locale.parse(language, sep="-").languages.get(code)
    except (UnknownLocaleError, ValueError):
        name = None
    if name is None:
        expected = "a language that names itself in CLDR, or {language} instead of {endonym}"
        raise CorpusError("CLDR does not know what a language calls itself", got=language, expected=expected)
    return str(name)


def fill_template(template: str, text: str, *, language: str | None, end: str) -> str:
    """A template with its placeholders replaced; `{{` and `}}` stand for braces.

    Args:
        language: tag of the text's language; None where nobody said what it is.
        end: the tokenizer's end-of-sequence token.
    Raises:
        CorpusError: the template has an unknown placeholder or none for the text, is no template at all, or names a
            language that is not known.
    """
    values = {"text": text, "end": end}
    used = _placeholders(template)
    if language is None and used & {"language", "endonym"}:
        raise CorpusError("a template names the language, and the set has none", got=template, expected="a language")
    if language is not None and "language" in used:
        values["language"] = language_label(language)
    if language is not None and "endonym" in used:
        values["endonym"] = endonym(language)
    return template.format(**values)


def _placeholders(template: str) -> set[str]:
    """The placeholders of a template, checked."""
    known = [f"{{{name}}}" for name in PLACEHOLDERS]
    try:
        fields = [field for field in string.Formatter().parse(template) if field[1] is not None]
    except ValueError as err:
        raise CorpusError("a template cannot be read", got=template, expected=known, reason=str(err)) from err
    for _, name, form, conversion in fields:
        if name not in PLACEHOLDERS or form or conversion:
            raise CorpusError("unknown placeholder in a template", template=template, expected=known, got=name)
    used = {str(name) for _, name, _, _ in fields}
    if "text" not in used:
        raise CorpusError("a template has no place for the text", expected="{text}", got=template)
    return used


def format_labelled(language: str, sentence: str, end: str) -> str:
    """One side of a shot: `"{Language}: {sentence}"` and the end-of-sequence token."""
    return fill_template(LABELLED, sentence, language=language, end=end)
