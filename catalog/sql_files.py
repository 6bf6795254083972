"""The `.sql` files of this package: each has one statement, and an opening comment with the meaning of one row."""

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path

SQL_FOLDER = Path(__file__).parent / "sql"


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
    def depends_on(self) -> tuple[str, ...]:
        """Tables that the line `depends on` of the opening comment names."""
        lines = [line.removeprefix("depends on ") for line in self.comment if line.startswith("depends on ")]
        return tuple(name for line in lines for name in line.split(", "))

    @property
    def description(self) -> str:
        """The meaning of one row: the opening comment on one line, without its name, parameters and dependencies."""
        lines = [line for line in self.comment if not line.startswith(("$", "reads ", "depends on "))]
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
    """Return all files of one folder in `sql/`, sorted by name."""
    return [SqlFile(path.stem, _text(folder, path.stem)) for path in sorted((SQL_FOLDER / folder).glob("*.sql"))]


@cache
def _text(folder: str, name: str) -> str:
    return (SQL_FOLDER / folder / f"{name}.sql").read_text("utf-8")


def statement(folder: str, name: str, /, **identifiers: str) -> str:
    """Return the text of one file, with `{identifiers}` replaced.

    Identifiers are names of tables and columns of the catalog, or texts of other files. Values are bound as parameters
    and never inserted.
    """
    text = _text(folder, name)
    for key, value in identifiers.items():
        text = text.replace(f"{{{key}}}", value)
    return text
