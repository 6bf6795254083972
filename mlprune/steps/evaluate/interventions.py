"""Variants that are the dense model and do something at run time: their records, and what it means for an evaluation.

An evaluation of one names in its parents what it reads besides the variant; one that names nothing (in English) is of
the dense model. What LRP2 does is in `projection.py`, where translations come from in `self_translation.py`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from mlprune.evaluation.scoring.candidates import PreparedTask
from mlprune.evaluation.scoring.translation import PreparedTranslation
from mlprune.models.chain import Chain
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.steps.baselines.lrp2 import chosen_pair, projected
from mlprune.steps.baselines.self_translation import translated_task
from mlprune.steps.evaluate.task_spec import EvaluationSpec, prepared_task
from mlprune.steps.job import ChainLoader, ModelRef, RecordJob, RecordKey
from mlprune.steps.job_cost import JobCost, SetSizes
from mlprune.steps.prune.variant import VariantSpec, variant_row
from mlprune.store.store import Store

KINDS: Mapping[str, str] = {"means": "hidden_means", "choice": "lrp2_choices", "translations": "self_translations"}
"""Role among an evaluation's parents -> kind of record."""


@dataclass(frozen=True)
class InterventionJob(RecordJob):
    """Record a variant whose weights are the dense model's."""

    step: ClassVar[str] = "prune"
    variant: VariantSpec
    english_set_id: str | None = None
    """Demonstration set of the English mean states that it moves to."""

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The base model, and what says which texts its interventions are made of."""
        parents = self.identity.parents
        means = (("hidden_means", parents["english_means"]),) if "english_means" in parents else ()
        return (("base_models", parents["base_model"]), *means)

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """That of a small job."""
        return JobCost(self.step)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write the record."""
        rows = {"variants": [variant_row(self.variant, achieved=0.0)]}
        if self.english_set_id is not None:
            link = {"variant_id": self.variant.id, "demonstration_set_id": self.english_set_id, "role": "english"}
            rows["variant_demonstrations"] = [{**link, "weight": 1.0}]
        store.write_record(self.identity.record(rows=rows))


def read_by(evaluation: EvaluationSpec) -> tuple[RecordKey, ...]:
    """The records an evaluation reads besides its variant's."""
    parents = evaluation.identity.parents
    found = ((kind, parents[role]) for role, kind in KINDS.items() if role in parents)
    return tuple((kind, one) for kind, ids in found for one in ([ids] if isinstance(ids, str) else ids))


@contextmanager
def intervention_active(chain: Chain, store: Store, evaluation: EvaluationSpec) -> Iterator[None]:
    """While the context lasts, the model of a chain does what an evaluation's variant does at run time."""
    parents = evaluation.identity.parents
    if "means" not in parents:
        yield
        return
    if "choice" in parents:
        pair = chosen_pair(store, parents["choice"])
    else:
        ((first, second),) = store.require("variants", parents["variant"]).parameters["layers"]
        pair = (first, second)
    with projected(chain, store, means=parents["means"], pair=pair):
        yield


def prepare_evaluation(
    store: Store, evaluation: EvaluationSpec, model: ModelRef, batch_tokens: int
) -> PreparedTask | PreparedTranslation:
    """The items of an evaluation, tokenised and cut into batches: as they are, or in the model's own English.

    Raises:
        TaskFileError: a text does not fit the model's positions.
    """
    translations = evaluation.identity.parents.get("translations")
    if translations is None:
        return prepared_task(evaluation.task, model, batch_tokens)
    return translated_task(store, translations, evaluation.task, model, batch_tokens=batch_tokens)
