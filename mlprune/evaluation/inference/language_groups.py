"""Groups of languages whose differences are taken together."""

from collections.abc import Mapping
from dataclasses import dataclass

from mlprune.languages import ENGLISH, resource_class_of, script_of
from mlprune.vocabulary import GroupKind


@dataclass(frozen=True)
class LanguageGroup:
    """Languages of a task that are taken together."""

    kind: GroupKind
    name: str
    """The script, the number of the resource class, or the language; empty for other kinds."""
    languages: tuple[str, ...]
    """Languages, or pairs of languages, sorted."""


def language_groups(main_languages: Mapping[str, str]) -> list[LanguageGroup]:
    """Return the groups of a task's languages that have at least one language.

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
    ]
    return [group for group in groups if group.languages]


def _having(values: Mapping[str, object], value: object, *, kind: GroupKind) -> LanguageGroup:
    return LanguageGroup(kind, str(value), tuple(name for name in values if values[name] == value))
