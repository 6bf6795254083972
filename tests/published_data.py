"""Small data sets in the layouts in which they are published, with the names, headers and quotes of the originals."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

WORDS = {"en": "cats", "fr": "chats", "sw": "paka", "zh": "猫", "my": "ကြောင်", "ko": "고양이"}
LABELS = ("entailment", "neutral", "contradiction")
N = 6
"""Rows of each language and split."""


class Published(NamedTuple):
    """A data set in one published layout."""

    layout: str
    tasks: tuple[str, ...]
    write: Callable[[Path], None]
    """Function that writes the files to an empty folder."""
    splits: Mapping[str, tuple[str, ...]]
    """Language -> splits."""
    ids: tuple[str, ...] = tuple(map(str, range(N)))
    """Ids of every language and split; `{language}` and `{split}` stand for these."""
    right: Callable[[str, int], str] | None = None
    """(language, number) -> part of the text with the right candidate, if the test of layouts does not have it."""
    is_text: bool = True
    """Whether the files are text, which may have a byte-order mark and be compressed."""


def write_text(path: Path, text: str) -> None:
    """Write a text with its line ends as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def json_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write JSON lines."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def tabs(path: Path, rows: Sequence[Sequence[object]], *, end: str = "\n") -> None:
    """Write rows without quotes."""
    write_text(path, "".join("\t".join(map(str, row)) + end for row in rows))


def csv_tabs(path: Path, rows: Sequence[Sequence[object]]) -> None:
    """Write rows as a writer of CSV does: values with a quote are enclosed, lines end with CRLF."""
    text = io.StringIO()
    csv.writer(text, delimiter="\t").writerows(rows)
    write_text(path, text.getvalue())


def pair(language: str, number: int) -> tuple[str, str]:
    """Premise and hypothesis; three hypotheses share a premise, which has bare quotes."""
    return f'"{number // 3}" {WORDS[language]}.', f"{number} {WORDS[language]}"


XNLI_COLUMNS = [
    "language",
    "gold_label",
    "sentence1_binary_parse",
    "sentence2_binary_parse",
    "sentence1_parse",
    "sentence2_parse",
    "sentence1",
    "sentence2",
    "promptID",
    "pairID",
    "genre",
    "label1",
    "label2",
    "label3",
    "label4",
    "label5",
    "sentence1_tokenized",
    "sentence2_tokenized",
    "match",
]


