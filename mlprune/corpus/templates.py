"""Templates: the format in which a text becomes part of a demonstration or a prompt.

The format of Kim et al. (arXiv:2409.16911) is `"{Language}: {sentence}" E`, with English names of languages. A recipe
may have its own template. Each side of each shot fills it once.
"""

import string

from babel import Locale, UnknownLocaleError
from babel.core import get_global

from mlprune.errors import CorpusError

LABELLED = "{language}: {text}{end}"
"""One side of a shot in the paper; the default of translation and monolingual sets."""

PLAIN = "{text}{end}"
"""A text and the end-of-sequence token; the default of text and task sets."""

PLACEHOLDERS = ("language", "endonym", "text", "end")
"""The English name of the language in CLDR, its name in itself, the text, the end-of-sequence token E."""


def language_label(language: str) -> str:
    """The English name of a language in CLDR, without its script: "Chinese" for zh and for zh-Hant.

    Raises:
        CorpusError: CLDR does not have the language.
    """
    name = Locale("en").languages.get(_cldr_code(language))
    if name is None:
        raise CorpusError("CLDR has no name for a language", got=language, expected="an ISO 639 code such as fr")
    return str(name)


def endonym(language: str) -> str:
    """The name of a language in itself in CLDR, without its script: "français" for fr.

    Raises:
        CorpusError: CLDR has no locale of the language, or the locale has no name for it.
    """
    code = _cldr_code(language)
    try:
        name = Locale.parse("-".join([code, *language.split("-")[1:]]), sep="-").languages.get(code)
    except (UnknownLocaleError, ValueError):
        name = None
    if name is None:
        expected = "a language with an endonym in CLDR, or {language} instead of {endonym}"
        raise CorpusError("CLDR has no endonym of a language", got=language, expected=expected)
    return str(name)


def _cldr_code(language: str) -> str:
    """CLDR's code of a language without its script: `zh` for cmn-Hans, which FLORES+ writes."""
    code = language.split("-", maxsplit=1)[0]
    alias = str(get_global("language_aliases").get(code, code))
    return alias.partition("_")[0]


def fill_template(template: str, text: str, *, language: str | None, end: str) -> str:
    """Replace the placeholders of a template; `{{` and `}}` are braces.

    Args:
        language: tag of the text's language; None if the recipe does not give it.
        end: the tokenizer's end-of-sequence token.
    Raises:
        CorpusError: the template has an unknown placeholder, no placeholder for the text or a syntax error, or uses
            the name of a language that has none.
    """
    values = {"text": text, "end": end}
    used = _placeholders(template)
    if language is None and used & {"language", "endonym"}:
        message = "a template contains the language, but the set does not have one"
        raise CorpusError(message, got=template, expected="a language")
    if language is not None and "language" in used:
        values["language"] = language_label(language)
    if language is not None and "endonym" in used:
        values["endonym"] = endonym(language)
    return template.format(**values)


def _placeholders(template: str) -> set[str]:
    """Check a template and return its placeholders."""
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
        raise CorpusError("a template has no placeholder for the text", expected="{text}", got=template)
    return used


def format_labelled(language: str, sentence: str, end: str) -> str:
    """One side of a shot: `"{Language}: {sentence}"` and the end-of-sequence token."""
    return fill_template(LABELLED, sentence, language=language, end=end)
