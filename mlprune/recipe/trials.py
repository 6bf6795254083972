"""Trials of searches and probes of sensitivity analyses: the keys that they have in common, and their checks."""

from collections.abc import Mapping, Sequence

from pydantic import ValidationError
from pydantic_core import InitErrorDetails

from mlprune.errors import RecipeError
from mlprune.recipe.demonstrations import DemonstrationConfig
from mlprune.recipe.schedule_and_scope import ScheduleConfig, ScopeConfig
from mlprune.recipe.variant_fields import DERIVATIONS
from mlprune.recipe.variants import VariantConfig
from mlprune.strict_model import RECIPE_ERROR, UNKNOWN_NAME, Model, unknown_name, with_context

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
SET_KEYS = ("demonstrations", "over", "contrast")
"""Keys of a trial that name demonstration sets."""
Keys = Mapping[str, object]
Space = Mapping[str, Sequence[object]]
"""Key -> values."""


def check_base(base: Keys) -> Keys:
    """Return the keys that all trials have in common.

    Raises:
        PydanticCustomError: one is not a key of an entry.
    """
    for key in base:
        if key not in PLAIN_KEYS:
            raise unknown_name("key of a trial", key, PLAIN_KEYS, key=key)
    return base


def check_sets(base: Keys, space: Space, sets: Sequence[DemonstrationConfig], *, where: str) -> None:
    """Check the names of demonstration sets in a base and in the values of a space: every variant reads one set, or one
    group of sets.

    Raises:
        ValueError: a name stands for several sets, or sets that are read together for several groups.
        PydanticCustomError: a name is unknown.
    """
    known = sorted({entry.name for entry in sets})
    for key in SET_KEYS:
        of_base = [(f"base.{key}", base[key])] if base.get(key) is not None else []
        for path, value in (*of_base, *((f"space.{key}", value) for value in space.get(key, ()))):
            names = [str(name) for name in value] if isinstance(value, list | tuple) else [str(value)]
            for name in names:
                if name not in known:
                    raise unknown_name(f"name in {key}", name, known, key=f"{where}.{path}")
            seeds = [entry.seed for entry in sets if entry.name in names]
            n_groups = len(set(seeds)) if key == "over" else len(seeds)
            if n_groups > 1:
                kind = "sets of one seed" if key == "over" else "one set"
                got = f"{' and '.join(names)} with {n_groups} {'seeds' if key == 'over' else 'sets'}"
                raise ValueError(f"{where}.{path}: every trial is one variant, which reads {kind}, got {got}")


def checked_trial(entry: Keys, values: Keys) -> VariantConfig:
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


def require_dense(variant: VariantConfig, what: str) -> None:
    """Check that the masks of a variant are parts of masks of whole models, one for each sparsity."""
    if variant.reads_statistics and variant.propagation == "sequential":
        raise ValueError(
            f"{what} need propagation: dense. With sequential propagation, the masks of a block depend on the "
            "sparsities of the blocks before it, so that every point would be pruned from the start"
        )


def with_fewer_samples(base: Keys, n: int) -> Keys:
    """Return a base that reads at most `n` demonstrations."""
    return {**base, "samples": fewer_samples((base["samples"],), n)[0]} if "samples" in base else base


def fewer_samples(values: Sequence[object], n: int) -> tuple[object, ...]:
    """Return numbers of demonstrations, each at most `n` and once."""
    return tuple(dict.fromkeys(min(value, n) if isinstance(value, int) else value for value in values))


def _path_in_search(location: Sequence[int | str], values: Keys) -> tuple[str, ...]:
    """Return the path in a search to a key of an entry."""
    path = tuple(map(str, location))
    varied = next((key for key in (".".join(path[:2]), path[0]) if key in values), None) if path else None
    return ("base", *path) if varied is None else ("space", varied)
