"""Plan one choice per task, scoring rule and protocol that has a dev split: among dense and all pruned variants."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from mlprune.steps.choices.jobs import Candidate, ChoiceJob
from mlprune.steps.evaluate.evaluation import EvaluationSpec, Families, families_of
from mlprune.steps.evaluate.task_spec import TaskSpec
from mlprune.steps.job import make_identity
from mlprune.steps.prune.plan import PlannedVariant

METRICS = ("accuracy", "chrf", "perplexity")
"""Metrics to choose by, the first one that a task has; without any of them, the task's first metric."""
Evaluations = Mapping[str, Sequence[EvaluationSpec]]
"""Variant id -> its evaluations."""


def choice_jobs(variants: Mapping[str, PlannedVariant], evaluations: Evaluations) -> list[ChoiceJob]:
    """Plan the choices of a recipe; a task without a dev split, or without pruned variants on it, has none.

    Of evaluations of several sizes, the largest size of the dense model counts. Interventions, other base models and
    variants without neurons are not candidates.
    """
    dense = next(variant for variant in variants.values() if variant.is_dense)
    pruned = [variant for variant in variants.values() if _is_candidate(variant, dense)]
    preferred = [dense, *sorted(pruned, key=lambda variant: (variant.spec.sparsity, variant.id))]
    families = {variant.id: families_of(evaluations[variant.id]) for variant in preferred}
    return [job for splits in _tasks(families[dense.id]) for job in _job(families, splits)]


def metric_of(spec: TaskSpec) -> str:
    """Return the metric by which variants are chosen."""
    names = spec.metrics or spec.definition.metrics
    return next((name for name in METRICS if name in names), names[0])


def _is_candidate(variant: PlannedVariant, dense: PlannedVariant) -> bool:
    is_pruned = not variant.is_dense and variant.baseline is None and variant.unquantised.spec.is_candidate
    return is_pruned and variant.spec.model.base_model_id == dense.spec.model.base_model_id


def _tasks(families: Iterable[TaskSpec]) -> Iterator[Mapping[str, TaskSpec]]:
    """Yield split -> task without a language, for each task that is evaluated on dev in profile corrected."""
    sizes: dict[tuple[str, str, str], dict[str, list[TaskSpec]]] = defaultdict(lambda: defaultdict(list))
    for spec in families:
        if spec.profile == "corrected":
            sizes[spec.task, spec.protocol.id, spec.scoring_rule][spec.split].append(spec)
    for splits in sizes.values():
        if "dev" in splits:
            yield {split: max(specs, key=_size) for split, specs in splits.items()}


def _size(spec: TaskSpec) -> float:
    return float("inf") if spec.limit is None else spec.limit


def _job(variants: Mapping[str, Families], splits: Mapping[str, TaskSpec]) -> Iterator[ChoiceJob]:
    """Yield the job of a task if there is anything to choose.

    Args:
        variants: id -> evaluations, in the order of preference.
    """
    candidates = []
    for variant_id, families in variants.items():
        dev, test = (families.get(splits[split], {}) if split in splits else {} for split in ("dev", "test"))
        if dev:
            candidates.append(Candidate(variant_id, dev, test))
    if len(candidates) > 1:
        parents = {
            "dev_evaluations": [one.identity.id for candidate in candidates for one in candidate.dev.values()],
            "test_evaluations": [one.identity.id for candidate in candidates for one in candidate.test.values()]
            or None,
        }
        metric = metric_of(splits["dev"])
        yield ChoiceJob(make_identity("choices", {"metric": metric}, parents=parents), metric, tuple(candidates))
