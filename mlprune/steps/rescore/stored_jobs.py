"""Jobs made again from stored records: those whose results follow from other results, without running the model.

A record names its parents and parameters, so the job that wrote it can be made without its recipe.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from pkgutil import resolve_name
from typing import cast

from mlprune.errors import BadInputError, StoreError
from mlprune.steps.declared_job import StoredWork
from mlprune.steps.inputs import require_base_model
from mlprune.steps.job import Identity, Job, ModelRef
from mlprune.steps.tasks.evaluation import EvaluationSpec
from mlprune.steps.tasks.task_spec import task_spec
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.records import Record
from mlprune.store.store import Store
from mlprune.vocabulary import DtypeName

FindModel = Callable[[str], Path]
"""Returns the folder of a base model, given its id."""
WITH_WEIGHTS = ("outliers", "spectra", "block_values", "layer_errors")
"""Kinds whose jobs read the weights of the base model."""


def evaluation_spec(record: Record) -> EvaluationSpec:
    """Return the evaluation that a record describes."""
    return EvaluationSpec(Identity.of_record(record), task_spec(record.parameters))


class StoredJobs:
    """Makes jobs again from the records of a store. Each evaluation is parsed once.

    Args:
        find_model: finds the base models whose weights some jobs read; see `find_base_model` for its error.
    """

    def __init__(self, store: Store, find_model: FindModel) -> None:
        self.store = store
        self._find_model = find_model
        self._evaluations: dict[str, EvaluationSpec] = {}

    def job_of(self, record: Record) -> Job:
        """Return the job that wrote a record of a kind with `RecordKind.job`.

        Raises:
            StoreError: a record that it was made from, or the base model, is missing.
        """
        make: Callable[[Record, StoredWork], Job] = resolve_name(RECORD_KINDS[record.kind].job)
        return make(record, self)

    def evaluations(self, ids: Iterable[str]) -> list[EvaluationSpec]:
        """Return the evaluations with some ids."""
        return [self._evaluation(record_id) for record_id in ids]

    def _evaluation(self, record_id: str) -> EvaluationSpec:
        if record_id not in self._evaluations:
            self._evaluations[record_id] = evaluation_spec(self.store.require("evaluations", record_id))
        return self._evaluations[record_id]

    def model_of(self, record: Record) -> ModelRef:
        """Return the base model of a record, in the dtype of its parameters.

        Raises:
            StoreError: the model is not found.
        """
        return self.model(record.parent("base_model"), cast("DtypeName", record.parameters.get("dtype", "float32")))

    def model(self, base_model_id: str, dtype: DtypeName = "float32") -> ModelRef:
        """Return a base model.

        Raises:
            StoreError: the model is not found.
        """
        try:
            info = require_base_model(self._find_model(base_model_id), base_model_id)
        except BadInputError as err:
            raise StoreError("the base model is not found", base_model_id=base_model_id, reason=err.message) from err
        return ModelRef(base_model_id, str(info.path), info.family, info.n_blocks, None, dtype)
