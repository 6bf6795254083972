"""Plan the evaluations of a recipe: its tasks, and which variants are evaluated on them."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from pkgutil import resolve_name

from mlprune.errors import RecipeError
from mlprune.evaluation.tasks.task_files import CORPUS, TaskData, log_once, skipped_lines
from mlprune.languages import pair_languages
from mlprune.recipe.evaluations import READ_PARALLEL_TEXT, EvaluationConfig
from mlprune.recipe.models import CorpusConfig, Recipe
from mlprune.recipe.names import measured_by
from mlprune.steps import job
from mlprune.steps.inputs import Inputs, is_same_text, planned_chat, text_ref
from mlprune.steps.tasks.evaluation import (
    EvaluationSpec,
    Measurement,
    as_run,
    item_contents,
    question_shots,
    shot_contents,
    shot_lines,
    task_data,
)
from mlprune.steps.tasks.task_spec import TaskSpec, in_profile, task_of_entry
from mlprune.steps.variants.planned_variant import PlannedVariant

PlanMeasurement = Callable[[TaskSpec, PlannedVariant, Inputs, int], Measurement | None]
"""Called with a task, a variant, the inputs of the recipe and the tokens of a batch; None if the variant has none."""


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
