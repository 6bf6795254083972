"""The `.sql` files of this package, and named queries with their parameters. Needs no database."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import TypeAlias

from mlprune.deprecation import Deprecated, declared_in, warn_deprecated
from mlprune.errors import QueryError, unknown
from mlprune.given_files import read_given_text

SQL_FOLDER = Path(__file__).parent / "sql"
CAPABILITIES = Path(__file__).parent / "capabilities"
"""One folder per capability, with the same folders as `sql/`."""
DECLARATIONS = ("$", "reads ", "depends on ", "topic: ", "first: ", "folded: ", "deprecated in ")
"""Beginnings of the lines of an opening comment that do not describe the rows."""
INTERNAL = "internal"
"""Schema of helpers: relations that queries and views read, which are not listed."""
ParameterValue: TypeAlias = str | float | bool | None
PYTHON_TYPES: Mapping[str, tuple[type, ...]] = {
    "VARCHAR": (),
    "DOUBLE": (int, float),
    "INTEGER": (int,),
    "BOOLEAN": (bool,),
}
"""Type in a query file -> types of a program's values, other than text."""
_PARAMETER = re.compile(r"^\$(\w+) ([A-Z]+)(?: = (.+))?$")
_READS = re.compile(r"^reads (\w+) from (\w+) of \$(\w+)$")
TOPICS: Mapping[str, str] = {
    "answers": "Answers: questions, choices and significant changes",
    "values": "Values by language and sparsity",
    "english": "English, transfer and consistency between languages",
    "methods": "Methods, demonstrations and seeds",
    "masks": "Masks and layers",
    "model": "Inside the model: features, neurons, influence and sensitivity",
    "search": "Search",
    "origin": "Runs, costs, items and where a number comes from",
}
"""Topic of a named query -> title."""
FIRST_QUESTIONS: Mapping[str, str] = {
    "answers_to_questions": "the questions of the recipe and their answers",
    "best_by_language": "which variant to use for each language, and what English pays",
    "sparsity_curve_by_language": "accuracy by language and sparsity",
    "english_cost": "what English pays, by method and sparsity",
    "methods_compared": "methods ranked by perplexity in each language",
    "failures": "what failed, with task and cause",
}
"""Named query -> question; those to begin with."""


