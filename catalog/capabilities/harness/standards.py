"""Results of the catalog in the formats of others: every_eval_ever and the Hugging Face hub."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from math import isfinite
from pathlib import Path

from catalog.results import Row
from catalog.sql_files import statement
from catalog.store import Catalog
from catalog.store.item_answers import artefact_of, read_columns
from catalog.stored_names import data_set_commits
from mlprune.atomic import replacing
from mlprune.capabilities.harness import answered_items
from mlprune.capabilities.harness.every_eval_ever import (
    EvaluatedMetric,
    EvaluatedModel,
    SamplesFile,
    Submission,
    evaluation_id,
    evaluation_log,
    folder_of,
    log_uuid,
)
from mlprune.errors import BadInputError, PermanentError, UnreadableFileError, unknown
from mlprune.evaluation.eval_results import write_eval_results
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.evaluation.tasks.registry import TASKS
from mlprune.vocabulary import RuleName

MODEL_SETTINGS = (
    "score",
    "structure",
    "propagation",
    "sparsity",
    "achieved_sparsity",
    "demonstration_label",
    "settings",
    "refiner",
    "bits",
    "intervention",
    "mask_sha256",
)
METRIC_SETTINGS = ("scoring_rule", "prompt_language", "example_limit", "n_shots", "protocol", "signature")
"""Columns that become texts next to a result."""
ADVICE = "mlprune check store --deep, or --no-samples to write the results only"
NOT_EXPRESSED = "results that are not accuracies on whole test splits of a data set of the hub"


@dataclass
class ResultsExport:
    """Summary of an export."""

    n_files: int = 0
    n_results: int = 0
    n_samples: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    """Reason -> number of results that the format cannot express."""

    def leave_out(self, reason: str, n: int = 1) -> None:
        """Count results that are left out."""
        if n:
            self.left_out[reason] = self.left_out.get(reason, 0) + n


@dataclass(frozen=True)
class Request:
    """What is written."""

    submission: Submission
    with_samples: bool = True
    """every_eval_ever: whether single items are written too."""


@dataclass(frozen=True)
class EvaluatedVariant:
    """A variant with all of its metrics, except those of evaluations that a larger or later one replaces."""

    model: EvaluatedModel
    metrics: tuple[EvaluatedMetric, ...]
    """Those with a finite value."""
    rows: tuple[Row, ...]
    """Rows of all metrics."""

    @property
    def tasks(self) -> dict[str, tuple[EvaluatedMetric, ...]]:
        """Task -> its metrics."""
        names = dict.fromkeys(metric.task for metric in self.metrics)
        return {name: tuple(metric for metric in self.metrics if metric.task == name) for name in names}

    @cached_property
    def evaluations(self) -> dict[str, Row]:
        """Evaluation -> the row of one of its metrics, whose other columns say how it was evaluated."""
        return {str(row["evaluation_id"]): row for row in self.rows}


Writer = Callable[[Catalog, Sequence[EvaluatedVariant], Path, Request], ResultsExport]
"""Writes variants to a folder."""


def evaluated_variants(catalog: Catalog, variant_ids: Collection[str] = ()) -> Iterator[EvaluatedVariant]:
    """Yield the evaluated variants, dense ones first.

    Args:
        variant_ids: of the variants; all if empty.
    """
    commits = data_set_commits(catalog)
    rows: dict[str, list[Row]] = {}
    chosen = {"variant_ids": list(variant_ids)}
    for row in catalog.query(statement("standards", "metrics"), chosen):
        rows.setdefault(str(row["variant_id"]), []).append(row)
    for variant in catalog.query(statement("standards", "variants"), chosen):
        own = tuple(rows.get(str(variant["variant_id"]), ()))
        finite = [row for row in own if row["value"] is not None and isfinite(row["value"])]
        yield EvaluatedVariant(_model(variant), tuple(_metric(row, commits) for row in finite), own)


def _model(row: Row) -> EvaluatedModel:
    return EvaluatedModel(
        variant_id=str(row["variant_id"]),
        label="dense" if row["is_dense"] else str(row["label"]),
        base_model=str(row["base_model"]),
        settings=_texts(row, MODEL_SETTINGS),
    )


def _metric(row: Row, commits: Mapping[str, str]) -> EvaluatedMetric:
    task = TASKS.get(str(row["task"]))
    known = task.dataset.repository(str(row["language"])) if task is not None and task.dataset is not None else ""
    return EvaluatedMetric(
        evaluation_id=str(row["evaluation_id"]),
        task=str(row["task"]),
        language=str(row["language"]),
        split=str(row["split"]),
        metric=str(row["metric"]),
        value=row["value"],
        ci_low=row["ci_low"],
        ci_high=row["ci_high"],
        interval=row["interval"],
        standard_error=row["standard_error"],
        n=row["n"],
        n_clusters=row["n_clusters"],
        chance=row["chance"],
        higher_is_better=bool(row["higher_is_better"]),
        settings=_texts(row, METRIC_SETTINGS),
        evaluated_at=row["evaluated_at"],
        dataset=known if known in commits else None,
        dataset_revision=commits.get(known),
    )


def _texts(row: Row, names: tuple[str, ...]) -> dict[str, str]:
    return {name: str(row[name]) for name in names if row[name] is not None}


class SampleReader:
    """Reads the predictions and items of a store's evaluations; items are kept, because variants share them."""

    def __init__(self, catalog: Catalog) -> None:
        self._store = catalog.store
        rows = catalog.query(statement("standards", "files"))
        self._files = {str(row["id"]): artefact_of(row) for row in rows}
        self._items: dict[str, answered_items.Columns] = {}

    def lines(self, variant: EvaluatedVariant, metric: EvaluatedMetric, *, log_id: str) -> Iterator[str]:
        """Yield the lines of an evaluation; none if the metric is not a mean over items with right answers.

        Args:
            log_id: id of the log that the lines belong to.
        Raises:
            UnreadableFileError: a file is missing or damaged, or does not give the metric.
        """
        if metric.metric not in answered_items.METRICS or metric.evaluation_id not in self._files:
            return
        evaluation = variant.evaluations[metric.evaluation_id]
        rule: RuleName = evaluation["scoring_rule"] or "mean"
        try:
            answered = self._answered(evaluation, metric, rule=rule)
        except UnreadableFileError as err:
            raise UnreadableFileError(err.message, {**err.context, "next": ADVICE}) from err
        except (PermanentError, KeyError) as err:
            path = self._files[metric.evaluation_id].path
            raise UnreadableFileError("predictions cannot be used", path=path, reason=str(err), next=ADVICE) from err
        is_choice = metric.metric == "accuracy"
        keys = answered_items.SampleKeys(
            evaluation_id=log_id,
            model_id=variant.model.base_model,
            name=f"{metric.task}.{metric.language}.{metric.split}",
            result_id=metric.result_id,
            method=f"candidate with the highest score, rule {rule}" if is_choice else "greedy decoding",
        )
        yield from answered_items.sample_lines(answered, keys)

    def _answered(
        self, evaluation: Row, metric: EvaluatedMetric, *, rule: RuleName
    ) -> list[answered_items.AnsweredItem]:
        columns = read_columns(self._store, self._files[metric.evaluation_id])
        items = self._items_of(evaluation["items_id"])
        if metric.metric != "accuracy":
            return answered_items.answered_translations(columns, items)
        predictions = Predictions.from_columns(columns, rule=rule, profile=evaluation["profile"] or "corrected")
        return answered_items.answered_choices(
            predictions, items, accuracy=metric.value, evaluation_id=metric.evaluation_id
        )

    def _items_of(self, items_id: str | None) -> answered_items.Columns:
        if items_id is None or items_id not in self._files:
            return {}
        if items_id not in self._items:
            self._items[items_id] = read_columns(self._store, self._files[items_id])
        return self._items[items_id]


