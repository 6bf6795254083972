"""Variants of a recipe: how weights are scored, compared and removed, or which variants are combined.

The keys of the parameters of scores, schedules and aggregations come from their registries.
"""

import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from mlprune.methods import AGGREGATIONS, SCHEDULES, SCORES, Parameters, Score
from mlprune.recipe.base import Model, Seed, one_of
from mlprune.recipe.options import check_owners, chosen_parameters, with_options
from mlprune.vocabulary import CombinationName, ProfileName, PropagationName, RemovesName, TokenScope

Sparsity = Annotated[float, Field(ge=0, lt=1, title="fraction")]
ScoreName = Annotated[str, AfterValidator(one_of(SCORES)), Field(title=one_of(SCORES).title)]
AggregationName = Annotated[str, AfterValidator(one_of(AGGREGATIONS)), Field(title=one_of(AGGREGATIONS).title)]
ScheduleName = Annotated[str, AfterValidator(one_of(SCHEDULES)), Field(title=one_of(SCHEDULES).title)]
StructureName = Annotated[
    str,
    Field(pattern=r"^(row|matrix|alpha|[1-9][0-9]*:[1-9][0-9]*)$", title="`row`, `matrix`, `alpha` or N:M as in `2:4`"),
]
STATISTICS_KEYS = ("tokens", "samples", "resample", "propagation")
"""Keys about statistics, which scores without statistics ignore so that lists of scores can multiply out."""
MAX_BLOCKS = 10_000
"""Blocks a span may name: no model has as many."""
_SPAN = re.compile(r"(\d+)-(\d+)")


def _pairs(value: Any) -> Any:
    """A mapping as sorted pairs, so that the config hashes."""
    return tuple(sorted(value.items(), key=lambda item: str(item[0]))) if isinstance(value, dict) else value


def _numbers(value: Any) -> Any:
    """Blocks as numbers: `[0, "4-6"]` is 0, 4, 5, 6."""
    found: list[Any] = []
    for one in value if isinstance(value, (list, tuple)) else [value]:
        span = _SPAN.fullmatch(str(one))
        if span and not int(span[1]) <= int(span[2]) < MAX_BLOCKS:
            raise ValueError(f"a span of blocks is written 4-7, the lower first, got {one!r}")
        found.extend(range(int(span[1]), int(span[2]) + 1) if span else [one])
    return tuple(found)


Blocks = Annotated[
    tuple[Annotated[int, Field(ge=0)], ...],
    BeforeValidator(_numbers),
    Field(title="list of block numbers, or spans such as `4-7`"),
]


class ScheduleFields(Model):
    """How much is removed where. `schedule: owl` is short for `schedule: {kind: owl}`."""

    kind: ScheduleName = "uniform"
    """`uniform`: the same share everywhere. `given`: other shares in named blocks and layers; where those stand, the
    kind need not. `owl`: less in blocks whose scores have many outliers (Yin et al., arXiv 2310.05175)."""
    blocks: Annotated[
        tuple[tuple[Annotated[int, Field(ge=0)], Sparsity], ...],
        BeforeValidator(_pairs),
        Field(title="mapping of block numbers to fractions"),
    ] = ()
    """given: sparsity of a block, instead of the entry's."""
    layers: Annotated[
        tuple[tuple[str, Sparsity], ...], BeforeValidator(_pairs), Field(title="mapping of layers to fractions")
    ] = ()
    """given: sparsity of a layer, by its path inside a block, in all blocks that are not named."""

    @model_validator(mode="before")
    @classmethod
    def _from_word(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"kind": value}
        if isinstance(value, dict) and {"blocks", "layers"} & set(value):
            return {"kind": "given", **value}
        return value

    @model_validator(mode="after")
    def _fields_fit_kind(self) -> "ScheduleFields":
        if (self.kind == "given") != bool(self.blocks or self.layers):
            raise ValueError("schedule given takes blocks or layers, and no other schedule takes them")
        return self

    @property
    def parameters(self) -> Parameters:
        """The parameters of the schedule."""
        return chosen_parameters(self, SCHEDULES[self.kind])


if TYPE_CHECKING:

    class ScheduleConfig(ScheduleFields):
        """`ScheduleFields` with a key for every parameter of a schedule."""