def xnli_rows(split: str) -> list[dict[str, str]]:
    """Rows of the archive: one block of rows per language, and prompts that alternate between dev and test."""
    rows = []
    for language in ("en", "fr", "zh"):
        for number in range(N):
            premise, hypothesis = pair(language, number)
            prompt = 2 * (number // 3) + (1 if split == "dev" else 2)
            values = {"language": language, "gold_label": LABELS[number % 3], "promptID": str(prompt)}
            values |= {"sentence1": premise, "sentence2": hypothesis, "pairID": str(3 * (prompt - 1) + number % 3 + 1)}
            rows.append({**dict.fromkeys(XNLI_COLUMNS, ""), **values, "genre": "facetoface", "match": "True"})
    return rows


def xnli_archive(folder: Path) -> None:
    for split in ("dev", "test"):
        rows = xnli_rows(split)
        tabs(folder / f"XNLI-1.0/xnli.{split}.tsv", [XNLI_COLUMNS, *([*row.values()] for row in rows)])
        json_lines(folder / f"XNLI-1.0/xnli.{split}.jsonl", rows)
    write_text(folder / "XNLI-1.0/README.txt", "XNLI\n")


def xnli_objects(folder: Path) -> None:
    json_lines(folder / "xnli.dev.jsonl", xnli_rows("dev"))


def xnli_xtreme(folder: Path) -> None:
    for language in ("en", "fr"):
        rows = [[*pair(language, number), LABELS[number % 3]] for number in range(N)]
        csv_tabs(folder / f"dev-{language}.tsv", rows)
        csv_tabs(folder / f"test-{language}.tsv", [row[:2] for row in rows])


def xnli_machine_translated(folder: Path) -> None:
    names = [*LABELS[:2], "contradictory"]
    for language in ("en", "fr"):
        rows = [[*pair(language, number), names[number % 3]] for number in range(N)]
        tabs(folder / f"multinli/multinli.train.{language}.tsv", [["premise", "hypo", "label"], *rows])


def xnli_kor(folder: Path) -> None:
    rows = [[*pair("ko", number), LABELS[number % 3]] for number in range(N)]
    for split in ("dev", "test"):
        tabs(folder / f"xnli.{split}.ko.tsv", [["sentence1", "sentence2", "gold_label"], *rows])


def xnli_table(folder: Path) -> None:
    for language in ("en", "fr"):
        rows = [[n, *pair(language, n), LABELS[n % 3]] for n in range(N)]
        for name in (f"{language}/validation.tsv", f"{language}.test.tsv"):
            tabs(folder / name, [["index", "premise", "hypothesis", "label"], *rows])


def xnli_my(folder: Path) -> None:
    header = ["genre", "label", *(f"sentence{n}_{language}" for language in ("en", "my") for n in (1, 2))]
    rows = [["facetoface", LABELS[number % 3], *pair("en", number), *pair("my", number)] for number in range(N)]
    tabs(folder / "output/my/my.genre.dev.tsv", [header, *rows])
    tabs(folder / "output/my/my.trans.test.tsv", [header, *rows])


def xnli_african(folder: Path) -> None:
    """AfriXNLI; the first premise has a line break, as some published ones do."""
    for language, code in (("en", "eng"), ("sw", "swa")):
        rows = [[*pair(language, number), number % 3] for number in range(N)]
        rows[0][0] = f'"0"\n{WORDS[language]}.'
        for split in ("dev", "test"):
            csv_tabs(folder / f"data/{code}/{split}.tsv", [["premise", "hypothesis", "label"], *rows])


def xcopa(folder: Path) -> None:
    for place in ("data", "data-gmt"):
        for language in ("sw", "zh"):
            for part in ("val", "test"):
                rows = [
                    {"premise": f"{WORDS[language]} {number}.", "choice1": "Un.", "choice2": "Deux."}
                    | {
                        "question": ("cause", "effect")[number % 2],
                        "label": number % 2,
                        "idx": number,
                        "changed": False,
                    }
                    for number in range(N)
                ]
                json_lines(folder / f"{place}/{language}/{part}.{language}.jsonl", rows)


def paws_rows(language: str) -> list[list[object]]:
    """Rows with ids from 0, of which three were published without a sentence or label."""
    rows: list[list[object]] = [[n, *pair(language, n), n % 2] for n in range(N)]
    return [*rows, [N, "NS", "NS", 1], [N + 1, "", "x", 0], [N + 2, "x", "x", "NS"]]


def paws_x(folder: Path) -> None:
    for language in ("en", "fr", "zh"):
        train = "train" if language == "en" else "translated_train"
        for name in ("dev_2k", "test_2k", train):
            rows = [["id", "sentence1", "sentence2", "label"], *paws_rows(language)]
            tabs(folder / f"x-final/{language}/{name}.tsv", rows)


def paws_x_xtreme(folder: Path) -> None:
    for language in ("en", "fr"):
        csv_tabs(folder / f"dev-{language}.tsv", [row[1:] for row in paws_rows(language)])


def marc(folder: Path) -> None:
    for language in ("en", "zh"):
        for split in ("dev", "test"):
            rows = [
                {
                    "review_id": f"{language}_{number:07}",
                    "product_id": "p",
                    "reviewer_id": "r",
                    "stars": f"{number % 5 + 1}",
                }
                | {"review_body": f"{WORDS[language]} {number}", "review_title": "t", "language": language}
                | {"product_category": "other"}
                for number in range(N)
            ]
            json_lines(folder / f"json/{split}/dataset_{language}_{split}.json", rows)


def marc_copies(folder: Path) -> None:
    for language in ("en", "zh"):
        rows = [
            {"id": f"{language}_{number:07}", "text": f"{WORDS[language]} {number}", "label": number % 5}
            | {"label_text": str(number % 5 + 1)}
            for number in range(N)
        ]
        for split in ("validation", "test"):
            json_lines(folder / f"amazon_reviews_multi_{language}/{split}.jsonl", rows)


def fact_row(language: str, number: int) -> list[str]:
    """Prompt, answer, candidates with the answer last, and subject."""
    candidates = [f"{WORDS[language]} {(number + place) % 7}" for place in range(2 + number % 3)]
    return [f"{number} = <mask>.", candidates[-1], ", ".join(candidates), str(number)]


def bmlama(folder: Path) -> None:
    for language in ("en", "fr", "zh"):
        columns = ["Candidate", "Ans"] if language == "zh" else ["Candidate Ans"]
        rows = [["Prompt", "Ans", *columns, "Subject"], *(fact_row(language, number) for number in range(N))]
        rows.append(["Albania is in <mask>.", 'the "Union"', 'the "Union"', "Albania"])
        csv_tabs(folder / f"BMLAMA17/{language}.tsv", rows)
    write_text(folder / "BMLAMA17/main.py", "raise SystemExit\n")


def mlama(folder: Path) -> None:
    for language in ("en", "fr"):
        templates = [
            {"relation": "P19", "template": "[X] = [Y] ."},
            {"relation": "P20", "template": "[X] = ."},
            {"relation": "P30", "template": "[X] > [Y] ."},
        ]
        json_lines(folder / f"mlama1.1/{language}/templates.jsonl", templates)
        for relation, n_objects in (("P19", 3), ("P20", 3), ("P30", 1)):
            triples = [
                {"sub_uri": "Q1", "obj_uri": f"Q{number % n_objects}", "sub_label": f"{WORDS[language]} {number}"}
                | {"obj_label": f"{number % n_objects}", "lineid": number, "uuid": "u"}
                for number in range(N)
            ]
            json_lines(folder / f"mlama1.1/{language}/{relation}.jsonl", triples)
    write_text(folder / "mlama1.1/README.md", "mLAMA\n")


def xstory_cloze(folder: Path) -> None:
    header = ["story_id", *(f"input_sentence_{n}" for n in range(1, 5)), "sentence_quiz1", "sentence_quiz2"]
    for language, names in (("sw", header), ("en", ["InputStoryid", *map(str.title, header[1:])])):
        rows = [[n, *(f"{WORDS[language]} {n}." for _ in range(4)), "Un.", "Deux.", n % 2 + 1] for n in range(N)]
        for part in ("train", "eval"):
            path = folder / f"spring2016.val.{language}.tsv.split_20_80_{part}.tsv"
            tabs(path, [[*names, "answer_right_ending"], *rows])


def belebele(folder: Path) -> None:
    for language, name in (("fr", "fra_Latn"), ("zh", "zho_Hans")):
        rows = [
            {"link": "https://x.org/a", "question_number": number, "flores_passage": WORDS[language], "question": "?"}
            | {f"mc_answer{n}": f"{n}" for n in range(1, 5)}
            | {"correct_answer_num": str(number % 4 + 1), "dialect": name, "ds": "2023-05-03"}
            for number in range(N)
        ]
        json_lines(folder / f"Belebele/{name}.jsonl", rows)


SIB_TOPICS = ("science/technology", "travel", "politics", "sports", "health", "entertainment", "geography")


def sib200(folder: Path) -> None:
    """SIB-200's tables, whose quotes are doubled as a writer of CSV does."""
    for name, language in (("annotated/fra_Latn", "fr"), ("annotated/zho_Hant", "zh"), ("eng", "en")):
        for split in ("train", "dev", "test"):
            rows = [[100 + n, SIB_TOPICS[n], f'{n} "{WORDS[language]}".'] for n in range(N)]
            path = folder / f"data/{name}/{split}.tsv"
            csv_tabs(path, [["index_id", "category", "text"], *rows])
    write_text(folder / "data/annotated/labels.txt", "\n".join(SIB_TOPICS))


MULTIBLIMP_COLUMNS = ["sen", "verb", "child", "metadata", "prefix", "wrong_sen", "phenomenon", "lang"]
"""Some of the 34 columns."""


def multiblimp(folder: Path) -> None:
    for code in ("fra", "fas"):
        rows = [
            [f'{n // 2} "{code}" sees.', "sees", n, "{'text': '\"\"'}", n, f'{n // 2} "{code}" see {n}.', "SV-#", code]
            for n in range(N)
        ]
        csv_tabs(folder / f"{code}/data.tsv", [MULTIBLIMP_COLUMNS, *rows])
    write_text(folder / "README.md", "MultiBLiMP\n")


def parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a Parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)


