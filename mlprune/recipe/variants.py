"""What a recipe says of its variants: how weights are scored, compared and removed, or which variants are combined."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from mlprune.recipe.base import Model
from mlprune.terms import (
    SCORES_THAT_READ_STATISTICS,
    AggregationName,
    CombinationName,
    ProfileName,
    PropagationName,
    RemovesName,
    ScoreName,
    TokenScope,
)

Sparsity = Annotated[float, Field(ge=0, lt=1)]
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


Blocks = Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(_numbers)]


class ScheduleConfig(Model):
    """How much is removed where. `schedule: owl` is short for `schedule: {kind: owl}`."""

    kind: Literal["uniform", "given", "owl"] = "uniform"
    """`uniform`: the same share everywhere. `given`: other shares in named blocks and layers. `owl`: less in blocks
    whose scores have many outliers (Yin et al., arXiv 2310.05175)."""
    blocks: Annotated[tuple[tuple[Annotated[int, Field(ge=0)], Sparsity], ...], BeforeValidator(_pairs)] = ()
    """given: block -> sparsity, instead of the entry's."""
    layers: Annotated[tuple[tuple[str, Sparsity], ...], BeforeValidator(_pairs)] = ()
    """given: layer -> sparsity, in all blocks that are not named."""
    m: Annotated[float, Field(gt=1)] = 5.0
    """owl: an outlier is above m times the mean score of its block."""
    spread: Annotated[float, Field(gt=0, lt=0.5)] = 0.08
    """owl: the sparsest and the densest block are twice this apart."""

    @model_validator(mode="before")
    @classmethod
    def _from_word(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"kind": value}
        if isinstance(value, dict) and {"blocks", "layers"} & set(value):
            return {"kind": "given", **value}
        return value

    @model_validator(mode="after")
    def _fields_fit_kind(self) -> "ScheduleConfig":
        if (self.kind == "given") != bool(self.blocks or self.layers):
            raise ValueError("schedule given takes blocks or layers, and no other schedule takes them")
        return self


class ScopeConfig(Model):
    """Which blocks and layers are pruned at all; the others stay as they are."""

    blocks: Blocks = ()
    """Only these blocks; empty: all. A span is written "4-7"."""
    layers: tuple[str, ...] = ()
    """Only these layers, by their path inside a block; empty: all."""
    without_blocks: Blocks = ()
    """Not these blocks."""
    without_layers: tuple[str, ...] = ()
    """Not these layers."""


