"""What a recipe describes and a step uses as it is: data sets of a hub, and tasks.

Recipes are checked by these models, and built-in tasks describe their published data sets with them.
"""

import re
from collections.abc import Sequence
from string import Formatter
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from mlprune.errors import MissingTaskFileError, RecipeError
from mlprune.json_values import JsonObject
from mlprune.languages import language_file_stems
from mlprune.strict_model import Language, Model, as_pairs, as_tuple, with_context
from mlprune.vocabulary import ARCHIVES, READABLE_SUFFIXES, ExtractName

CONVERTED = "refs/convert/parquet"
"""Revision with the hub's conversion to plain tables of a data set that is published with a loading script."""
CANDIDATE = "candidate"
"""Field of a template that is filled with each candidate."""
Column = str | int | tuple[str | int, ...]
"""A column of a table by its name, or by its position from 0. Several columns become a list, without empty ones at the
end; a list of one column means that the column has a list."""
Columns = tuple[tuple[str, Column], ...]
"""(key, column) of each key that has another column."""
Skip = tuple[tuple[str | int, tuple[str | int | float | bool | None, ...]], ...]
"""(column, values) of the rows that are left out."""
AnswerKind = Literal["number", "number_from_1", "letter", "text"]
"""How a row names its right candidate; numbers begin with 0 if nothing else is stated."""
LanguageNames = Annotated[
    tuple[tuple[Language, str], ...], BeforeValidator(as_pairs), Field(title="mapping of languages to texts")
]
ColumnsKey = Annotated[Columns, BeforeValidator(as_pairs), Field(title="mapping of keys to columns")]
NOT_IN_ID = frozenset({"cluster", "category", "files", "columns", "id", "languages", "delimiter", "skip"})
"""Keys of a task that say where a file has the values."""


def _as_skip(value: object) -> object:
    """Return a mapping of columns to a value or a list of them as sorted pairs."""
    return (
        as_pairs({column: as_tuple(values) for column, values in value.items()}) if isinstance(value, dict) else value
    )


class HubSet(Model):
    """A data set of a hub. Paths refer to it as `hub:NAME` or `hub:NAME@REVISION`."""

    name: Annotated[str, Field(min_length=1)]
    """Its name on the hub, such as `facebook/xnli`; with `{config}` if every language has a repository of its own. The
    entry replaces the description of a built-in data set."""
    files: Annotated[tuple[str, ...], BeforeValidator(as_tuple)]
    """Patterns of the files (.parquet, .jsonl, .json, .tsv, .csv) of a language and split, with `{config}`, `{split}`
    and `*`."""
    revision: str = "main"
    """Branch, tag or commit for paths without one; resolved to a commit before ids are computed."""
    splits: Annotated[
        tuple[tuple[str, str], ...], BeforeValidator(as_pairs), Field(title="mapping of splits to texts")
    ] = (("dev", "validation"), ("test", "test"))
    """Split of an evaluation -> its name in the files (`{dev: validation, test: test}`). Other splits do not exist."""
    configs: LanguageNames = ()
    """Language -> its name in the files. For other languages, the tag is tried first, then the code of FLORES-200."""
    columns: ColumnsKey = ()
    """Key of the task -> column of the files, by its name if they differ, or by its position from 0 in tables without a
    header. A list of columns becomes a list, without empty ones at the end; a list of one column means that it has a
    list."""
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

    @model_validator(mode="after")
    def _patterns_are_of_tables(self) -> "HubSet":
        if set(re.findall(r"{(.*?)}", self.name)) - {"config"}:
            expected = "no braces except {config}"
            raise with_context(RecipeError("wrong name of a hub's data set", expected=expected, got=self.name))
        for pattern in self.files:
            unknown = set(re.findall(r"{(.*?)}", pattern)) - {"config", "split"}
            if unknown or not pattern.endswith(READABLE_SUFFIXES):
                expected = f"{{config}}, {{split}}, and an ending of {', '.join(READABLE_SUFFIXES)}"
                message = "wrong files of a hub's data set"
                raise with_context(RecipeError(message, name=self.name, expected=expected, got=pattern))
        return self

    def patterns(self, language: str, split: str) -> list[tuple[str, ...]]:
        """Return the patterns of a language's files for each possible name of the language, in the order of trial.

        Raises:
            TaskFileError: the data set has no such split.
        """
        splits, configs = dict(self.splits), dict(self.configs)
        if split not in splits:
            message = "the data set has no such split"
            raise MissingTaskFileError(message, name=self.name, expected=sorted(splits), got=split)
        names = (configs[language],) if language in configs else language_file_stems(language)
        return [tuple(pattern.format(config=config, split=splits[split]) for pattern in self.files) for config in names]

    def repository(self, language: str) -> str:
        """Return the name of the repository of a language."""
        return self.name.replace("{config}", dict(self.configs).get(language, language))


