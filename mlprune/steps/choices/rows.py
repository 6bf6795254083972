"""Rows of the catalog about choices on dev and about the Pareto front."""

import math
from collections.abc import Sequence

import numpy as np

from mlprune.evaluation.inference.aggregates import Aggregate
from mlprune.evaluation.inference.estimates import Difference, finite
from mlprune.json_values import JsonValue
from mlprune.numeric.statistics.clusters import Array
from mlprune.steps.choices.criteria import Balance, Criterion
from mlprune.steps.choices.split_overlap import Overlap
from mlprune.steps.choices.tested import tested_columns

Row = dict[str, JsonValue]


def criterion_rows(
    criterion: Criterion,
    variant_ids: Sequence[str],
    *,
    test_values: Array,
    tested: Difference | Aggregate | None,
    overlap: Overlap | None,
) -> list[Row]:
    """Return one row per candidate of a criterion, in the order of preference.

    difference: of the chosen candidate on test; 0 without a test if it is the dense model. optimism: its gain over
    dense on dev minus that on test, on the scale of differences; a gain is a difference with a positive sign if it is
    an improvement.

    Args:
        variant_ids: of all candidates.
        test_values: [all candidates, languages] on the scale of differences; not a number without an evaluation.
        tested: difference of the chosen candidate to dense on test; None for dense, or if it cannot be compared.
        overlap: of both splits in the languages of the criterion; None without a test split.
    """
    on_test = criterion.reduced(test_values[criterion.candidates])
    gains = criterion.dev.sign * (criterion.values - criterion.values[0])
    of_test = criterion.dev.sign * (on_test - on_test[0])
    rows: list[Row] = []
    for place, (index, share) in enumerate(zip(criterion.candidates, criterion.win_shares.tolist(), strict=True)):
        is_chosen = index == criterion.chosen
        columns = tested_columns(tested if is_chosen else None)
        if is_chosen and index == 0 and math.isfinite(on_test[0]):
            columns["difference"] = 0.0
        row: Row = {
            "variant_id": variant_ids[index],
            "group_kind": criterion.group.kind,
            "group_name": criterion.group.name,
            "languages": " ".join(criterion.group.languages),
            "n_languages": len(criterion.group.languages),
            "n_candidates": len(criterion.candidates),
            "dev_value": _shown(criterion, criterion.values[place]),
            "dev_difference": float(criterion.values[place] - criterion.values[0]),
            "win_share": share,
            "n_tied": criterion.n_tied,
            "is_chosen": is_chosen,
            "test_value": _shown(criterion, on_test[place]),
            "test_dense_value": _shown(criterion, on_test[0]),
            **columns,
            "scale": "log_ratio" if criterion.is_log else "difference",
            "optimism": finite(float(gains[place] - of_test[place])) if is_chosen else None,
            "dev_n_items": criterion.n_items,
            "dev_n_clusters": criterion.n_clusters,
            "n_shared_items": None if overlap is None else overlap.n_shared_items,
            "shared_clusters": None if overlap is None else overlap.shared_clusters,
        }
        rows.append(row)
    return rows


def pareto_rows(balance: Balance, variant_ids: Sequence[str], *, test_values: Array) -> list[Row]:
    """Return one row per candidate that was evaluated in all languages of dev, in the order of preference.

    Args:
        variant_ids: of all candidates.
        test_values: [all candidates, languages] on the scale of differences; not a number without an evaluation.
    """
    on_test = balance.test_values(test_values)
    dev, test = balance.membership(balance.dev_values), balance.membership(on_test)
    probabilities = balance.probabilities
    rows: list[Row] = []
    for place, index in enumerate(balance.candidates):
        values = {
            f"{split}_{side}_value": _shown(criterion, part[place])
            for split, parts in (("dev", balance.dev_values), ("test", on_test))
            for side, criterion, part in zip(
                ("english", "others"), (balance.english, balance.others), parts, strict=True
            )
        }
        has_test = values["test_english_value"] is not None and values["test_others_value"] is not None
        row: Row = {
            "variant_id": variant_ids[index],
            "languages": " ".join(sorted((*balance.english.group.languages, *balance.others.group.languages))),
            "n_others": len(balance.others.group.languages),
            "n_candidates": len(balance.candidates),
            **values,
            "on_front_dev": bool(dev[0][place]),
            "probability": float(probabilities[0][place]),
            "keeps_both_dev": bool(dev[1][place]),
            "keeps_both_probability": float(probabilities[1][place]),
            "on_front_test": bool(test[0][place]) if has_test else None,
            "keeps_both_test": bool(test[1][place]) if has_test else None,
        }
        rows.append(row)
    return rows


def _shown(criterion: Criterion, value: float) -> float | None:
    """Return a value as the catalog has it; None if there is none."""
    return finite(float(np.exp(value) if criterion.is_log else value))
