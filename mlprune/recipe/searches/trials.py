"""Trials of a search: levels, keys of a variant entry, and checks that points are variants."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import combinations, pairwise, product
from math import prod
from typing import Annotated

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails

from mlprune.errors import RecipeError
from mlprune.recipe.schedule_and_scope import ScheduleConfig, ScopeConfig, Sparsity
from mlprune.recipe.variant_fields import DERIVATIONS
from mlprune.recipe.variants import VariantConfig
from mlprune.strict_model import RECIPE_ERROR, UNKNOWN_NAME, Model, unknown_name, with_context
from mlprune.vocabulary import UnitName

NESTED: Mapping[str, type[Model]] = {"schedule": ScheduleConfig, "scope": ScopeConfig}
"""Keys of an entry that are sections of their own; a dot separates their keys."""
NOT_IN_TRIALS = (
    "name",
    "against",
    "combine",
    "of",
    "profile",
    "quantisation_group",
    "neurons",
    *DERIVATIONS,
)
"""Keys of an entry that a trial cannot have: references, other kinds of variants, the published code, what follows the
masks."""
PLAIN_KEYS = tuple(key for key in VariantConfig.model_fields if key not in NOT_IN_TRIALS)
"""Keys of an entry that a base may have."""
AXIS_KEYS = (
    *PLAIN_KEYS,
    *(f"{section}.{key}" for section, model in NESTED.items() for key in model.model_fields),
)
"""Keys of an entry that an axis may vary."""
MAX_CHECKED = 10_000
"""Most combinations of values that are all checked; of larger spaces, every pair of values is."""
SET_BY_LEVELS = ("sparsity", "schedule")
"""Keys of an entry that levels set."""
SET_BY_PROBES = ("sparsity", "schedule", "scope")
"""Keys of an entry that a sensitivity analysis sets."""
Keys = Mapping[str, object]
Space = Mapping[str, Sequence[object]]


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


def check_base(base: Mapping[str, object]) -> Mapping[str, object]:
    """Return the keys that all trials have in common.

    Raises:
        PydanticCustomError: one is not a key of an entry.
    """
    for key in base:
        if key not in PLAIN_KEYS:
            raise unknown_name("key of a trial", key, PLAIN_KEYS, key=key)
    return base


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
            _variant(entry, values)
        for of_levels in _level_keys(levels):
            _require_dense(_variant({**entry, **of_levels}, values), "levels")


def check_probes(base: Keys, sparsities: Sequence[float]) -> None:
    """Check that a sensitivity analysis has a variant for every sparsity.

    Raises:
        ValueError: the base has a key that the analysis sets, or is not a variant.
        ValidationError: a value of the base is wrong by itself.
    """
    for key in SET_BY_PROBES:
        if key in base:
            raise ValueError(f"a sensitivity analysis sets the {key} of every probe: leave it out of base")
    for sparsity in sparsities:
        variant = _variant({**base, "sparsity": sparsity, "scope": {"blocks": [0]}}, {})
        _require_dense(variant, "sensitivity analyses")


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


def _variant(entry: Keys, values: Keys) -> VariantConfig:
    """Return the checked entry; an error has the key of the search, and the point if its values do not fit together.

    Args:
        values: the values of a point that differ from point to point.
    """
    try:
        return VariantConfig.model_validate(entry)
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        location, context = first["loc"], first.get("ctx", {})
        path = _path_in_search(location, values)
        if first["type"] == "value_error":
            point = ", ".join(f"{key}: {value}" for key, value in values.items())
            raise ValueError(f"{context['error']}{f' (with {point})' if point else ''}") from err
        if first["type"] == UNKNOWN_NAME:
            what, got, known = (context[name] for name in ("what", "got", "known"))
            raise unknown_name(what, got, known, key=".".join(path)) from err
        if first["type"] == RECIPE_ERROR:
            refused = RecipeError(context["message"], context["context"], at=".".join(map(str, path)))
            raise with_context(refused) from err
        if first["type"] == "extra_forbidden":
            known = tuple(NESTED[str(location[0])].model_fields)
            raise unknown_name(f"key of {location[0]}", str(location[-1]), known, key=".".join(path)) from err
        details = InitErrorDetails(type=first["type"], loc=path, input=first["input"], ctx=context)
        raise ValidationError.from_exception_data("search", [details]) from err


def _path_in_search(location: Sequence[int | str], values: Keys) -> tuple[str, ...]:
    """Return the path in a search to a key of an entry."""
    path = tuple(map(str, location))
    varied = next((key for key in (".".join(path[:2]), path[0]) if key in values), None) if path else None
    return ("base", *path) if varied is None else ("space", varied)


def _require_dense(variant: VariantConfig, what: str) -> None:
    """Check that the masks of a variant are parts of masks of whole models, one for each sparsity."""
    if variant.reads_statistics and variant.propagation == "sequential":
        raise ValueError(
            f"{what} need propagation: dense. With sequential propagation, the masks of a block depend on the "
            "sparsities of the blocks before it, so that every point would be pruned from the start"
        )
