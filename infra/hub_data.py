"""Load the built-in data sets from their hub and write a table of what could be read: `python -m infra.hub_data`.

Data sets change on the hub without notice. The table has a row per data set: a language and a split of it, the number
of items, and the id of the first or the reason why nothing could be read.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlprune.descriptions import HubSet
from mlprune.errors import MissingTaskFileError, MlpruneError
from mlprune.evaluation.tasks.hub_datasets import hub_source, pinned
from mlprune.evaluation.tasks.registry import HUB_SETS, TASKS
from mlprune.evaluation.tasks.task_files import ItemSelection, TaskData, read_items
from mlprune.vocabulary import HUB

LANGUAGES = ("sw", "fr", "en", "es", "de", "zh", "hi", "ja")
"""Languages that are tried in order, after the first that a data set names itself."""
MOST_CHARACTERS = 300
"""Longest reason in the table."""


@dataclass(frozen=True)
class Loaded:
    """What was read of a data set."""

    task: str
    data_set: str
    language: str = ""
    split: str = ""
    n_items: int = 0
    first_item: str = ""
    problem: str = ""


Read = Callable[[str, HubSet, str, str], TaskData]
"""Function of (task, data set, language, split) that reads the items."""


def read_from_hub(task: str, data: HubSet, language: str, split: str) -> TaskData:
    """Read one language and split of a data set from the hub.

    Raises:
        TaskFileError: it cannot be fetched or read.
    """
    source = pinned(hub_source(f"{HUB}{data.name}", HUB_SETS), (language,), split)
    return read_items(task, source, ItemSelection(language, split))


def data_sets() -> Iterator[tuple[str, HubSet]]:
    """Yield (task, data set) of every built-in data set."""
    for name, task in TASKS.items():
        yield from ((name, data) for data in (*([task.dataset] if task.dataset else []), *task.copies))


def load(task: str, data: HubSet, *, read: Read = read_from_hub) -> Loaded:
    """Read the first language that a data set has; only a missing language leads to the next one."""
    split = "test" if "test" in dict(data.splits) else next(iter(dict(data.splits)))
    first: Mapping[str, str] = dict(data.configs)
    languages = [*list(first)[:1], *(language for language in LANGUAGES if not first or language in first)]
    problem = "no language"
    for language in dict.fromkeys(languages):
        try:
            items = read(task, data, language, split)
        except MissingTaskFileError as err:
            problem = str(err)
            continue
        except MlpruneError as err:
            return Loaded(task, data.name, language, split, problem=str(err))
        return Loaded(task, data.name, language, split, len(items.items), items.items[0].example_id)
    return Loaded(task, data.name, ", ".join(languages), split, problem=problem)


def table(results: Iterable[Loaded]) -> str:
    """Return the results as a Markdown page, failures first."""
    results = sorted(results, key=lambda result: (not result.problem, result.task, result.data_set))
    n_failed = sum(bool(result.problem) for result in results)
    lines = [
        "# Built-in data sets on their hub",
        "",
        f"{len(results) - n_failed} of {len(results)} data sets could be read.",
        "",
        "| task | data set | language | split | items | first id, or problem |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        last = f"**{result.problem[:MOST_CHARACTERS]}**" if result.problem else result.first_item
        cells = (result.task, result.data_set, result.language, result.split, str(result.n_items), last)
        lines.append("| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |")
    return "\n".join([*lines, ""])


def main(arguments: list[str] | None = None, *, read: Read = read_from_hub) -> int:
    """Write the table; the exit code is 1 if a data set could not be read."""
    parser = argparse.ArgumentParser(prog="python -m infra.hub_data", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write.")
    parser.add_argument("--task", action="append", choices=sorted(TASKS), help="Only this task; repeatable.")
    options = parser.parse_args(arguments)
    results = [load(task, data, read=read) for task, data in data_sets() if not options.task or task in options.task]
    options.out.write_text(table(results), encoding="utf-8")
    return int(any(result.problem for result in results))


if __name__ == "__main__":
    sys.exit(main())
