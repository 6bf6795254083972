"""The pattern of most files of a folder: where their names state a language and a split."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import takewhile

from babel import Locale

from mlprune.corpus.layouts.text_layout import is_known_language
from mlprune.vocabulary import READABLE_SUFFIXES

_WORD = re.compile(
    r"(?<![A-Za-z0-9])(?:(?P<split>(?i:train|dev|val|valid|validation|devtest|test))"
    r"|(?P<code>[A-Za-z]{2,3}(?:[-_](?:[A-Z][a-z]{3}|[A-Z]{2}))?))(?![A-Za-z0-9])"
)
"""A split, or what may be the code of a language, in a name."""
_FIELD = re.compile(r"{\w+}")


@dataclass(frozen=True)
class NamedFile:
    """A table, and what its name states."""

    name: str
    """Name below the folder."""
    pattern: str
    """The name with `{language}` and `{split}`."""
    language: str = ""
    """The language as the publisher writes it; empty if the name does not state it."""
    split: str = ""


@dataclass(frozen=True)
class FilePattern:
    """A pattern and its files."""

    pattern: str
    """Names with `{language}`, `{split}`, and `*` where several files are parts of one table."""
    files: tuple[NamedFile, ...]

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages in the order of the names."""
        return tuple(dict.fromkeys(file.language for file in self.files if file.language))

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits in the order of the names."""
        return tuple(dict.fromkeys(file.split for file in self.files if file.split))


def find_patterns(names: Iterable[str]) -> list[FilePattern]:
    """Return the patterns of the tables among some names, that of most files first.

    A part of a name is its language if it is a code that differs between files, or if the code is a word at an end
    of the name or is a folder. So is the English name of a language, such as `acehnese`, if it differs between files.
    Names that still differ are also joined by `*`.
    """
    tables = [name for name in names if name.endswith(READABLE_SUFFIXES) and not set(name) & set("{}")]
    languages: dict[str, set[str]] = defaultdict(set)
    frames = {name: dict(_frames(name)) for name in tables}
    for of_name in frames.values():
        for code, frame in of_name.items():
            languages[frame].add(code)
    by_pattern: dict[str, list[NamedFile]] = defaultdict(list)
    for name, of_name in frames.items():
        file = _named(name, of_name, languages)
        by_pattern[file.pattern].append(file)
    patterns = [FilePattern(pattern, tuple(files)) for pattern, files in by_pattern.items()]
    groups: dict[object, list[FilePattern]] = defaultdict(list)
    for pattern in patterns:
        groups[_shape(pattern.pattern)].append(pattern)
    joined = [_joined(group) for group in groups.values() if len(group) > 1]
    found = [*patterns, *filter(None, joined)]
    return sorted(found, key=lambda each: (-len(each.files), "{language}" not in each.pattern, each.pattern))


def _frames(name: str) -> Iterable[tuple[str, str]]:
    """Yield each possible code of a language in a name, and the name with `{language}` in its place."""
    codes = (match["code"] for match in _WORD.finditer(_stem(name)) if match["code"])
    for code in dict.fromkeys(codes):
        if is_known_language(code):
            yield code, _replaced(name, {"code": code}, "{language}")
    parts = _stem(name).split("/")
    for word in dict.fromkeys(part for part in parts if part.lower() in _language_names()):
        stem = "/".join("{language}" if part == word else part for part in parts)
        yield word, stem + name[len(_stem(name)) :]


@cache
def _language_names() -> Mapping[str, str]:
    """English name of a language in lower case, with `_` for spaces -> code."""
    return {name.lower().replace(" ", "_"): code for code, name in Locale("en").languages.items() if "_" not in code}


def named_languages(languages: Iterable[str]) -> dict[str, str]:
    """Return code -> name of the languages that files state by an English name, such as `acehnese`."""
    names = _language_names()
    return {names[name.lower()]: name for name in languages if name.lower() in names}


def _stem(name: str) -> str:
    return name[: -len(next(suffix for suffix in READABLE_SUFFIXES if name.endswith(suffix)))]


def _replaced(name: str, word: Mapping[str, str], field: str) -> str:
    """Return a name with a field in place of a word: its kind, a group of `_WORD`, and the word itself."""
    stem = _stem(name)
    ((kind, text),) = word.items()
    return _WORD.sub(lambda match: field if match[kind] == text else match[0], stem) + name[len(stem) :]


def _named(name: str, frames: Mapping[str, str], languages: Mapping[str, set[str]]) -> NamedFile:
    """Choose the language of a file among the possible ones, and its split: the last one that its name states."""
    code = max(frames, key=lambda code: len(languages[frames[code]]), default="")
    is_alone = _stands_alone(code, _stem(name)) and code.lower() not in _language_names()
    is_language = bool(code) and (len(languages[frames[code]]) > 1 or is_alone)
    pattern = frames[code] if is_language else name
    splits = [match["split"] for match in _WORD.finditer(_stem(pattern)) if match["split"]]
    if splits:
        pattern = _replaced(pattern, {"split": splits[-1]}, "{split}")
    return NamedFile(name, pattern, code if is_language else "", splits[-1] if splits else "")


def _stands_alone(code: str, stem: str) -> bool:
    """Whether a code is a folder, or the first or last part of a name."""
    *folders, last = stem.split("/")
    parts = re.split(r"[._-]", last)
    return code in (*folders, parts[0], parts[-1], last)


def _shape(pattern: str) -> tuple[object, ...]:
    """Return what patterns have in common that may be joined: the fields of each folder and name, and the ending."""
    fields = tuple(tuple(_FIELD.findall(part)) for part in pattern.split("/"))
    return (*fields, pattern[len(_stem(pattern)) :])


def _joined(patterns: Sequence[FilePattern]) -> FilePattern | None:
    """Return one pattern for several of one shape, with `*` where they differ; None if a field is where they differ."""
    parts = zip(*(each.pattern.split("/") for each in patterns), strict=True)
    joined = [_joined_part(list(dict.fromkeys(part))) for part in parts]
    if not all(joined):
        return None
    return FilePattern("/".join(filter(None, joined)), tuple(file for each in patterns for file in each.files))


def _joined_part(parts: Sequence[str]) -> str | None:
    if len(parts) == 1:
        return parts[0]
    start = _common_start(parts)
    end = _common_start([part[len(start) :][::-1] for part in parts])[::-1]
    joined, fields = f"{start}*{end}", _FIELD.findall(parts[0])
    is_whole = _FIELD.findall(joined) == fields and joined.count("{") == joined.count("}") == len(fields)
    return joined if is_whole else None


def _common_start(parts: Sequence[str]) -> str:
    same = takewhile(lambda characters: len(set(characters)) == 1, zip(*parts, strict=False))
    return "".join(characters[0] for characters in same)
