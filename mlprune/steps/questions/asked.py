"""Questions of a recipe, declared and exploratory ones, with the comparisons that answer them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mlprune.errors import RecipeError
from mlprune.evaluation.inference.aggregates import AGGREGATED
from mlprune.evaluation.inference.language_sums import language_groups
from mlprune.json_values import as_int
from mlprune.languages import ENGLISH
from mlprune.pruning.spec import ScoreSpec
from mlprune.recipe.base import DENSE_LABEL, AgainstConfig
from mlprune.recipe.evaluations import has_metric
from mlprune.recipe.models import Recipe
from mlprune.recipe.questions import AskedLanguages, QuestionConfig, evaluated_languages
from mlprune.steps.compare.differences import CompareJob, main_language
from mlprune.steps.evaluate.evaluation_plan import task_specs
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import Identity, Job, RecordJob, make_identity
from mlprune.steps.questions.evidence import Criterion
from mlprune.steps.tasks.evaluation import EvaluationSpec
from mlprune.steps.tasks.task_spec import TaskSpec
from mlprune.steps.variants.base_variant import control_pairs
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.steps.variants.variant import ROLES_OF_PARENT
from mlprune.store.records import Record
from mlprune.store.store import Store
from mlprune.vocabulary import METRIC_TRAITS, AspectName

TEST = "test"
Variants = Mapping[str, PlannedVariant]


@dataclass(frozen=True)
class PlannedQuestion:
    """A question with the comparisons that answer it; its tests are one family."""

    identity: Identity
    """Of its answer."""
    criterion: Criterion
    comparisons: tuple[CompareJob, ...]
    languages: tuple[str, ...]
    """Evaluated languages of the group, or pairs of languages, in the order of the recipe."""
    seeds: tuple[int | None, ...]
    """Seed of the demonstrations, or of the random score, of each comparison's variant."""
    baseline_seeds: tuple[int | None, ...]
    """The same of each comparison's baseline."""
    config: QuestionConfig | None = None
    """Its entry in the recipe; None for an exploratory question that the recipe does not declare."""
    differs_in: tuple[AspectName, ...] = ()
    """Ignored aspects in which a variant differs from its baseline, sorted."""
    n_left_out: int = 0
    """Number of comparisons that are left out because they lack a language of the group."""
    identities: Mapping[str, Identity] = field(default_factory=dict, compare=False, repr=False)
    """Id -> identity of the variants of the plan and what they are made from; empty if the question is not declared."""

    @property
    def id(self) -> str:
        """The question's id."""
        return self.identity.id

    @property
    def name(self) -> str:
        """Its name in the recipe; empty if it is not declared."""
        return self.config.name if self.config else ""

    @property
    def family(self) -> TaskSpec:
        """The task without a language."""
        return self.comparisons[0].family

    @property
    def n_tests(self) -> int:
        """Number of tests in its family."""
        return len(self.comparisons) if self.criterion.over == "each" else 1

    @property
    def n_seeds(self) -> int:
        """Number of different seeds of its variants; 0 if no variant is drawn at random."""
        return len({seed for seed in self.seeds if seed is not None})

    @property
    def seeds_of_pairs(self) -> list[tuple[int | None, int | None]]:
        """(seed of the variant, seed of the baseline) of each comparison."""
        return list(zip(self.seeds, self.baseline_seeds, strict=True))

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(variant, baseline) of each comparison."""
        return [(comparison.variant_id, comparison.baseline_id) for comparison in self.comparisons]

    @property
    def criterion_id(self) -> str:
        """Key of all questions that differ from this one only in their variants."""
        return self.criterion.id([self.family.parameters, list(self.languages)])


def languages_of(comparison: CompareJob) -> list[str]:
    """Return the languages of a comparison, or its pairs of languages."""
    return [evaluation.task.language for evaluation, _ in comparison.pairs]


def seed_of(variant: PlannedVariant) -> int | None:
    """Return the seed of a variant's demonstrations, or of its score; None if nothing of it is drawn at random."""
    if variant.seed is not None:
        return variant.seed
    return variant.spec.own_seed("score") if variant.spec.is_candidate else None


def stored_seed(store: Store, variant_id: str) -> int | None:
    """Return the seed of a variant as `seed_of` does, from its record."""
    record = store.require("variants", variant_id)
    seed = _seed_of_sets(store, record)
    if seed is None and "score" in record.parameters and not _parents_of(record):
        return ScoreSpec.from_parameters(record.parameters).seed
    return seed


