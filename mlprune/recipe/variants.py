"""Variants of a recipe: how weights are scored, compared and removed, or which are combined.

The keys of the parameters of scores, refiners, schedules and aggregations come from their registries.
"""

from typing import TYPE_CHECKING

from pydantic import model_validator

from mlprune.methods import (
    AGGREGATIONS,
    REFINERS,
    SCORES,
    pattern_of,
)
from mlprune.methods.plugins import REFINER_METHODS, SCORE_METHODS, STRUCTURE_METHODS
from mlprune.recipe import options
from mlprune.recipe.variant_checks import (
    check_changed_weights,
    check_choice_of_demonstrations,
    check_keys_of_structure,
    check_kind,
    check_parameters_fit_structure,
    check_permuted,
    check_refiner,
    check_structure,
    check_units,
    named_methods,
)
from mlprune.recipe.variant_fields import VariantFields


class CheckedVariant(VariantFields):
    """`VariantFields` whose keys fit each other."""

    @model_validator(mode="before")
    @classmethod
    def _sparsity_of_n_m(cls, values: object) -> object:
        if not isinstance(values, dict) or ":" not in str(values.get("structure", "")):
            return values
        pattern = pattern_of(str(values["structure"]))
        if pattern is None or not 0 < pattern[0] < pattern[1]:
            raise ValueError(f"structure N:M needs 0 < N < M, got {values['structure']}")
        share = pattern[0] / pattern[1]
        given = values.get("sparsity", share)
        if given != share:
            raise ValueError(f"structure {values['structure']} has sparsity {share}, got {given}")
        return {**values, "sparsity": share}

    @model_validator(mode="after")
    def _is_scored_or_combined(self) -> "CheckedVariant":
        check_kind(self)
        if self.reconstruct is not None:
            self.reconstruct.check_entry(self)
        if self.keep is not None:
            self.keep.check_entry(self)
        if self.bits is None and "quantisation_group" in self.model_fields_set:
            raise ValueError("quantisation_group belongs to bits")
        return self

    @model_validator(mode="after")
    def _parameters_are_known(self) -> "CheckedVariant":
        scores = {self.score: SCORE_METHODS.find(self.score)} if self.score else {}
        refiners = {self.refine: REFINER_METHODS.find(self.refine)} if self.refine else {}
        structures = {self.group: STRUCTURE_METHODS.find(self.group)} if self.structure_source else {}
        options.check_parameters(self, {**scores, **refiners, **structures})
        return self

    @model_validator(mode="after")
    def _sets_fit_score(self) -> "CheckedVariant":
        if self.reads_statistics and (self.demonstrations is None) != bool(self.over):
            message = "needs demonstrations, or over with several sets, and not both"
            raise ValueError(f"{named_methods(self)} {message}")
        has_contrast = self.score is not None and options.score_named(self.score).has_contrast
        if has_contrast != (self.contrast is not None):
            raise ValueError(f"score contrast needs contrast, and no other score takes it, got score {self.score}")
        if bool(self.over) != (self.aggregate is not None):
            raise ValueError(f"over and aggregate go together: {', '.join(AGGREGATIONS)}")
        if self.shares and not (self.aggregate and AGGREGATIONS[self.aggregate].takes_shares):
            names = " or ".join(name for name, method in AGGREGATIONS.items() if method.takes_shares)
            raise ValueError(f"shares are weights for aggregate {names}, got aggregate {self.aggregate}")
        options.check_owners(self, "aggregate", AGGREGATIONS, self.aggregate)
        return self

    @model_validator(mode="after")
    def _options_fit_score(self) -> "CheckedVariant":
        if self.score is None:
            return self
        score = options.score_named(self.score)
        options.check_owners(self, "score", SCORES, self.score)
        if self.schedule.reads_statistics and not score.needs:
            raise ValueError(f"schedule {self.schedule.kind} reads demonstrations, and score {self.score} has none")
        if self.sparsity == 0 and self.schedule.kind == "given":
            raise ValueError("sparsity 0 is the dense model, and a schedule cannot prune it: leave layers out by scope")
        if ":" in self.group and self.schedule.kind != "uniform":
            raise ValueError("structure N:M removes the same share everywhere: schedule uniform")
        if self.permute:
            check_permuted(self, score)
        if self.profile == "paper" and self.tokens != "all":
            raise ValueError("profile paper counts all tokens, padding included")
        check_keys_of_structure(self, score)
        if self.sparsity:
            check_structure(self, score)
            if score.changes_weights:
                check_changed_weights(self)
        check_refiner(self)
        check_units(self)
        check_parameters_fit_structure(self, score)
        check_choice_of_demonstrations(self)
        return self


if TYPE_CHECKING:

    class VariantConfig(CheckedVariant):
        """`CheckedVariant` with a key for every parameter of a score, refiner or aggregation."""

else:
    VariantConfig = options.with_options(
        "VariantConfig", CheckedVariant, score=SCORES, refine=REFINERS, aggregate=AGGREGATIONS
    )