def global_mmlu(folder: Path) -> None:
    for language in ("en", "zh"):
        for split in ("dev", "test"):
            rows = [
                {"sample_id": f"anatomy/{split}/{n}", "subject": "anatomy", "subject_category": "STEM"}
                | {"question": f"{WORDS[language]} {n}?", **{f"option_{letter}": f"{letter}{n}" for letter in "abcd"}}
                | {"answer": "ABCD"[n % 4], "cultural_sensitivity_label": ("CS", "CA", "-")[n % 3]}
                | {"is_annotated": n % 3 < 2}
                for n in range(N)
            ]
            if split == "test":
                rows.append({**rows[0], "sample_id": "anatomy/test/99", "option_c": " "})
            parquet(folder / f"{language}/{split}-00000-of-00001.parquet", rows)


def include(folder: Path) -> None:
    for name, language in (("French", "fr"), ("North Macedonian", "mk")):
        for split in ("validation", "test"):
            rows = [
                {"language": name, "country": "x", "domain": "Driving License", "subject": "y", "level": "z"}
                | {"regional_feature": "explicit", "question": f"{language} {n}?", "answer": n % 4}
                | {f"option_{letter}": f"{letter}{n}" for letter in "abcd"}
                for n in range(N)
            ]
            parquet(folder / f"{name}/{split}-00000-of-00001.parquet", rows)


