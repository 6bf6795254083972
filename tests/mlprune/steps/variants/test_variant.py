"""Variants as plain values: rebuilt from records, and columns that several share."""

from mlprune.steps.variants.scored_variant import ScoredVariant, scored_variant
from mlprune.steps.variants.variant import agreeing_columns
from tests.tiny_recipes import FinishedRun


def test_a_variant_is_built_again_from_its_record_and_absent_parameters_have_their_defaults(
    method_run: FinishedRun,
) -> None:
    for planned in method_run.plan.variants.values():
        spec = planned.spec
        if isinstance(spec, ScoredVariant):
            record = method_run.store.require("variants", spec.id)
            assert scored_variant(spec.identity, spec.model, record.parameters, record.parents) == spec
            assert "profile" not in record.parameters or spec.profile != "corrected"
            assert "device" not in record.parameters


def test_columns_with_different_values_are_null() -> None:
    rows = [
        {"score": "ria", "scope": {"blocks": [1]}, "seed": 0},
        {"score": "wanda", "scope": {"blocks": [1]}, "seed": 0},
    ]
    assert agreeing_columns(rows, ("score", "scope")) == {"score": None, "scope": {"blocks": [1]}}
