"""Plan the evaluations of all variants, and list the corpus lines that they use."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import product

from mlprune.errors import RecipeError
from mlprune.evaluation.tasks.task_files import CORPUS, TaskData, log_once, skipped_lines
from mlprune.evaluation.tasks.template_tasks import TemplateTask
from mlprune.recipe import EvaluationConfig, Recipe, TaskConfig, pair_languages
from mlprune.recipe.evaluations import READ_PARALLEL_TEXT
from mlprune.steps.corpus_ref import CorpusRef, is_same_text
from mlprune.steps.evaluate.evaluation import EvaluationSpec
from mlprune.steps.evaluate.jobs import EvaluateJob
from mlprune.steps.evaluate.shots import shot_contents, shot_lines
from mlprune.steps.evaluate.task_items import as_run, item_contents, task_data
from mlprune.steps.evaluate.task_location import TaskLocation, locate_items
from mlprune.steps.evaluate.task_spec import TaskSpec, in_profile
from mlprune.steps.inputs import Inputs, text_ref
from mlprune.steps.job import computed_parameters, make_identity
from mlprune.steps.prune.plan import PlannedVariant


def task_specs(recipe: Recipe, inputs: Inputs, entry: EvaluationConfig) -> tuple[TaskSpec, ...]:
    """Return the tasks of one entry: one for each language or pair, and for each rule, prompt language or shot seed.

    Raises:
        RecipeError: the corpus has no such items, or the recipe describes its own task wrongly.
    """
    from_corpus = entry.path == CORPUS
    corpus = inputs.corpus_ref if from_corpus else None
    if not from_corpus and entry.task in READ_PARALLEL_TEXT:
        corpus = text_ref(recipe.resolve(entry.path), entry.split)
    if from_corpus and entry.task == "facts" and recipe.corpus.kind != "cldr":
        expected = "corpus: {kind: cldr}"
        raise RecipeError("only the built-in corpus has facts", expected=expected, got=recipe.corpus.kind)
    location = TaskLocation()
    if corpus is None:
        location = locate_items(recipe, entry.path, languages=entry.languages, split=entry.split)
    spec = TaskSpec(
        task=entry.task,
        language="",
        split=entry.split,
        limit=entry.limit,
        seed=entry.seed,
        corpus=corpus,
        is_corpus_half=from_corpus,
        split_by=entry.split_by,
        longer=entry.longer,
        template=_template(recipe, entry),
        folder=location.folder,
        hub=location.hub,
    )
    specs = [in_profile(spec, profile) for profile in entry.profile]
    if entry.pairs:
        shots = _shot_corpus(recipe, inputs, entry)
        return tuple(task for of_profile in specs for task in _translations(of_profile, entry, shots=shots))
    choices = product(specs, entry.rule, entry.prompt_language, entry.languages)
    return tuple(
        replace(of_profile, rule=rule, prompts=prompts, language=language)
        for of_profile, rule, prompts, language in choices
    )


def _template(recipe: Recipe, entry: EvaluationConfig) -> TemplateTask | None:
    config = recipe.template_task(entry.task)
    return None if config is None else _template_task(config)


def _template_task(config: TaskConfig) -> TemplateTask:
    return TemplateTask(**config.model_dump())


def _shot_corpus(recipe: Recipe, inputs: Inputs, entry: EvaluationConfig) -> CorpusRef | None:
    """Return the text of the shots if the entry names one: the corpus, or the development split of a folder."""
    if entry.shots_from is None or entry.shots_from == entry.path:
        return None
    return inputs.corpus_ref if entry.shots_from == CORPUS else text_ref(recipe.resolve(entry.shots_from), "dev")


def _translations(spec: TaskSpec, entry: EvaluationConfig, *, shots: CorpusRef | None) -> Iterator[TaskSpec]:
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
    """
    for config in recipe.tasks:
        _template_task(config)  # a wrong template is an error even if no evaluation uses it
    batch_tokens = recipe.compute.planned_batch_tokens(inputs.model.device)
    planned: dict[str, dict[str, EvaluationSpec]] = {variant: {} for variant in variants}
    for entry in recipe.evaluations:
        for task in task_specs(recipe, inputs, entry):
            contents = {**item_contents(task), **shot_contents(task)}
            if task.sides and len(shot_lines(task)) < task.shots:
                raise RecipeError("too few sentences for the shots of a prompt", pair=task.language, got=task.shots)
            for variant in _evaluated_variants(entry, variants):
                intervention = variant.intervention(task)
                if intervention is None:
                    _check_not_named(entry, variant)
                    continue
                parameters = {**task.parameters, **computed_parameters(variant.spec.model, batch_tokens=batch_tokens)}
                parents = {"variant": variant.id, **intervention.parents}
                identity = make_identity("evaluations", parameters, parents=parents, contents=contents)
                planned[variant.id][identity.id] = EvaluationSpec(identity, task, intervention)
    _log_skipped(evaluation.task for evaluations in planned.values() for evaluation in evaluations.values())
    return {variant: tuple(evaluations.values()) for variant, evaluations in planned.items()}


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

    The unquantised parents of named variants are included, because quantised variants are compared with them.
    """
    named = [one for one in variants.values() if {config.name for config in one.entries} & set(entry.variants)]
    ids = {variant.id for one in named for variant in (one, one.unquantised)}
    for variant in variants.values():
        if variant.is_dense or not entry.variants or variant.id in ids:
            yield variant


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
    recipe: Recipe, variants: Mapping[str, PlannedVariant], evaluations: Mapping[str, tuple[EvaluationSpec, ...]]
) -> list[EvaluateJob]:
    """Make one job per variant, so that its masks are applied once."""
    models = {variant: planned.spec.model for variant, planned in variants.items()}
    return [
        EvaluateJob(
            models[variant],
            of_variant,
            variant,
            batch_tokens=recipe.compute.planned_batch_tokens(models[variant].device),
        )
        for variant, of_variant in evaluations.items()
        if of_variant
    ]