class AnswerRule(Model):
    """How the model writes an answer, and how the answer is read from the generated text."""

    extract: ExtractName = "first_line"
    """The answer: the `first_line` or `last_line` with a character, `all` of the text, its last `number`, the content
    of its last `boxed` of LaTeX, the `letter` that it chooses, or the group of a regular expression (`regex`)."""
    pattern: Annotated[str, Field(min_length=1)] | None = None
    """regex: expression in RE2's syntax, whose time is linear; `(?P<answer>...)` in its first match is the answer."""
    letters: Annotated[str, Field(min_length=2)] = "ABCDEFGHIJ"
    """letter: the letters of the choices."""
    stop: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ("\n",)
    """Texts before which the generated text ends; it always ends at the end-of-sequence token. `[]` for none."""
    max_new_tokens: Annotated[int, Field(ge=1)] = 64
    """Most tokens generated; an evaluation may name another number."""

    @model_validator(mode="after")
    def _keys_fit_rule(self) -> "AnswerRule":
        if (self.extract == "regex") != (self.pattern is not None):
            raise ValueError(f"pattern belongs to extract: regex, got extract: {self.extract}, pattern: {self.pattern}")
        if "letters" in self.model_fields_set and self.extract != "letter":
            raise ValueError(f"letters belongs to extract: letter, got extract: {self.extract}")
        if not all(self.stop):
            raise ValueError("a stop is an empty text")
        return self


class ConstantAnswer(Model):
    """The right candidate of every row."""

    constant: str | int
    """Its index from 0, its letter, or its text among the labels or candidates."""


def _as_answer(value: object) -> object:
    """Return a key or a constant answer.

    Raises:
        ValueError: the value is another mapping.
    """
    if isinstance(value, dict) and [(key, type(each) in (str, int)) for key, each in value.items()] != [
        ("constant", True)
    ]:
        raise ValueError(f"answer is a key of the rows, or the same for all, as in {{constant: 0}}, got {value!r}")
    return value


