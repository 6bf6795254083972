"""MultiLoKo: questions about local topics in 31 languages (Hupkes and Bogoychev 2025, arXiv:2504.10356).

Files: `french/dev.jsonl`, from the archive that its authors ask not to mirror. Each language has questions of its own,
so ids contain the language. The category of a question is the type of its answer.
"""

from collections.abc import Iterator, Mapping, Sequence

from mlprune.corpus.text_files import read_json_lines
from mlprune.descriptions import AnswerRule
from mlprune.evaluation.tasks.items import CATEGORY, Row, TranslationItem, answers_of, generated_item, text_of
from mlprune.evaluation.tasks.layouts import layout
from mlprune.evaluation.tasks.task import Task

LANGUAGES: Mapping[str, str] = {
    "arabic": "ar",
    "bengali": "bn",
    "cantonese": "yue",
    "czech": "cs",
    "dutch": "nl",
    "english": "en",
    "farsi": "fa",
    "french": "fr",
    "german": "de",
    "hebrew": "he",
    "hindi": "hi",
    "indonesian": "id",
    "italian": "it",
    "japanese": "ja",
    "khmer": "km",
    "korean": "ko",
    "malay": "ms",
    "marathi": "mr",
    "polish": "pl",
    "portuguese": "pt",
    "romanian": "ro",
    "russian": "ru",
    "simplified_mandarin": "zh",
    "spanish": "es",
    "swedish": "sv",
    "tagalog": "tl",
    "thai": "th",
    "traditional_mandarin": "zh-Hant",
    "turkish": "tr",
    "urdu": "ur",
    "vietnamese": "vi",
}
"""Name of a folder -> tag of its language."""
KEYS = {"id", "question", "targets"}


def multiloko() -> Task:
    """Questions about local knowledge."""
    return Task(
        "multiloko",
        ("exact_match", "token_f1"),
        ("question", "targets"),
        multiloko_item,
        prompt_language="en",
        citation="Hupkes and Bogoychev 2025, arXiv:2504.10356",
        generates=AnswerRule(max_new_tokens=32),
        layouts=(layout.TaskLayout("multiloko", ("multiloko",), "french/dev.jsonl", _find, _read),),
    )


def multiloko_item(example_id: str, row: Row) -> TranslationItem:
    """The instruction, `Q: {question}` with the type of the answer, and `A:`, in English."""
    question, kind = text_of(row, "question").strip(), row.get("output_type")
    asked = f" Produce only a {kind}." if kind else ""
    start = "Answer the given question as concisely as possible.\n\n"
    return generated_item(example_id, f"{start}Q: {question}{asked}\nA:", answers_of(row, "targets"))


def _find(tree: layout.FileTree) -> Iterator[layout.TaskFile]:
    for name in tree.names:
        folder, _, file = name.rpartition("/")
        language, split = LANGUAGES.get(folder.rpartition("/")[2]), file.partition(".")[0]
        is_lines = file.removesuffix(".gz").removesuffix(".zst") == f"{split}.jsonl"
        if language and split in ("dev", "test") and is_lines and set(layout.first_object(tree.file(name))) >= KEYS:
            yield layout.TaskFile(name, language, split)


def _read(tree: layout.FileTree, file: layout.TaskFile) -> Sequence[Row]:
    rows = read_json_lines(tree.file(file.name))
    return [{**row, "id": f"{file.language}:{row['id']}", CATEGORY: row.get("output_type")} for row in rows]