def _seed_of_sets(store: Store, record: Record) -> int | None:
    """Return the seed that the parents of a variant share, else that of its own sets; see `PlannedVariant.seed`."""
    parents = [_seed_of_sets(store, store.require("variants", parent)) for parent in _parents_of(record)]
    shared = parents[0] if len(set(parents)) == 1 else None
    reads_sets = not {"score", "reconstruct", "quantise"}.isdisjoint(record.parameters)
    sets = record.parents.get("demonstration_sets", ()) if reads_sets else ()
    return (
        as_int(store.require("demonstration_sets", sets[0]).parameters["seed"]) if shared is None and sets else shared
    )


def _parents_of(record: Record) -> Sequence[str]:
    """Return the variants whose masks a variant has: those of a combination, or the one from which it is derived."""
    roles = [role for role in ROLES_OF_PARENT if role in record.parents]
    return [record.parent(roles[0])] if roles else record.parents.get("variants", ())


def plan_questions(
    recipe: Recipe, inputs: Inputs, variants: Variants, *, jobs: Iterable[Job]
) -> tuple[PlannedQuestion, ...]:
    """Plan the declared questions in their order, then the default ones; equal questions are one, the first.

    Args:
        jobs: with the comparisons of the plan.
    Raises:
        RecipeError: a question has no comparison, or its metric is not computed.
    """
    families: dict[TaskSpec, list[CompareJob]] = defaultdict(list)
    identities = {inputs.base.id: inputs.base, **{variant.id: variant.spec.identity for variant in variants.values()}}
    for job in jobs:
        if isinstance(job, CompareJob):
            families[job.family].append(job)
        elif isinstance(job, RecordJob):
            identities[job.identity.id] = job.identity
    planned = [
        replace(_declared(recipe, inputs, config, variants=variants, families=families), identities=identities)
        for config in recipe.questions
    ]
    planned += _defaults(variants, families)
    distinct: dict[str, PlannedQuestion] = {}
    for question in planned:
        distinct.setdefault(question.id, question)
    return tuple(distinct.values())


def _declared(
    recipe: Recipe,
    inputs: Inputs,
    config: QuestionConfig,
    *,
    variants: Variants,
    families: Mapping[TaskSpec, Sequence[CompareJob]],
) -> PlannedQuestion:
    family = _family(recipe, inputs, config)
    metrics = family.metrics or family.definition.metrics
    metric = config.metric or metrics[0]
    if METRIC_TRAITS[metric].key:  # the evaluation has its key
        metrics = (*metrics, metric)
    if config.group.kind != "language":
        metrics = tuple(name for name in metrics if name in AGGREGATED)
    if metric not in metrics:
        message = "the task has no such metric in this group of languages"
        raise RecipeError(message, question=config.name, expected=metrics, got=metric)
    named = {
        name: {variant.id for variant in variants.values() if name in {entry.name for entry in variant.entries}}
        for name in (config.variants, config.against.name)
    }
    named.setdefault(DENSE_LABEL, set()).update(variant.id for variant in variants.values() if variant.is_dense)
    comparisons = [
        job
        for job in families.get(family, ())
        if job.variant_id in named[config.variants]
        and job.baseline_id in named[config.against.name]
        and _is_asked(config, variants[job.variant_id], variants[job.baseline_id])
    ]
    if not comparisons:
        message = "a question has no pair of comparable variants that are evaluated on its task"
        expected = (
            "equal sparsity and structure and, if both read demonstrations, propagation, source language and seed, or "
            "against: {name: ..., ignore: [language]}"
        )
        got = f"{config.variants} against {config.against.name}"
        raise RecipeError(message, question=config.name, expected=expected, got=got)
    criterion = Criterion(metric, *config.group, config.claim, config.margin, config.over)
    question = _question(criterion, comparisons, variants=variants, config=config)
    question = replace(question, differs_in=_differing(question, variants))
    if not question.languages:
        evaluated = sorted({language for job in comparisons for language in languages_of(job)})
        raise RecipeError(
            "no evaluated language is in the group", question=config.name, expected=config.languages, got=evaluated
        )
    return question


def _is_asked(config: QuestionConfig, variant: PlannedVariant, baseline: PlannedVariant) -> bool:
    """Whether two variants of its entries are compared: another question may ignore more."""
    if baseline.is_dense or variant.is_comparable_with(baseline, ignore=config.against.ignore):
        return True
    return bool(set(control_pairs([variant.spec, baseline.spec])))