def mmlu_prox(folder: Path) -> None:
    """MMLU-ProX: the number of options differs, and the last columns are then empty."""
    for language in ("en", "zh"):
        for split in ("validation", "test"):
            rows = [
                {
                    "question_id": 70 + n,
                    "question": f"{WORDS[language]} {n}?",
                    "answer": "ABCDEFGHIJ"[n],
                    "answer_index": n,
                }
                | {f"option_{place}": f"{place}o" if place < 10 - n % 4 else None for place in range(10)}
                | {"cot_content": "", "category": "physics", "src": "ori_mmlu", "question_id_src": 70 + n}
                for n in range(N)
            ]
            parquet(folder / f"{language}/{split}-00000-of-00001.parquet", rows)


def afrimmlu(folder: Path) -> None:
    """AfriMMLU: options are a list in the notation of Python."""
    for language, code in (("en", "eng"), ("sw", "swa")):
        rows = [
            ["global_facts", f"{WORDS[language]} {n}?", str([f"{n}'a", f"{n}b", f'{n}"c', f"{n}d"]), "ABCD"[n % 4]]
            for n in range(N)
        ]
        for split in ("dev", "val", "test"):
            csv_tabs(folder / f"data/{code}/{split}.tsv", [["subject", "question", "choices", "answer"], *rows])


def mmmlu(folder: Path) -> None:
    """MMMLU: tables whose first column is the number of the row, without a name."""
    for language, name in (("fr", "FR-FR"), ("zh", "ZH-CN")):
        text = io.StringIO()
        rows = [
            [n, f'"{n}", {WORDS[language]}?', f"{n}a", f"{n}b", f"{n}c", f"{n}d", "ABCD"[n % 4], "anatomy"]
            for n in range(N)
        ]
        csv.writer(text).writerows([["", "Question", *"ABCD", "Answer", "Subject"], *rows])
        write_text(folder / f"test/mmlu_{name}.csv", text.getvalue())
    write_text(folder / "README.md", "MMMLU\n")


def xcsqa_rows(language: str, split: str) -> list[dict[str, Any]]:
    return [
        {"id": f"0{n}", "lang": language, "answerKey": "ABCDE"[n % 5] if split == "dev" else ""}
        | {
            "question": {
                "stem": f"{WORDS[language]} {n}?",
                "choices": [{"label": letter, "text": f"{letter}{n}"} for letter in "ABCDE"],
            }
        }
        for n in range(N)
    ]


def xcsqa(folder: Path) -> None:
    """X-CSQA: the answers of test are hidden; X-CODAH, in the same form, is next to it."""
    for language in ("fr", "sw"):
        for split in ("dev", "test"):
            json_lines(folder / f"X-CSR_datasets/X-CSQA/{language}/{split}.jsonl", xcsqa_rows(language, split))
            json_lines(folder / f"X-CSR_datasets/X-CODAH/{language}/{split}.jsonl", xcsqa_rows(language, split))


def xcsqa_hub(folder: Path) -> None:
    """X-CSQA on the hub: the options are two lists."""
    for language in ("fr", "sw"):
        for split, name in (("dev", "validation"), ("test", "test")):
            rows = xcsqa_rows(language, split)
            for row in rows:
                choices = row["question"]["choices"]
                row["question"]["choices"] = {key: [each[key] for each in choices] for key in ("label", "text")}
            parquet(folder / f"X-CSQA-{language}/{name}-00000-of-00001.parquet", rows)


NEWS_TOPICS = ("business", "entertainment", "health", "politics", "religion", "sports")


def masakhanews(folder: Path) -> None:
    """MasakhaNEWS: articles have quotes and line breaks."""
    for language, code in (("en", "eng"), ("sw", "swa")):
        rows = [
            [NEWS_TOPICS[n], f'{n} "{WORDS[language]}"', f"One.\n\n{'a ' * 200}", "https://x.org"] for n in range(N)
        ]
        for split in ("train", "dev", "test"):
            csv_tabs(folder / f"data/{code}/{split}.tsv", [["category", "headline", "text", "url"], *rows])
        write_text(folder / f"data/{code}/labels.txt", "\n".join(NEWS_TOPICS))


