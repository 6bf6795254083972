"""The page of questions, their SQL and their answers: files of `docs/cookbook/`, asked of the frozen demo."""

from dataclasses import dataclass
from pathlib import Path

from catalog.queries import render
from catalog.sql_files import SqlFile
from catalog.store import Catalog
from infra.pages.frozen import thawed
from infra.pages.page import page

FOLDER = Path(__file__).parents[2] / "docs" / "cookbook"

OPENING = """
Questions that one asks the morning after, each with its SQL and with what the catalog of the demo answers. Any of them
runs as it stands:

```sh
mlprune query docs/cookbook/02-best-variant.sql --store demo-store
```

`mlprune demo` makes `demo-store` in some minutes. Its records, from which these answers come, are also in the
repository; a store unpacked from them answers every question, and has no masks:

```
mkdir demo-store
tar -xJf docs/stores/demo.tar.xz -C demo-store
```

What the numbers say is about a model of two million parameters that was trained for an hour ([demo.md](demo.md)); the
questions are those one has about any. "Ready-made" names the query that answers the same without any SQL:
`mlprune query NAME --store demo-store`, parameters in [the reference](reference/catalog.md#queries).
"""


@dataclass(frozen=True)
class Question:
    """One question of the cookbook."""

    number: int
    title: str
    explanation: str
    sql: str


def questions() -> list[Question]:
    """All questions, in the order of their files' numbers."""
    return [_parsed(path) for path in sorted(FOLDER.glob("*.sql"))]


def cookbook() -> str:
    """The whole page."""
    found = questions()
    with thawed("demo") as store, Catalog.in_memory(store) as catalog:
        answers = [render(catalog.select(one.sql), "table") for one in found]
    parts = [OPENING.strip()]
    for one, answer in zip(found, answers, strict=True):
        parts += [
            f"## {one.number}. {one.title}",
            one.explanation,
            f"```sql\n{one.sql}\n```",
            f"```text\n{answer}\n```",
        ]
    return page("Cookbook", parts, source="`docs/cookbook/` and `docs/stores/demo.tar.xz`")


def _parsed(path: Path) -> Question:
    """The opening comment holds the question on its first line, then what there is to know about it."""
    file = SqlFile(path.stem, path.read_text("utf-8"))
    title, *explanation = file.comment
    sql = "\n".join(file.text.splitlines()[len(file.comment) :])
    return Question(int(path.stem.partition("-")[0]), title, "\n".join(explanation), sql)
