"""Plan the report of a finished search: its winner and what it is compared with, on a split of their own.

The winner and its comparators are entries of a derived recipe with one declared question for each comparator, so their
comparisons, families of tests and answers are made as those of any recipe.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from mlprune.errors import RecipeError
from mlprune.evaluation.inference.aggregates import AGGREGATED
from mlprune.recipe import QuestionConfig, Recipe, VariantConfig
from mlprune.search.objective.measure import Measure
from mlprune.search.trials import EvaluatedTrial
from mlprune.steps.compare.plan import comparison_jobs
from mlprune.steps.evaluate.evaluation import EvaluationSpec
from mlprune.steps.evaluate.plan import plan_evaluations
from mlprune.steps.job import Job, make_identity
from mlprune.steps.prune.plan import PlannedVariant, plan_variants
from mlprune.steps.questions.jobs import answer_jobs
from mlprune.steps.questions.plan import PlannedQuestion, asked_baselines, plan_questions
from mlprune.steps.search.batch_result import Scored
from mlprune.steps.search.batches import PlannedSearch
from mlprune.steps.search.derived import SearchInputs, derive_recipe, levels_of, missing_jobs
from mlprune.steps.search.history import feasible_winner
from mlprune.steps.search.result import Finalist, Role, SearchResultJob, Winner
from mlprune.steps.search.spec import SearchSpec
from mlprune.steps.search.trial_entries import trial_entry, with_schedule
from mlprune.vocabulary import METRIC_TRAITS

Variants = Mapping[str, PlannedVariant]
Evaluations = Mapping[str, tuple[EvaluationSpec, ...]]


@dataclass(frozen=True)
class PlannedFinal:
    """The report of a finished search."""

    jobs: tuple[Job, ...]
    questions: tuple[PlannedQuestion, ...]
    """The declared ones, then those that are asked of every task."""
    names: tuple[tuple[str, str], ...]
    """(name, variant) of the winner and of what it is compared with."""


def plan_final(
    common: SearchInputs, search: PlannedSearch, rival: PlannedSearch | None, *, is_known: Callable[[str], bool]
) -> PlannedFinal:
    """Plan the evaluations, comparisons and answers of a finished search, and its result.

    Args:
        rival: the finished random search that it is compared with, if any.
        is_known: whether a variant is in the store or is made by another job of the plan.
    """
    entries = dict(_entries(search, rival))
    derived = derive_recipe(common.recipe, list(entries.values()), search.spec.report_evaluations)
    variants = plan_variants(derived, common.inputs, common.sets.by_profile)
    derived = derived.model_copy(update={"questions": tuple(_questions(search.spec, derived, entries, variants))})
    evaluations = plan_evaluations(derived, common.inputs, variants)
    levels = levels_of(search.spec)
    jobs = missing_jobs(derived, common, variants, evaluations=evaluations, levels=levels, is_known=is_known)
    asked = asked_baselines(derived)
    jobs += comparison_jobs(common.inputs, (), variants, evaluations, asked=asked)
    questions = plan_questions(derived, common.inputs, variants, jobs=jobs)
    result = _result_job(search, entries, variants, evaluations)
    names = tuple((_name(search.spec, one.role), one.scored.variant_id) for one in result.finalists)
    return PlannedFinal((*jobs, *answer_jobs(questions), result), questions, names)


def _entries(search: PlannedSearch, rival: PlannedSearch | None) -> Iterator[tuple[Role, VariantConfig]]:
    """Yield the entries of the winner and its comparators; nothing without a winner.

    A comparator that does not exist is left out: OWL and DLP for a score without demonstrations, every schedule but
    `uniform` for N:M, and the random search if none of its trials meets the constraints.
    """
    spec, best = search.spec, feasible_winner(search.history)
    if best is None:
        return
    yield "winner", trial_entry(spec, best.point, name=_name(spec, "winner"))
    schedules: tuple[Role, ...] = ("uniform", "owl", "dlp", "alpha_pruning")
    for role in schedules:
        if role in spec.compare:
            try:
                yield role, with_schedule(spec, best.point, role, name=_name(spec, role))
            except RecipeError:
                continue
    drawn = None if rival is None else feasible_winner(rival.history)
    if drawn is not None:
        yield "random", trial_entry(spec, drawn.point, name=_name(spec, "random"))


def _name(spec: SearchSpec, role: Role) -> str:
    return spec.name if role == "winner" else f"{spec.name}-{role}"


def _questions(
    spec: SearchSpec, derived: Recipe, entries: Mapping[Role, VariantConfig], variants: Variants
) -> Iterator[QuestionConfig]:
    """Yield a question for each comparator that is comparable with the winner: has the winner gained in the objective?

    It is about the first measure of the objective with a test over its languages.
    """
    measure = next(filter(_is_tested, map(spec.complete, spec.objective.measures)), None)
    if measure is None or not spec.report_evaluations:
        return
    planned = {role: _variant_of(entry, variants) for role, entry in entries.items()}
    for role, variant in planned.items():
        if variant.id != planned["winner"].id and planned["winner"].is_comparable_with(variant):
            yield QuestionConfig.model_validate(
                {
                    "name": f"{spec.name}-against-{role}",
                    "variants": _name(spec, "winner"),
                    "against": _name(spec, role),
                    "task": measure.task,
                    "languages": _asked(measure),
                    "split": spec.report_evaluations[0].split,
                    "metric": measure.metric,
                },
                context={"tasks": [task.name for task in derived.tasks]},
            )


def _is_tested(measure: Measure) -> bool:
    return measure.metric in (METRIC_TRAITS if measure.group.kind == "language" else AGGREGATED)


def _asked(measure: Measure) -> str:
    """Return a group as a question names it."""
    group = measure.group
    return group.name if group.kind == "language" else f"{group.kind}:{group.name}" if group.name else group.kind


def _variant_of(entry: VariantConfig, variants: Variants) -> PlannedVariant:
    return next(variant for variant in variants.values() if entry in variant.entries)


def _result_job(
    search: PlannedSearch, entries: Mapping[Role, VariantConfig], variants: Variants, evaluations: Evaluations
) -> SearchResultJob:
    ids = {role: _variant_of(entry, variants).id for role, entry in entries.items()}
    finalists = tuple(Finalist(role, Scored(key, evaluations[key])) for role, key in ids.items())
    dense_id = next(variant.id for variant in variants.values() if variant.is_dense)
    dense = Scored(dense_id, evaluations[dense_id])
    best = feasible_winner(search.history)
    batches = tuple(batch.identity.key for batch in search.batches)
    scored = (dense, *(finalist.scored for finalist in finalists))
    parents = {
        "batches": [record_id for _, record_id in batches],
        "variants": list(ids.values()) or None,
        "evaluations": [evaluation_id for one in scored for evaluation_id in one.evaluation_ids] or None,
    }
    compared: Mapping[str, str] = {role: key for role, key in ids.items() if role != "winner"}
    return SearchResultJob(
        make_identity("searches", {"search": search.id, "compared": compared}, parents=parents),
        search.spec,
        search.id,
        search.history,
        batches,
        None if best is None else _winner(search, best),
        dense,
        finalists,
    )


def _winner(search: PlannedSearch, best: EvaluatedTrial) -> Winner:
    """Return the winner with the evaluations by which it won."""
    batch = next(batch for batch in search.batches if batch.trials[-1].number >= best.number)
    trial = next(trial for trial in batch.trials if trial.number == best.number)
    return Winner(best, trial.scored, batch.dense)
