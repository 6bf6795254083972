"""Step `evaluate`: plan the evaluations of all variants, and score one variant on all its tasks.

The masks of the variant are applied once. Evaluations that differ only in their scoring rule or profile share one run
of the model. Those that an earlier version recorded need none. Each evaluation has its own record, so a job that was
killed resumes with the missing evaluations.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from pkgutil import resolve_name
from typing import ClassVar, Self

from mlprune.counted import counted
from mlprune.errors import RecipeError, work_context
from mlprune.evaluation.scoring.candidates import PLAIN, Measures, PreparedTask, run_with_rules
from mlprune.evaluation.scoring.generated_answers import Answers
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.evaluation.scoring.translation import PreparedTranslation, Translations, run_translation
from mlprune.evaluation.tasks.task_files import CORPUS, TaskData, log_once, skipped_lines
from mlprune.languages import pair_languages
from mlprune.models.chain import Chain
from mlprune.models.inference.kept_states import STATES_BYTES, bytes_for_shared_blocks
from mlprune.models.loading import load_tokenizer
from mlprune.models.placement.memory_estimate import Footprint, footprint
from mlprune.models.shard import Shard
from mlprune.numeric.log_probs import MAX_CPU_LOGITS, max_logits_of
from mlprune.processes.job_parts import in_parts
from mlprune.pruning.mask_files import CACHED_BYTES
from mlprune.recipe.evaluations import READ_PARALLEL_TEXT, EvaluationConfig
from mlprune.recipe.models import CorpusConfig, Recipe
from mlprune.recipe.names import measured_by
from mlprune.steps import job
from mlprune.steps.evaluate.results import TasksJob, adopt, work_text, write_evaluation
from mlprune.steps.inputs import Inputs, is_same_text, planned_chat, text_ref
from mlprune.steps.plan_lines import MAX_LISTED, PlanLine, PlannedJobs
from mlprune.steps.tasks.evaluation import (
    EvaluationSpec,
    Intervention,
    Measurement,
    as_run,
    item_contents,
    prepared_task,
    question_shots,
    shot_contents,
    shot_lines,
    task_data,
)
from mlprune.steps.tasks.stored_items import write_missing_items
from mlprune.steps.tasks.task_spec import TaskSpec, in_profile, task_of_entry
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
PlanMeasurement = Callable[[TaskSpec, PlannedVariant, Inputs, int], Measurement | None]
"""Called with a task, a variant, the inputs of the recipe and the tokens of a batch; None if the variant has none."""
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
class EvaluateJob(TasksJob):
    """Run all evaluations of one variant."""

    step: ClassVar[str] = "evaluate"
    variant_id: str
    states_bytes: int = field(default=STATES_BYTES, kw_only=True)
    """Memory of the states that later variants continue; never part of an identity."""
    n_shared: int = field(default=0, kw_only=True)
    """First blocks that the next variant has in common with this one; never part of an identity."""

    @property
    def needs(self) -> tuple[job.RecordKey, ...]:
        """The variant, and the records that its interventions and measurements read."""
        parts = [part for one in self.evaluations for part in (one.intervention, one.measurement) if part is not None]
        return (("variants", self.variant_id), *dict.fromkeys(key for part in parts for key in part.needs))

    def cost(self, sizes: Footprint, sets: job.SetSizes) -> job.JobCost:
        """Cost of all runs of the model, with stored predictions."""
        runs = dict.fromkeys(map(_run_of, self.evaluations))
        tasks = [prepared_task(task, self.model, self.batch_tokens) for task, *_ in runs]
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

    def without(self, evaluation_ids: Collection[str]) -> "EvaluateJob":
        """Return the job without some evaluations."""
        kept = (evaluation for evaluation in self.evaluations if evaluation.identity.id not in evaluation_ids)
        return replace(self, evaluations=tuple(kept))

    def run(self, store: Store, chain: job.ChainLoader) -> None:
        """Adopt the evaluations of an earlier version; apply the masks and run those that have no record then."""
        write_missing_items(store, self.evaluations)
        groups: dict[_Run, list[EvaluationSpec]] = {}
        for evaluation in self.evaluations:
            record = store.read_record(*evaluation.identity.key)
            is_done = record is not None and store.is_complete(record)
            if not is_done and not adopt(store, evaluation, self.variant_id):
                groups.setdefault(_run_of(evaluation), []).append(evaluation)
        if not groups:
            return
        model = chain()
        model.everywhere(Shard.plan_kept_states, self.states_bytes, n_shared=self.n_shared)
        apply_variant(model, store, self.variant_id)
        for (task, intervention, measurement), evaluations in in_parts("evaluation", list(groups.items())):
            with work_context(partial(self._work_of, evaluations)):
                prepared = intervention.prepared(store, task, self.model, batch_tokens=self.batch_tokens)
                with intervention.active(model, store):
                    if isinstance(prepared, PreparedTask):
                        measures = PLAIN if measurement is None else measurement.measures(store)
                        self._score(store, model, prepared, evaluations=evaluations, measures=measures)
                    else:
                        self._translate(store, model, prepared, evaluations=evaluations)

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
            task = evaluation.task
            predictions = Predictions.from_scores(prepared.items, scores).with_rule(task.rule, profile=task.profile)
            n_longer = _n_longer(evaluation, prepared)
            write_evaluation(store, evaluation, self.variant_id, predictions=predictions, n_longer=n_longer)

    def _translate(
        self, store: Store, model: Chain, prepared: PreparedTranslation, *, evaluations: Sequence[EvaluationSpec]
    ) -> None:
        """Generate the texts once, and write the evaluations."""
        outputs = run_translation(model, load_tokenizer(Path(self.model.path)), prepared)
        for evaluation in evaluations:
            rule, n_longer = evaluation.task.definition.generates, _n_longer(evaluation, prepared)
            predictions = Translations.from_outputs(outputs)
            if rule is not None:
                predictions = Answers.read(outputs, rule, language=evaluation.task.target_language)
            write_evaluation(store, evaluation, self.variant_id, predictions=predictions, n_longer=n_longer)


def _run_of(evaluation: EvaluationSpec) -> _Run:
    return as_run(evaluation.task), evaluation.intervention, evaluation.measurement


def _n_longer(evaluation: EvaluationSpec, prepared: PreparedTask | PreparedTranslation) -> int | None:
    """Return the number of items that were left out or cut; None if longer items are refused."""
    return None if evaluation.task.longer == "refuse" else len(prepared.longer_ids)


def evaluations_in(jobs: Iterable[job.Job]) -> Iterator[EvaluationSpec]:
    """Yield the evaluations of some jobs, most of which may do other work."""
    for one in jobs:
        yield from one.evaluations if isinstance(one, EvaluateJob) else ()


def without_evaluations(given: job.Job, evaluation_ids: Collection[str]) -> job.Job:
    """Return a job without some evaluations; a job of another kind stays as it is."""
    return given.without(evaluation_ids) if isinstance(given, EvaluateJob) else given


def task_specs(recipe: Recipe, inputs: Inputs, entry: EvaluationConfig) -> tuple[TaskSpec, ...]:
    """Return the tasks of one entry: one for each language or pair, and for each rule, prompt language or shot seed.

    Raises:
        RecipeError: the corpus has no such items.
        ModelError: the model has no chat template for the chat of the entry, or it refuses a turn.
    """
    from_corpus = entry.path == CORPUS
    corpus = inputs.corpus_ref if from_corpus else None
    if not from_corpus and entry.task in READ_PARALLEL_TEXT:
        corpus = text_ref(recipe.resolve(entry.path), entry.split, columns=entry.columns)
    if from_corpus and entry.task == "facts" and recipe.corpus.kind != "cldr":
        expected = "corpus: {kind: cldr}"
        raise RecipeError("only the built-in corpus has facts", expected=expected, got=recipe.corpus.kind)
    spec = replace(task_of_entry(recipe, entry, corpus=corpus), chat=planned_chat(inputs.model, entry.chat))
    specs = [in_profile(spec, profile) for profile in entry.profile]
    if entry.pairs:
        shots = _shot_corpus(recipe, inputs, entry)
        return tuple(task for of_profile in specs for task in _translations(of_profile, entry, shots=shots))
    seeds = (entry.shot_seed or (entry.seed,)) if entry.shots_split else (0,)
    choices = product(specs, entry.rule, entry.prompt_language, seeds, entry.languages)
    return tuple(
        replace(of_profile, rule=rule, prompts=prompts, shot_seed=shot_seed, language=language)
        for of_profile, rule, prompts, shot_seed, language in choices
    )


def _shot_corpus(recipe: Recipe, inputs: Inputs, entry: EvaluationConfig) -> CorpusConfig | None:
    """Return the text of the shots if the entry names one: the corpus, or the development split of a folder."""
    if entry.shots_from is None or entry.shots_from == entry.path:
        return None
    return inputs.corpus_ref if entry.shots_from == CORPUS else text_ref(recipe.resolve(entry.shots_from), "dev")


def _translations(spec: TaskSpec, entry: EvaluationConfig, *, shots: CorpusConfig | None) -> Iterator[TaskSpec]:
    """Yield a spec for each pair and shot seed, by default the seed of the entry; profile paper has no seeds."""
    spec = replace(spec, shots=entry.shots, max_new_tokens=entry.max_new_tokens)
    pairs = ["-".join(pair_languages(pair)) for pair in entry.pairs]
    shot_seeds = (0,) if spec.profile == "paper" else entry.shot_seed or (entry.seed,)
    for shot_seed, pair in product(shot_seeds, pairs):
        task = replace(spec, language=pair, shot_seed=shot_seed)
        is_other = shots is not None and spec.corpus is not None and not is_same_text(shots, spec.corpus, task.sides[0])
        yield replace(task, other_shots=True, shot_corpus=shots) if is_other else task


def evaluated_lines(recipe: Recipe, inputs: Inputs) -> frozenset[int]:
    """Return the lines of the recipe's corpus that evaluations use, which demonstrations must not contain."""
    specs = (spec for entry in recipe.evaluations for spec in task_specs(recipe, inputs, entry))
    reading = (
        spec
        for spec in specs
        if spec.definition.traits.reads_parallel_text
        and spec.corpus is not None
        and is_same_text(spec.corpus, inputs.corpus_ref, spec.target_language)
    )
    return frozenset(int(item.example_id) for spec in reading for item in task_data(spec).items)


