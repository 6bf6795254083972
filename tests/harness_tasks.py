"""Task files for lm-evaluation-harness over local data: one task per request type."""

import json
from pathlib import Path
from typing import Any

import yaml

TASKS = ("local_choice", "local_score", "local_text", "local_made")
"""Multiple choice, a scored continuation, a scored whole text, and generated text."""
N_DOCUMENTS = 6

_WORDS = ("red", "blue", "grey", "dark green")


def documents() -> list[dict[str, Any]]:
    """Documents of different lengths. Two questions share their first words."""
    return [
        {
            "question": f"{'the sky over the sea' if number < 2 else 'thing ' * number}is",
            "choices": list(_WORDS[: 2 + number % 3]),
            "answer": number % 2,
            "continuation": f" {_WORDS[number % 4]} {number}",
            "text": f"{number} " + "".join(f"line {index * number} of text " for index in range(number)),
        }
        for number in range(N_DOCUMENTS)
    ]


def task_files(folder: Path) -> Path:
    """Write data and tasks to a folder and return the folder."""
    folder.mkdir(parents=True)
    rows = documents()
    (folder / "documents.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    shared = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "documents.jsonl")}, "cache_dir": str(folder / "cache")},
        "test_split": "test",
        "metadata": {"version": 1},
    }
    accuracy = [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}]
    tasks: dict[str, dict[str, Any]] = {
        "local_choice": {
            "output_type": "multiple_choice",
            "doc_to_text": "{{question}}",
            "doc_to_target": "{{answer}}",
            "doc_to_choice": "{{choices}}",
            "metric_list": [*accuracy, {**accuracy[0], "metric": "acc_norm"}],
        },
        "local_score": {
            "output_type": "loglikelihood",
            "doc_to_text": "",
            "doc_to_target": "{{question}}{{continuation}}",
            "metric_list": [
                {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
                accuracy[0],
            ],
        },
        "local_text": {
            "output_type": "loglikelihood_rolling",
            "doc_to_text": "",
            "doc_to_target": "{{text}}",
            "metric_list": [{"metric": "word_perplexity"}, {"metric": "bits_per_byte"}],
        },
        "local_made": {
            "output_type": "generate_until",
            "doc_to_text": "{{question}}",
            "doc_to_target": "{{continuation}}",
            "generation_kwargs": {"until": ["e"], "max_gen_toks": 12, "do_sample": False},
            "num_fewshot": 1,
            "fewshot_split": "test",
            "fewshot_delimiter": ".",
            "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        },
    }
    for name, settings in tasks.items():
        text = yaml.safe_dump({"task": name, **shared, **settings}, sort_keys=False)
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder
