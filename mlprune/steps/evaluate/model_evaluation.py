"""Step `evaluate`: score one variant on all its tasks.

The masks of the variant are applied once. Evaluations that differ only in their scoring rule or profile share one run
of the model. Those that an earlier version recorded need none. Each evaluation has its own record, so a job that was
killed resumes with the missing evaluations.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Self

from mlprune.counted import counted
from mlprune.errors import work_context
from mlprune.evaluation.scoring.candidates import PLAIN, Measures, PreparedTask, run, run_with_rules
from mlprune.evaluation.scoring.generated_answers import Answers
from mlprune.evaluation.scoring.predictions import ItemScores, Predictions
from mlprune.evaluation.scoring.translation import PreparedTranslation, Translations, run_translation
from mlprune.models.chain import Chain
from mlprune.models.inference.kept_states import STATES_BYTES, bytes_for_shared_blocks
from mlprune.models.loading import load_tokenizer
from mlprune.models.placement.memory_estimate import Footprint, footprint
from mlprune.models.shard import Shard
from mlprune.numeric.log_probs import MAX_CPU_LOGITS, max_logits_of
from mlprune.processes.job_parts import in_parts
from mlprune.pruning.mask_files import CACHED_BYTES
from mlprune.recipe.models import Recipe
from mlprune.steps import job
from mlprune.steps.evaluate.results import TasksJob, adopt, work_text, write_evaluation
from mlprune.steps.plan_lines import MAX_LISTED, PlanLine, PlannedJobs
from mlprune.steps.tasks.evaluation import (
    EvaluationSpec,
    Intervention,
    Measurement,
    as_run,
    prepared_task,
    task_data,
)
from mlprune.steps.tasks.stored_items import write_missing_items
from mlprune.steps.tasks.task_spec import TaskSpec
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.steps.variants.variant_rows import stored_changes
from mlprune.store.store import Store
from mlprune.vocabulary import DeviceName

MASK_BYTES = 2
"""Bytes per weight of the masks of one block while they are applied."""
WEIGHTS_PER_BYTE = 8
"""Weights per byte of the masks that stay in main memory while a variant is applied."""
LOGIT_BYTES = 4 + 4
"""Bytes per logit as float32 and as log-probability, in addition to the model's dtype."""
ENOUGH_TEXTS = 100
"""Texts from which intervals of perplexity cover about as often as stated, unless changes are very skewed."""
_Run = tuple[TaskSpec, Intervention, Measurement | None]
"""What evaluations that share one run of the model have in common."""


def tasks_cost(
    step: str,
    sizes: Footprint,
    tasks: Iterable[PreparedTask | PreparedTranslation],
    *,
    batch_tokens: int,
    device: DeviceName,
    states_bytes: int = STATES_BYTES,
) -> job.JobCost:
    """Cost of scoring or translating some tasks on a kind of device; a job with stored results adds its disk space.

    Args:
        states_bytes: memory of the states that a model on the CPU keeps for later variants.
    """
    flops = n_passes = n_tokens = 0.0
    n_logits = min(max_logits_of(device), max(MAX_CPU_LOGITS, batch_tokens * sizes.vocabulary))
    for task in tasks:
        if isinstance(task, PreparedTask):
            n_computed, n_of_task, n_logit_rows = sum(planned.batch.n_computed for planned in task.batches), 1.0, 0
        else:
            n_computed = sum(len(ids) + task.max_new_tokens for ids in task.token_ids)
            n_of_task = float(task.max_new_tokens * len(task.batches))
            n_logit_rows = max((len(batch) for batch in task.batches), default=0)
        flops += job.block_flops(sizes, n_computed) + 2.0 * n_computed * sizes.hidden * sizes.vocabulary
        n_passes += n_of_task
        n_tokens += n_computed
        n_logits = max(n_logits, n_logit_rows * sizes.vocabulary)
    cache_bytes = 2 * batch_tokens * sizes.hidden * len(sizes.blocks) * sizes.itemsize
    mask_bytes = sum(sizes.prunable) * MASK_BYTES
    running_bytes = job.batch_bytes(sizes, batch_tokens) + cache_bytes + n_logits * (LOGIT_BYTES + sizes.itemsize)
    n_weights = job.n_block_weights(sizes)
    kept_bytes = n_weights // WEIGHTS_PER_BYTE + min(CACHED_BYTES, n_weights)  # masks, and the cache of packed levels
    kept_bytes += states_bytes if device == "cpu" else 0
    return replace(
        job.JobCost.dense_pass(step, sizes, n_tokens, thread_bytes=running_bytes),
        flops=flops,
        n_passes=n_passes + 1 if n_passes else 0.0,
        fixed_bytes=job.SMALL_JOB_BYTES + mask_bytes + kept_bytes,
        device_fixed_bytes=mask_bytes,
        transfer_bytes=mask_bytes,
    )


def apply_variant(chain: Chain, store: Store, variant_id: str) -> None:
    """Turn the model of a chain into a variant. Each shard reads the changes of its blocks from the store."""
    changes = stored_changes(store, variant_id)
    if changes is None:
        chain.everywhere(Shard.set_keep_masks, None)
    else:
        chain.everywhere(Shard.exchange_changes, changes)