def _differing(question: PlannedQuestion, variants: Variants) -> tuple[AspectName, ...]:
    """Return the ignored aspects in which a pair of variants differs."""
    ignored = set(question.config.against.ignore) if question.config else set()
    pairs = ((variants[one], variants[other]) for one, other in question.pairs) if ignored else ()
    return tuple(sorted({name for one, other in pairs for name in one.differing_aspects(other)} & ignored))


def _family(recipe: Recipe, inputs: Inputs, config: QuestionConfig) -> TaskSpec:
    """Return the task of the first evaluation with the entries of a question, and its language if it names one."""
    names = {config.variants, config.against.name} - {DENSE_LABEL}
    for entry in recipe.evaluations:
        is_asked = (entry.task, entry.split) == (config.task, config.split)
        has_language = config.group.kind != "language" or config.group.name in evaluated_languages(entry)
        is_measured = config.metric is None or has_metric(entry, config.metric)
        if is_asked and is_measured and has_language and (not entry.variants or names <= set(entry.variants)):
            return task_specs(recipe, inputs, entry)[0].family
    key = METRIC_TRAITS[config.metric].key if config.metric else ""
    expected = f"one evaluation of task {config.task} on split {config.split} with {sorted(names)}"
    expected += f", and {key}: true for {config.metric}" if key else ""
    raise RecipeError(
        "a question compares entries that are never evaluated together", question=config.name, expected=expected
    )


def _defaults(variants: Variants, families: Mapping[TaskSpec, Sequence[CompareJob]]) -> Iterator[PlannedQuestion]:
    """Yield, for each task, every variant against dense: outside English, in the worst language, and in English.

    Only on the test split, if the task has one: dev is for choices.
    """
    dense = next(iter(variants))
    tested = {family.task for family in families if family.split == TEST}
    for family, jobs in families.items():
        to_dense = [job for job in jobs if job.baseline_id == dense]
        if not to_dense or (family.split != TEST and family.task in tested):
            continue
        metric = (family.metrics or family.definition.metrics)[0]
        for criterion in _default_criteria(metric):
            question = _question(criterion, to_dense, variants=variants)
            if len(question.languages) > (criterion.group_kind == "worst"):
                yield question


def _default_criteria(metric: str) -> tuple[Criterion, ...]:
    return (
        Criterion(metric, "outside_english"),
        Criterion(metric, "worst"),
        Criterion(metric, "language", ENGLISH),
    )


def _question(
    criterion: Criterion,
    comparisons: Sequence[CompareJob],
    *,
    variants: Variants,
    config: QuestionConfig | None = None,
) -> PlannedQuestion:
    """Plan the question for all comparisons that have the most languages of its group."""
    of_group = {job.identity.id: languages_in(criterion.group, job) for job in comparisons}
    languages = max(of_group.values(), key=len)
    complete = tuple(job for job in comparisons if of_group[job.identity.id] == languages)
    return PlannedQuestion(
        make_identity("answers", criterion.parameters, parents={"comparisons": [job.identity.id for job in complete]}),
        criterion,
        complete,
        tuple(languages),
        seeds=tuple(seed_of(variants[job.variant_id]) for job in complete),
        baseline_seeds=tuple(seed_of(variants[job.baseline_id]) for job in complete),
        config=config,
        n_left_out=len(comparisons) - len(complete),
    )


def languages_in(group: AskedLanguages, comparison: CompareJob) -> list[str]:
    """Return the languages of a group in which a comparison was evaluated, in the order of the comparison."""
    main_languages = {evaluation.task.language: main_language(evaluation.task) for evaluation, _ in comparison.pairs}
    if group.kind == "language":
        return [language for language in main_languages if language == group.name]
    groups = language_groups(main_languages)
    members = {language for of in groups if (of.kind, of.name) == group for language in of.languages}
    return [language for language in main_languages if language in members]


def evaluations_of(question: PlannedQuestion, comparison: CompareJob) -> list[EvaluationSpec]:
    """Return the evaluations of a comparison's variant in the languages of the question."""
    return [evaluation for evaluation, _ in comparison.pairs if evaluation.task.language in question.languages]


def asked_baselines(recipe: Recipe) -> dict[str, tuple[AgainstConfig, ...]]:
    """Return name of an entry -> the entries that questions compare it with, other than dense."""
    asked: dict[str, tuple[AgainstConfig, ...]] = {}
    for config in recipe.questions:
        if config.against.name != DENSE_LABEL:
            asked[config.variants] = (*asked.get(config.variants, ()), config.against)
    return asked
