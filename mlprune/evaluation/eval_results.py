"""Evaluation results in the layout of the Hugging Face hub: `.eval_results/*.yaml`, one file per benchmark.

Layout: https://huggingface.co/docs/hub/eval-results. Each entry names a data set of the hub and a task in it. Only
accuracies on the whole test split of a data set that was read from the hub have such a name; `metrics.json` has all
metrics.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from mlprune import __version__
from mlprune.descriptions import HubSet
from mlprune.evaluation.tasks.registry import TASKS
from mlprune.json_values import JsonObject, as_float, as_int, as_str
from mlprune.languages import language_file_stems

FOLDER = ".eval_results"
_NAMED_BY_FLORES = ("facebook/belebele",)
"""Data sets whose configurations have the codes of FLORES-200."""

Entry = dict[str, object]


def write_eval_results(folder: Path, metrics: Sequence[JsonObject], commits: Mapping[str, str]) -> list[int]:
    """Write the files of some metrics below the folder of a model; returns the number of entries of each.

    Args:
        folder: it is made if there are entries.
        metrics: rows of `metrics.sql` of publishing, or others with the same columns.
        commits: repository of a data set that was read from the hub -> its commit.
    """
    entries: dict[str, list[Entry]] = {}
    for row in metrics:
        task = TASKS.get(as_str(row["task"]))
        if task is None or task.dataset is None or not _is_benchmark_value(row):
            continue
        repository = task.dataset.repository(as_str(row["language"]))
        if repository in commits:
            entry = _entry(row, task.dataset, repository, commit=commits[repository])
            entries.setdefault(f"mlprune-{task.name}.yaml", []).append(entry)
    files = sorted(entries.items())
    for name, of_file in files:
        target = folder / FOLDER / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(yaml.safe_dump(of_file, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return [len(of_file) for _, of_file in files]


def _is_benchmark_value(row: JsonObject) -> bool:
    return (row["metric"], row["split"], row["example_limit"], row["protocol"]) == ("accuracy", "test", None, None)


def _entry(row: JsonObject, dataset: HubSet, repository: str, *, commit: str) -> Entry:
    place = {"id": repository, "task_id": _configuration(dataset, as_str(row["language"])), "revision": commit}
    entry: Entry = {"dataset": place, "value": as_float(row["value"])}
    if row.get("evaluated_at"):
        entry["date"] = as_str(row["evaluated_at"])
    return {**entry, "notes": _notes(row)}


def _configuration(dataset: HubSet, language: str) -> str:
    """The name of a language in a data set."""
    if dataset.name in _NAMED_BY_FLORES:
        return language_file_stems(language)[1]
    return dict(dataset.configs).get(language, language)


def _notes(row: JsonObject) -> str:
    """How the value was measured, in one line."""
    parts = ["accuracy as a fraction", f"n {as_int(row['n'])}"]
    if row["ci_low"] is not None and row["ci_high"] is not None:
        parts.append(f"95 % interval {as_float(row['ci_low']):.4f} to {as_float(row['ci_high']):.4f}")
    if row["chance"] is not None:
        parts.append(f"chance {as_float(row['chance']):.4f}")
    parts += [f"scoring rule {row['scoring_rule']}", f"prompt language {row['prompt_language']}"]
    return ", ".join([*parts, f"mlprune {__version__}"])
