"""A recipe that evaluates the embedded model on every published layout; its RankC against a script of plain loops."""

import csv
import math
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

import mlprune.demo
from mlprune.evaluation.tasks.registry import TASKS
from tests.published_data import PIQA_CODES, PUBLISHED, N, csv_tabs, global_piqa_parallel, write_text
from tests.tiny_recipes import FinishedRun, finished_run, reference_model

MODEL = Path(mlprune.demo.__file__).parent / "xglm-cldr-2m"
DAYS = {"en": ["Monday", "Tuesday", "Friday", "Sunday"], "fr": ["lundi", "mardi", "vendredi", "dimanche"]}
PROMPTS = {"en": "{}, the answer is <mask>.", "fr": "{}, la réponse est <mask>."}
N_FACTS = 12
QUIZ = {
    "name": "quiz",
    "template": "{day} {candidate}",
    "answer": "right",
    "answer_as": "number_from_1",
    "candidates": ["day", "other"],
    "files": "{language}/{split}.csv",
    "columns": {"day": 1, "other": 2, "right": 3},
    "id": 0,
}
"""A task that reads tables without a header."""


def write_facts(folder: Path) -> None:
    """Write BMLAMA's table in two languages, with two to four candidates, the right one last."""
    for language, days in DAYS.items():
        rows = []
        for number in range(N_FACTS):
            listed = (days[number % 4 :] + days[: number % 4])[: 2 + number % 3]
            rows.append([PROMPTS[language].format(number), listed[-1], ", ".join(listed), number])
        csv_tabs(folder / f"{language}.tsv", [["Prompt", "Ans", "Candidate Ans", "Subject"], *rows])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    folder = tmp_path_factory.mktemp("published")
    write_facts(folder / "facts")
    global_piqa_parallel(folder / "piqa")
    evaluations: list[dict[str, Any]] = [
        {"task": "facts", "path": "facts", "languages": ["en", "fr"]},
        {"task": "global_piqa_parallel", "path": "piqa", "languages": list(PIQA_CODES)},
    ]
    for name, published in PUBLISHED.items():
        published.write(folder / name)
        language, splits = next(iter(published.splits.items()))
        entry = {"task": published.tasks[0], "path": name, "languages": [language], "split": splits[0], "limit": 2}
        is_generated = TASKS[published.tasks[0]].generates is not None
        evaluations.append({**entry, "max_new_tokens": 8} if is_generated else entry)
    for language, days in DAYS.items():
        write_text(
            folder / f"quiz/{language}/week.csv", "".join(f'{n},"{day}, 1",no,2\r\n' for n, day in enumerate(days))
        )
    evaluations.append({"task": "quiz", "path": "quiz", "languages": list(DAYS), "split": "week"})
    recipe = {
        "name": "published",
        "tasks": [QUIZ],
        "model": {"path": str(MODEL)},
        "corpus": {"kind": "cldr", "lines": 20},
        "evaluations": evaluations,
    }
    return finished_run(folder, recipe, name="published")


def test_every_layout_is_evaluated(run: FinishedRun) -> None:
    rows = [row for row in run.rows("metrics") if row["metric"] == "accuracy"]
    evaluated = [(row["task"], row["language"]) for row in run.rows("evaluations") if row["example_limit"] == 2]
    expected = [(published.tasks[0], next(iter(published.splits))) for published in PUBLISHED.values()]
    assert set(evaluated) == set(expected)
    assert all(0 <= row["value"] <= 1 for row in rows)


def test_a_task_of_the_recipe_reads_tables_by_position(run: FinishedRun) -> None:
    rows = [row for row in run.rows("metrics") if (row["task"], row["metric"]) == ("quiz", "accuracy")]
    assert {(row["language"], row["n"]) for row in rows} == {(language, 4) for language in DAYS}
    (consistency,) = (row for row in run.rows("rank_consistency") if row["task"] == "quiz")
    assert consistency["n_items"] == 4


def mean_log_probs(texts: Sequence[str]) -> list[float]:
    """Mean log-probability per token of each text."""
    model, tokenizer = reference_model(MODEL), AutoTokenizer.from_pretrained(MODEL)
    means = []
    for text in texts:
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            log_probs = model(input_ids=ids).logits[0].log_softmax(dim=-1)
        chosen = [float(log_probs[place, token]) for place, token in enumerate(ids[0, 1:].tolist())]
        means.append(sum(chosen) / len(chosen))
    return means


def plain_scores(language: str, folder: Path) -> list[list[float]]:
    """Score of each candidate's sentence, candidates in the order of the table."""
    with (folder / f"{language}.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t"))[1:]
    return [
        mean_log_probs([prompt.replace("<mask>", candidate) for candidate in listed.split(", ")])
        for prompt, _, listed, _ in rows
    ]


def plain_piqa_scores(language: str, folder: Path) -> dict[str, list[float]]:
    """Id of a situation without its language -> score of it with each of four solutions."""
    code = PIQA_CODES[language]
    with (folder / f"data/parallel_{code}.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    texts = {
        row["example_id"].removeprefix(f"{code}_"): [f"{row['prompt']} {row[f'solution{n}']}" for n in range(4)]
        for row in rows
    }
    return {name: mean_log_probs(of_row) for name, of_row in texts.items()}


def plain_rank_consistency(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]]) -> float:
    """RankC as in its paper: overlaps of the best j candidates, weighted by the softmax of n - j."""
    total = 0.0
    for a, b in zip(first, second, strict=True):
        orders = [sorted(range(len(side)), key=lambda place, side=side: -side[place]) for side in (a, b)]
        weights = [math.exp(len(a) - j) for j in range(1, len(a) + 1)]
        for j in range(1, len(a) + 1):
            common = [place for place in orders[0][:j] if place in orders[1][:j]]
            total += weights[j - 1] / sum(weights) * len(common) / j
    return total / len(first)


@pytest.mark.thorough("scores many texts or draws")
def test_rank_consistency_equals_a_script_that_reads_the_published_table(run: FinishedRun) -> None:
    (row,) = (row for row in run.rows("rank_consistency") if row["task"] == "facts" and row["language"] == "fr")
    scores = [plain_scores(language, run.folder / "facts") for language in ("en", "fr")]
    expected = plain_rank_consistency(*scores)
    assert (row["reference_language"], row["n_items"], row["n_skipped"]) == ("en", N_FACTS, 0)
    assert row["value"] == pytest.approx(expected, abs=1e-9)
    assert 0.3 < expected < 0.999


@pytest.mark.thorough("scores many texts or draws")
def test_rank_consistency_on_parallel_situations_is_a_table_by_language(run: FinishedRun) -> None:
    rows = [row for row in run.rows("rank_consistency") if row["task"] == "global_piqa_parallel"]
    pairs = {frozenset((row["reference_language"], row["language"])) for row in rows}
    assert pairs == set(map(frozenset, combinations(PIQA_CODES, 2)))
    scores = {language: plain_piqa_scores(language, run.folder / "piqa") for language in PIQA_CODES}
    for row in rows:
        first, second = scores[row["reference_language"]], scores[row["language"]]
        expected = plain_rank_consistency(list(first.values()), [second[name] for name in first])
        assert (row["n_items"], row["n_skipped"]) == (N, 0)
        assert row["value"] == pytest.approx(expected, abs=1e-9)
        assert 0 < row["value"] < 1
