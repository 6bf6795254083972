"""Lines of single items for every_eval_ever, from the predictions and items of the store."""

from collections.abc import Iterator

from catalog.results import Row
from catalog.sql_files import statement
from catalog.standards.evaluated import EvaluatedVariant
from catalog.store import Catalog
from catalog.store.artefact_tables import artefact_of, read_columns
from mlprune.errors import PermanentError, UnreadableFileError
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.standards.answered_items import Columns, answered_choices, answered_translations
from mlprune.standards.evaluated import EvaluatedMetric
from mlprune.standards.every_eval_ever_samples import METRICS, AnsweredItem, SampleKeys, sample_lines
from mlprune.vocabulary import RuleName

ADVICE = "mlprune catalog check --deep, or --no-samples to write the results only"


class SampleReader:
    """Reads the predictions and items of a store's evaluations; items are kept, because variants share them."""

    def __init__(self, catalog: Catalog) -> None:
        self._store = catalog.store
        rows = catalog.query(statement("standards", "files"))
        self._files = {str(row["id"]): artefact_of(row) for row in rows}
        self._items: dict[str, Columns] = {}

    def lines(self, variant: EvaluatedVariant, metric: EvaluatedMetric, *, log_id: str) -> Iterator[str]:
        """Yield the lines of an evaluation; none if the metric is not a mean over items with right answers.

        Args:
            log_id: id of the log that the lines belong to.
        Raises:
            UnreadableFileError: a file is missing or damaged, or does not give the metric.
        """
        if metric.metric not in METRICS or metric.evaluation_id not in self._files:
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
        keys = SampleKeys(
            evaluation_id=log_id,
            model_id=variant.model.base_model,
            name=f"{metric.task}.{metric.language}.{metric.split}",
            result_id=metric.result_id,
            method=f"candidate with the highest score, rule {rule}" if is_choice else "greedy decoding",
        )
        yield from sample_lines(answered, keys)

    def _answered(self, evaluation: Row, metric: EvaluatedMetric, *, rule: RuleName) -> list[AnsweredItem]:
        columns = read_columns(self._store, self._files[metric.evaluation_id])
        items = self._items_of(evaluation["items_id"])
        if metric.metric != "accuracy":
            return answered_translations(columns, items)
        predictions = Predictions.from_columns(columns, rule=rule, profile=evaluation["profile"] or "corrected")
        return answered_choices(predictions, items, accuracy=metric.value, evaluation_id=metric.evaluation_id)

    def _items_of(self, items_id: str | None) -> Columns:
        if items_id is None or items_id not in self._files:
            return {}
        if items_id not in self._items:
            self._items[items_id] = read_columns(self._store, self._files[items_id])
        return self._items[items_id]
