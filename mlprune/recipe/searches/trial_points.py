"""Check that the points of a search, and the probes of a sensitivity analysis, are variants before anything runs."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from math import prod

from pydantic import ValidationError
from pydantic_core import InitErrorDetails

from mlprune.errors import RecipeError
from mlprune.recipe.base import RECIPE_ERROR, UNKNOWN_NAME, unknown_name, with_context
from mlprune.recipe.searches.levels import LevelsConfig
from mlprune.recipe.searches.trial_keys import NESTED, section_of, with_keys
from mlprune.recipe.variants import VariantConfig

MAX_CHECKED = 10_000
"""Most combinations of values that are all checked; of larger spaces, every pair of values is."""
SET_BY_LEVELS = ("sparsity", "schedule")
"""Keys of an entry that levels set."""
SET_BY_PROBES = ("sparsity", "schedule", "scope")
"""Keys of an entry that a sensitivity analysis sets."""
Keys = Mapping[str, object]
Space = Mapping[str, Sequence[object]]


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