@dataclass(frozen=True)
class SqlFile:
    """One statement and its comments."""

    name: str
    """File name without suffix."""
    text: str

    @property
    def comment(self) -> tuple[str, ...]:
        """Lines of the opening comment, without dashes."""
        lines = []
        for line in self.text.splitlines():
            if not line.startswith("--"):
                break
            lines.append(line.removeprefix("--").strip())
        return tuple(lines)

    @property
    def statement(self) -> str:
        """The statement without its comments."""
        lines = (line.partition("--")[0].rstrip() for line in self.text.splitlines())
        return "\n".join(line for line in lines if line)

    @property
    def relation(self) -> str:
        """Name in SQL of the table or view that the statement creates: with the schema, if that is `internal`."""
        is_internal = re.search(rf"^CREATE OR REPLACE (?:TABLE|VIEW) {INTERNAL}\.", self.text, re.MULTILINE)
        return f"{INTERNAL}.{self.name}" if is_internal else self.name

    @property
    def depends_on(self) -> tuple[str, ...]:
        """Tables that the line `depends on` of the opening comment names."""
        lines = [line.removeprefix("depends on ") for line in self.comment if line.startswith("depends on ")]
        return tuple(name for line in lines for name in line.split(", "))

    @property
    def deprecated(self) -> Deprecated | None:
        """The declaration that the opening comment of a deprecated query or view has."""
        return next(filter(None, map(declared_in, self.comment)), None)

    @property
    def description(self) -> str:
        """The meaning of one row: the opening comment on one line, without its name, parameters and dependencies."""
        lines = [line for line in self.comment if not line.startswith(DECLARATIONS)]
        return re.sub(r"^[\w.]+: ", "", " ".join(lines))

    @property
    def column_comments(self) -> dict[str, str]:
        """Column -> meaning, from the lines `-- column: meaning` after the statement."""
        lines = takewhile(lambda line: line.startswith("--"), reversed(self.text.splitlines()))
        return {match[1]: match[2] for line in lines if (match := re.match(r"-- (\w+): (.+)$", line))}

    @property
    def sha256(self) -> str:
        """SHA-256 of the text, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def sql_files(folder: str) -> list[SqlFile]:
    """Return all files of one folder in `sql/` and in the capabilities, sorted by name."""
    return [SqlFile(name, _text(folder, name)) for name in sorted(_paths(folder))]


@cache
def _paths(folder: str) -> Mapping[str, Path]:
    """Return name -> path of the files of one folder."""
    folders = (SQL_FOLDER / folder, *sorted(CAPABILITIES.glob(f"*/{folder}")))
    return {path.stem: path for one in folders for path in one.glob("*.sql")}


def capability_of(folder: str, name: str) -> str:
    """Return the capability to which a file of one folder belongs; empty for the core and for names without a file."""
    path = _paths(folder).get(name)
    return path.parents[1].name if path is not None and path.is_relative_to(CAPABILITIES) else ""


@cache
def _text(folder: str, name: str) -> str:
    return _paths(folder)[name].read_text("utf-8")


def statement(folder: str, name: str, /, **identifiers: str) -> str:
    """Return the text of one file, with `{identifiers}` replaced.

    Identifiers are names of tables and columns of the catalog, or texts of other files. Values are bound as parameters
    and never inserted.
    """
    text = _text(folder, name)
    for key, value in identifiers.items():
        text = text.replace(f"{{{key}}}", value)
    return text


@dataclass(frozen=True)
class Parameter:
    """A `$name` of a named query."""

    name: str
    type: str
    """VARCHAR, DOUBLE, INTEGER or BOOLEAN."""
    default: ParameterValue = None
    required: bool = False
    """Whether the parameter has no default. A default may be NULL."""

    def __str__(self) -> str:
        return f"${self.name} {self.type}" + ("" if self.required else f" = {json.dumps(self.default)}")

    @property
    def declaration(self) -> str:
        """The parameter as a query file declares it; `parse_default` reads its default."""
        if self.required:
            return f"${self.name} {self.type}"
        default = "NULL" if self.default is None else json.dumps(self.default)
        text = f"'{self.default}'" if isinstance(self.default, str) else default
        return f"${self.name} {self.type} = {text}"


def parse_parameters(
    pairs: Sequence[str], declared: Sequence[Parameter] | None = None, *, query: str = ""
) -> dict[str, ParameterValue]:
    """Parse pairs `name=value` into values by parameter name.

    With declared parameters, values are converted to their types, `NULL` says that an optional one has no value, and
    missing parameters get their defaults. For SQL, a JSON number, true, false or null is converted, and any other value
    is text. A value in double quotes is always text.

    Args:
        declared: the parameters of the query; None for SQL, which declares none.
        query: name of the query, for messages.
    Raises:
        QueryError: a pair is not `name=value`, a name occurs twice, is unknown or missing, or a value has another type.
    """
    texts: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise QueryError("a parameter must have the form name=value", expected="name=value", got=pair)
        if name in texts:
            raise QueryError("a parameter occurs twice", got=name)
        texts[name] = value
    if declared is None:
        return {name: _guess_type(value) for name, value in texts.items()}
    return _convert_all(texts, {parameter.name: parameter for parameter in declared}, query=query)


def _convert_all(
    texts: Mapping[str, str], parameters: Mapping[str, Parameter], *, query: str
) -> dict[str, ParameterValue]:
    if unknown_names := sorted(set(texts) - set(parameters)):
        raise QueryError("a parameter is unknown", query=query, expected=sorted(parameters), got=unknown_names)
    missing = [name for name, parameter in parameters.items() if parameter.required and name not in texts]
    if missing:
        raise QueryError("a parameter is missing", query=query, expected=missing, got=sorted(texts))
    return {
        name: _given(texts[name], parameter) if name in texts else parameter.default
        for name, parameter in parameters.items()
    }


def _given(text: str, parameter: Parameter) -> ParameterValue:
    """Return the value of a text on the command line; NULL is that of an optional parameter."""
    return None if text == "NULL" and not parameter.required else _convert(text, parameter)


def check_values(
    values: Mapping[str, ParameterValue], declared: Sequence[Parameter], *, query: str
) -> dict[str, ParameterValue]:
    """Check the values that a program gives to the parameters of a query; the others get their defaults.

    Args:
        values: parameter -> value; None is NULL, and a text is converted as on the command line.
        query: name of the query, for messages.
    Raises:
        QueryError: a name is unknown or missing, or a value has another type.
    """
    parameters = {parameter.name: parameter for parameter in declared}
    for name in values:
        if name not in parameters:
            raise unknown("parameter", name, parameters, error=QueryError, query=query)
    missing = [name for name, parameter in parameters.items() if parameter.required and values.get(name) is None]
    if missing:
        raise QueryError("a parameter is missing", query=query, expected=missing, got=sorted(values))
    return {
        name: _checked(values[name], parameter) if name in values else parameter.default
        for name, parameter in parameters.items()
    }


def _checked(value: ParameterValue, parameter: Parameter) -> ParameterValue:
    if isinstance(value, str):
        return _convert(value, parameter)
    if value is None or type(value) in PYTHON_TYPES[parameter.type]:
        return value
    raise QueryError("a parameter has the wrong type", name=parameter.name, expected=parameter.type, got=value)


def _boolean(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


CONVERTERS: Mapping[str, Callable[[str], ParameterValue]] = {
    "VARCHAR": str,
    "DOUBLE": float,
    "INTEGER": int,
    "BOOLEAN": _boolean,
}
"""Type in a query file -> conversion of a user's text."""


