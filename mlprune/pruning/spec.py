"""What was chosen for a variant, as plain frozen values that go into its id, to a worker, and back out of a record."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mlprune.vocabulary import AggregationName, RemovesName, RoundingName, ScoreName, TokenScope

ScheduleKind = Literal["uniform", "given", "owl"]

DEFAULT_POWER = 0.5
"""Exponent of the feature norm in ria, as in its paper's experiments."""
DEFAULT_DAMPING = 0.01
"""SparseGPT's share of the mean diagonal, as published."""
DEFAULT_VARIANCE_WEIGHT = 1.0
DEFAULT_M = 5.0
DEFAULT_SPREAD = 0.08
"""OWL's threshold and half the distance between its extreme blocks."""


@dataclass(frozen=True)
class ScoreSpec:
    """How the weights of a layer are scored and compared."""

    score: ScoreName
    structure: str = "row"
    """`row`, `matrix`, `alpha` or `N:M`."""
    seed: int | None = None
    """Seed of the random score; None for the others."""
    removes: RemovesName = "lowest"
    rounding: RoundingName = "decimal"
    power: float | None = None
    """Exponent of the feature norm in ria; None for the others."""
    damping: float | None = None
    """Share of the mean diagonal added to sparsegpt's Hessian; None for the others."""

    @property
    def parameters(self) -> dict[str, Any]:
        """JSON values for an id."""
        return asdict(self)

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> "ScoreSpec":
        """The inverse; other keys are passed over."""
        return cls(**{name: parameters[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Reading:
    """How the statistics of one or several demonstration sets become one factor for each feature."""

    token_scope: TokenScope = "all"
    first: int | None = None
    """Only the first so many demonstrations of each set; None: all."""
    resample_seed: int | None = None
    """Seed of a bootstrap of the demonstrations; None: each counts once."""
    aggregation: AggregationName | None = None
    """How several sets become one; None where there is one."""
    shares: tuple[float, ...] = ()
    """Weights of the sets, which sum to 1; empty: equal."""
    variance_weight: float | None = None
    """Weight of the variance between sets, for aggregation `variance`."""

    @property
    def parameters(self) -> dict[str, Any]:
        """JSON values for an id."""
        return {**asdict(self), "shares": list(self.shares)}

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> "Reading":
        """The inverse; other keys are passed over."""
        values = {name: parameters[name] for name in cls.__dataclass_fields__}
        return cls(**{**values, "shares": tuple(values["shares"])})


@dataclass(frozen=True)
class Schedule:
    """How much is removed where."""

    kind: ScheduleKind = "uniform"
    blocks: tuple[tuple[int, float], ...] = ()
    """given: (block, sparsity)."""
    layers: tuple[tuple[str, float], ...] = ()
    """given: (layer, sparsity), in blocks that `blocks` does not name."""
    m: float | None = None
    spread: float | None = None
    """owl: what an outlier is, and half of what the sparsest and the densest block are apart."""

    @property
    def parameters(self) -> dict[str, Any]:
        """JSON values for an id."""
        return {
            **asdict(self),
            "blocks": [list(pair) for pair in self.blocks],
            "layers": [list(p) for p in self.layers],
        }

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> "Schedule":
        """The inverse."""
        pairs = {name: tuple((key, value) for key, value in parameters[name]) for name in ("blocks", "layers")}
        return cls(**{**parameters, **pairs})


@dataclass(frozen=True)
class Scope:
    """What is pruned at all: blocks and layers, in order; empty means all."""

    blocks: tuple[int, ...] = ()
    layers: tuple[str, ...] = ()

    def includes(self, block: int, layer: str) -> bool:
        """Whether a layer is pruned."""
        return (not self.blocks or block in self.blocks) and (not self.layers or layer in self.layers)

    @property
    def words(self) -> str:
        """The scope as the catalog has it: `all`, or `blocks 0-3 5; layers fc1 fc2`."""
        parts = []
        if self.blocks:
            parts.append(f"blocks {' '.join(_spans(self.blocks))}")
        if self.layers:
            parts.append(f"layers {' '.join(self.layers)}")
        return "; ".join(parts) or "all"

    @property
    def parameters(self) -> dict[str, Any]:
        """JSON values for an id."""
        return {"blocks": list(self.blocks), "layers": list(self.layers)}

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> "Scope":
        """The inverse."""
        return cls(tuple(parameters["blocks"]), tuple(parameters["layers"]))


def settings(choice: ScoreSpec, schedule: Schedule, reading: Reading | None) -> tuple[str, ...]:
    """What is not at its default of score, schedule and aggregation, in words."""
    numbers = {
        "power": (choice.power, DEFAULT_POWER),
        "damping": (choice.damping, DEFAULT_DAMPING),
        "m": (schedule.m, DEFAULT_M),
        "spread": (schedule.spread, DEFAULT_SPREAD),
        "variance weight": (reading.variance_weight if reading else None, DEFAULT_VARIANCE_WEIGHT),
    }
    words = [f"{name} {value:g}" for name, (value, default) in numbers.items() if value not in (None, default)]
    words += [f"{place} at {sparsity:g}" for place, sparsity in schedule.layers]
    words += [f"block {place} at {sparsity:g}" for place, sparsity in schedule.blocks]
    if reading is not None and reading.shares:
        words.append("shares " + " ".join(f"{share:g}" for share in reading.shares))
    return tuple(words)


def _spans(numbers: tuple[int, ...]) -> list[str]:
    """Ascending numbers with runs written as `4-7`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
