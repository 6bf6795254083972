"""Data sets of a hub that a recipe describes; docs/task-files.md has an example."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from mlprune.recipe.base import Language, Model, as_pairs, as_tuple


class DataSetConfig(Model):
    """A data set of a hub. Paths refer to it as `hub:NAME` or `hub:NAME@REVISION`."""

    name: Annotated[str, Field(min_length=1)]
    """Its name on the hub, such as `facebook/xnli`; with `{config}` if every language has a repository of its own. The
    entry replaces the description of a built-in data set."""
    files: Annotated[tuple[str, ...], BeforeValidator(as_tuple)]
    """Patterns of the files (.parquet, .jsonl) of a language and split, with `{config}`, `{split}` and `*`."""
    revision: str = "main"
    """Branch, tag or commit for paths without one; resolved to a commit before ids are computed."""
    splits: Annotated[
        tuple[tuple[str, str], ...], BeforeValidator(as_pairs), Field(title="mapping of splits to texts")
    ] = (("dev", "validation"), ("test", "test"))
    """Split of an evaluation -> its name in the files (`{dev: validation, test: test}`). Other splits do not exist."""
    configs: Annotated[
        tuple[tuple[Language, str], ...], BeforeValidator(as_pairs), Field(title="mapping of languages to texts")
    ] = ()
    """Language -> its name in the files. For other languages, the tag is tried first, then the code of FLORES-200."""
    columns: Annotated[
        tuple[tuple[str, str], ...], BeforeValidator(as_pairs), Field(title="mapping of keys to columns")
    ] = ()
    """Key of the task -> column of the files, if they differ."""
    id: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    """Columns that form the id of an example, equal in all languages; empty: the number of the row."""
    aligned: bool = True
    """Whether rows of one id are the same example in all languages; if not, ids include the language."""
    skips_incomplete: bool = False
    """Skip rows with an empty text or the label -1 instead of refusing the file."""
    labels: Annotated[
        tuple[tuple[int | str, int | str], ...], BeforeValidator(as_pairs), Field(title="mapping of labels to labels")
    ] = ()
    """Label in the files -> label of the task, if they differ, such as `{0: 1, 1: 2}`. Other labels are refused."""
