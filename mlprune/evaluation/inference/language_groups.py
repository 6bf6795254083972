"""Groups of languages whose differences are taken together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlprune.languages import ENGLISH, resource_class_of, script_of
from mlprune.vocabulary import GroupKind


@dataclass(frozen=True)
class LanguageGroup:
    """Languages of a task that are taken together."""

    kind: GroupKind
    name: str
    """The script, the number of the resource class, or the language; empty for other kinds and for all languages."""
    languages: tuple[str, ...]
    """Languages, or pairs of languages, sorted."""


def language_groups(main_languages: Mapping[str, str]) -> list[LanguageGroup]:
    """Return the groups of a task's languages that have at least one language.

    The difference of a group `gap` is that of a language, or of the mean outside English, minus that of English.

    English is in `all` and `worst`, but in no script and no resource class. A language that the taxonomy of resource
    classes lacks is in no resource class.

    Args:
        main_languages: evaluated language, or pair such as `fr-en` -> the language that places it in a group: itself,
            or the pair's language other than English.
    """
    languages = tuple(sorted(main_languages))
    foreign = tuple(name for name in languages if main_languages[name] != ENGLISH)
    scripts = {name: script_of(main_languages[name]) for name in foreign}
    classes = {name: resource_class_of(main_languages[name]) for name in foreign}
    groups = [
        LanguageGroup("outside_english", "", foreign),
        LanguageGroup("all", "", languages),
        LanguageGroup("worst", "", languages),
        *(_having(scripts, script, kind="script") for script in sorted(set(scripts.values()))),
        *(
            _having(classes, number, kind="resource_class")
            for number in sorted({number for number in classes.values() if number is not None})
        ),
        *_gaps(languages, foreign),
    ]
    return [group for group in groups if group.languages]


def _gaps(languages: Sequence[str], foreign: Sequence[str]) -> list[LanguageGroup]:
    """Return each language minus English, and the mean outside English minus English; nothing without English."""
    if ENGLISH not in languages or not foreign:
        return []
    pairs = [LanguageGroup("gap", name, tuple(sorted((ENGLISH, name)))) for name in foreign]
    return [LanguageGroup("gap", "", tuple(languages)), *pairs]


def _having(values: Mapping[str, object], value: object, *, kind: GroupKind) -> LanguageGroup:
    return LanguageGroup(kind, str(value), tuple(name for name in values if values[name] == value))