def plan_evaluations(
    recipe: Recipe, inputs: Inputs, variants: Mapping[str, PlannedVariant]
) -> dict[str, tuple[EvaluationSpec, ...]]:
    """Plan the evaluations of each variant, by its id. Equal evaluations of several entries are planned once.

    Texts that do not fit the model are found later, when the tasks of pending jobs are tokenised.

    Raises:
        TaskFileError, CorpusError: the items of a task are missing or wrong.
        RecipeError: two splits of a task have the same items, or a prompt has too few texts for its shots.
    """
    batch_tokens = inputs.model.batch_tokens(recipe.compute)
    planned: dict[str, dict[str, EvaluationSpec]] = {variant: {} for variant in variants}
    split_of_items: dict[tuple[str, str, str, str], str] = {}
    for entry in recipe.evaluations:
        measures: PlanMeasurement | None = resolve_name(path) if (path := measured_by(entry)) else None
        for task in task_specs(recipe, inputs, entry):
            contents = {**item_contents(task), **shot_contents(task)}
            _check_items_of_one_split(task, contents["items"], split_of_items)
            shots = shot_lines(task) if task.sides else question_shots(task)
            if len(shots) < task.shots:
                raise RecipeError(
                    "too few texts for the shots of a prompt",
                    task=task.task,
                    language=task.language,
                    expected=task.shots,
                    got=len(shots),
                )
            for variant in _evaluated_variants(entry, variants):
                _check_chat(entry, task, variant)
                intervention = variant.intervention(task)
                if intervention is None:
                    _check_not_named(entry, variant)
                    continue
                parameters = {
                    **task.parameters,
                    **job.computed_parameters(variant.spec.model, batch_tokens=batch_tokens),
                }
                measurement = measures(task, variant, inputs, batch_tokens) if measures else None
                measured = measurement.parents if measurement else {}
                parents = {"variant": variant.id, **intervention.parents, **measured}
                identity = job.make_identity("evaluations", parameters, parents=parents, contents=contents)
                planned[variant.id][identity.id] = EvaluationSpec(identity, task, intervention, measurement)
    _log_skipped(evaluation.task for evaluations in planned.values() for evaluation in evaluations.values())
    return {variant: tuple(_most_measured(evaluations.values())) for variant, evaluations in planned.items()}


