"""Plan the evaluations: which tasks, on which variants, and which sentences that takes from the demonstrations."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product

from mlprune.errors import RecipeError
from mlprune.evaluation.tasks.task_files import CORPUS
from mlprune.evaluation.tasks.template_tasks import TemplateTask
from mlprune.recipe import EvaluationConfig, Recipe, pair_languages
from mlprune.recipe.evaluations import READ_PARALLEL_TEXT
from mlprune.steps.demonstrate.source_texts import CorpusRef
from mlprune.steps.evaluate.evaluation import EvaluationSpec
from mlprune.steps.evaluate.jobs import EvaluateJob
from mlprune.steps.evaluate.task_location import items_at
from mlprune.steps.evaluate.task_spec import TaskSpec, shot_lines, task_data
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import computed_parameters, make_identity
from mlprune.steps.prune.plan import PlannedVariant


def task_specs(recipe: Recipe, inputs: Inputs, entry: EvaluationConfig) -> tuple[TaskSpec, ...]:
    """The tasks of one entry: one for each language or pair, and for each rule, prompt language or seed of shots.

    Raises:
        RecipeError: the corpus holds no such items, or a task of the recipe's own is described wrongly.
    """
    from_corpus = entry.path == CORPUS
    corpus = inputs.corpus_ref if from_corpus else None
    if not from_corpus and entry.task in READ_PARALLEL_TEXT:
        corpus = CorpusRef("parallel_text", path=str(recipe.resolve(entry.path)))
    if from_corpus and entry.task == "facts" and recipe.corpus.kind != "cldr":
        raise RecipeError(
            "only the built-in corpus holds facts", expected="corpus: {kind: cldr}", got=recipe.corpus.kind
        )
    spec = TaskSpec(
        task=entry.task,
        language="",
        split=entry.split,
        limit=entry.limit,
        seed=entry.seed,
        corpus=corpus,
        is_corpus_half=from_corpus,
        template=_template(recipe, entry),
        **({"folder": ""} if corpus else items_at(recipe, entry.path, languages=entry.languages, split=entry.split)),
    )
    if entry.pairs:
        return tuple(_translations(spec, entry))
    chosen = product(entry.rule, entry.prompt_language, entry.languages)
    return tuple(replace(spec, rule=rule, prompts=prompts, language=one) for rule, prompts, one in chosen)


def _template(recipe: Recipe, entry: EvaluationConfig) -> TemplateTask | None:
    config = recipe.template_task(entry.task)
    return None if config is None else TemplateTask(**config.model_dump())


def _translations(spec: TaskSpec, entry: EvaluationConfig) -> Iterator[TaskSpec]:
    """A spec for each pair and seed of the shots, which is the seed of the entry unless it names others."""
    spec = replace(spec, shots=entry.shots, max_new_tokens=entry.max_new_tokens)
    pairs = ["-".join(pair_languages(pair)) for pair in entry.pairs]
    for shot_seed, pair in product(entry.shot_seed or (entry.seed,), pairs):
        yield replace(spec, language=pair, shot_seed=shot_seed)


def evaluated_lines(recipe: Recipe, inputs: Inputs) -> frozenset[int]:
    """Lines of the recipe's corpus that some evaluation uses, so that no demonstration shows them."""
    specs = (spec for entry in recipe.evaluations for spec in task_specs(recipe, inputs, entry))
    reading = (
        spec for spec in specs if spec.definition.traits.reads_parallel_text and spec.corpus == inputs.corpus_ref
    )
    return frozenset(int(item.example_id) for spec in reading for item in task_data(spec).items)


def plan_evaluations(
    recipe: Recipe, inputs: Inputs, variants: Mapping[str, PlannedVariant]
) -> dict[str, tuple[EvaluationSpec, ...]]:
    """Variant id -> its evaluations; equal evaluations of several entries are one.

    Raises:
        TaskFileError, CorpusError: a task's items are not there or wrong. Whether its texts fit the model is found by
            whoever tokenises them, for what is still to do: `needs_of`, before anything is run.
    """
    batch_tokens = recipe.compute.planned_batch_tokens
    planned: dict[str, dict[str, EvaluationSpec]] = {variant: {} for variant in variants}
    for entry in recipe.evaluations:
        for task in task_specs(recipe, inputs, entry):
            contents = {"items": task_data(task).content_sha256}
            if task.sides and len(shot_lines(task)) < task.shots:
                raise RecipeError("too few sentences for the shots of a prompt", pair=task.language, got=task.shots)
            of_task = task.parameters
            for variant in _chosen(entry, variants):
                intervention = variant.intervention(task)
                if intervention is None:
                    _refuse_named(entry, variant)
                    continue
                parameters = {**of_task, **computed_parameters(variant.spec.model, batch_tokens=batch_tokens)}
                parents = {"variant": variant.id, **intervention.parents}
                identity = make_identity("evaluations", parameters, parents=parents, contents=contents)
                planned[variant.id][identity.id] = EvaluationSpec(identity, task, intervention)
    return {variant: tuple(found.values()) for variant, found in planned.items()}


def _chosen(entry: EvaluationConfig, variants: Mapping[str, PlannedVariant]) -> Iterator[PlannedVariant]:
    """The variants an entry is about: the dense one, and those of the entries it names, or all."""
    for variant in variants.values():
        names = {one.name for one in variant.entries}
        if variant.is_dense or not entry.variants or names & set(entry.variants):
            yield variant


def _refuse_named(entry: EvaluationConfig, variant: PlannedVariant) -> None:
    """A baseline that means nothing for a task is passed over, unless it was asked for."""
    names = [one.name for one in variant.entries if one.name in entry.variants]
    if names:
        message = "a baseline means nothing for a task"
        raise RecipeError(message, task=entry.task, expected=f"variants without {names[0]!r}", got=variant.label)


def evaluation_jobs(
    recipe: Recipe, variants: Mapping[str, PlannedVariant], evaluations: Mapping[str, tuple[EvaluationSpec, ...]]
) -> list[EvaluateJob]:
    """One job a variant: its masks go on once."""
    batch_tokens = recipe.compute.planned_batch_tokens
    return [
        EvaluateJob(variants[variant].spec.model, found, variant, batch_tokens=batch_tokens)
        for variant, found in evaluations.items()
        if found
    ]
