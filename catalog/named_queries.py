"""Named queries, each a file with its parameters. Reading them needs no database."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from catalog.query_parameters import Parameter, ParameterValue, parse_default
from catalog.sql_files import SqlFile, sql_files
from mlprune.errors import QueryError, unknown
from mlprune.given_files import read_given_text

_PARAMETER = re.compile(r"^\$(\w+) ([A-Z]+)(?: = (.+))?$")
_READS = re.compile(r"^reads (\w+) from (\w+) of \$(\w+)$")


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
        """The first sentence of the description."""
        return re.split(r"\. (?=[A-Za-z])", self.description)[0].removesuffix(".")


def list_queries() -> list[NamedQuery]:
    """Return all named queries, sorted by name."""
    return [parse_query(file.name, file.text) for file in sql_files("queries")]


def find_query(name: str) -> NamedQuery:
    """Return a named query with its parameters.

    Raises:
        QueryError: no query has that name.
    """
    texts = {file.name: file.text for file in sql_files("queries")}
    if name not in texts:
        listing = "mlprune query --list, or store.queries in Python"
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
    return NamedQuery(file.name, file.description, tuple(parameters), file.text, reads)
