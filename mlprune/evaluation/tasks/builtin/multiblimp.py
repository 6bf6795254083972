"""MultiBLiMP: minimal pairs of a grammatical and an ungrammatical sentence (Jumelet et al. 2025, arXiv:2504.02768)."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from mlprune.corpus.layouts.text_layout import recipe_tags
from mlprune.corpus.text_files import read_delimited
from mlprune.evaluation.tasks.items import CATEGORY, CLUSTER, ChoiceItem, Row, text_of
from mlprune.evaluation.tasks.layouts import layout
from mlprune.evaluation.tasks.layouts.bmlama import candidate_order
from mlprune.evaluation.tasks.task import CHOICE_METRICS, Task

SENTENCES = ("sen", "wrong_sen")
"""Keys of the grammatical and the ungrammatical sentence."""
PHENOMENON = "phenomenon"
"""Column of the kind of agreement: SV-#, SV-P, SV-G, SP-#, SP-P or SP-G."""
CODE = r"(?P<language>[a-z]{3})"


def multiblimp() -> Task:
    """Acceptable and unacceptable sentences."""
    return Task(
        "multiblimp",
        CHOICE_METRICS,
        SENTENCES,
        multiblimp_item,
        ties="shared",
        citation="Jumelet et al. 2025, arXiv:2504.02768",
        layouts=(layout.TaskLayout("multiblimp", ("multiblimp",), "fra/data.tsv", _find, _read),),
    )


def multiblimp_item(example_id: str, row: Row) -> ChoiceItem:
    """Both sentences, without other words.

    The files list the grammatical one first. Which one is first here depends on the id alone.
    """
    sentences = [text_of(row, key).strip() for key in SENTENCES]
    order = candidate_order(example_id, len(sentences))
    texts = tuple(sentences[position] for position in order)
    return ChoiceItem(example_id, texts, texts, order.index(0))


def _find(tree: layout.FileTree) -> Iterator[layout.TaskFile]:
    """Yield the file of each language; the three letters of a language become its tag, such as `fas` to `fa`."""
    files = list(layout.files_named(tree, rf"{CODE}/data\.tsv", splits={}))
    tags = recipe_tags([_code(file) for file in files])
    for file in files:
        header = layout.first_cells(tree.file(file.name)) or [[]]
        if {*SENTENCES, PHENOMENON} <= set(header[0]):
            yield replace(file, language=tags[_code(file)])


def _code(file: layout.TaskFile) -> str:
    return file.name.split("/")[-2]


def _read(tree: layout.FileTree, file: layout.TaskFile) -> Sequence[Row]:
    """Read a table as a writer of CSV leaves it. Pairs made of one sentence are a cluster, named by the first one.

    The languages have different sentences, so ids contain the language.
    """
    rows = read_delimited(tree.file(file.name), quoted=True)
    first: dict[str, int] = {}
    return [
        {
            "id": f"{file.language}:{number}",
            **{key: row[key] for key in SENTENCES},
            CLUSTER: f"{file.language}:{first.setdefault(row[SENTENCES[0]], number)}",
            CATEGORY: row[PHENOMENON],
        }
        for number, row in enumerate(rows)
    ]
