"""The description of a layout of parallel text, and language codes of publishers."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from babel import Locale
from babel.core import get_global

from mlprune.languages import language_tag

_CODE = re.compile(r"(?P<language>[A-Za-z]{2,3})(?P<subtags>([-_][A-Za-z0-9]{2,8})*)")
_FLORES_101_SCRIPTS = {"simpl": "Hans", "trad": "Hant"}
SPLITS = ("train", "dev", "valid", "validation", "devtest", "test")
"""Names of files and folders that are splits."""


class LanguageCode(NamedTuple):
    """A code in its parts, as CLDR writes them."""

    language: str
    script: str
    """The script of the code, or else the likely one in CLDR, or Latin."""
    region: str
    variant: str

    @property
    def tag(self) -> str:
        """The tag to write in a recipe, without a script that is the likely one: `fr`, `zh-Hant`, `pt-BR`."""
        script = "" if self.script == _likely_script(self.language, "") else self.script
        region = "" if self.language == "zh" and self.script == _likely_script("zh", self.region) else self.region
        return "-".join(part for part in (self.language, script, region, self.variant) if part)


@cache
def parse_code(code: str) -> LanguageCode | None:
    """Parse a code: ISO 639-1 or -3, then perhaps a script, a region and a variant. None if it has another form."""
    match = _CODE.fullmatch(code)
    if match is None:
        return None
    language = match["language"].lower()
    alias = str(get_global("language_aliases").get(language, language))
    language, _, script = alias.partition("_")
    region = variant = ""
    for subtag in filter(None, re.split("[-_]", match["subtags"])):
        subtag_script = _FLORES_101_SCRIPTS.get(subtag, subtag if len(subtag) == 4 and subtag.isalpha() else "")
        if subtag_script:
            script = subtag_script.capitalize()
        elif len(subtag) == 2:
            region = subtag.upper()
        else:
            variant = subtag
    return LanguageCode(language, script or _likely_script(language, region), region, variant)


def is_known_language(code: str) -> bool:
    """Whether a text is the code of a language that CLDR has a name for."""
    parsed = parse_code(code)
    return parsed is not None and parsed.language in Locale("en").languages


def is_same_language(code: str, other: str) -> bool:
    """Whether two codes are spellings of one language, script, region and variant: `yo`, `yor`, `yor_Latn`.

    Two codes of three letters are different languages, though CLDR may treat one as the other (`aka` and `twi`).
    """
    parsed = parse_code(code)
    if parsed is None or parsed != parse_code(other):
        return False
    languages = {re.split("[-_]", text.lower())[0] for text in (code, other)}
    return len(languages) == 1 or len({len(language) for language in languages}) == 2


def recipe_tags(codes: Sequence[str]) -> dict[str, str]:
    """The tag to write in a recipe for each code of a publisher: the usual one, or the code if that is ambiguous."""
    tags = {code: _usual_tag(code) for code in codes}
    return {code: tag if matching_codes(tag, codes) == (code,) else language_tag(code) for code, tag in tags.items()}


def _usual_tag(code: str) -> str:
    parsed = parse_code(code)
    return code if parsed is None else language_tag(parsed.tag)


def matching_codes(tag: str, codes: Sequence[str]) -> tuple[str, ...]:
    """The codes of a publisher that a recipe's tag means; several if the tag is ambiguous.

    A code that is written as the tag comes first, then one that recipes store as the tag, then one of the same
    language, script, region and variant. A tag without a region also means the only region or variant that is
    published: `en` means `en-US`.
    """
    same = tuple(code for code in codes if _spelling(code) == _spelling(tag))
    stored = tuple(code for code in codes if language_tag(code) == tag)
    wanted = parse_code(tag)
    if same or stored or wanted is None:
        return same or stored
    parsed = {code: parse_code(code) for code in codes}
    equal = tuple(code for code in codes if parsed[code] == wanted)
    if equal or wanted.region or wanted.variant:
        return equal
    return tuple(code for code, other in parsed.items() if other is not None and other[:2] == wanted[:2])


def _spelling(code: str) -> str:
    return code.lower().replace("_", "-")


def _likely_script(language: str, region: str) -> str:
    likely = get_global("likely_subtags")
    subtags = str(likely.get(f"{language}_{region}") or likely.get(language) or "").split("_")
    return next((subtag for subtag in subtags[1:] if len(subtag) == 4), "Latn")


@dataclass(frozen=True)
class TextSource:
    """The sentences of one language and split."""

    path: Path
    code: str
    """The language as the publisher writes it."""
    split: str = ""
    """The split, or another name that distinguishes the texts of a path; empty if the path has one text."""
    column: str = ""
    """Its column in a table whose header has another name for the language; empty if the header has the code."""


class TextDocument(NamedTuple):
    """The document of a sentence; empty texts if it is not known."""

    name: str = ""
    genre: str = ""


def no_documents(source: TextSource) -> Sequence[TextDocument]:
    """Return nothing: the layout does not state documents."""
    return ()


@dataclass(frozen=True)
class TextLayout:
    """A layout of parallel text."""

    name: str
    example: str
    """Names of files, for messages and documentation."""
    find: Callable[[Path], Sequence[TextSource]]
    """Function that lists the sources of a path; none if the path has another layout."""
    read: Callable[[Sequence[TextSource]], list[list[str]]]
    """Function that reads the sentences of some sources of one split, empty ones included."""
    skips_incomplete: bool = False
    """Whether a sentence that is empty in one language of the text is skipped in all of them, instead of refused."""
    documents: Callable[[TextSource], Sequence[TextDocument]] = no_documents
    """Function that lists the document of each line of a source."""


def files_in(path: Path) -> list[Path]:
    """The files of a folder in the order of their names; a file stands for itself."""
    if path.is_dir():
        return sorted(child for child in path.iterdir() if child.is_file())
    return [path] if path.is_file() else []


def split_name(name: str) -> str:
    """The name if it is a split, else empty."""
    return name if name in SPLITS else ""