def _convert(text: str, parameter: Parameter) -> ParameterValue:
    try:
        return CONVERTERS[parameter.type](text)
    except (ValueError, KeyError) as err:
        raise QueryError(
            "a parameter has the wrong type", name=parameter.name, expected=parameter.type, got=text
        ) from err


def _guess_type(text: str) -> ParameterValue:
    """Convert a text without a declared type: a JSON number, boolean, null or string, otherwise the text itself."""
    try:
        value = json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return text
    return value if value is None or isinstance(value, str | int | float) else text


def parse_default(text: str | None) -> ParameterValue:
    """Parse a default, which is written as in SQL."""
    if text is None or text == "NULL":
        return None
    return text[1:-1] if text.startswith("'") else _guess_type(text)


@dataclass(frozen=True)
class ArtefactTable:
    """A table that a query reads from Parquet files of one record, instead of from the catalog."""

    name: str
    """Name of the table in the query."""
    folder: str
    """Folder of the files in the store."""
    parameter: str
    """Parameter of the query that contains the id of the record."""

    def __str__(self) -> str:
        return f"{self.name} from {self.folder} of ${self.parameter}"


@dataclass(frozen=True)
class NamedQuery:
    """A query file."""

    name: str
    description: str
    """Meaning of one row, on one line."""
    parameters: tuple[Parameter, ...]
    sql: str
    reads: tuple[ArtefactTable, ...] = ()
    topic: str = ""
    """Name in `TOPICS`; empty for a user's file."""
    first: tuple[str, ...] = ()
    """Columns of most interest, which a table shows before the others."""
    folded: tuple[str, ...] = ()
    """Columns that a narrow table folds over several lines: texts between words, an interval below its value."""
    deprecated: Deprecated | None = None
    """Its declaration, if it is deprecated."""

    def bound(self, values: Mapping[str, ParameterValue]) -> dict[str, ParameterValue]:
        """Return the values of the parameters in the statement; the others only choose the artefact tables to read."""
        statement = "\n".join(line for line in self.sql.splitlines() if not line.startswith("--"))
        return {name: value for name, value in values.items() if re.search(rf"\${name}\b", statement)}

    @property
    def is_ranking(self) -> bool:
        """Whether the query reads rank consistencies, which not every task has."""
        return "FROM rank_consistency" in self.sql and "FROM metrics" not in self.sql

    @property
    def summary(self) -> str:
        """The first sentence of the description: what the query answers."""
        return _sentences(self.description)[0]

    @property
    def row(self) -> str:
        """What there is one row for: the sentence of the description that says it; the summary if none does."""
        found = (text for text in _sentences(self.description) if text.lower().startswith("one row per "))
        text = next(found, self.summary)
        return f"{text[:1].lower()}{text[1:]}"