def _most_measured(evaluations: Collection[EvaluationSpec]) -> Iterator[EvaluationSpec]:
    """Yield the evaluations of a variant without those of a task that another one measures in addition."""
    measured = {one.task for one in evaluations if one.measurement is not None}
    yield from (one for one in evaluations if one.measurement is not None or one.task not in measured)


def _check_items_of_one_split(task: TaskSpec, items: str, split_of_items: dict[tuple[str, str, str, str], str]) -> None:
    """Refuse items of task files that another split of the same folder and language has.

    Args:
        items: their hash.
        split_of_items: (task, folder, language, hash) -> split; gets those of the task.
    """
    if task.corpus is not None:
        return  # the hash is that of the whole text, of which splits are disjoint parts
    split = split_of_items.setdefault((task.task, task.folder, task.language, items), task.split)
    if split != task.split:
        raise RecipeError(
            "two splits of a task have the same items: what is chosen on one cannot be tested on the other",
            task=task.task,
            language=task.language,
            expected=f"other items in {task.split} than in {split}: name {{split}} in files, or evaluate one split",
            got="equal items",
        )


def _log_skipped(tasks: Iterable[TaskSpec]) -> None:
    """Log the rows of task files that are skipped, once for all languages of a task and split."""
    read: dict[tuple[str, str, str], dict[str, TaskData]] = {}
    for task in dict.fromkeys(as_run(task) for task in tasks if task.corpus is None):
        read.setdefault((task.task, task.split, task.folder), {}).setdefault(task.language, task_data(task))
    for (name, split, _), of_language in read.items():
        for line in skipped_lines(of_language):
            log_once(f"{name} {split}: {line}")


