"""Registry of the layouts of task data, and the choice of the one file that a task reads."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mlprune.corpus.layouts.parallel_text import PAGE
from mlprune.corpus.layouts.text_layout import matching_codes
from mlprune.corpus.text_files import listed_names, nearest_layout
from mlprune.descriptions import TemplateTask
from mlprune.errors import MissingTaskFileError, TaskFileError
from mlprune.evaluation.tasks.layouts import bmlama, mlama, own, xnli_archive, xnli_per_language
from mlprune.evaluation.tasks.layouts.described import described_files, described_rows
from mlprune.evaluation.tasks.layouts.layout import MOST_FILES, FileTree, LayoutRows, TaskLayout, file_tree
from mlprune.evaluation.tasks.registry import TASKS
from mlprune.languages import language_tag

OWN = TaskLayout(
    "task_files",
    tuple(name for name, task in TASKS.items() if task.to_item is not None),
    "fr.test.jsonl (.jsonl.gz, .jsonl.zst, .parquet)",
    own.find,
    own.read,
    has_lines=True,
)
TASK_LAYOUTS: Mapping[str, TaskLayout] = {
    layout.name: layout
    for layout in (
        OWN,
        TaskLayout(
            "xnli_archive",
            ("xnli",),
            "xnli.dev.tsv, xnli.test.tsv (or .jsonl): all languages in one file",
            xnli_archive.find,
            xnli_archive.read,
        ),
        TaskLayout(
            "xnli_per_language",
            ("xnli",),
            "dev-fr.tsv (XTREME), multinli.train.fr.tsv (XNLI-MT), xnli.dev.ko.tsv (KorNLI), my.genre.dev.tsv "
            "(myXNLI), fra/test.tsv (AfriXNLI)",
            xnli_per_language.find,
            xnli_per_language.read,
        ),
        TaskLayout(
            "bmlama", ("facts",), "fr.tsv with the columns Prompt, Ans, Candidate Ans", bmlama.find, bmlama.read
        ),
        TaskLayout("mlama", ("facts",), "fr/templates.jsonl and fr/P19.jsonl, ...", mlama.find, mlama.read),
        *(layout for task in TASKS.values() for layout in task.layouts),
    )
}
"""Layouts by name: the project's own first, then those of `layouts/`; last those that the module of a task declares."""


def rows_at(path: Path, description: TemplateTask | None = None, *, task: str, language: str, split: str) -> LayoutRows:
    """Read the rows of a task in one language and split from a folder, file or archive in a known layout.

    Args:
        description: the task if a recipe describes it; its files come before those of layouts.
        task: a built-in task, which decides between the layouts, or another name, which reads any of them.
        language: a tag; a file of the same language under another code is read if none has the tag.
    Raises:
        TaskFileError: there is no such file, or more than one, or it cannot be read.
    """
    tree, tag = file_tree(path), language_tag(language)
    if description is not None and (files := described_files(tree, description, language=language, split=split)):
        return described_rows(tree, files, task=description)
    published = [layout for layout in TASK_LAYOUTS.values() if layout is not OWN and _fits(layout, task)]
    file = own.own_file(tree, language=language, split=split)
    found = [] if file is None else [(OWN, file)]
    of_split = [(layout, file) for layout in published for file in layout.find(tree) if file.split == split]
    found += [(layout, file) for layout, file in of_split if file.language == tag]
    if not found:
        codes = matching_codes(tag, tuple(dict.fromkeys(file.language for _, file in of_split)))
        found = [(layout, file) for layout, file in of_split if file.language in codes]
    if len(found) > 1:
        raise TaskFileError(
            "several files have this language and split",
            path=str(path),
            expected="one: name its own folder or file, or move the others away",
            got=[f"{layout.name}: {tree.origin(file.name)}" for layout, file in found],
        )
    if not found:
        raise _missing(tree, published, language=language, split=split)
    layout, only_file = found[0]
    return layout.rows_of(tree, only_file)


def _fits(layout: TaskLayout, task: str) -> bool:
    return task in layout.tasks or (task not in TASKS and not layout.is_other_reading)


def _missing(tree: FileTree, layouts: Sequence[TaskLayout], *, language: str, split: str) -> MissingTaskFileError:
    """Return the error for a language and split without a file, with the existing files and the page of the layouts."""
    context = {"folder": str(tree.path), "page": PAGE}
    if len(tree.names) >= MOST_FILES:
        context["looked_at"] = f"the first {MOST_FILES:,} files"
    recognised = [_summary(layout, tree) for layout in layouts]
    if any(recognised):
        message = "the data set has no such language or split"
        got = f"{language}, {split}"
        return MissingTaskFileError(message, expected="; ".join(filter(None, recognised)), got=got, **context)
    examples = {layout.name: layout.summary for layout in layouts}
    expected = f"{own.own_names(language, split)[0]} (.gz, .zst, .parquet) or a published layout"
    context |= nearest_layout(tree.path, examples)
    return MissingTaskFileError(
        "no task file was found", {**context, "expected": expected}, got=listed_names(tree.path)
    )


def _summary(layout: TaskLayout, tree: FileTree) -> str:
    """Return the splits of a layout with their languages; nothing if it has no files here."""
    languages: dict[str, list[str]] = {}
    for file in sorted(layout.find(tree), key=lambda file: file.language):
        languages.setdefault(file.split, []).append(file.language)
    splits = [f"{split} in {' '.join(languages[split])}" for split in sorted(languages)]
    return f"{layout.name}: {', '.join(splits)}" if splits else ""
