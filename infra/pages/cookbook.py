"""The cookbook page: questions in `docs/cookbook/`, their SQL, and the answers of frozen stores."""

from dataclasses import dataclass, replace
from pathlib import Path

from catalog.queries import answer_user_query
from catalog.sql_files import SqlFile
from catalog.store import Catalog
from catalog.terminal import TableOptions
from catalog.terminal.result_table import render
from infra.pages.frozen import thawed
from infra.pages.page import page
from infra.pages.transcripts import WIDTH

FOLDER = Path(__file__).parents[2] / "docs" / "cookbook"
REFINED = "refined"
"""Folder of the questions about a second store, and the name of this store."""
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

The numbers are those of a model of two million parameters that was trained for an hour ([the
demo](../quick-start.md#the-demo)), on one machine (AMD EPYC, AVX-512): a demo on another processor can have other
values, and choose other variants where dev is nearly a tie. The questions apply to any model. A named query answers the
same question without SQL: `mlprune query NAME --store demo-store`, parameters in [the
reference](catalog.md#queries).

The last question is about refined masks, rounded weights and missing neurons. Its answer is that of
`docs/stores/refined.tar.xz`, a run of [`refined.yaml`](../../infra/recipes/refined.yaml) on the same model.
`mlprune query --topics` lists the named queries for all other questions.
"""


@dataclass(frozen=True)
class Question:
    """One question of the cookbook."""

    number: int
    title: str
    explanation: str
    sql: str
    store: str
    """Name of the frozen store that answers it."""


def questions(store: str | None = None) -> list[Question]:
    """Return the questions of one frozen store, or of all, in the order of their numbers."""
    found = [_parsed(path, "demo") for path in sorted(FOLDER.glob("*.sql"))]
    found += [_parsed(path, REFINED) for path in sorted((FOLDER / REFINED).glob("*.sql"))]
    return [question for question in found if store in (None, question.store)]


def cookbook() -> str:
    """Return the whole page."""
    parts = [OPENING.strip()]
    for name in ("demo", REFINED):
        with thawed(name) as store, Catalog.in_memory(store) as catalog:
            for question in questions(name):
                parts += [
                    f"## {question.number}. {question.title}",
                    question.explanation,
                    f"```sql\n{question.sql}\n```",
                    f"```text\n{_answer(catalog, question)}\n```",
                ]
    return page("Cookbook", parts, source="`docs/cookbook/` and `docs/stores/`")


def _answer(catalog: Catalog, question: Question) -> str:
    """Return the table that `mlprune query` prints."""
    answer = answer_user_query(catalog, question.sql)
    options = replace(LAYOUT, is_user_sql=answer.is_user_sql, interval_owners=answer.interval_owners)
    return render(answer.result, "table", options=options)


def _parsed(path: Path, store: str) -> Question:
    """Parse a file whose opening comment has the question on its first line, then an explanation."""
    file = SqlFile(path.stem, path.read_text("utf-8"))
    title, *explanation = file.comment
    sql = "\n".join(file.text.splitlines()[len(file.comment) :])
    return Question(int(path.stem.partition("-")[0]), title, "\n".join(explanation), sql, store)
