"""Measures: a metric of a task over a group of languages, as an objective names it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mlprune.languages import ENGLISH, language_tag, pair_languages
from mlprune.vocabulary import METRIC_TRAITS, GroupKind

RANK_CONSISTENCY = "rank_consistency"
METRIC_NAMES = (*METRIC_TRAITS, RANK_CONSISTENCY)
WHOLE_GROUPS: Sequence[GroupKind] = ("outside_english", "all", "worst")
"""Groups that need no name."""
EXPECTED_GROUPS = "outside_english, all, worst, english, a language, a pair, script:Latn or class:2"
_SCRIPT = re.compile(r"script:([A-Z][a-z]{3})")
_CLASS = re.compile(r"(?:resource_)?class:([0-5])")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
_REGION = re.compile(r"[a-z]{2,3}[-_][A-Z]{2}")


@dataclass(frozen=True)
class Group:
    """Languages, or pairs of languages, that are taken together."""

    kind: GroupKind
    name: str = ""
    """The language, pair, script or resource class; empty for the other kinds."""

    def __str__(self) -> str:
        if self.kind == "language":
            return "english" if self.name == ENGLISH else self.name
        return f"{self.kind.removeprefix('resource_')}:{self.name}" if self.name else self.kind


@dataclass(frozen=True)
class Measure:
    """A metric of a task over a group. Parts that the objective omits are None: the caller knows the defaults.

    `worst` is the language with the lowest value, or the highest one of a metric for which lower is better. Other
    groups are unweighted means over their languages.
    """

    task: str | None
    metric: str | None
    group: Group

    def __str__(self) -> str:
        metric = f"{self.task}.{self.metric}" if self.task else self.metric
        return f"{metric}({self.group})" if metric else str(self.group)


def parse_group(text: str) -> Group | None:
    """Return the group of a name such as `worst`, `fr`, `fr-en`, `script:Latn` or `class:2`; None if it is not one."""
    if text == "english":
        return Group("language", ENGLISH)
    for kind in WHOLE_GROUPS:
        if text == kind:
            return Group(kind)
    if match := _SCRIPT.fullmatch(text):
        return Group("script", match[1])
    if match := _CLASS.fullmatch(text):
        return Group("resource_class", match[1])
    if not _REGION.fullmatch(text):
        try:
            return Group("language", "-".join(pair_languages(text)))
        except ValueError:
            pass
    return Group("language", language_tag(text)) if _LANGUAGE.fullmatch(text) else None