def xwinograd(folder: Path) -> None:
    """XWinograd's table without a header; a schema is two sentences, and the pronoun occurs before its place, too."""
    rows: list[list[object]] = []
    for code, word in (("en", "it"), ("jp", "彼")):
        for n in range(N):
            tokens = [f"a{n // 2}", word, "sees", f"b{n // 2}", "because", word, f"runs{n}", "."]
            options = [[f"a{n // 2}", [0, 1], [f"a{n // 2}"], n % 2 == 0], [f"b{n // 2}", [3, 4], [], n % 2 == 1]]
            sentence = " ".join(tokens[:-1]) + "."
            parts = (tokens, [word, [5, 6], [word]], options)
            rows.append([code, "original", "?", sentence, *(json.dumps(part) for part in parts)])
    tabs(folder / "dataset.tsv", rows)


PIQA_CODES = {"en": "eng_latn", "fr-CA": "fra_latn_cana", "zh": "cmn_hans"}


def piqa_rows(language: str, n_solutions: int, code: str) -> tuple[list[str], list[list[object]]]:
    """Return the header and the rows of a table of Global PIQA."""
    solutions = [f"solution{place}" for place in range(n_solutions)]
    header = ["prompt", *solutions, "label", "language", "categories", "example_id", "supplement"]
    word = WORDS[language.partition("-")[0]]
    rows: list[list[object]] = []
    for n in range(N):
        example_id = f"{code}_{n}" if n_solutions == 4 else f"np-{n}"
        texts = (f'{n} "{word}":', *(f"{word} {place} {n}." for place in range(n_solutions)))
        rows.append([*texts, n % n_solutions, code, "tools", example_id, ""])
    return header, rows


def global_piqa_parallel(folder: Path) -> None:
    for language, code in PIQA_CODES.items():
        header, rows = piqa_rows(language, 4, code)
        english = ["eng_prompt", *(f"eng_solution{place}" for place in range(4))]
        csv_tabs(folder / f"data/parallel_{code}.tsv", [[*header, *english], *([*row, *"abcde"] for row in rows)])


def global_piqa(folder: Path) -> None:
    for language, code in PIQA_CODES.items():
        header, rows = piqa_rows(language, 2, code)
        csv_tabs(folder / f"data/nonparallel_{code}.tsv", [header, *rows])


def m_hellaswag(folder: Path) -> None:
    """Multilingual HellaSwag: labels are texts with a space, and one row has endings in two languages."""
    for language in ("fr", "zh"):
        endings = [f"[header] {WORDS[language]} {place} [step]" for place in range(4)]
        rows = [
            {"id": f"hellaswag/validation/{n}", "ind": n, "activity_label": WORDS[language], "ctx_a": f"A {n}."}
            | {"ctx_b": "then", "ctx": f"A {n}. then", "endings": endings, "label": f" {n % 4}"}
            | {"source_id": f"wikihow~{n // 2}", "split": "val", "split_type": "indomain"}
            for n in range(N)
        ]
        rows[1]["endings"] = [{language: ending, "en": "other"} for ending in endings]
        json_lines(folder / f"data/{language}/val.jsonl", rows)


def xquad_questions(language: str) -> list[dict[str, Any]]:
    """Six questions on two paragraphs; two questions of the first one have the same answer."""
    return [
        {"id": f"5{n}", "context": f"{WORDS[language]} a0 a1 a2 ({n // 3})", "question": f"{WORDS[language]} {n}?"}
        | {"answers": {"text": [f"a{n % 3 if n else 2}"], "answer_start": [4]}}
        for n in range(N)
    ]


def xquad(folder: Path) -> None:
    for language in ("en", "zh"):
        paragraphs: dict[str, Any] = {}
        for row in [*xquad_questions(language), {**xquad_questions(language)[0], "id": "99", "context": "one answer"}]:
            paragraph = paragraphs.setdefault(row["context"], {"context": row["context"], "qas": []})
            answers = [{"text": row["answers"]["text"][0], "answer_start": 4}]
            paragraph["qas"].append({"id": row["id"], "question": row["question"], "answers": answers})
        document = {"data": [{"paragraphs": list(paragraphs.values())}], "version": "1.1"}
        write_text(folder / f"xquad/xquad.{language}.json", json.dumps(document, ensure_ascii=False, indent=2))


