"""What a recipe says of data sets of a hub that the package does not know; docs/task-files.md shows one at work."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from mlprune.recipe.base import Language, Model, as_tuple


def _pairs(value: Any) -> Any:
    """A mapping as sorted pairs, so that the config hashes."""
    return tuple(sorted(value.items(), key=str)) if isinstance(value, dict) else value


class DataSetConfig(Model):
    """A data set of a hub, which paths name as `hub:NAME` or `hub:NAME@REVISION`."""

    name: Annotated[str, Field(min_length=1)]
    """Its name on the hub, such as `facebook/xnli`; one that the package knows is described anew."""
    files: Annotated[tuple[str, ...], BeforeValidator(as_tuple)]
    """Patterns of the files of a language and split, with `{config}`, `{split}` and `*`: .parquet, .jsonl."""
    revision: str = "main"
    """Branch, tag or commit, where the path says none; resolved to a commit before anything is named."""
    splits: Annotated[
        tuple[tuple[str, str], ...], BeforeValidator(_pairs), Field(title="mapping of splits to texts")
    ] = (("dev", "validation"), ("test", "test"))
    """Split of an evaluation: what the files call it (`{dev: validation, test: test}`). There are no others."""
    configs: Annotated[
        tuple[tuple[Language, str], ...], BeforeValidator(_pairs), Field(title="mapping of languages to texts")
    ] = ()
    """Language: what the files call it; of others the tag is looked up, then FLORES-200's code."""
    columns: Annotated[
        tuple[tuple[str, str], ...], BeforeValidator(_pairs), Field(title="mapping of keys to columns")
    ] = ()
    """Key of the task: column of the files, where the two differ."""
    id: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    """Columns that together are an example's id, equal in all languages; none: the number of the row."""
    aligned: bool = True
    """Whether rows of one id or number are one example in all languages; otherwise ids name the language too."""
    skips_incomplete: bool = False
    """Pass over rows with an empty text or the label -1, instead of refusing the file."""
