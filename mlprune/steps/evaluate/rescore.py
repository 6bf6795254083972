"""Step `rescore`: stored predictions under another rule, with other metrics, or on a part of the examples; no model.

What a recipe with that rule would have evaluated gets the id it would have had there, and the same bytes: a rescored
evaluation and one that was run are the same work. Comparisons and rank consistency are made again for whatever was
compared before. Which evaluations are meant is said by a `Selection`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NoReturn

from mlprune.errors import BadInputError, TaskFileError
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.evaluation.scoring.rules import RULES
from mlprune.evaluation.task_metrics import task_metrics
from mlprune.steps.compare.jobs import CompareJob, RankConsistencyJob
from mlprune.steps.evaluate.evaluation import EvaluationSpec
from mlprune.steps.evaluate.protocol import ExampleSubset
from mlprune.steps.evaluate.results import read_predictions, write_evaluation
from mlprune.steps.evaluate.task_spec import TaskSpec, task_spec
from mlprune.steps.job import Identity, Job, make_identity
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.records import Record
from mlprune.store.store import Store
from mlprune.vocabulary import RuleName


@dataclass(frozen=True)
class Selection:
    """Which stored evaluations are rescored; what is None is not asked about."""

    task: str | None = None
    language: str | None = None
    split: str | None = None
    variant_id: str | None = None
    rule: RuleName | None = None
    """Evaluations that were made under this rule."""

    def admits(self, spec: TaskSpec, variant_id: str) -> bool:
        """Whether an evaluation is meant."""
        wanted = (self.task, self.language, self.split, self.variant_id, self.rule)
        got = (spec.task, spec.language, spec.split, variant_id, spec.scoring_rule)
        return all(one is None or one == other for one, other in zip(wanted, got, strict=True))


@dataclass(frozen=True)
class Change:
    """What is computed instead."""

    rule: RuleName | None = None
    metrics: tuple[str, ...] = ()
    examples: frozenset[str] | None = None
    """Ids of the examples that are kept; None keeps all."""

    def of(self, spec: TaskSpec) -> TaskSpec:
        """The spec of the new evaluation."""
        rule = self.rule or spec.rule
        subset = spec.subset if self.examples is None else ExampleSubset.of(self.examples)
        return replace(spec, rule=rule, metrics=self.metrics or spec.metrics, subset=subset)


@dataclass(frozen=True)
class Rescored:
    """What rescoring came to."""

    evaluation_ids: tuple[str, ...]
    """The evaluations that were asked for, those that were there before included."""
    n_new: int
    """Evaluations written now."""
    n_compared: int
    """Comparisons and rank consistencies written now."""
    n_too_old: int
    """Evaluations whose record is older than what rescoring reads; they are left alone."""


def rescore(store: Store, change: Change, selection: Selection | None = None) -> Rescored:
    """Compute evaluations anew from stored predictions, and record them.

    Running it again, or after an interruption, does what is left.

    Raises:
        BadInputError: nothing is changed or selected, a metric means nothing for a task, or no example is left.
        TaskFileError: the rule reads what these predictions do not hold.
    """
    if change == Change():
        raise BadInputError("nothing to compute", expected="a rule, metrics or examples", got=None)
    records = list(store.records("evaluations"))
    current = [record for record in records if record.step_version == RECORD_KINDS["evaluations"].version]
    found = list(_selected(current, change, selection or Selection()))
    if not found:
        raise BadInputError("no such evaluation", expected="one that is stored", got=vars(selection or Selection()))
    planned = {record.id: _planned(record, spec, change) for record, spec in found}
    sources = _sources(found, planned, change)
    _check(sources, change)
    n_new = sum(_rescore(store, record, planned[record.id], change=change) for record, _ in sources)
    standing_in = {**planned, **{new.identity.id: new for new in planned.values()}}
    n_compared = sum(_run(store, job) for job in _comparing(store, standing_in))
    ids = tuple(sorted(dict.fromkeys(new.identity.id for new in planned.values())))
    return Rescored(ids, n_new, n_compared, len(records) - len(current))


def _selected(records: list[Record], change: Change, selection: Selection) -> Iterator[tuple[Record, TaskSpec]]:
    """The evaluations that are meant and that can be changed so."""
    for record in records:
        spec = task_spec(record.parameters)
        has_rules = change.rule is None or spec.definition.reads == "candidates"
        if has_rules and selection.admits(spec, str(record.parents["variant"])) and not _is_part(spec, change):
            yield record, spec


def _sources(
    found: list[tuple[Record, TaskSpec]], planned: Mapping[str, EvaluationSpec], change: Change
) -> list[tuple[Record, TaskSpec]]:
    """One evaluation to read for each new one: of several that differ in their rule, one that holds what is needed."""
    chosen: dict[str, tuple[Record, TaskSpec]] = {}
    for record, spec in found:
        new = planned[record.id].identity.id
        if new not in chosen or _is_better(spec, chosen[new][1], rule=change.rule):
            chosen[new] = record, spec
    return list(chosen.values())


def _is_part(spec: TaskSpec, change: Change) -> bool:
    """Whether an evaluation is of a part or of other metrics already, while these are asked for."""
    return bool(change.examples is not None and spec.subset) or bool(change.metrics and spec.metrics)


def _is_better(spec: TaskSpec, other: TaskSpec, *, rule: RuleName | None) -> bool:
    """Whether a rule can be read off one evaluation rather than off another."""
    return rule is not None and RULES[rule].needs_alone and spec.rule == rule != other.rule


def _identity(record: Record, spec: TaskSpec) -> Identity:
    """Identity of the evaluation of a spec, from the same files and by the same means as a stored one."""
    of_run = {name: value for name, value in record.parameters.items() if name not in TaskSpec.__dataclass_fields__}
    parameters = {**spec.parameters, **of_run}
    return make_identity("evaluations", parameters, parents=record.parents, contents=record.contents)


def _planned(record: Record, spec: TaskSpec, change: Change) -> EvaluationSpec:
    new = change.of(spec)
    return EvaluationSpec(_identity(record, new), new)


def _check(sources: list[tuple[Record, TaskSpec]], change: Change) -> None:
    """Find what is wrong before anything is written."""
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
    """Write one evaluation unless it is there; returns whether it was written."""
    there = store.read_record(*new.identity.key)
    if there is not None and store.is_complete(there):
        return False
    old = read_predictions(store, task_spec(record.parameters), record.artefacts[0])
    kept = old if change.examples is None else old.select(change.examples)
    if not kept.example_ids:
        spec = new.task
        raise BadInputError("no example is left", task=spec.task, language=spec.language, expected="ids of the task")
    if isinstance(kept, Predictions):
        kept = kept.with_rule(new.task.rule)
    write_evaluation(store, new, str(record.parents["variant"]), predictions=kept)
    return True


def _comparing(store: Store, planned: Mapping[str, EvaluationSpec]) -> Iterator[Job]:
    """What was compared before, for the evaluations that stand in the place of those.

    Args:
        planned: id of a stored evaluation -> the new one; a new one stands for itself.
    """
    for record in store.records("comparisons"):
        roles = ("evaluations", "baseline_evaluations")
        sides = [[planned.get(one) for one in record.parents[role]] for role in roles]
        pairs = tuple((ours, theirs) for ours, theirs in zip(*sides, strict=True) if ours and theirs)
        if pairs:
            parents = {role: [pair[side].identity.id for pair in pairs] for side, role in enumerate(roles)}
            ids = [str(record.rows["comparisons"][0][key]) for key in ("variant_id", "baseline_id")]
            yield CompareJob(make_identity("comparisons", parents=parents), ids[0], ids[1], pairs)
    for record in store.records("rank_consistency"):
        found = tuple(new for one in record.parents["evaluations"] if (new := planned.get(one)))
        if len(found) > 1:
            parents = {"evaluations": [one.identity.id for one in found]}
            variant = str(store.require(*found[0].identity.key).parents["variant"])
            yield RankConsistencyJob(make_identity("rank_consistency", parents=parents), variant, found)


def _run(store: Store, job: Job) -> bool:
    """Run a job that needs no model unless it is done; returns whether it was run."""
    if all(store.has_record(*key) for key in job.makes):
        return False
    job.run(store, _no_chain)
    return True


def _no_chain() -> NoReturn:
    raise AssertionError("rescoring runs no model")