def xquad_hub(folder: Path) -> None:
    for language in ("en", "zh"):
        parquet(folder / f"xquad.{language}/validation-00000-of-00001.parquet", xquad_questions(language))


MGSM_WORDS = {"en": ("Question: ", "Step-by-Step Answer: "), "fr": ("Question : ", "Réponse étape par étape : ")}


def mgsm(folder: Path) -> None:
    solved = {
        language: {
            str(n + 1): {"q": f"{question}{n} {WORDS[language]}?", "a": f"{answer}{n} + 1 = {n + 1}. ({n + 1})."}
            for n in range(N)
        }
        for language, (question, answer) in MGSM_WORDS.items()
    }
    write_text(folder / "mgsm/exemplars.py", f'"""Prompts."""\n\nNUMBERS = [1]\n\nMGSM_EXEMPLARS = {solved!r}\n')
    for language in MGSM_WORDS:
        rows = [(f"{n} {WORDS[language]}?", f"{n + 1},000" if n else 1) for n in range(N)]
        tabs(folder / f"mgsm/mgsm_{language}.tsv", rows)


def polymath(folder: Path) -> None:
    for language in ("en", "zh"):
        for level in ("low", "top"):
            rows = [
                {"id": f"{level}-{language}-{n}", "question": f"{n} {WORDS[language]}?", "answer": f"${n}^2$"}
                for n in range(N)
            ]
            parquet(folder / f"{language}/{level}.parquet", rows)


def multiloko(folder: Path) -> None:
    for language, name in (("en", "english"), ("zh", "simplified_mandarin")):
        rows = [
            {"text": WORDS[language], "question": f"{n} {WORDS[language]}?", "targets": [f"t{n}", f"T {n}"]}
            | {"target": f"It is t{n}.", "id": f"page{n}-1", "output_type": "word" if n else "number"}
            for n in range(N)
        ]
        json_lines(folder / f"benchmark_data/{name}/dev.jsonl", rows)
        json_lines(folder / f"benchmark_data/{name}/dev_translated_human_english.jsonl", rows)


MBBQ_WORDS = {
    "en": ("the old man", "the girl", "Unknown", "Who ", "old", "nonOld"),
    "tr": ("yaşlı adam", "kız", "Bilinmiyor", "Kim ", "old", "nonOld"),
}