def _evaluated_variants(entry: EvaluationConfig, variants: Mapping[str, PlannedVariant]) -> Iterator[PlannedVariant]:
    """Yield the dense variant, and the variants that the entry names, or all if it names none.

    The variants from which named ones are derived are included: these are compared with them.
    """
    named = [one for one in variants.values() if {config.name for config in one.entries} & set(entry.variants)]
    ids = {variant.id for one in named for variant in one.lineage}
    for variant in variants.values():
        if variant.is_dense or not entry.variants or variant.id in ids:
            yield variant


def _check_chat(entry: EvaluationConfig, task: TaskSpec, variant: PlannedVariant) -> None:
    """Check that the model of a variant has the chat template of a task: a protocol has one template.

    Raises:
        RecipeError: it has another one.
        ModelError: it has none, or it refuses a turn.
    """
    if task.chat is not None and planned_chat(variant.spec.model, entry.chat) != task.chat:
        message = "a model has another chat template than the base model, so their results cannot be compared"
        raise RecipeError(message, task=entry.task, expected="an evaluation without chat", got=variant.label)


def _check_not_named(entry: EvaluationConfig, variant: PlannedVariant) -> None:
    """Check that the entry does not name a baseline that cannot be evaluated on its task and is therefore skipped.

    Raises:
        RecipeError: it does.
    """
    names = [config.name for config in variant.entries if config.name in entry.variants]
    if names:
        message = "a baseline cannot be evaluated on this task"
        raise RecipeError(message, task=entry.task, expected=f"variants without {names[0]!r}", got=variant.label)


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
