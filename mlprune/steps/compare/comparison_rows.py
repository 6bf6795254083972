"""Rows of `comparison_results` and `aggregate_results`: a variant compared with a baseline."""

from collections.abc import Mapping

from mlprune.evaluation.inference.aggregates import Aggregate
from mlprune.evaluation.inference.estimates import Difference, contradicts, finite
from mlprune.evaluation.inference.language_groups import LanguageGroup
from mlprune.json_values import JsonValue
from mlprune.steps.evaluate.evaluation import EvaluationSpec
from mlprune.steps.evaluate.protocol import profile_column
from mlprune.steps.evaluate.task_spec import TaskSpec

Row = dict[str, JsonValue]


def comparison_row(metric: str, difference: Difference, *, evaluation: EvaluationSpec, baseline: EvaluationSpec) -> Row:
    """Return the columns of one comparison that are not equal in the whole record."""
    return {
        "evaluation_id": evaluation.identity.id,
        "baseline_evaluation_id": baseline.identity.id,
        "metric": metric,
        "difference": difference.difference,
        "scale": difference.scale,
        "ci_low": finite(difference.interval.low),
        "ci_high": finite(difference.interval.high),
        "ci90_low": finite(difference.interval90.low),
        "ci90_high": finite(difference.interval90.high),
        "interval": difference.method,
        "p_value": difference.p_value,
        "test": difference.test,
        "p_mid_mcnemar": difference.p_mid_mcnemar,
        "interval_contradicts_p": difference.interval_contradicts_p,
        "standard_error": difference.standard_error,
        "n": difference.n,
        "n_clusters": difference.n_clusters,
        "n_gained": difference.n_gained,
        "n_lost": difference.n_lost,
        "smallest_significant": difference.smallest_significant,
        "detectable_difference": difference.detectable_difference,
        **evaluation.task.columns,
        **profile_column(evaluation.task.profile),
    }


def aggregate_row(metric: str, aggregate: Aggregate, *, specs: Mapping[str, TaskSpec]) -> Row:
    """Return the columns of one group of languages that are not equal in the whole record.

    Args:
        specs: language -> the variant's evaluation.
    """
    worst, baseline_worst = aggregate.worst or (None, None)
    return {
        "metric": metric,
        "n_items": aggregate.n_items,
        "n_clusters": aggregate.n_clusters,
        "value": aggregate.value,
        "baseline_value": aggregate.baseline_value,
        "worst_language": worst,
        "baseline_worst_language": baseline_worst,
        "difference": aggregate.difference,
        "scale": aggregate.scale,
        "ci_low": finite(aggregate.interval.low),
        "ci_high": finite(aggregate.interval.high),
        "ci90_low": finite(aggregate.interval90.low),
        "ci90_high": finite(aggregate.interval90.high),
        "interval": aggregate.method,
        "standard_error": aggregate.standard_error,
        "p_value": aggregate.p_value,
        "test": aggregate.test,
        "interval_contradicts_p": contradicts(aggregate.interval, aggregate.p_value),
        "n_flips": aggregate.n_flips,
        "detectable_difference": aggregate.detectable_difference,
        **group_columns(aggregate.group, specs),
    }


def group_columns(group: LanguageGroup, specs: Mapping[str, TaskSpec]) -> Row:
    """Return the columns on a group of languages and on how its evaluations were made.

    Args:
        specs: language -> the variant's evaluation.
    """
    spec = specs[group.languages[0]]
    prompt_languages = {specs[language].prompt_language for language in group.languages}
    return {
        "group_kind": group.kind,
        "group_name": group.name,
        "languages": " ".join(group.languages),
        "n_languages": len(group.languages),
        **spec.family_columns,
        "prompt_language": prompt_languages.pop() if len(prompt_languages) == 1 else None,
        **profile_column(spec.profile),
    }