class TemplateTask(Model):
    """A task that the recipe describes: a choice between candidates, or a question with a generated answer."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][\w-]*$")]
    """Name used by evaluations; it must differ from the built-in tasks."""
    template: Annotated[str, Field(min_length=1)]
    """The whole text. `{key}` is a text of the row; `{candidate}`, exactly once, is each candidate; `{{` is a brace.
    With `generate`, the text before the answer, without `{candidate}`."""
    answer: Annotated[Annotated[str, Field(min_length=1)] | ConstantAnswer, BeforeValidator(_as_answer)]
    """Key of the right candidate: its index from 0, its letter, or its text among the labels or candidates. With
    `generate`, key of the accepted answer, a text, a number or a list of them. `{constant: 0}` if all rows have the
    same right candidate, as minimal pairs do."""
    answer_as: AnswerKind | None = None
    """How `answer` names it, where a value can mean two candidates (`number`, `letter`, `text`), or numbers begin with
    1 (`number_from_1`)."""
    labels: tuple[str, ...] = ()
    """Labels as they are in the files, equal for all rows."""
    words: tuple[str, ...] = ()
    """Word for each label in the template; empty for the labels themselves."""
    candidates: str | tuple[str, ...] | None = None
    """Instead of labels: the key of the list of candidates in a row, or a list of keys of one candidate each."""
    generate: AnswerRule | None = None
    """Instead of labels or candidates: the model continues the template, and its answer is compared with the accepted
    ones (`exact_match`, `token_f1`)."""
    ties: Literal["earlier", "shared"] = "earlier"
    """Of candidates with equal scores the earlier one is predicted, or they share the credit (`shared`)."""
    equal_candidates: Literal["refuse", "skip"] = "refuse"
    """What happens to a row with two equal candidates, between which no model can choose: the file is refused
    (`refuse`), or the row is left out and counted (`skip`)."""
    cluster: Annotated[str, Field(min_length=1)] | None = None
    """Key of the name that rows depending on each other share, such as the passage of several questions: equal in all
    languages. The key `cluster` if left out, in rows that have it."""
    category: Annotated[str, Field(min_length=1)] | None = None
    """Key of the kind of a row, such as its genre. The key `category` if left out, in rows that have it."""
    files: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    """Patterns of the files (.jsonl, .parquet, .tsv, .csv, .json, or an archive with one of these) below the
    evaluation's path, with `{language}`, `{split}` and `*`; `{language}.{split}` with any of these extensions if left
    out. Without `{language}`, the files are of the one language of an evaluation; without `{split}`, of any split. `*`
    joins the files of a language in the order of their names: ids then begin with what it stands for, and rows have it
    as the key `file`."""
    languages: LanguageNames = ()
    """Language -> its name in `files` (`{ace: acehnese}`), for languages that the files do not name by a code."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """Character between the columns of `.csv` or `.tsv` files if it is not a comma or a tab."""
    columns: ColumnsKey = ()
    """Key of the template -> column of the files, as in `data_sets`. `question.choices.text` is the value inside
    objects; of a list of objects it is the list of their values."""
    skip: Annotated[
        Skip, BeforeValidator(_as_skip), Field(title="mapping of columns to a value or a list of values")
    ] = ()
    """Column -> value, or values, whose rows are left out and counted (`{label: "-"}`)."""
    id: Annotated[tuple[str | int, ...], BeforeValidator(as_tuple)] = ()
    """Columns that form the id of an example, equal in all languages; if left out the key `id`, or the number of the
    row if no row has it."""

    @model_validator(mode="after")
    def _fields_fit(self) -> "TemplateTask":
        if self.generate is None:
            self._check_choice(self._fields())
        else:
            self._check_question(self._fields())
        for pattern in self.files:
            unknown = set(re.findall(r"{(.*?)}", pattern)) - {"language", "split"}
            if unknown or not pattern.endswith((*READABLE_SUFFIXES, *ARCHIVES)):
                endings = ", ".join((*READABLE_SUFFIXES, *ARCHIVES))
                expected = f"no braces except {{language}} and {{split}}, and an ending of {endings}"
                raise self._wrong("wrong files of a task", expected=expected, got=pattern)
        if self.languages and not any("{language}" in pattern for pattern in self.files):
            expected = "files with {language}"
            raise self._wrong("names of languages without a place in files", expected=expected, got=list(self.files))
        if self.delimiter in ("\n", "\r", '"'):
            raise self._wrong("wrong delimiter of a task", expected="another character", got=self.delimiter)
        columns = (*(column for _, column in self.columns), self.id, tuple(column for column, _ in self.skip))
        kinds = {type(part) for column in columns for part in (column if isinstance(column, tuple) else (column,))}
        if len(kinds) > 1:
            raise self._wrong("columns are mixed", expected="all by name or all by position", got=dict(self.columns))
        return self

    def _check_choice(self, fields: Sequence[str]) -> None:
        """Check the keys of a choice between candidates."""
        if fields.count(CANDIDATE) != 1 or not all(name.isidentifier() for name in fields):
            expected = "{candidate} once, and other {keys} of a row"
            raise self._wrong("a template is wrong", expected=expected, got=self.template)
        if bool(self.labels) == (self.candidates is not None):
            raise self._wrong("a task has labels or candidates", expected="one of the two")
        if self.labels and (len(set(self.labels)) < 2 or len(self.labels) != len(set(self.labels))):
            raise self._wrong("wrong labels", expected="two or more, all different", got=self.labels)
        if isinstance(self.candidates, tuple) and len(set(self.candidates)) < max(2, len(self.candidates)):
            raise self._wrong("wrong candidates", expected="two or more keys, all different", got=self.candidates)
        if self.words and len(self.words) != len(self.labels):
            raise self._wrong("wrong words", expected=f"one for each of {self.labels}", got=self.words)

    def _check_question(self, fields: Sequence[str]) -> None:
        """Check the keys of a question whose answer is generated."""
        if CANDIDATE in fields or not all(name.isidentifier() for name in fields):
            expected = "{keys} of a row, without {candidate}"
            raise self._wrong("the template of a task with generate is wrong", expected=expected, got=self.template)
        if isinstance(self.answer, ConstantAnswer):
            raise self._wrong("a generated answer cannot be constant", expected="the key of the accepted answers")
        others = sorted(
            {"answer_as", "labels", "words", "candidates", "ties", "equal_candidates"} & self.model_fields_set
        )
        if others:
            raise self._wrong("keys of a choice do not apply to generate", expected="none of them", got=others)

    def _wrong(self, message: str, **context: object) -> PydanticCustomError:
        return with_context(RecipeError(message, task=self.name, **context))

    def _fields(self) -> list[str]:
        try:
            parsed = list(Formatter().parse(self.template))
        except ValueError as err:
            raise self._wrong("a template is wrong", reason=str(err), got=self.template) from err
        plain = (name if not spec and not conversion else f"{name}:" for _, name, spec, conversion in parsed if name)
        return [*plain, *("" for _, name, _, _ in parsed if name == "")]

    @property
    def parameters(self) -> JsonObject:
        """Parameters of an id, without defaults. An id has the values of the files, not the keys of `NOT_IN_ID`."""
        return self.model_dump(mode="json", exclude_defaults=True, exclude=set(NOT_IN_ID))

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys that a row must have in addition to its id."""
        return tuple(dict.fromkeys([*self.texts, *([self.answer] if isinstance(self.answer, str) else [])]))

    @property
    def names_language(self) -> bool:
        """Whether the files of each language have names of their own."""
        return all("{language}" in pattern for pattern in self.files)

    @property
    def texts(self) -> tuple[str, ...]:
        """Keys whose texts are in the example's language."""
        names = [name for name in self._fields() if name != CANDIDATE]
        candidates = (self.candidates,) if isinstance(self.candidates, str) else self.candidates or ()
        return tuple(dict.fromkeys([*names, *candidates]))
