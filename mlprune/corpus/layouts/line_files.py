"""Layouts with one text file per language: plain folders, FLORES-200, NTREX-128 and pairs of Moses files."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from mlprune.corpus.layouts.text_layout import (
    SPLITS,
    TextSource,
    files_in,
    is_known_language,
    parse_code,
    split_name,
)
from mlprune.corpus.text_files import read_lines, uncompressed_name

_FLORES = re.compile(r"(?P<code>[a-z]{3}(_[A-Za-z0-9]+)*)\.(?P<split>dev|devtest|test)")
_FLORES_PLUS = re.compile(r"(?P<split>dev|devtest)\.(?P<code>[a-z]{3}_[A-Z][a-z]{3}(_\w+)?)")
OTHER_SUFFIXES = frozenset(
    (
        *("ali", "bak", "bin", "bpe", "bz2", "cfg", "csv", "dat", "doc", "htm", "ids", "idx", "img", "jpg", "log"),
        *("lst", "map", "npy", "npz", "old", "out", "pdf", "pkl", "png", "pos", "raw", "ref", "sgm", "src", "tab"),
        *("tex", "tgt", "tmp", "tsv", "txt", "url", "vec", "xml", "xls", "yml", "zip", "zst"),
    )
)
"""Extensions of three letters that do not mean languages next to Moses files, though some are codes of ISO 639-3."""
_NTREX = re.compile(r"newstest2019-(src|ref)\.(?P<code>[a-z]{3}(-[A-Za-z]+)?)\.txt")


def read(sources: Sequence[TextSource]) -> list[list[str]]:
    """The lines of each source."""
    return [read_lines(source.path) for source in sources]


def plain_sources(path: Path) -> list[TextSource]:
    """`fr.txt` or `fra_Latn.txt`, if one of them has the name of a language."""
    sources = every_text_file(path)
    return sources if any(is_known_language(source.code) for source in sources) else []


def every_text_file(path: Path) -> list[TextSource]:
    """Every text file of a folder, as the sentences of the language with its name."""
    names = [(file, uncompressed_name(file)) for file in files_in(path)] if path.is_dir() else []
    stems = [(file, name.removesuffix(".txt")) for file, name in names if name.endswith(".txt")]
    return [TextSource(file, stem) for file, stem in stems if "." not in stem]


def flores_sources(path: Path) -> list[TextSource]:
    """`dev/fra_Latn.dev`, and `dev/dev.fra_Latn` of FLORES+."""
    files = [(file, uncompressed_name(file)) for file in files_in(path)]
    matches = [(file, _FLORES.fullmatch(name) or _FLORES_PLUS.fullmatch(name)) for file, name in files]
    return [TextSource(file, match["code"], match["split"]) for file, match in matches if match]


def ntrex_sources(path: Path) -> list[TextSource]:
    """`newstest2019-src.eng.txt` and `newstest2019-ref.fra.txt`; second references are left out."""
    folder = path / "NTREX-128" if (path / "NTREX-128").is_dir() else path
    matches = [(file, _NTREX.fullmatch(uncompressed_name(file))) for file in files_in(folder)]
    return [TextSource(file, match["code"]) for file, match in matches if match]


def moses_sources(path: Path) -> list[TextSource]:
    """`Tatoeba.en-fr.en` and `Tatoeba.en-fr.fr`; a path that does not exist is the part before the language."""
    is_prefix = not path.exists()
    texts: dict[str, list[tuple[Path, str]]] = defaultdict(list)
    for file in files_in(path.parent if is_prefix else path):
        stem, _, code = uncompressed_name(file).rpartition(".")
        if stem and (stem == path.name or not is_prefix) and _may_be_moses_code(code, stem):
            texts[stem].append((file, code))
    pairs = {stem: files for stem, files in texts.items() if _is_moses_pair([code for _, code in files], stem)}
    return [
        TextSource(file, code, split_name(stem) if is_prefix else stem)
        for stem, files in pairs.items()
        for file, code in files
    ]


def _may_be_moses_code(code: str, stem: str) -> bool:
    """Whether an extension has the form of a language code, or is named by the stem as in `x.ber-tzm`.

    CLDR has names for a tenth of the languages of ISO 639-3, so a code without a name (`quy`) counts as well.
    """
    if code in SPLITS or not code:
        return False
    return is_known_language(code) or _is_named(code, stem) or (parse_code(code) is not None and not _is_suffix(code))


def _is_suffix(code: str) -> bool:
    return code.lower() in OTHER_SUFFIXES or (len(code) == 2 and not is_known_language(code))


def _is_named(code: str, stem: str) -> bool:
    return code in re.split(r"[.-]", stem)


def _is_moses_pair(codes: Sequence[str], stem: str) -> bool:
    """Whether the extensions of files of one stem are several languages, at least one of which is certain."""
    return len(set(codes)) > 1 and any(is_known_language(code) or _is_named(code, stem) for code in codes)
