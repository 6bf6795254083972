"""Step `rescore`: evaluate stored predictions under another rule, with other metrics or on a part of the examples.

No model runs. A rescored evaluation has the id and the bytes that it would have in a recipe with this rule. Comparisons
and rank consistencies are recomputed for everything that was compared before.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from mlprune.errors import BadInputError, TaskFileError
from mlprune.evaluation.scoring.predictions import RULES, Predictions
from mlprune.evaluation.task_metrics import PASS_RATES, plain_name, task_metrics, with_detectors
from mlprune.steps.compare.differences import CompareJob
from mlprune.steps.compare.rank_consistency import RankConsistencyJob
from mlprune.steps.compare.seeds import seed_components_of
from mlprune.steps.declared_job import EVALUATION_ROLES
from mlprune.steps.evaluate.results import read_predictions, stated_n_longer, write_evaluation
from mlprune.steps.job import Identity, Job, make_identity
from mlprune.steps.tasks.evaluation import EvaluationSpec
from mlprune.steps.tasks.task_spec import ExampleSubset, TaskSpec, task_spec
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.records import Record
from mlprune.store.store import Store
from mlprune.vocabulary import RuleName


@dataclass(frozen=True)
class Selection:
    """The stored evaluations to rescore; a field that is None matches all of them."""

    tasks: Sequence[str] | None = None
    language: str | None = None
    split: str | None = None
    variant_id: str | None = None
    rule: RuleName | None = None
    """Rule of the stored evaluations."""

    def matches(self, spec: TaskSpec, variant_id: str) -> bool:
        """Whether an evaluation is selected."""
        selected = (self.language, self.split, self.variant_id, self.rule)
        stored = (spec.language, spec.split, variant_id, spec.scoring_rule)
        is_of_task = self.tasks is None or spec.task in self.tasks
        return is_of_task and all(
            value is None or value == other for value, other in zip(selected, stored, strict=True)
        )


@dataclass(frozen=True)
class Change:
    """The change from a stored evaluation to the new one."""

    rule: RuleName | None = None
    metrics: tuple[str, ...] = ()
    examples: frozenset[str] | None = None
    """Ids of the examples to keep; None keeps all."""

    def apply(self, spec: TaskSpec) -> TaskSpec:
        """Return the spec of the new evaluation."""
        rule = self.rule or spec.rule
        subset = spec.subset if self.examples is None else ExampleSubset.of(self.examples)
        return replace(spec, rule=rule, metrics=self.metrics or spec.metrics, subset=subset)


@dataclass(frozen=True)
class Rescored:
    """Result of rescoring."""

    evaluation_ids: tuple[str, ...]
    """Ids of the new evaluations, including those that already existed."""
    n_new: int
    """Number of evaluations written."""
    n_compared: int
    """Number of comparisons and rank consistencies written."""
    n_too_old: int
    """Number of evaluations skipped because their record has an older version."""


def rescore(store: Store, change: Change, selection: Selection | None = None) -> Rescored:
    """Compute evaluations again from stored predictions, and record them.

    Running it again after an interruption writes the evaluations that are missing.

    Raises:
        BadInputError: nothing is changed or selected, a metric cannot be computed for a task, or its language detector
            is not installed, or no example is left.
        TaskFileError: the rule reads log-likelihoods that these predictions do not contain.
    """
    if change == Change():
        raise BadInputError("nothing to compute", expected="a rule, metrics or examples", got=None)
    change = replace(change, metrics=with_detectors(change.metrics))
    records = list(store.records("evaluations"))
    current = [record for record in records if record.step_version == RECORD_KINDS["evaluations"].version]
    selected = list(_selected(current, change, selection or Selection()))
    if not selected:
        raise BadInputError("no such evaluation", expected="a stored evaluation", got=vars(selection or Selection()))
    planned = {record.id: _planned(record, spec, change) for record, spec in selected}
    sources = _sources(selected, planned, change)
    _check(sources, change)
    n_new = sum(_rescore(store, record, planned[record.id], change=change) for record, _ in sources)
    successors = {**planned, **{new.identity.id: new for new in planned.values()}}
    n_compared = compare_successors(store, successors)
    ids = tuple(sorted(dict.fromkeys(new.identity.id for new in planned.values())))
    return Rescored(ids, n_new, n_compared, len(records) - len(current))


def _selected(records: list[Record], change: Change, selection: Selection) -> Iterator[tuple[Record, TaskSpec]]:
    """Yield the selected evaluations to which the change applies: a pass rate applies to translations alone."""
    is_rate = any(plain_name(name) in PASS_RATES for name in change.metrics)
    for record in records:
        spec = task_spec(record.parameters)
        if is_rate and spec.definition.reads != "pairs":
            continue
        has_rules = change.rule is None or (spec.definition.reads == "candidates" and spec.profile == "corrected")
        if has_rules and selection.matches(spec, str(record.parents["variant"])) and not _is_part(spec, change):
            yield record, spec


def _sources(
    selected: list[tuple[Record, TaskSpec]], planned: Mapping[str, EvaluationSpec], change: Change
) -> list[tuple[Record, TaskSpec]]:
    """Choose the evaluation to read for each new one: of several with different rules, one with the needed columns."""
    chosen: dict[str, tuple[Record, TaskSpec]] = {}
    for record, spec in selected:
        new = planned[record.id].identity.id
        if new not in chosen or _is_better(spec, chosen[new][1], rule=change.rule):
            chosen[new] = record, spec
    return list(chosen.values())


def _is_part(spec: TaskSpec, change: Change) -> bool:
    """Whether an evaluation already is of a part, or of other metrics, and the change asks for one."""
    return bool(change.examples is not None and spec.subset) or bool(change.metrics and spec.metrics)


def _is_better(spec: TaskSpec, other: TaskSpec, *, rule: RuleName | None) -> bool:
    """Whether the first evaluation contains what a rule reads, and the other does not."""
    return rule is not None and RULES[rule].needs_alone and spec.rule == rule != other.rule


def identity_of_rescored(record: Record, spec: TaskSpec) -> Identity:
    """Return the identity of an evaluation of `spec` that otherwise was run like the stored one."""
    of_run = {name: value for name, value in record.parameters.items() if name not in TaskSpec.__dataclass_fields__}
    parameters = {**spec.parameters, **of_run}
    return make_identity("evaluations", parameters, parents=record.parents, contents=record.contents)


def _planned(record: Record, spec: TaskSpec, change: Change) -> EvaluationSpec:
    new = change.apply(spec)
    return EvaluationSpec(identity_of_rescored(record, new), new)


def _check(sources: list[tuple[Record, TaskSpec]], change: Change) -> None:
    """Raise the errors of `rescore` before anything is written."""
    for _, spec in sources:
        task_metrics(spec.definition, spec.target_language, names=change.metrics)
        if change.rule is not None and RULES[change.rule].needs_alone and spec.rule != change.rule:
            raise TaskFileError(
                "these predictions lack the candidates' own scores",
                task=spec.task,
                language=spec.language,
                expected=f"an evaluation with rule: {change.rule}",
                got=spec.rule,
            )


def _rescore(store: Store, record: Record, new: EvaluationSpec, *, change: Change) -> bool:
    """Write one evaluation unless it exists; return whether it was written."""
    existing = store.read_record(*new.identity.key)
    if existing is not None and store.is_complete(existing):
        return False
    predictions = read_predictions(store, task_spec(record.parameters), record.artefacts[0])
    if change.examples is not None:
        predictions = predictions.select(change.examples)
    if not predictions.example_ids:
        spec = new.task
        raise BadInputError("no example is left", task=spec.task, language=spec.language, expected="ids of the task")
    if isinstance(predictions, Predictions):
        predictions = predictions.with_rule(new.task.rule, profile=new.task.profile)
    variant_id, n_longer = str(record.parents["variant"]), stated_n_longer(record)
    write_evaluation(store, new, variant_id, predictions=predictions, n_longer=n_longer)
    return True


def compare_successors(store: Store, successors: Mapping[str, EvaluationSpec]) -> int:
    """Compare new evaluations as stored ones were compared; return the number of comparisons written.

    Args:
        successors: id of a stored evaluation -> the new one; a new one may succeed itself.
    """
    return sum(_run(store, job) for job in _comparison_jobs(store, successors))


def _comparison_jobs(store: Store, successors: Mapping[str, EvaluationSpec]) -> Iterator[Job]:
    """Yield a job for each stored comparison, rank consistency and seed component whose evaluations have successors.

    Args:
        successors: id of a stored evaluation -> the new one; a new one succeeds itself.
    """
    builders = {
        "comparisons": _comparison,
        "rank_consistency": _rank_consistency,
        "seed_components": seed_components_of,
    }
    for kind, build in builders.items():
        for record in store.records(kind):
            job = build(record, successors)
            if job is not None:
                yield job


def _comparison(record: Record, successors: Mapping[str, EvaluationSpec]) -> CompareJob | None:
    """Return the job of a comparison for other evaluations; None if no pair of them is left."""
    sides = [[successors.get(evaluation_id) for evaluation_id in record.parents[role]] for role in EVALUATION_ROLES]
    pairs = [(new, baseline) for new, baseline in zip(*sides, strict=True) if new and baseline]
    return CompareJob.of_pairs(pairs) if pairs else None


def _rank_consistency(record: Record, successors: Mapping[str, EvaluationSpec]) -> RankConsistencyJob | None:
    """Return the job of a rank consistency for other evaluations; None if fewer than two languages are left."""
    evaluations, baselines = (
        tuple(successors[one] for one in record.parents.get(role, ()) if one in successors) for role in EVALUATION_ROLES
    )
    languages = {evaluation.task.language for evaluation in evaluations}
    of_languages = tuple(baseline for baseline in baselines if baseline.task.language in languages)
    return RankConsistencyJob(evaluations, of_languages) if len(evaluations) > 1 else None


def _run(store: Store, job: Job) -> bool:
    """Run a job that needs no model unless it is done; return whether it was run."""
    if all(store.has_record(*key) for key in job.makes):
        return False
    job.run(store, _no_chain)
    return True


def _no_chain() -> NoReturn:
    raise AssertionError("rescoring runs no model")
