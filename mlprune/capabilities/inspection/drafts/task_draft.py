"""Draft of the sections `tasks` and `evaluations` of a recipe for tables in no known layout.

Names of files and columns are guesses, each marked by a comment. The draft is read as a recipe would read it: what the
form or the first file is refused for is one of the comments.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from mlprune.capabilities.inspection.drafts.column_guesses import Guesses, guess_columns
from mlprune.capabilities.inspection.drafts.file_patterns import FilePattern, find_patterns, named_languages
from mlprune.capabilities.inspection.drafts.table_heads import TableHead, read_head
from mlprune.corpus.layouts.text_layout import recipe_tags
from mlprune.descriptions import TemplateTask
from mlprune.errors import BadInputError
from mlprune.evaluation.tasks.layouts.layout import FileTree, file_tree
from mlprune.evaluation.tasks.registry import TASKS
from mlprune.evaluation.tasks.task import template_task
from mlprune.evaluation.tasks.task_files import ItemSelection, read_items
from mlprune.given_files import MIB
from mlprune.vocabulary import COMPRESSIONS

MOST_NAMES = 12
"""Most languages or columns in a line."""
MOST_REASON = 160
"""Most characters of a reason in a comment."""
MOST_READ_MIB, MOST_COMPRESSED_MIB = 16, 1
"""Largest file that is read to try a draft, and largest one that expands when it is read."""
GUESS = "guess"
HEADLINE = "a draft of a custom task (docs/evaluation.md): check each guess, then use it in a recipe"
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NOT_TEXTS = ("y", "n", "yes", "no", "on", "off", "true", "false", "null")
"""Words that YAML reads as something else than a text."""


@dataclass(frozen=True)
class _Key:
    """A line of a task: a key, its value and a comment."""

    key: str
    value: object
    comment: str = ""


def draft_task(path: Path) -> str:
    """Draft a task that reads the tables at a path, in YAML; a text that says why if there is none to read.

    Only the names of files, the first rows of one, and a small file as a whole are read.
    """
    tree = file_tree(path)
    names = {_below(tree, name): name for name in tree.names}
    patterns = find_patterns(names)
    if not patterns:
        return "# no table: a custom task reads .jsonl, .json, .parquet, .tsv and .csv files (docs/data.md#own-files)"
    chosen, head = _choose(tree, names, patterns)
    if head.problem:
        return f"# no draft of a task: {_short(f'{chosen.files[0].name}: {head.problem}')}"
    guesses = guess_columns(head)
    keys = _keys(path, chosen, head, guesses)
    refusal = _refusal({each.key: each.value for each in keys})
    tried = f"not complete: {refusal}" if refusal else _tried(path, tree, names, chosen, keys)
    notes = [tried, _other_columns(head, keys), _other_files(len(names) - len(chosen.files), head)]
    comments = [f"# {_short(note)}" for note in (HEADLINE, *notes) if note]
    return "\n".join([*comments, *_yaml(keys, path, chosen)])


def _below(tree: FileTree, name: str) -> str:
    """Return the name of a file without the name of its folder or archive."""
    return name.partition("/")[2] or name


def _choose(tree: FileTree, names: Mapping[str, str], patterns: Sequence[FilePattern]) -> tuple[FilePattern, TableHead]:
    """Return the pattern of most files whose first and last one have the same columns, and its first rows."""
    for pattern in patterns[:MOST_NAMES]:
        first, last = (read_head(tree.file(names[pattern.files[place].name])) for place in (0, -1))
        if not first.problem and first.columns == last.columns:
            return pattern, first
    return patterns[0], read_head(tree.file(names[patterns[0].files[0].name]))


def _keys(path: Path, pattern: FilePattern, head: TableHead, guesses: Guesses) -> list[_Key]:
    columns = {_identifier(name, place): name for place, name in enumerate(guesses.texts)}
    fields = " ".join(f"{{{key}}}" for key in columns)
    template = fields if guesses.is_question else f"{fields} {{candidate}}".strip()
    keys = [_Key("name", _task_name(path)), _Key("template", template or "{question}", GUESS)]
    keys += _choice_keys(head, guesses)
    answer = guesses.answer if head.has_header or not guesses.answer else "label"
    no_answer = f"{GUESS}: no column is named like an answer"
    keys.append(_Key("answer", answer or "ANSWER", GUESS if answer else no_answer))
    if guesses.answer_as:
        keys.append(_Key("answer_as", guesses.answer_as, GUESS))
    keys.append(_Key("files", pattern.pattern, _about_files(pattern)))
    if names := named_languages(pattern.languages):
        keys.append(_Key("languages", names, GUESS))
    if head.delimiter:
        keys.append(_Key("delimiter", head.delimiter))
    renamed: dict[str, object] = {key: name for key, name in columns.items() if key != name}
    if not head.has_header:
        renamed = {key: int(name) for key, name in columns.items()}
        renamed |= {answer: int(guesses.answer)} if answer else {}
    if renamed:
        keys.append(_Key("columns", renamed, GUESS))
    if guesses.id:
        keys.append(_Key("id", [guesses.id], f"{GUESS}: equal in all languages"))
    return keys


def _choice_keys(head: TableHead, guesses: Guesses) -> list[_Key]:
    if guesses.is_question:
        return [_Key("generate", {"max_new_tokens": 16}, f"{GUESS}: the answers differ, and no candidates are listed")]
    if guesses.candidates:
        candidates = guesses.candidates if isinstance(guesses.candidates, str) else list(guesses.candidates)
        return [_Key("candidates", candidates, GUESS)]
    labels = list(guesses.labels) or ["LABEL_A", "LABEL_B"]
    comment = f"{GUESS}: the values of the first {len(head.rows)} rows; words: [...] says them in the language"
    return [_Key("labels", labels, comment if guesses.labels else f"{GUESS}: or candidates: [COLUMN, COLUMN]")]


def _about_files(pattern: FilePattern) -> str:
    counts = [f"{len(pattern.files):,} files", f"splits: {', '.join(pattern.splits)}" if pattern.splits else ""]
    return "; ".join(filter(None, counts)) if len(pattern.files) > 1 else ""


def _identifier(name: str, place: int) -> str:
    """Return the key of a template for a column."""
    plain = re.sub(r"\W+", "_", name).strip("_")
    is_key = plain.isascii() and plain.isidentifier() and plain != "candidate"
    return plain if is_key else f"text{place + 1}"


def _task_name(path: Path) -> str:
    """Return a name for a task after the folder or file, other than those of built-in tasks."""
    words = re.sub(r"[^A-Za-z0-9]+", "_", path.resolve().name.partition(".")[0]).strip("_")
    name = words if words[:1].isalpha() else "own_task"
    return f"my_{name}" if name in TASKS else name


def _refusal(values: Mapping[str, object]) -> str:
    """Return what the form of a task is refused for; empty if it is right."""
    try:
        TemplateTask.model_validate(values)
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        context = first.get("ctx", {}).get("context", {})
        details = ", ".join(f"{key} {value}" for key, value in context.items() if key in ("expected", "got"))
        return ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"], details)))
    return ""


def _tried(path: Path, tree: FileTree, names: Mapping[str, str], pattern: FilePattern, keys: Sequence[_Key]) -> str:
    """Return what a recipe would read from the first file, or would be refused for."""
    split = _split(pattern)
    file = next(file for file in pattern.files if file.split == split)
    expands = file.name.endswith((".parquet", *COMPRESSIONS[1:]))
    most_mib = MOST_COMPRESSED_MIB if expands else MOST_READ_MIB
    if tree.file(names[file.name]).stat().st_size > most_mib * MIB:
        return f"not tried: {file.name} has more than {most_mib} MiB"
    task = template_task(TemplateTask.model_validate({each.key: each.value for each in keys}))
    language = _tags(pattern).get(file.language, "en")
    try:
        items = read_items(task, path, ItemSelection(language, split or "test")).items
    except BadInputError as err:
        return f"refused as it is: {err}"
    of_split = f", {split}" if split else ""
    return f"read as it is: {len(items):,} items of {language}{of_split}"


def _tags(pattern: FilePattern) -> dict[str, str]:
    """Return language of the files -> its tag in a recipe."""
    names = {name: code for code, name in named_languages(pattern.languages).items()}
    codes = [language for language in pattern.languages if language not in names]
    return {language: {**recipe_tags(codes), **names}[language] for language in pattern.languages}


def _split(pattern: FilePattern) -> str:
    """Return the split of the evaluation: test if the files have it; empty if their names state no split."""
    return next((name for name in ("test", *pattern.splits) if name in pattern.splits), "")


def _other_columns(head: TableHead, keys: Sequence[_Key]) -> str:
    """Return the columns that the draft does not name; empty if there are none."""
    used = {name for each in keys for name in _names_in(each.value)}
    others = [name for name in head.columns if name.strip() and name not in used] if head.has_header else []
    more = f" and {len(others) - MOST_NAMES} more" if len(others) > MOST_NAMES else ""
    return f"other columns: {', '.join(others[:MOST_NAMES])}{more}" if others else ""


def _other_files(n_others: int, head: TableHead) -> str:
    notes = [f"files that are not read: {n_others:,}" if n_others else ""]
    notes += ["the file is one JSON array, not an object per line"] if head.is_array else []
    return "; ".join(filter(None, notes))


def _names_in(value: object) -> list[str]:
    if isinstance(value, Mapping):
        return [str(each) for pair in value.items() for each in pair]
    if isinstance(value, list):
        return [str(each) for each in value]
    return [*re.findall(r"{(\w+)}", str(value)), str(value)]


def _short(text: str) -> str:
    """Return a text in one line of characters that can be shown, cut off."""
    line = "".join(each if each.isprintable() else " " for each in " ".join(text.split()))
    return line if len(line) <= MOST_REASON else f"{line[:MOST_REASON]}…"


def _yaml(keys: Sequence[_Key], path: Path, pattern: FilePattern) -> list[str]:
    lines = ["tasks:"]
    for number, each in enumerate(keys):
        comment = f"  # {each.comment}" if each.comment else ""
        lines.append(f"  {'-' if number == 0 else ' '} {each.key}: {_value(each.value)}{comment}")
    tags = list(_tags(pattern).values())
    listed = ", ".join(_value(tag) for tag in tags[:MOST_NAMES]) or "en"
    split = _split(pattern)
    more = f"  # and {len(tags) - MOST_NAMES} more" if len(tags) > MOST_NAMES else ""
    more = more or ("" if tags else "  # guess: the language of the files")
    of_split = f", split: {_value(split)}" if split else ""
    path_text = _value(str(path))
    name = _value(keys[0].value)
    return [
        *lines,
        "evaluations:",
        f"  - {{task: {name}, path: {path_text}, languages: [{listed}]{of_split}}}{more}",
    ]


def _value(value: object) -> str:
    """Return a value in YAML on one line."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_value(key)}: {_value(each)}' for key, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str) and (not _PLAIN.fullmatch(value) or value.lower() in _NOT_TEXTS):
        return json.dumps(value, ensure_ascii=not value.isprintable())
    return str(value)