else:
    ScheduleConfig = with_options("ScheduleConfig", ScheduleFields, schedule=SCHEDULES)


class ScopeConfig(Model):
    """Which blocks and layers are pruned at all; the others stay as they are."""

    blocks: Blocks = ()
    """Only these blocks (all)."""
    layers: tuple[str, ...] = ()
    """Only these layers, by their path inside a block (all)."""
    without_blocks: Blocks = ()
    """Not these blocks."""
    without_layers: tuple[str, ...] = ()
    """Not these layers."""


class VariantFields(Model):
    """One variant."""

    name: str | None = None
    """What `against`, `of` and an evaluation's `variants` call the entry; no two entries share it."""
    score: ScoreName | None = None
    """How worth keeping a weight is; needed unless variants are combined."""
    demonstrations: str | None = None
    """Name of the sets whose statistics the score reads, one variant each; magnitude and random accept and ignore
    it."""
    over: tuple[str, ...] = ()
    """Instead of `demonstrations`: names of two sets or more that make one variant together; of sets with several seeds
    those of equal seed."""
    aggregate: AggregationName | None = None
    """How the sets of `over` become one; needed with `over`."""
    shares: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """aggregate mean, pooled: weights of the sets of `over` in any unit, one for each set there is of one seed, in
    their order (equal)."""
    contrast: str | None = None
    """contrast: name of the sets that it holds against the others; sets of equal seed pair up."""
    tokens: TokenScope = "all"
    """Which tokens count in the statistics; magnitude and random ignore it."""
    samples: Annotated[int, Field(ge=1)] | None = None
    """Only the first so many demonstrations of each set, at most all; in dense propagation no new pass of the model
    (all); magnitude and random ignore it."""
    resample: Seed | None = None
    """Seed of a bootstrap: as many demonstrations as there are, drawn with replacement; magnitude and
    random ignore it."""
    sparsity: Sparsity | None = None
    """Share of weights removed in each comparison group; 0 is the dense variant. With N:M it may be left out."""
    structure: StructureName | None = None
    """Comparison group: an output row, the whole matrix, Wanda's alpha variant, or M consecutive inputs of a row, of
    which N go; M has to divide every layer's number of inputs (`row`; sparsegpt: `matrix`)."""
    removes: RemovesName = "lowest"
    """`highest` removes the weights most worth keeping: an ablation."""
    propagation: PropagationName = "sequential"
    """What a block is observed behind: pruned blocks (`sequential`) or the dense model (`dense`); magnitude and
    random ignore it."""
    schedule: ScheduleConfig = ScheduleConfig()
    """How much is removed where."""
    scope: ScopeConfig = ScopeConfig()
    """What is pruned at all."""
    profile: ProfileName = "corrected"
    """`paper` makes the published code's choices; needs `tokens: all`."""
    combine: CombinationName | None = None
    """Makes a variant out of others, whose kept weights are sets; goes with `of`, `name` and `against` only."""
    of: tuple[str, ...] = ()
    """Names of the entries that are combined."""
    against: tuple[str, ...] = ()
    """Names of other entries to compare with besides dense: where sparsity and structure agree and, if both read
    demonstrations, propagation, (source) language and seed."""

    @property
    def reads_statistics(self) -> bool:
        """Whether anything is read of demonstrations."""
        return bool(self.sparsity) and self.score is not None and bool(SCORES[self.score].needs)

    @property
    def ignored_keys(self) -> tuple[str, ...]:
        """Keys of the entry that its score ignores, because it reads no statistics."""
        if self.score is None or SCORES[self.score].needs:
            return ()
        return tuple(key for key in STATISTICS_KEYS if key in self.model_fields_set)

    @property
    def group(self) -> str:
        """The comparison group in force."""
        return self.structure or (SCORES[self.score].structures[0] if self.score else "row")

    @property
    def score_parameters(self) -> Parameters:
        """The parameters of the score."""
        return chosen_parameters(self, SCORES[self.score]) if self.score else Parameters()

    @property
    def aggregation_parameters(self) -> Parameters:
        """The parameters of the aggregation."""
        return chosen_parameters(self, AGGREGATIONS[self.aggregate]) if self.aggregate else Parameters()

    @model_validator(mode="before")
    @classmethod
    def _sparsity_of_n_m(cls, values: Any) -> Any:
        if not isinstance(values, dict) or ":" not in str(values.get("structure", "")):
            return values
        n, _, m = str(values["structure"]).partition(":")
        if not (n.isdigit() and m.isdigit() and 0 < int(n) < int(m)):
            raise ValueError(f"structure N:M removes N of M with 0 < N < M, got {values['structure']}")
        share = int(n) / int(m)
        given = values.get("sparsity", share)
        if given != share:
            raise ValueError(f"structure {values['structure']} has sparsity {share}, got {given}")
        return {**values, "sparsity": share}

    @model_validator(mode="after")
    def _is_scored_or_combined(self) -> "VariantFields":
        if self.combine or self.of:
            allowed = {"name", "combine", "of", "against"}
            others = sorted(self.model_fields_set - allowed)
            if not (self.combine and self.of):
                raise ValueError(f"combine and of go together, got {'combine' if self.combine else 'of'} alone")
            if others:
                raise ValueError(f"a combination takes combine, of, name and against, and not {others}")
            if len(set(self.of)) < len(self.of):
                raise ValueError(f"of names an entry twice, got {list(self.of)}")
        elif self.score is None:
            raise ValueError("a variant needs a score, or combine and of")
        elif self.sparsity is None:
            raise ValueError("a variant needs a sparsity")
        return self

    @model_validator(mode="after")
    def _sets_fit_score(self) -> "VariantFields":
        if self.reads_statistics and (self.demonstrations is None) != bool(self.over):
            raise ValueError(f"score {self.score} needs demonstrations, or over with several sets, and not both")
        has_contrast = self.score is not None and SCORES[self.score].has_contrast
        if has_contrast != (self.contrast is not None):
            raise ValueError("score contrast needs contrast, and no other score takes it")
        if bool(self.over) != (self.aggregate is not None):
            raise ValueError(f"over and aggregate go together: {', '.join(AGGREGATIONS)}")
        if self.shares and not (self.aggregate and AGGREGATIONS[self.aggregate].takes_shares):
            names = " or ".join(name for name, one in AGGREGATIONS.items() if one.takes_shares)
            raise ValueError(f"shares are weights for aggregate {names}, got aggregate {self.aggregate}")
        check_owners(self, "aggregate", AGGREGATIONS, self.aggregate)
        return self

    @model_validator(mode="after")
    def _options_fit_score(self) -> "VariantFields":
        if self.score is None:
            return self
        score = SCORES[self.score]
        check_owners(self, "score", SCORES, self.score)
        if SCHEDULES[self.schedule.kind].reads_outlier_ratios and not score.needs:
            raise ValueError(f"schedule {self.schedule.kind} reads demonstrations, and score {self.score} has none")
        if self.sparsity == 0 and self.schedule.kind == "given":
            raise ValueError("sparsity 0 is the dense model, and a schedule cannot prune it: leave layers out by scope")
        if ":" in self.group and self.schedule.kind != "uniform":
            raise ValueError("structure N:M removes the same share everywhere: schedule uniform")
        if self.profile == "paper" and self.tokens != "all":
            raise ValueError("profile paper counts all tokens, padding included")
        if self.sparsity:
            self._check_structure(score)
            if score.changes_weights:
                self._check_changed_weights()
        return self

    def _check_structure(self, score: Score) -> None:
        if ("N:M" if ":" in self.group else self.group) not in score.structures:
            expected = " or ".join(score.structures)
            raise ValueError(f"score {self.score} takes structure {expected}, got {self.group}")

    def _check_changed_weights(self) -> None:
        """Refuse options that do not go with a score that changes weights block by block."""
        required: dict[str, tuple[str | int | None, str | None]] = {
            "propagation": (self.propagation, "sequential"),
            "removes": (self.removes, "lowest"),
            "aggregate": (self.aggregate, None),
            "samples": (self.samples, None),
            "resample": (self.resample, None),
        }
        for field, (got, expected) in required.items():
            if got != expected:
                raise ValueError(f"score {self.score} needs {field}: {expected or 'left out'}, got {got}")


if TYPE_CHECKING:

    class VariantConfig(VariantFields):
        """`VariantFields` with a key for every parameter of a score or aggregation."""

else:
    VariantConfig = with_options("VariantConfig", VariantFields, score=SCORES, aggregate=AGGREGATIONS)
