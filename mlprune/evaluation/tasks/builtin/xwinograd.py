"""XWinograd: choice of what a pronoun refers to (Tikhonov and Ryabinin 2021, arXiv:2106.12066).

Its table `dataset.tsv` has no header: language, source, English original, sentence, tokens, pronoun and candidates.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from mlprune.corpus.text_files import read_cells
from mlprune.descriptions import CONVERTED, HubSet
from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks.items import ChoiceItem, ItemGroup, Row, choice_item, one_based_index, runs, text_of
from mlprune.evaluation.tasks.layouts import layout
from mlprune.evaluation.tasks.task import CHOICE_METRICS, Task
from mlprune.json_values import JsonValue, as_int, as_list, as_str, parse_json

GAP = "_"
"""Marks where an option goes."""
N_COLUMNS = 7
CODES = {"jp": "ja"}
"""Code of a language in the table -> tag, if they differ."""
QUOTES = {"``": '"', "''": '"'}
"""Token of the table -> its characters in the sentence, if they differ."""


def xwinograd() -> Task:
    """What a pronoun refers to."""
    return Task(
        "xwinograd",
        CHOICE_METRICS,
        ("sentence", "option1", "option2", "answer"),
        xwinograd_item,
        groups=xwinograd_groups,
        citation="Tikhonov and Ryabinin 2021, arXiv:2106.12066",
        dataset=HubSet(
            name="Muennighoff/xwinograd",
            files=("{config}/{split}/*.parquet", "{config}/*-{split}.parquet"),
            revision=CONVERTED,
            splits=(("test", "test"),),
            configs=(("ja", "jp"),),
            aligned=False,
        ),
        layouts=(
            layout.TaskLayout("xwinograd", ("xwinograd",), "dataset.tsv, all languages in one file", _find, _read),
        ),
    )


def xwinograd_item(example_id: str, row: Row) -> ChoiceItem:
    """The sentence with `_` replaced by each option (Tikhonov and Ryabinin, arXiv:2106.12066)."""
    before, gap, after = text_of(row, "sentence").partition(GAP)
    if not gap:
        raise TaskFileError("a sentence has no gap", key="sentence", expected=GAP, got=row["sentence"])
    options = [text_of(row, key) for key in ("option1", "option2")]
    gold = one_based_index(row, "answer", len(options))
    return choice_item(example_id, options, context=before, parts=options, gold=gold, after=after)


def xwinograd_groups(rows: Sequence[Row]) -> Sequence[ItemGroup]:
    """Adjacent rows with the same two options are a cluster: a schema is a pair of sentences with opposite answers."""
    return [ItemGroup(cluster) for cluster in runs(rows, _options)]


def _options(row: Row) -> frozenset[str]:
    return frozenset(str(row[key]).strip().casefold() for key in ("option1", "option2"))


def _find(tree: layout.FileTree) -> Iterator[layout.TaskFile]:
    """Yield one entry per language of a table."""
    for name in tree.names:
        if name.rpartition("/")[2] in ("dataset.tsv", "dataset.tsv.gz", "dataset.tsv.zst"):
            first = (layout.first_cells(tree.file(name)) or [[]])[0]
            if len(first) == N_COLUMNS and all(cell.startswith("[") for cell in first[-3:]):
                yield from (layout.TaskFile(name, language, "test") for language in _by_language(tree, name))


def _read(tree: layout.FileTree, file: layout.TaskFile) -> Sequence[Row]:
    """Read the rows of a language. The languages have different sentences, so ids contain the language."""
    table = _by_language(tree, file.name)[file.language]
    return [{"id": f"{file.language}:{number}", **_row(*row)} for number, row in enumerate(table)]


def _by_language(tree: layout.FileTree, name: str) -> Mapping[str, list[tuple[int, list[str]]]]:
    path = tree.file(name)
    stat = path.stat()
    return _rows_of_languages(path, (stat.st_size, stat.st_mtime_ns))


@lru_cache(maxsize=2)
def _rows_of_languages(path: Path, version: tuple[int, int]) -> Mapping[str, list[tuple[int, list[str]]]]:
    """Return (line, cells) of each language's rows; `version` makes a changed file another key of the cache."""
    rows: dict[str, list[tuple[int, list[str]]]] = {}
    for line, values in read_cells(path):
        rows.setdefault(CODES.get(values[0], values[0]), []).append((line, values))
    return rows


def _row(line: int, values: Sequence[str]) -> Row:
    """Return the row of the task: the sentence with a gap in place of its pronoun, and two options."""
    _, _, _, sentence, tokens, pronoun, candidates = layout.cells(values, N_COLUMNS, line=line)
    try:
        text, span, _ = as_list(parse_json(pronoun))
        options = [as_list(candidate) for candidate in as_list(parse_json(candidates))]
        start = _place(sentence, as_list(parse_json(tokens))[: as_int(as_list(span)[0])])
        place = sentence.index(as_str(text), start)
        (gold,) = (number for number, option in enumerate(options, start=1) if option[-1] is True)
        first, second = (as_str(option[0]) for option in options)
    except (ValueError, TypeError, IndexError) as err:
        raise TaskFileError("a row is not in the format of XWinograd", line=line, reason=repr(err)) from err
    with_gap = sentence[:place] + GAP + sentence[place + len(as_str(text)) :]
    return {"sentence": with_gap.strip(), "option1": first, "option2": second, "answer": gold}


def _place(sentence: str, tokens: Sequence[JsonValue]) -> int:
    """Return where a sentence goes on after some of its tokens."""
    place = 0
    for token in map(as_str, tokens):
        shown = QUOTES.get(token, token)
        place = sentence.index(shown, place) + len(shown)
    return place
