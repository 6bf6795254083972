"""Groups of languages over which a question is asked: their names in a recipe."""

import re
from typing import Final, NamedTuple

from mlprune.languages import language_tag, pair_languages
from mlprune.vocabulary import GroupKind

WHOLE_GROUPS: Final[tuple[GroupKind, ...]] = ("outside_english", "all", "worst")
"""Groups that need no name."""
_SCRIPT = re.compile(r"script:([A-Z][a-z]{3})")
_RESOURCE_CLASS = re.compile(r"resource_class:([0-5])")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
EXPECTED = "outside_english, all, worst, a language, a pair, script:Latn or resource_class:2"


class AskedLanguages(NamedTuple):
    """Languages of a task that are taken together."""

    kind: GroupKind
    name: str = ""
    """The script, the resource class, the language or the pair; empty for the other kinds."""

    @property
    def text(self) -> str:
        """The group as a recipe names it."""
        return self.name if self.kind == "language" else f"{self.kind}:{self.name}" if self.name else self.kind


def asked_languages(text: str) -> AskedLanguages:
    """Parse the key `languages` of a question.

    Raises:
        ValueError: it is not a group, a language or a pair.
    """
    for kind in WHOLE_GROUPS:
        if text == kind:
            return AskedLanguages(kind)
    if match := _SCRIPT.fullmatch(text):
        return AskedLanguages("script", match[1])
    if match := _RESOURCE_CLASS.fullmatch(text):
        return AskedLanguages("resource_class", match[1])
    try:
        return AskedLanguages("language", "-".join(pair_languages(text)))
    except ValueError:
        pass
    if not _LANGUAGE.fullmatch(text):
        raise ValueError(f"expected {EXPECTED}, got {text!r}")
    return AskedLanguages("language", language_tag(text))
