"""Lines of single items for every_eval_ever, from the predictions and items of the store."""

from collections.abc import Iterator, Mapping
from typing import get_args

from catalog.sql_files import statement
from catalog.standards.evaluated import EvaluatedVariant
from catalog.store import Catalog
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.standards.answered_items import Columns, answered_choices, answered_translations
from mlprune.standards.evaluated import EvaluatedMetric
from mlprune.standards.every_eval_ever_samples import METRICS, SampleKeys, sample_lines
from mlprune.store.records import Artefact
from mlprune.vocabulary import RuleName

RULES: tuple[RuleName, ...] = get_args(RuleName)


class SampleReader:
    """Reads the predictions and items of a store's evaluations; items are kept, because variants share them."""

    def __init__(self, catalog: Catalog) -> None:
        self._store = catalog.store
        rows = catalog.query(statement("standards", "files"))
        self._files = {
            str(row["id"]): Artefact(str(row["path"]), row["n_bytes"], str(row["sha256"]), row["n_rows"])
            for row in rows
        }
        self._items: dict[str, Columns] = {}

    def lines(self, variant: EvaluatedVariant, metric: EvaluatedMetric, *, log_id: str) -> Iterator[str]:
        """Yield the lines of an evaluation; none if the metric is not a mean over items with right answers.

        Args:
            log_id: id of the log that the lines belong to.
        Raises:
            DamagedArtefactError: a file is missing or damaged, or does not give the metric.
        """
        file = self._files.get(metric.evaluation_id)
        if metric.metric not in METRICS or file is None:
            return
        predictions, items = self._store.read_table(file), self._items_of(variant.items, metric)
        rule = metric.settings.get("scoring_rule", "mean")
        if metric.metric == "accuracy":
            read = Predictions.from_columns(
                predictions,
                rule=next(name for name in RULES if name == rule),
                profile="paper" if variant.profiles[metric.evaluation_id] == "paper" else "corrected",
            )
            answered = answered_choices(read, items, accuracy=metric.value, evaluation_id=metric.evaluation_id)
            method = f"candidate with the highest score, rule {rule}"
        else:
            answered, method = answered_translations(predictions, items), "greedy decoding"
        keys = SampleKeys(
            evaluation_id=log_id,
            model_id=variant.model.base_model,
            name=f"{metric.task}.{metric.language}.{metric.split}",
            result_id=metric.result_id,
            method=method,
        )
        yield from sample_lines(answered, keys)

    def _items_of(self, of_evaluations: Mapping[str, str], metric: EvaluatedMetric) -> Columns:
        items_id = of_evaluations.get(metric.evaluation_id, "")
        if items_id not in self._files:
            return {}
        if items_id not in self._items:
            self._items[items_id] = self._store.read_table(self._files[items_id])
        return self._items[items_id]