def write_evaluation_logs(
    catalog: Catalog, variants: Sequence[EvaluatedVariant], folder: Path, request: Request
) -> ResultsExport:
    """Write one log per variant and task, and its items."""
    done, reader = ResultsExport(), SampleReader(catalog) if request.with_samples else None
    for variant in variants:
        done.leave_out("results without a finite value", len(variant.rows) - len(variant.metrics))
        for task, metrics in variant.tasks.items():
            target = folder / folder_of(variant.model, task)
            target.mkdir(parents=True, exist_ok=True)
            name = log_uuid(variant.model, task, metrics)
            samples = None
            if reader is not None:
                log_id = evaluation_id(variant.model, task, request.submission)
                samples = _write_samples(reader, variant, metrics, path=target / f"{name}_samples.jsonl", log_id=log_id)
            log = evaluation_log(variant.model, task, metrics, submission=request.submission, samples=samples)
            text = json.dumps(log, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
            (target / f"{name}.json").write_text(text, encoding="utf-8")
            done.n_files += 1 + (samples is not None)
            done.n_results += len(metrics)
            done.n_samples += samples.n_rows if samples else 0
    return done


def _write_samples(
    reader: SampleReader, variant: EvaluatedVariant, metrics: Sequence[EvaluatedMetric], *, path: Path, log_id: str
) -> SamplesFile | None:
    """Write the items of a log; None if no metric has any."""
    total, n_rows = sha256(), 0
    with path.open("w", encoding="utf-8", newline="\n") as out:
        for metric in metrics:
            for line in reader.lines(variant, metric, log_id=log_id):
                out.write(line)
                total.update(line.encode())
                n_rows += 1
    if not n_rows:
        path.unlink()
        return None
    return SamplesFile(sha256=total.hexdigest(), n_rows=n_rows)


def write_hub_results(
    catalog: Catalog, variants: Sequence[EvaluatedVariant], folder: Path, request: Request
) -> ResultsExport:
    """Write the files of one model repository per variant."""
    done, commits = ResultsExport(), data_set_commits(catalog)
    for variant in variants:
        n_entries = write_eval_results(folder / variant.model.variant_id, variant.rows, commits)
        done.leave_out(NOT_EXPRESSED, len(variant.rows) - sum(n_entries))
        done.n_files += len(n_entries)
        done.n_results += sum(n_entries)
    return done


FORMATS: Mapping[str, Writer] = {"every_eval_ever": write_evaluation_logs, "hub": write_hub_results}
"""Format -> function that writes it to a folder."""


def export_results(
    catalog: Catalog,
    folder: Path,
    *,
    format: str,  # noqa: A002
    request: Request,
    variant_ids: Sequence[str] = (),
) -> ResultsExport:
    """Write a folder with the results of variants; it appears as a whole.

    Args:
        folder: folder to create; if it exists, it must be empty.
        format: a key of `FORMATS`.
        variant_ids: all evaluated variants if empty.
    Raises:
        BadInputError: the format is unknown, the folder is not empty or cannot be written, or results are missing
            to write.
        UnreadableFileError: predictions are missing or damaged.
    """
    if format not in FORMATS:
        raise unknown("format of results", format, tuple(FORMATS), error=BadInputError, option="--format")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInputError("the folder is not empty", path=str(folder), expected="a new or empty folder")
    variants = list(evaluated_variants(catalog, variant_ids))
    try:
        with replacing(folder) as temporary:
            temporary.mkdir()
            done = FORMATS[format](catalog, variants, temporary, request)
            if not done.n_files:
                reasons = ", ".join(f"{n} {reason}" for reason, n in done.left_out.items()) or "nothing is evaluated"
                raise BadInputError("no results to write", format=format, got=reasons)
    except OSError as err:
        raise BadInputError("the results cannot be written", path=str(folder), reason=err.strerror or str(err)) from err
    return done
