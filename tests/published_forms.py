"""Small files of published task sets without a layout: the same names, headers and nesting, and texts of our own."""

import csv
import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.published_data import json_lines, tabs, write_text


class Form(NamedTuple):
    """A published form, and the items that its declaration gives."""

    write: Callable[[Path], None]
    """Function that writes the files to an empty folder."""
    split: str
    items: Mapping[str, Sequence[tuple[str, str]]]
    """Language -> id and right candidate, or accepted answers, of each item, in order."""
    skipped: Mapping[str, int] = {}
    """Reason -> rows that are left out, of each language."""


def commas(path: Path, rows: Sequence[Sequence[object]], *, delimiter: str = ",") -> None:
    """Write rows as a writer of CSV does."""
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(rows)
    write_text(path, text.getvalue())


def tar_of_json_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a compressed archive with one file of JSON lines."""
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(path.name.removesuffix(".tar.gz"))
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))


def write_nusax(root: Path) -> None:
    for language in ("acehnese", "toba_batak", "english"):
        rows = [["411", f'"A", {language}', "positive"], ["7", "two\nlines", "neutral"]]
        commas(root / f"sentiment/{language}/valid.csv", [["id", "text", "label"], *rows])
        commas(root / f"sentiment/{language}/test.csv", [["id", "text", "label"]])


def write_afrisenti(root: Path) -> None:
    for language in ("yor", "pcm"):
        tabs(root / f"{language}/dev.tsv", [["tweet", "label"], [f'say "{language}', "negative"], ["b", "positive"]])


def write_jcommonsenseqa(root: Path) -> None:
    rows = [
        {"q_id": 8939 + n, "question": f"q{n}", **{f"choice{k}": f"c{k}" for k in range(5)}, "label": label}
        for n, label in enumerate((2, 4))
    ]
    json_lines(root / "jcommonsenseqa-v1.3/valid-v1.3.json", rows)


def write_jnli(root: Path) -> None:
    names = ("sentence_pair_id", "yjcaptions_id", "sentence1", "sentence2", "label")
    rows = [("0", "1-2-3", "a", "b", "neutral"), ("1", "4-5-6", "c", "d", "entailment")]
    json_lines(root / "jnli-v1.3/valid-v1.3.json", [dict(zip(names, row, strict=True)) for row in rows])


def write_farstail(root: Path) -> None:
    rows = [["premise", "hypothesis", "label"], ["p", "h", "e"], ['has\ta tab, "quoted"', "h", "n"]]
    commas(root / "Val-word.csv", rows, delimiter="\t")


def write_copal_id(root: Path) -> None:
    header = ["premise", "choice1", "choice2", "question", "idx", "label", "Terminology", "Culture", "Language"]
    rows = [["p", "x, y", "z", "cause", "0", "0", "0", "1", "0"], ["p", "x", "z", "effect", "1", "1", "1", "0", "0"]]
    commas(root / "test_copal.csv", [header, *rows])
    commas(root / "test_copal_colloquial.csv", [header, rows[0]])


def write_parsinlu_choice(root: Path) -> None:
    def row(question: str, candidates: list[str], answer: str) -> dict[str, Any]:
        return {"answer": answer, "candidates": candidates, "category": "c", "question": question, "id": "page.pdf"}

    rows = [row("q", ["11", "19"], "2"), row("q", ["1", "3"], "1"), row("blank", ["a", " "], "1")]
    json_lines(root / "multiple-choice/valid.jsonl", rows)


def write_parsinlu_nli(root: Path) -> None:
    header = ["", "sent1", "sent2", "label", "source"]
    rows = [["7", "a", "b", "c", "x"], ["7", "a", "b", "-", "x"], ["9", "a, a", "b", "e", "x"]]
    commas(root / "entailment/dev.csv", [header, *rows])


def write_jblimp(root: Path) -> None:
    names = ("ID", "good_sentence", "bad_sentence", "type", "phenomenon", "phenomenon-2", "paradigm")
    rows = [(0, "good 0", "bad 0", "t", "island", None, "p"), (3, "good 3", "bad 3", "t", "binding", None, "p")]
    json_lines(root / "validated_minimal_pairs.jsonl", [dict(zip(names, row, strict=True)) for row in rows])


def write_blimp(root: Path) -> None:
    for paradigm in ("wh_island", "causative", "npi_present_1"):
        rows = [
            {"sentence_good": f"{paradigm} good {n}", "sentence_bad": "bad", "linguistics_term": "t", "pairID": str(n)}
            for n in range(2)
        ]
        json_lines(root / f"{paradigm}.jsonl", rows)


def write_cmmlu(root: Path) -> None:
    for subject in ("arts", "agronomy"):
        rows = [["0", f"{subject}?", "a", "b", "c", "d", "B"], ["1", "q", "a", "b", "c, c", "d", "D"]]
        commas(root / f"dev/{subject}.csv", [["", "Question", "A", "B", "C", "D", "Answer"], *rows])
        commas(root / f"test/{subject}.csv", [["", "Question", "A", "B", "C", "D", "Answer"]])


def write_ocnli(root: Path) -> None:
    labels = ("entailment", "-", "contradiction")
    rows = [
        {"sentence1": "a", "sentence2": "b", "label": label, "label0": "x", "id": n} for n, label in enumerate(labels)
    ]
    json_lines(root / "dev.json", rows)


def write_turkish_mmlu(root: Path) -> None:
    for subject in ("Religion and Ethics", "Biology"):
        rows = [
            {"question": f"{subject}?", "choices": ["2", "4", "8", "16", "32"], "answer": "C"},
            {"question": "q", "choices": ["2", "4", "8", "16", "32"], "answer": "E"},
        ]
        write_text(root / f"dev/TurkishMMLU_{subject}.json", json.dumps(rows, indent=4))
    write_text(root / "turkishmmlu_sub.json", "[]")


def write_exams(root: Path) -> None:
    for language in ("bg", "pt"):
        rows = [
            {
                "id": f"{language}-{n}",
                "question": {"stem": "s", "choices": [{"text": f"t{label}", "label": label} for label in "ABC"]},
                "answerKey": key,
                "info": {"grade": 12, "subject": "Biology", "language": "x"},
            }
            for n, key in enumerate("C@A")
        ]
        tar_of_json_lines(root / f"dev_{language}.jsonl.tar.gz", rows)


def write_afriqa(root: Path) -> None:
    for language, pivot in (("swa", "en"), ("fon", "fr")):
        answers = ["['Webuye']", "['M'biza']", "[\"Cote d'Ivoire\", 'b']", "[]"]
        rows = [{"id": n, "question": "q", "answers": answer, "lang": language} for n, answer in enumerate(answers)]
        json_lines(root / f"queries/{language}/queries.afriqa.{language}.{pivot}.test.json", rows)
        json_lines(root / f"queries/{language}/queries.afriqa.{language}.{pivot}.train.json", rows[:1])


def write_afriqa_passages(root: Path) -> None:
    rows = [
        {"answer_pivot": {"answer_start": [1], "text": texts}, "context": "c", "id": str(n), "question_lang": "q"}
        for n, texts in enumerate((["Webuye"], [], ["Oginga  Odinga"]))
    ]
    json_lines(root / "gold_passages/swa/gold_span_passages.afriqa.swa.en.test.json", rows)


def write_indonli(root: Path) -> None:
    row = {"pair_id": 104684, "premise_id": 1, "premise": "p", "hypothesis": "h", "label": "n"}
    json_lines(root / "val.jsonl", [row, row, {**row, "pair_id": 5, "label": "c"}])


def squad(path: Path, questions: Sequence[tuple[str, str, Sequence[str]]]) -> None:
    """Write a file in the format of SQuAD, on one line: a paragraph with questions, each an id, a text and answers."""
    qas = [
        {"id": name, "question": text, "answers": [{"text": each, "answer_start": 0} for each in answers]}
        for name, text, answers in questions
    ]
    articles = [{"title": "t", "paragraphs": [{"context": "Blue, or red.", "qas": qas}]}]
    write_text(path, json.dumps({"version": "1.1", "data": articles}))


def write_mlqa(root: Path) -> None:
    for language in ("ar", "hi"):
        for other in ("ar", "hi"):
            file = root / f"dev/dev-context-{language}-question-{other}.json"
            squad(file, [("7a", f"{other}?", ["Blue", "blue"]), ("7b", "b?", ["red"])])


def write_tydiqa_goldp(root: Path) -> None:
    for language in ("arabic", "swahili"):
        squad(root / f"tydiqa-goldp-dev-{language}.json", [(f"{language}-1-0", "a?", ["Blue", "red"])])


def write_indic_xnli(root: Path) -> None:
    for language in ("as", "hi"):
        rows = [{"premise": "p", "hypothesis": f"h{label}", "label": label} for label in (2, 0)]
        write_text(root / f"dev/xnli_{language}.json", json.dumps({"validation": rows}))


def write_arabic_mmlu(root: Path) -> None:
    names = ("ID", "Source", "Country", "Group", "Subject", "Level", "Question", "Context", "Answer Key")
    header = [*names, *(f"Option {number}" for number in range(1, 6)), "is_few_shot"]
    rows = [
        [5, "s", "Egypt", "STEM", "Physics", "High", "a?", "", "B", "x", "y", "", "", "", 0],
        [9, "s", "", "Humanities", "History", "", "b?", "more", "D", "x", "y", "z", "w", "", 0],
    ]
    commas(root / "test.csv", [header, *rows])


def write_indo_mmlu(root: Path) -> None:
    rows = [
        [0, "IPA", "SD", "a?", "A. satu\nB. dua\nC. tiga", "B"],
        [1, "IPS", "SMA", "b?", "A. x.\ndan y\nB. z\nC. u\nD. v\nE. w", "A"],
    ]
    commas(root / "IndoMMLU.csv", [["id", "subject", "level", "soal", "jawaban", "kunci"], *rows])


FORMS: Mapping[str, Form] = {
    "nusax": Form(write_nusax, "valid", dict.fromkeys(("ace", "bbc", "en"), (("411", "positive"), ("7", "neutral")))),
    "afrisenti": Form(write_afrisenti, "dev", dict.fromkeys(("yo", "pcm"), (("0", "negative"), ("1", "positive")))),
    "jcommonsenseqa": Form(write_jcommonsenseqa, "valid", {"ja": [("8939", "c2"), ("8940", "c4")]}),
    "jnli": Form(write_jnli, "valid", {"ja": [("0", "neutral"), ("1", "entailment")]}),
    "farstail": Form(write_farstail, "Val", {"fa": [("0", "e"), ("1", "n")]}),
    "copal_id": Form(write_copal_id, "test", {"id": [("0", "x, y"), ("1", "z")]}),
    "parsinlu_choice": Form(
        write_parsinlu_choice,
        "valid",
        {"fa": [("page.pdf#q#['11', '19']", "19"), ("page.pdf#q#['1', '3']", "1")]},
        {"with a blank text": 1},
    ),
    "parsinlu_nli": Form(write_parsinlu_nli, "dev", {"fa": [("0", "c"), ("2", "e")]}, {"label is -": 1}),
    "jblimp": Form(write_jblimp, "test", {"ja": [("0", "good 0"), ("3", "good 3")]}),
    "blimp": Form(
        write_blimp,
        "test",
        {
            "en": [
                (f"{paradigm}#{n}", f"{paradigm} good {n}")
                for paradigm in ("causative", "npi_present_1", "wh_island")
                for n in range(2)
            ]
        },
    ),
    "cmmlu": Form(
        write_cmmlu, "dev", {"zh": [("agronomy#0", "b"), ("agronomy#1", "d"), ("arts#0", "b"), ("arts#1", "d")]}
    ),
    "ocnli": Form(write_ocnli, "dev", {"zh": [("0", "entailment"), ("2", "contradiction")]}, {"label is -": 1}),
    "turkish_mmlu": Form(
        write_turkish_mmlu,
        "dev",
        {
            "tr": [
                (f"{subject}#{n}", right)
                for subject in ("Biology", "Religion and Ethics")
                for n, right in ((0, "8"), (1, "32"))
            ]
        },
    ),
    "exams": Form(
        write_exams,
        "dev",
        {language: [(f"{language}-0", "tC"), (f"{language}-2", "tA")] for language in ("bg", "pt")},
        {"answerKey is @": 1},
    ),
    "afriqa": Form(
        write_afriqa,
        "test",
        dict.fromkeys(("sw", "fon"), (("0", "Webuye"), ("1", "M'biza"), ("2", "Cote d'Ivoire\nb"))),
        {"with a blank text": 1},
    ),
    "afriqa_passages": Form(
        write_afriqa_passages, "test", {"sw": [("0", "Webuye"), ("2", "Oginga Odinga")]}, {"with a blank text": 1}
    ),
    "indonli": Form(write_indonli, "val", {"id": [("0", "n"), ("1", "n"), ("2", "c")]}),
    "mlqa": Form(write_mlqa, "dev", dict.fromkeys(("ar", "hi"), (("7a", "Blue\nblue"), ("7b", "red")))),
    "tydiqa_goldp": Form(
        write_tydiqa_goldp, "dev", {"ar": [("arabic-1-0", "Blue\nred")], "sw": [("swahili-1-0", "Blue\nred")]}
    ),
    "indic_xnli": Form(
        write_indic_xnli, "dev", dict.fromkeys(("as", "hi"), (("0", "contradiction"), ("1", "entailment")))
    ),
    "arabic_mmlu": Form(write_arabic_mmlu, "test", {"ar": [("5", "y"), ("9", "w")]}),
    "indo_mmlu": Form(write_indo_mmlu, "test", {"id": [("0", "dua"), ("1", "x.\ndan y")]}),
}
"""Name of a declaration in docs/data.md -> its published form."""