def mbbq_rows(language: str, subset: str, n_rows: int) -> list[dict[str, Any]]:
    """Rows of one subset: both contexts and both polarities of a template, answers in changing places."""
    target, other, unknown, question, *groups = MBBQ_WORDS[language]
    answers = [(target, groups[0]), (other, groups[1]), (unknown, "unknown")]
    rows = []
    for n in range(n_rows):
        places = [answers[(place + n) % 3] for place in range(3)]
        right = answers[2] if n % 2 == 0 else answers[n // 2 % 2]
        rows.append(
            {"example_id": n, "question_index": str(1 + n // 4), "question_polarity": ("neg", "nonneg")[n // 2 % 2]}
            | {"context_condition": ("ambig", "disambig")[n % 2], "category": subset}
            | {"answer_info": {f"ans{place}": list(named) for place, named in enumerate(places)}}
            | {"additional_metadata": {"subcategory": "None", "stereotyped_groups": ["old"], "version": "a"}}
            | {"context": f"{target}, {other} ({n}).", "question": f"{question}{n}?"}
            | {f"ans{place}": named[0] for place, named in enumerate(places)}
            | {"label": places.index(right)}
        )
    return rows


def mbbq(folder: Path) -> None:
    for language in MBBQ_WORDS:
        for control in ("", "_control"):
            for subset, n_rows in (("Age", 4), ("Disability_status", 2)):
                rows = mbbq_rows(language, subset, n_rows)
                json_lines(folder / f"MBBQ/data/{subset}{control}_{language}.jsonl", rows)


def mbbq_right(language: str, number: int) -> str:
    n = number if number < 4 else number - 4
    return f"{n}? {MBBQ_WORDS[language][2 if n % 2 == 0 else n // 2 % 2]}"


BOTH, DEV, TEST = ("dev", "test"), ("dev",), ("test",)
XNLI_IDS = tuple(str(number) for prompt in (0, 2) for number in range(3 * prompt + 1, 3 * prompt + 4))
"""Ids of dev."""

PUBLISHED: Mapping[str, Published] = {
    "xnli-archive": Published(
        "xnli_archive", ("xnli",), xnli_archive, dict.fromkeys(("en", "fr", "zh"), BOTH), XNLI_IDS
    ),
    "xnli-objects": Published(
        "xnli_archive", ("xnli",), xnli_objects, dict.fromkeys(("en", "fr", "zh"), DEV), XNLI_IDS
    ),
    "xnli-xtreme": Published("xnli_per_language", ("xnli",), xnli_xtreme, dict.fromkeys(("en", "fr"), DEV)),
    "xnli-mt": Published(
        "xnli_per_language", ("xnli",), xnli_machine_translated, dict.fromkeys(("en", "fr"), ("train",))
    ),
    "xnli-kor": Published("xnli_per_language", ("xnli",), xnli_kor, {"ko": BOTH}),
    "xnli-table": Published("xnli_per_language", ("xnli",), xnli_table, dict.fromkeys(("en", "fr"), BOTH)),
    "xnli-my": Published("xnli_per_language", ("xnli",), xnli_my, dict.fromkeys(("en", "my"), DEV)),
    "xnli-african": Published("xnli_per_language", ("xnli",), xnli_african, dict.fromkeys(("en", "sw"), BOTH)),
    "xcopa": Published("xcopa", ("xcopa",), xcopa, dict.fromkeys(("sw", "zh"), BOTH)),
    "paws-x": Published("paws_x", ("paws_x",), paws_x, dict.fromkeys(("en", "fr", "zh"), ("dev", "test", "train"))),
    "paws-x-xtreme": Published("paws_x", ("paws_x",), paws_x_xtreme, dict.fromkeys(("en", "fr"), DEV)),
    "marc": Published(
        "marc",
        ("marc_five", "marc"),
        marc,
        dict.fromkeys(("en", "zh"), BOTH),
        tuple(f"{{language}}_{n:07}" for n in range(N)),
    ),
    "marc-copies": Published(
        "marc",
        ("marc_five", "marc"),
        marc_copies,
        dict.fromkeys(("en", "zh"), BOTH),
        tuple(f"{{language}}_{n:07}" for n in range(N)),
    ),
    "bmlama": Published("bmlama", ("facts",), bmlama, dict.fromkeys(("en", "fr", "zh"), TEST)),
    "mlama": Published(
        "mlama", ("facts",), mlama, dict.fromkeys(("en", "fr"), TEST), tuple(f"{{language}}:P19:{n}" for n in range(N))
    ),
    "xstory-cloze": Published("xstory_cloze", ("xstory_cloze",), xstory_cloze, dict.fromkeys(("en", "sw"), BOTH)),
    "belebele": Published(
        "belebele",
        ("belebele",),
        belebele,
        dict.fromkeys(("fr", "zh"), TEST),
        tuple(f"https://x.org/a#{n}" for n in range(N)),
    ),
    "sib200": Published(
        "sib200",
        ("sib200",),
        sib200,
        dict.fromkeys(("fr", "zh-Hant"), ("dev", "test", "train")),
        tuple(str(100 + n) for n in range(N)),
        lambda language, n: f'". The topic is {SIB_TOPICS[n].replace("/", " and ")}',
    ),
    "multiblimp": Published(
        "multiblimp",
        ("multiblimp",),
        multiblimp,
        dict.fromkeys(("fa", "fr"), TEST),
        tuple(f"{{language}}:{n}" for n in range(N)),
        lambda language, n: '" sees.',
    ),
    "global-mmlu": Published(
        "global_mmlu",
        ("global_mmlu",),
        global_mmlu,
        dict.fromkeys(("en", "zh"), BOTH),
        tuple(f"anatomy/{{split}}/{n}" for n in range(N)),
        lambda language, n: f"{n}? {'abcd'[n % 4]}{n}",
        is_text=False,
    ),
    "include": Published(
        "include",
        ("include",),
        include,
        dict.fromkeys(("fr", "mk"), BOTH),
        tuple(f"{{language}}:{n}" for n in range(N)),
        lambda language, n: f"{n}? {'abcd'[n % 4]}{n}",
        is_text=False,
    ),
    "mmlu-prox": Published(
        "mmlu_prox",
        ("mmlu_prox",),
        mmlu_prox,
        dict.fromkeys(("en", "zh"), BOTH),
        tuple(str(70 + n) for n in range(N)),
        lambda language, n: f"{n}? {n}o",
        is_text=False,
    ),
    "afrimmlu": Published(
        "afrimmlu",
        ("afrimmlu",),
        afrimmlu,
        dict.fromkeys(("en", "sw"), ("dev", "test", "val")),
        right=lambda language, n: f"{n}? {n}" + ("'a", "b", '"c', "d")[n % 4],
    ),
    "mmmlu": Published(
        "mmmlu",
        ("mmmlu",),
        mmmlu,
        dict.fromkeys(("fr", "zh"), TEST),
        right=lambda language, n: f"? {n}{'abcd'[n % 4]}",
    ),
    "xcsqa": Published(
        "xcsqa",
        ("xcsqa",),
        xcsqa,
        dict.fromkeys(("fr", "sw"), DEV),
        tuple(f"0{n}" for n in range(N)),
        lambda language, n: f"{n}? {'ABCDE'[n % 5]}{n}",
    ),
    "xcsqa-hub": Published(
        "xcsqa",
        ("xcsqa",),
        xcsqa_hub,
        dict.fromkeys(("fr", "sw"), DEV),
        tuple(f"0{n}" for n in range(N)),
        lambda language, n: f"{n}? {'ABCDE'[n % 5]}{n}",
        is_text=False,
    ),
    "masakhanews": Published(
        "masakhanews",
        ("masakhanews",),
        masakhanews,
        dict.fromkeys(("en", "sw"), ("dev", "test", "train")),
        tuple(f"{{language}}:{n}" for n in range(N)),
        lambda language, n: f" One. {'a ' * 127}The topic is {NEWS_TOPICS[n]}",
    ),
    "xwinograd": Published(
        "xwinograd",
        ("xwinograd",),
        xwinograd,
        dict.fromkeys(("en", "ja"), TEST),
        tuple(f"{{language}}:{n}" for n in range(N)),
        lambda language, n: f"because {'ab'[n % 2]}{n // 2} runs{n}.",
    ),
    "global-piqa-parallel": Published(
        "global_piqa_parallel",
        ("global_piqa_parallel",),
        global_piqa_parallel,
        dict.fromkeys(PIQA_CODES, TEST),
        right=lambda language, n: f": {WORDS[language.partition('-')[0]]} {n % 4} {n}.",
    ),
    "global-piqa": Published(
        "global_piqa",
        ("global_piqa",),
        global_piqa,
        dict.fromkeys(PIQA_CODES, TEST),
        tuple(f"{{language}}:np-{n}" for n in range(N)),
        lambda language, n: f": {WORDS[language.partition('-')[0]]} {n % 2} {n}.",
    ),
    "m-hellaswag": Published(
        "m_hellaswag",
        ("m_hellaswag",),
        m_hellaswag,
        dict.fromkeys(("fr", "zh"), DEV),
        tuple(f"hellaswag/validation/{n}" for n in range(N)),
        lambda language, n: f"{WORDS[language]}: A {n}. Then {WORDS[language]} {n % 4}",
    ),
    "xquad": Published(
        "xquad",
        ("xquad_spans",),
        xquad,
        dict.fromkeys(("en", "zh"), TEST),
        tuple(f"5{n}" for n in range(N)),
        lambda language, n: f"{n}? a{n % 3 if n else 2}",
    ),
    "xquad-hub": Published(
        "xquad",
        ("xquad_spans",),
        xquad_hub,
        dict.fromkeys(("en", "zh"), TEST),
        tuple(f"5{n}" for n in range(N)),
        lambda language, n: f"{n}? a{n % 3 if n else 2}",
        is_text=False,
    ),
    "mgsm": Published(
        "mgsm",
        ("mgsm",),
        mgsm,
        dict.fromkeys(MGSM_WORDS, ("test", "train")),
        right=lambda language, n: f"{n} {WORDS[language]}?\nStep-by-Step Answer: ",
    ),
    "polymath": Published(
        "polymath",
        ("polymath",),
        polymath,
        dict.fromkeys(("en", "zh"), ("low", "top")),
        right=lambda language, n: f"boxed{{}}$. ${n}^2$",
        is_text=False,
    ),
    "multiloko": Published(
        "multiloko",
        ("multiloko",),
        multiloko,
        dict.fromkeys(("en", "zh"), ("dev",)),
        tuple(f"{{language}}:page{n}-1" for n in range(N)),
        right=lambda language, n: f" Produce only a {'word' if n else 'number'}.\nA: t{n}\nT {n}",
    ),
    "mbbq": Published(
        "mbbq",
        ("mbbq",),
        mbbq,
        dict.fromkeys(("en", "tr"), ("control", "test")),
        ("Age:0", "Age:1", "Age:2", "Age:3", "Disability_status:0", "Disability_status:1"),
        mbbq_right,
    ),
}
