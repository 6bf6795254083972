"""Step `evaluate`: score one variant on all its tasks, languages and splits.

The masks of the variant are applied once. Evaluations that differ only in their scoring rule or profile share one run
of the model. Those that an earlier version recorded need none. Each evaluation has its own record, so a job that was
killed resumes with the missing evaluations.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from mlprune.errors import work_context
from mlprune.evaluation.scoring.candidates import PreparedTask, run_with_rules
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.evaluation.scoring.translation import PreparedTranslation, Translations, run_translation
from mlprune.models.chain import Chain
from mlprune.models.loading import load_tokenizer
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.models.shard import Shard
from mlprune.steps.evaluate.adopt import adopt
from mlprune.steps.evaluate.cost import tasks_cost
from mlprune.steps.evaluate.evaluation import EvaluationSpec
from mlprune.steps.evaluate.interventions import Intervention
from mlprune.steps.evaluate.prepared_task import prepared_task
from mlprune.steps.evaluate.results import TasksJob, work_text, write_evaluation
from mlprune.steps.evaluate.task_items import as_run
from mlprune.steps.evaluate.task_spec import TaskSpec
from mlprune.steps.items.jobs import write_missing_items
from mlprune.steps.job import ChainLoader, RecordKey
from mlprune.steps.job_cost import JobCost, SetSizes
from mlprune.steps.prune.stored_changes import stored_changes
from mlprune.store.store import Store


def apply_variant(chain: Chain, store: Store, variant_id: str) -> None:
    """Turn the model of a chain into a variant. Each shard reads the changes of its blocks from the store."""
    changes = stored_changes(store, variant_id)
    if changes is None:
        chain.everywhere(Shard.set_keep_masks, None)
    else:
        chain.everywhere(Shard.exchange_changes, changes)


@dataclass(frozen=True)
class EvaluateJob(TasksJob):
    """Run all evaluations of one variant."""

    step: ClassVar[str] = "evaluate"
    variant_id: str

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The variant, and the records that its interventions read."""
        keys = dict.fromkeys(key for evaluation in self.evaluations for key in evaluation.intervention.needs)
        return (("variants", self.variant_id), *keys)

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """Cost of all runs of the model, with stored predictions."""
        runs = dict.fromkeys((as_run(evaluation.task), evaluation.intervention) for evaluation in self.evaluations)
        tasks = [prepared_task(task, self.model, self.batch_tokens) for task, _ in runs]
        disk_bytes = 40_000.0 * len(self.evaluations)
        return tasks_cost(
            self.step, sizes, tasks, batch_tokens=self.batch_tokens, device=self.model.device, disk_bytes=disk_bytes
        )

    def without(self, evaluation_ids: Collection[str]) -> "EvaluateJob":
        """Return the job without some evaluations."""
        kept = (evaluation for evaluation in self.evaluations if evaluation.identity.id not in evaluation_ids)
        return replace(self, evaluations=tuple(kept))

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Adopt the evaluations of an earlier version; apply the masks and run those that have no record then."""
        write_missing_items(store, self.evaluations)
        groups: dict[tuple[TaskSpec, Intervention], list[EvaluationSpec]] = {}
        for evaluation in self.evaluations:
            record = store.read_record(*evaluation.identity.key)
            is_done = record is not None and store.is_complete(record)
            if not is_done and not adopt(store, evaluation, self.variant_id):
                groups.setdefault((as_run(evaluation.task), evaluation.intervention), []).append(evaluation)
        if not groups:
            return
        model = chain()
        apply_variant(model, store, self.variant_id)
        for (task, intervention), evaluations in groups.items():
            with work_context(partial(self._work_of, evaluations)):
                prepared = intervention.prepared(store, task, self.model, batch_tokens=self.batch_tokens)
                with intervention.active(model, store):
                    if isinstance(prepared, PreparedTask):
                        self._score(store, model, prepared, evaluations=evaluations)
                    else:
                        self._translate(store, model, prepared, evaluations=evaluations)

    @property
    def work(self) -> str:
        """The evaluations and the variant."""
        return self._work_of(self.evaluations)

    def _work_of(self, evaluations: Sequence[EvaluationSpec]) -> str:
        return f"{work_text(evaluations)} of variant {self.variant_id}"

    def _score(
        self, store: Store, model: Chain, prepared: PreparedTask, *, evaluations: Sequence[EvaluationSpec]
    ) -> None:
        """Score the candidates once, and write an evaluation for every rule and profile."""
        scores = run_with_rules(model, prepared, [evaluation.task.rule for evaluation in evaluations])
        for evaluation in evaluations:
            task = evaluation.task
            predictions = Predictions.from_scores(prepared.items, scores).with_rule(task.rule, profile=task.profile)
            n_longer = _n_longer(evaluation, prepared)
            write_evaluation(store, evaluation, self.variant_id, predictions=predictions, n_longer=n_longer)

    def _translate(
        self, store: Store, model: Chain, prepared: PreparedTranslation, *, evaluations: Sequence[EvaluationSpec]
    ) -> None:
        """Translate once, and write the evaluations."""
        outputs = run_translation(model, load_tokenizer(Path(self.model.path)), prepared)
        for evaluation in evaluations:
            predictions, n_longer = Translations.from_outputs(outputs), _n_longer(evaluation, prepared)
            write_evaluation(store, evaluation, self.variant_id, predictions=predictions, n_longer=n_longer)


def _n_longer(evaluation: EvaluationSpec, prepared: PreparedTask | PreparedTranslation) -> int | None:
    """Return the number of items that were left out or cut; None if longer items are refused."""
    return None if evaluation.task.longer == "refuse" else len(prepared.longer_ids)