@dataclass(frozen=True)
class VariantsJob(TasksJob):
    """Base of the jobs that evaluate variants."""

    step: ClassVar[str] = "evaluate"

    @property
    def needs(self) -> tuple[job.RecordKey, ...]:
        """The variants, and the records that interventions and measurements read."""
        parts = [part for one in self.evaluations for part in (one.intervention, one.measurement) if part is not None]
        variants = (("variants", one.variant_id) for one in self.evaluations)
        return tuple(dict.fromkeys((*variants, *(key for part in parts for key in part.needs))))

    def without(self, evaluation_ids: Collection[str]) -> Self:
        """Return the job without some evaluations."""
        kept = (evaluation for evaluation in self.evaluations if evaluation.identity.id not in evaluation_ids)
        return replace(self, evaluations=tuple(kept))

    def pending_runs(self, store: Store) -> dict[_Run, list[EvaluationSpec]]:
        """Adopt the evaluations of an earlier version; return those that have no record then, by run of the model."""
        write_missing_items(store, self.evaluations)
        groups: dict[_Run, list[EvaluationSpec]] = {}
        for evaluation in self.evaluations:
            record = store.read_record(*evaluation.identity.key)
            is_done = record is not None and store.is_complete(record)
            if not is_done and not adopt(store, evaluation, evaluation.variant_id):
                groups.setdefault(run_of(evaluation), []).append(evaluation)
        return groups


@dataclass(frozen=True)
class EvaluateJob(VariantsJob):
    """Run all evaluations of one variant."""

    variant_id: str
    states_bytes: int = field(default=STATES_BYTES, kw_only=True)
    """Memory of the states that later variants continue; never part of an identity."""
    n_shared: int = field(default=0, kw_only=True)
    """First blocks that the next variant has in common with this one; never part of an identity."""

    def cost(self, sizes: Footprint, sets: job.SetSizes) -> job.JobCost:
        """Cost of all runs of the model, with stored predictions."""
        runs = dict.fromkeys(map(run_of, self.evaluations))
        references = (task.scored for task, _, measurement in runs if measurement and task.is_generated)
        texts = (*(task for task, *_ in runs), *references)
        tasks = [prepared_task(task, self.model, self.batch_tokens) for task in texts]
        batch_tokens, device = self.batch_tokens, self.model.device
        cost = tasks_cost(
            self.step, sizes, tasks, batch_tokens=batch_tokens, device=device, states_bytes=self.states_bytes
        )
        for measurement in dict.fromkeys(one for *_, one in runs if one is not None):
            cost = measurement.added_to(cost, sizes)
        return replace(cost, disk_bytes=40_000.0 * len(self.evaluations))

    @classmethod
    def plan_lines(cls, planned: PlannedJobs[Self, job.JobCost]) -> Iterable[PlanLine]:
        """One line per task with items that are too long, and a warning about perplexity on few texts."""
        longer = {
            (as_run(evaluation.task), one.model, one.batch_tokens): evaluation.task.longer
            for one, _ in planned.pending
            for evaluation in one.evaluations
            if evaluation.task.longer != "refuse"
        }
        for (task, model, batch_tokens), rule in longer.items():
            if ids := prepared_task(task, model, batch_tokens).longer_ids:
                more = f" and {len(ids) - MAX_LISTED} more" if len(ids) > MAX_LISTED else ""
                items = f"{counted(len(ids), 'item')} of {task.task} {task.language} {task.split}"
                named = f"{', '.join(ids[:MAX_LISTED])}{more}"
                yield PlanLine("texts", f"longer than the model: {items}: {rule}: {named}")
        tasks = {as_run(evaluation.task) for one in planned.jobs for evaluation in one.evaluations}
        sizes = [len(task_data(task).items) for task in tasks if task.definition.reads == "sentences"]
        if sizes and min(sizes) < ENOUGH_TEXTS:
            yield PlanLine(
                "warnings",
                f"warning: perplexity on {min(sizes)} items; below {ENOUGH_TEXTS}, 95 % intervals of a loss that few "
                "items cause cover only 86 to 93 % and end too low (docs/definitions.md, Perplexity)",
            )

    def run(self, store: Store, chain: job.ChainLoader) -> None:
        """Adopt the evaluations of an earlier version; apply the masks and run those that have no record then."""
        groups = self.pending_runs(store)
        if not groups:
            return
        model = chain()
        model.everywhere(Shard.plan_kept_states, self.states_bytes, n_shared=self.n_shared)
        apply_variant(model, store, self.variant_id)
        for of_run, evaluations in in_parts("evaluation", list(groups.items())):
            task, intervention, measurement = of_run
            with work_context(partial(self._work_of, evaluations)):
                prepared = intervention.prepared(store, task, self.model, batch_tokens=self.batch_tokens)
                with intervention.active(model, store):
                    if isinstance(prepared, PreparedTask):
                        measures = PLAIN if measurement is None else measurement.measures(store)
                        self._score(store, model, prepared, evaluations=evaluations, measures=measures)
                    else:
                        scored = self._scored_references(store, model, of_run)
                        self._translate(store, model, prepared, evaluations=evaluations, scored=scored)

    @property
    def work(self) -> str:
        """The evaluations and the variant."""
        return self._work_of(self.evaluations)

    def _work_of(self, evaluations: Sequence[EvaluationSpec]) -> str:
        return f"{work_text(evaluations)} of variant {self.variant_id}"

    def _score(
        self,
        store: Store,
        model: Chain,
        prepared: PreparedTask,
        *,
        evaluations: Sequence[EvaluationSpec],
        measures: Measures,
    ) -> None:
        """Score the candidates once, and write an evaluation for every rule and profile."""
        scores = run_with_rules(
            model, prepared, [evaluation.task.rule for evaluation in evaluations], measures=measures
        )
        for evaluation in evaluations:
            write_scores(store, evaluation, prepared=prepared, scores=scores)

    def _scored_references(self, store: Store, model: Chain, given: _Run) -> tuple[PreparedTask, ItemScores] | None:
        """Score the references of generated texts with what is measured of them; None if nothing is."""
        task, intervention, measurement = given
        if measurement is None:
            return None
        texts = intervention.prepared(store, task.scored, self.model, batch_tokens=self.batch_tokens)
        assert isinstance(texts, PreparedTask), "references are scored"
        return texts, run(model, texts, measures=measurement.measures(store))

    def _translate(
        self,
        store: Store,
        model: Chain,
        prepared: PreparedTranslation,
        *,
        evaluations: Sequence[EvaluationSpec],
        scored: tuple[PreparedTask, ItemScores] | None,
    ) -> None:
        """Generate the texts once, and write the evaluations, with what was measured of the references."""
        outputs = run_translation(model, load_tokenizer(Path(self.model.path)), prepared)
        for evaluation in evaluations:
            rule, n_longer = evaluation.task.definition.generates, _n_longer(evaluation, prepared)
            predictions = Translations.from_outputs(outputs)
            if rule is not None:
                predictions = Answers.read(outputs, rule, language=evaluation.task.target_language)
            predictions = predictions if scored is None else predictions.with_measures(*scored)
            write_evaluation(store, evaluation, self.variant_id, predictions=predictions, n_longer=n_longer)