def _sentences(text: str) -> list[str]:
    """Return the sentences of a description, without their periods."""
    return [sentence.removesuffix(".") for sentence in re.split(r"\. (?=[A-Za-z])", text)]


def list_queries() -> list[NamedQuery]:
    """Return all named queries, sorted by name."""
    return [parse_query(file.name, file.text) for file in sql_files("queries")]


def listed_views() -> dict[str, str]:
    """Return the views for people, not helpers, sorted by name: name -> the first sentence about it."""
    files = (file for file in sql_files("views") if file.relation == file.name)
    return {file.name: _sentences(file.description)[0] for file in files}


def warn_of_deprecated_views(sql: str) -> None:
    """Warn of each deprecated view that a statement names."""
    words = set(re.findall(r"\w+", sql))
    for file in sql_files("views"):
        if file.name in words and file.deprecated is not None:
            warn_deprecated(f"view {file.relation}", file.deprecated, stacklevel=2)


def find_query(name: str) -> NamedQuery:
    """Return a named query with its parameters.

    Raises:
        QueryError: no query has that name.
    """
    texts = {file.name: file.text for file in sql_files("queries")}
    if name not in texts:
        listing = "mlprune query --topics, or store.queries in Python"
        raise unknown("query", name, texts, error=QueryError, n_nearest=3, listing=listing)
    return parse_query(name, texts[name])


def named_query(name: str) -> str:
    """Return the SQL of a named query; see `find_query` for the error."""
    return find_query(name).sql


def read_query(path: Path) -> NamedQuery:
    """Read a query from a user's file, whose opening comment may declare parameters as in the files of the package.

    Raises:
        QueryError: the file cannot be read.
    """
    try:
        return parse_query(path.stem, read_given_text(path))
    except (OSError, UnicodeDecodeError) as err:
        raise QueryError("the query file cannot be read", path=str(path), reason=str(err)) from err


def parse_query(name: str, text: str) -> NamedQuery:
    """Parse the text of a query; its opening comment may declare parameters as in the files of the package."""
    file = SqlFile(name, text)
    parameters = []
    for line in file.comment:
        if match := _PARAMETER.match(line):
            key, kind, default = match.groups()
            parameters.append(Parameter(key, kind, parse_default(default), required=default is None))
    reads = tuple(ArtefactTable(*match.groups()) for line in file.comment if (match := _READS.match(line)))
    topic = next((line.removeprefix("topic: ") for line in file.comment if line.startswith("topic: ")), "")
    first, folded = (_listed_names(file, kind) for kind in ("first: ", "folded: "))
    return NamedQuery(
        file.name, file.description, tuple(parameters), file.text, reads, topic, first, folded, file.deprecated
    )


def _listed_names(file: SqlFile, beginning: str) -> tuple[str, ...]:
    """Return the names that lines of the opening comment list."""
    lists = (line.removeprefix(beginning) for line in file.comment if line.startswith(beginning))
    return tuple(name for line in lists for name in line.split(", "))
