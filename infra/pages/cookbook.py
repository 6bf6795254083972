"""The cookbook page: questions in `docs/cookbook/`, their SQL, and the answers of the frozen demo store."""

from dataclasses import dataclass
from pathlib import Path

from catalog.queries import render
from catalog.sql_files import SqlFile
from catalog.store import Catalog
from catalog.terminal import TableOptions
from infra.pages.frozen import thawed
from infra.pages.page import page
from infra.pages.transcripts import WIDTH

FOLDER = Path(__file__).parents[2] / "docs" / "cookbook"
LAYOUT = TableOptions(width=WIDTH)

OPENING = """
Questions to ask after a run, each with its SQL and the answer of the demo's catalog. To run one:

```sh
mlprune query docs/cookbook/04-best-variant.sql --store demo-store
```

`mlprune demo` makes `demo-store` in a few minutes. Its records, which give these answers, are also in the repository. A
store unpacked from them answers every question, but has no masks:

```
mkdir demo-store
tar -xJf docs/stores/demo.tar.xz -C demo-store
```

The numbers are those of a model of two million parameters that was trained for an hour ([demo.md](demo.md)); the
questions apply to any model. A named query answers the same question without SQL: `mlprune query NAME --store
demo-store`, parameters in [the reference](reference/catalog.md#queries).
"""


@dataclass(frozen=True)
class Question:
    """One question of the cookbook."""

    number: int
    title: str
    explanation: str
    sql: str


def questions() -> list[Question]:
    """Return all questions, in the order of their numbers."""
    return [_parsed(path) for path in sorted(FOLDER.glob("*.sql"))]


def cookbook() -> str:
    """Return the whole page."""
    all_questions = questions()
    with thawed("demo") as store, Catalog.in_memory(store) as catalog:
        answers = [render(catalog.select(question.sql), "table", options=LAYOUT) for question in all_questions]
    parts = [OPENING.strip()]
    for question, answer in zip(all_questions, answers, strict=True):
        parts += [
            f"## {question.number}. {question.title}",
            question.explanation,
            f"```sql\n{question.sql}\n```",
            f"```text\n{answer}\n```",
        ]
    return page("Cookbook", parts, source="`docs/cookbook/` and `docs/stores/demo.tar.xz`")


def _parsed(path: Path) -> Question:
    """Parse a file whose opening comment has the question on its first line, then an explanation."""
    file = SqlFile(path.stem, path.read_text("utf-8"))
    title, *explanation = file.comment
    sql = "\n".join(file.text.splitlines()[len(file.comment) :])
    return Question(int(path.stem.partition("-")[0]), title, "\n".join(explanation), sql)