def run_of(evaluation: EvaluationSpec) -> _Run:
    """Return what evaluations that share one run of the model have in common."""
    return as_run(evaluation.task), evaluation.intervention, evaluation.measurement


def write_scores(store: Store, evaluation: EvaluationSpec, *, prepared: PreparedTask, scores: ItemScores) -> None:
    """Write an evaluation from the scores of its candidates."""
    task = evaluation.task
    predictions = Predictions.from_scores(prepared.items, scores).with_rule(task.rule, profile=task.profile)
    n_longer = _n_longer(evaluation, prepared)
    write_evaluation(store, evaluation, evaluation.variant_id, predictions=predictions, n_longer=n_longer)


def _n_longer(evaluation: EvaluationSpec, prepared: PreparedTask | PreparedTranslation) -> int | None:
    """Return the number of items that were left out or cut; None if longer items are refused."""
    return None if evaluation.task.longer == "refuse" else len(prepared.longer_ids)


def evaluations_in(jobs: Iterable[job.Job]) -> Iterator[EvaluationSpec]:
    """Yield the evaluations of some jobs, most of which may do other work."""
    for one in jobs:
        yield from one.evaluations if isinstance(one, VariantsJob) else ()


def without_evaluations(given: job.Job, evaluation_ids: Collection[str]) -> job.Job:
    """Return a job without some evaluations; a job of another kind stays as it is."""
    return given.without(evaluation_ids) if isinstance(given, VariantsJob) else given


def evaluation_jobs(
    recipe: Recipe,
    variants: Mapping[str, PlannedVariant],
    evaluations: Mapping[str, tuple[EvaluationSpec, ...]],
    *,
    share_blocks: bool = False,
) -> list[job.Job]:
    """Make one job per variant, so that its masks are applied once, after the jobs of what measurements read.

    Args:
        share_blocks: whether the variants differ in a few blocks.
    """
    models = {variant: planned.spec.model for variant, planned in variants.items()}
    measurements = (one.measurement for of_variant in evaluations.values() for one in of_variant)
    needed = (one for measurement in dict.fromkeys(measurements) if measurement is not None for one in measurement.jobs)
    jobs = [
        EvaluateJob(
            models[variant],
            of_variant,
            variant,
            batch_tokens=models[variant].batch_tokens(recipe.compute),
            states_bytes=_bytes_for_shared_blocks(models[variant]) if share_blocks else STATES_BYTES,
        )
        for variant, of_variant in evaluations.items()
        if of_variant
    ]
    return [*{one.makes: one for one in needed}.values(), *jobs]


def _bytes_for_shared_blocks(model: job.ModelRef) -> int:
    return bytes_for_shared_blocks(footprint(Path(model.path), model.dtype))
