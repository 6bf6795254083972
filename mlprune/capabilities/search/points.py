"""Points of a search: levels, keys of a variant entry that vary, and checks that points are variants."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import combinations, pairwise, product
from math import prod
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from mlprune.recipe.schedule_and_scope import Sparsity
from mlprune.recipe.trials import NESTED, PLAIN_KEYS, Keys, Space, checked_trial, require_dense
from mlprune.strict_model import Model, unknown_name
from mlprune.vocabulary import UnitName

AXIS_KEYS = (
    *PLAIN_KEYS,
    *(f"{section}.{key}" for section, model in NESTED.items() for key in model.model_fields),
)
"""Keys of an entry that an axis may vary."""
MAX_CHECKED = 10_000
"""Most combinations of values that are all checked; of larger spaces, every pair of values is."""
SET_BY_LEVELS = ("sparsity", "schedule")
"""Keys of an entry that levels set."""


class LevelsConfig(Model):
    """A sparsity of its own for every block or layer."""

    per: UnitName = "block"
    """Parts that get one level each: a `block`, a `layer` in all blocks, or a layer of one block (`block_layer`)."""
    values: Annotated[tuple[Sparsity, ...], Field(min_length=2)]
    """The levels, ascending; equally spaced if there is a `total`."""
    total: Sparsity | None = None
    """Sparsity of all parts together, weighted by their numbers of weights; left out, it varies."""
    layers: tuple[str, ...] = ()
    """Only these layers are pruned, by their path inside a block (those of the scope of `base`)."""

    @field_validator("values")
    @classmethod
    def _values_ascend(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if list(values) != sorted(set(values)):
            raise ValueError(f"levels are different and ascend, got {list(values)}")
        return values

    @model_validator(mode="after")
    def _total_fits_values(self) -> "LevelsConfig":
        if self.total is None:
            return self
        lowest, highest = self.values[0], self.values[-1]
        if not lowest <= self.total <= highest:
            raise ValueError(f"no levels from {lowest} to {highest} have the total {self.total}")
        exact = [Decimal(str(value)) for value in self.values]
        steps = [upper - lower for lower, upper in pairwise(exact)]
        if len(set(steps)) > 1:
            shown = ", ".join(map(str, steps))
            raise ValueError(f"a total needs equally spaced levels, so that a switch keeps it; their steps are {shown}")
        return self


def with_keys(entry: Mapping[str, object], values: Mapping[str, object]) -> dict[str, object]:
    """Return an entry with other values of some keys; `schedule.spread` is the key `spread` of the section `schedule`.

    A section that is one word, such as `schedule: owl`, counts as its kind.
    """
    changed = dict(entry)
    for key, value in values.items():
        section, _, inner = key.partition(".")
        if not inner:
            changed[key] = value
            continue
        given = changed.get(section)
        keys = {"kind": given} if isinstance(given, str) else dict(given) if isinstance(given, Mapping) else {}
        changed[section] = {**keys, inner: value}
    return changed


def check_axes(axes: Mapping[str, Sequence[object]]) -> Mapping[str, Sequence[object]]:
    """Return the keys that a search varies, with their values.

    Raises:
        PydanticCustomError: one is not a key of an entry.
        ValueError: two keys overlap, or the values of a key are not several different ones.
    """
    for key, values in axes.items():
        if key not in AXIS_KEYS:
            raise unknown_name("key of a trial", key, AXIS_KEYS, key=key)
        section = section_of(key)
        if section != key and section in axes:
            raise ValueError(f"{section} and {key} cannot both vary")
        texts = [repr(value) for value in values]
        if not texts or len(set(texts)) < len(texts):
            raise ValueError(f"{key} needs different values, got {list(values)}")
    return axes


def section_of(key: str) -> str:
    """Return the key of an entry that contains a key: `schedule` for `schedule.spread`, and plain keys themselves."""
    return key.partition(".")[0]


def check_points(base: Keys, space: Space, levels: LevelsConfig | None) -> None:
    """Check the values of a search by building the entries of its points.

    Raises:
        ValueError: there is nothing to vary, a key is set twice, or a combination of values is not a variant.
        ValidationError: a value is wrong by itself.
    """
    if not space and levels is None:
        raise ValueError("there is nothing to vary: a search has space, levels or both")
    for key in space:
        section, _, inner = key.partition(".")
        of_section = base.get(section)
        if section in base and (not inner or (isinstance(of_section, Mapping) and inner in of_section)):
            raise ValueError(f"{key} is both in base and in space")
    if levels is not None:
        _check_keys_of_levels(base, space, levels)
    for values in _combinations(space):
        entry = with_keys(base, values)
        if levels is None:
            checked_trial(entry, values)
        for of_levels in _level_keys(levels):
            require_dense(checked_trial({**entry, **of_levels}, values), "levels")


def _check_keys_of_levels(base: Keys, space: Space, levels: LevelsConfig) -> None:
    """Check that nothing else sets what levels set."""
    for where, keys in (("base", base), ("space", space)):
        for section in map(section_of, keys):
            if section in SET_BY_LEVELS:
                raise ValueError(f"levels set the {section} of every block or layer: leave it out of {where}")
            if section == "scope" and (where == "space" or levels.layers):
                raise ValueError(f"levels fix the pruned layers: leave scope out of {where}")


def _combinations(space: Space) -> Iterator[Keys]:
    """Yield all combinations of values; of a large space, those in which at most two keys differ from the first."""
    if prod(len(values) for values in space.values()) <= MAX_CHECKED:
        yield from (dict(zip(space, values, strict=True)) for values in product(*space.values()))
        return
    first = {key: values[0] for key, values in space.items()}
    for keys in combinations(space, min(2, len(space))):
        for values in product(*(space[key] for key in keys)):
            yield {**first, **dict(zip(keys, values, strict=True))}


def _level_keys(levels: LevelsConfig | None) -> Iterator[Keys]:
    """Yield what levels set in a point in which all parts agree, and in one in which a block differs."""
    if levels is None:
        return
    scope = {"scope": {"layers": list(levels.layers)}} if levels.layers else {}
    lowest, highest = levels.values[0], levels.values[-1]
    yield {**scope, "sparsity": lowest}
    yield {**scope, "sparsity": highest, "schedule": {"blocks": {0: lowest}}}
