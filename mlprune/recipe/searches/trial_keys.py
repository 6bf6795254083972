"""Keys of the entry of `variants` that a trial of a search is, and how a point sets them."""

from collections.abc import Mapping, Sequence

from mlprune.recipe.base import Model, unknown_name
from mlprune.recipe.schedule_and_scope import ScheduleConfig, ScopeConfig
from mlprune.recipe.variants import VariantConfig

NESTED: Mapping[str, type[Model]] = {"schedule": ScheduleConfig, "scope": ScopeConfig}
"""Keys of an entry that are sections of their own; a dot separates their keys."""
NOT_IN_TRIALS = ("name", "against", "combine", "of", "profile", "bits", "quantisation_group", "neurons")
"""Keys of an entry that a trial cannot have: references, other kinds of variants, the published code, quantisation."""
PLAIN_KEYS = tuple(key for key in VariantConfig.model_fields if key not in NOT_IN_TRIALS)
"""Keys of an entry that a base may have."""
AXIS_KEYS = (
    *PLAIN_KEYS,
    *(f"{section}.{key}" for section, model in NESTED.items() for key in model.model_fields),
)
"""Keys of an entry that an axis may vary."""


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