class VariantConfig(Model):
    """One variant."""

    name: str | None = None
    """Optional name of the entry, for `against`, `of` and an evaluation's `variants`."""
    score: ScoreName | None = None
    """How worth keeping a weight is."""
    demonstrations: str | None = None
    """Name of the demonstration sets whose statistics the score reads; one variant each."""
    over: tuple[str, ...] = ()
    """Names of sets, of one language each, say, that make one variant together; sets of equal seed go together."""
    aggregate: AggregationName | None = None
    """How the sets of `over` become one: mean or max of their scores, mean and variance, or their pooled statistics."""
    shares: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Weights of the sets of `over`, one each, for mean and pooled; equal where empty."""
    variance_weight: Annotated[float, Field(ge=0)] | None = None
    """aggregate variance: weight of the variance between the sets."""
    contrast: str | None = None
    """Name of the sets a contrast score holds against them; sets of equal seed pair up."""
    tokens: TokenScope = "all"
    """Which tokens count in the statistics."""
    samples: Annotated[int, Field(ge=1)] | None = None
    """Only the first so many demonstrations of each set; no new pass of the model in dense propagation."""
    resample: int | None = None
    """Seed of a bootstrap: as many demonstrations as there are, drawn with replacement."""
    sparsity: Sparsity | None = None
    """Fraction of weights removed in each comparison group."""
    structure: Annotated[str, Field(pattern=r"^(row|matrix|alpha|[1-9][0-9]*:[1-9][0-9]*)$")] | None = None
    """Comparison group: an output row, the whole matrix, `N:M` (removes N of every M consecutive inputs), or Wanda's
    alpha variant. Default: row; matrix for sparsegpt."""
    removes: RemovesName = "lowest"
    """`highest` removes the weights most worth keeping: an ablation."""
    propagation: PropagationName = "sequential"
    """What a block is observed behind: pruned blocks (`sequential`) or the dense model (`dense`)."""
    schedule: ScheduleConfig = ScheduleConfig()
    """How much is removed where."""
    scope: ScopeConfig = ScopeConfig()
    """What is pruned at all."""
    profile: ProfileName = "corrected"
    """`paper` makes the published code's choices."""
    seed: int | None = None
    """Seed of the random score; the other scores have none and ignore it."""
    power: Annotated[float, Field(gt=0)] | None = None
    """ria: exponent of the feature norm; 0.5 where not given."""
    damping: Annotated[float, Field(gt=0)] | None = None
    """sparsegpt: share of the mean diagonal that is added to the Hessian; 0.01 where not given."""
    combine: CombinationName | None = None
    """Makes a variant out of others: what each of them keeps is a set of weights."""
    of: tuple[str, ...] = ()
    """Names of the entries that are combined."""
    against: tuple[str, ...] = ()
    """Names of other entries to compare with, besides dense: where sparsity, structure, propagation, language agree."""

    @property
    def reads_statistics(self) -> bool:
        """Whether anything is read of demonstrations."""
        return bool(self.sparsity) and self.score in SCORES_THAT_READ_STATISTICS

    @property
    def group(self) -> str:
        """The comparison group in force."""
        return self.structure or ("matrix" if self.score == "sparsegpt" else "row")

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
    def _is_scored_or_combined(self) -> "VariantConfig":
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
    def _sets_fit_score(self) -> "VariantConfig":
        if self.reads_statistics and (self.demonstrations is None) != bool(self.over):
            raise ValueError(f"score {self.score} needs demonstrations, or over with several sets, and not both")
        if (self.score == "contrast") != (self.contrast is not None):
            raise ValueError("score contrast needs contrast, and no other score takes it")
        if bool(self.over) != (self.aggregate is not None):
            raise ValueError("over and aggregate go together: mean, max, variance or pooled")
        if self.shares and self.aggregate not in ("mean", "pooled"):
            raise ValueError(f"shares are weights for aggregate mean or pooled, got aggregate {self.aggregate}")
        if self.variance_weight is not None and self.aggregate != "variance":
            raise ValueError("variance_weight belongs to aggregate variance")
        return self

    @model_validator(mode="after")
    def _options_fit_score(self) -> "VariantConfig":
        owners = {"power": "ria", "damping": "sparsegpt"}
        for field, score in owners.items():
            if getattr(self, field) is not None and self.score not in (score, None):
                raise ValueError(f"{field} belongs to score {score}, got score {self.score}")
        if self.schedule.kind == "owl" and self.score and self.score not in SCORES_THAT_READ_STATISTICS:
            raise ValueError(f"schedule owl reads demonstrations, and score {self.score} has none")
        if self.sparsity == 0 and self.schedule.kind == "given":
            raise ValueError("sparsity 0 is the dense model, and a schedule cannot prune it: leave layers out by scope")
        if ":" in self.group and self.schedule.kind != "uniform":
            raise ValueError("structure N:M removes the same share everywhere: schedule uniform")
        if self.profile == "paper" and self.tokens != "all":
            raise ValueError("profile paper counts all tokens, padding included")
        if self.score == "sparsegpt" and self.sparsity:
            self._check_sparsegpt()
        return self

    def _check_sparsegpt(self) -> None:
        """SparseGPT rewrites weights block by block: what it cannot be combined with."""
        wanted: dict[str, tuple[Any, Any]] = {
            "propagation": (self.propagation, "sequential"),
            "removes": (self.removes, "lowest"),
            "aggregate": (self.aggregate, None),
            "samples": (self.samples, None),
            "resample": (self.resample, None),
        }
        for field, (got, expected) in wanted.items():
            if got != expected:
                raise ValueError(f"score sparsegpt needs {field}: {expected or 'left out'}, got {got}")
        if self.group in ("row", "alpha"):
            raise ValueError(f"score sparsegpt takes structure matrix or N:M, got {self.group}")
