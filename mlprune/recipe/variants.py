"""What a recipe says of its variants: how weights are scored, compared and removed, or which variants are combined."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from mlprune.recipe.base import Model
from mlprune.vocabulary import (
    SCORES_THAT_READ_STATISTICS,
    AggregationName,
    CombinationName,
    ProfileName,
    PropagationName,
    RemovesName,
    ScoreName,
    TokenScope,
)

Sparsity = Annotated[float, Field(ge=0, lt=1, title="fraction")]
Structure = Annotated[
    str,
    Field(pattern=r"^(row|matrix|alpha|[1-9][0-9]*:[1-9][0-9]*)$", title="`row`, `matrix`, `alpha` or N:M as in `2:4`"),
]
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


class ScheduleConfig(Model):
    """How much is removed where. `schedule: owl` is short for `schedule: {kind: owl}`."""

    kind: Literal["uniform", "given", "owl"] = "uniform"
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
    m: Annotated[float, Field(gt=1)] = 5.0
    """owl: an outlier is above m times the mean score of its block."""
    spread: Annotated[float, Field(gt=0, lt=0.5)] = 0.08
    """owl: half the distance between the sparsest and the densest block."""

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
    """Only these blocks (all)."""
    layers: tuple[str, ...] = ()
    """Only these layers, by their path inside a block (all)."""
    without_blocks: Blocks = ()
    """Not these blocks."""
    without_layers: tuple[str, ...] = ()
    """Not these layers."""


class VariantConfig(Model):
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
    variance_weight: Annotated[float, Field(ge=0)] | None = None
    """aggregate variance: weight of the variance between the sets (1)."""
    contrast: str | None = None
    """contrast: name of the sets that it holds against the others; sets of equal seed pair up."""
    tokens: TokenScope = "all"
    """Which tokens count in the statistics."""
    samples: Annotated[int, Field(ge=1)] | None = None
    """Only the first so many demonstrations of each set, at most all; in dense propagation no new pass of the model
    (all)."""
    resample: int | None = None
    """Seed of a bootstrap: as many demonstrations as there are, drawn with replacement."""
    sparsity: Sparsity | None = None
    """Share of weights removed in each comparison group; 0 is the dense variant. With N:M it may be left out."""
    structure: Structure | None = None
    """Comparison group: an output row, the whole matrix, Wanda's alpha variant, or M consecutive inputs of a row, of
    which N go; M has to divide every layer's number of inputs (`row`; sparsegpt: `matrix`)."""
    removes: RemovesName = "lowest"
    """`highest` removes the weights most worth keeping: an ablation."""
    propagation: PropagationName = "sequential"
    """What a block is observed behind: pruned blocks (`sequential`) or the dense model (`dense`)."""
    schedule: ScheduleConfig = ScheduleConfig()
    """How much is removed where."""
    scope: ScopeConfig = ScopeConfig()
    """What is pruned at all."""
    profile: ProfileName = "corrected"
    """`paper` makes the published code's choices; needs `tokens: all`."""
    seed: int | None = None
    """random: its seed (0); other scores ignore it."""
    power: Annotated[float, Field(gt=0)] | None = None
    """ria: exponent of the feature norm (0.5)."""
    damping: Annotated[float, Field(gt=0)] | None = None
    """sparsegpt: share of the mean diagonal that is added to the Hessian (0.01)."""
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
