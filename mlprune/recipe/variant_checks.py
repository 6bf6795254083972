"""Checks of the options of one variant against its score, refiner and structure."""

from collections.abc import Mapping, Sequence
from dataclasses import fields

from mlprune.methods import REFINERS, Score, StatisticsName, Structure
from mlprune.methods.plugins import STRUCTURE_METHODS
from mlprune.recipe import options
from mlprune.recipe.names import WithoutScore, markers
from mlprune.recipe.variant_fields import DENSE_STRUCTURES, VariantFields

STORED_PER_SET: tuple[StatisticsName, ...] = ("products", "gradients")
"""Statistics that are stored per set: their demonstrations cannot be chosen afterwards."""
MARKS: Mapping[str, WithoutScore] = {
    key: mark for key in VariantFields.model_fields for mark in markers(VariantFields, key, WithoutScore)
}
"""Key of a variant -> which entries without a score may have it."""
WITH_ANY_KIND = frozenset(key for key, mark in MARKS.items() if not mark.kinds)
"""Keys that all entries without a score may have."""
KEYS_WITHOUT_SCORE: Mapping[str, frozenset[str]] = {
    kind: frozenset(key for key, mark in MARKS.items() if kind in mark.kinds)
    for kind in dict.fromkeys(kind for mark in MARKS.values() for kind in mark.kinds)
}
"""Kind of an entry without a score -> its keys, in addition to those of any kind."""


def check_kind(entry: VariantFields) -> None:
    """Check that an entry is a combination, has neurons, a checkpoint or a score, or is the dense model.

    Raises:
        ValueError: it is nothing of that, or has keys of several.
    """
    kind = _kind_without_score(entry)
    if kind is not None:
        given = {key for key in entry.model_fields_set if getattr(entry, key) is not None}
        refused = sorted(given - KEYS_WITHOUT_SCORE[kind] - WITH_ANY_KIND)
        if kind == "combination" and not (entry.combine and entry.of):
            raise ValueError(f"combine and of go together, got {'combine' if entry.combine else 'of'} alone")
        if kind in DENSE_STRUCTURES and getattr(entry, DENSE_STRUCTURES[kind]) is None:
            raise ValueError(f"structure {kind} needs {DENSE_STRUCTURES[kind]}")
        if refused:
            keys = ", ".join(sorted(KEYS_WITHOUT_SCORE[kind] | WITH_ANY_KIND))
            raise ValueError(f"an entry of kind {kind} takes {keys}, and not {', '.join(refused)}")
        if len(set(entry.of)) < len(entry.of):
            raise ValueError(f"of names an entry twice, got {list(entry.of)}")
    elif entry.score is None:
        for structure, key in DENSE_STRUCTURES.items():
            if getattr(entry, key) is not None:
                others = "a score, adopt, neurons, or combine and of"
                raise ValueError(f"{key} needs structure: {structure}, or {others}")
        raise ValueError("a variant needs a score, adopt, or combine and of")
    elif (
        entry.sparsity is None
        and entry.schedule.kind != "search"
        and not options.score_named(entry.score).removes_scope
    ):
        raise ValueError("a variant needs a sparsity")


def chosen_kind(entry: VariantFields) -> str | None:
    """Return the kind that a key such as `combine` gives an entry; None without such a key."""
    return next((mark.kinds[0] for key, mark in MARKS.items() if mark.chooses and getattr(entry, key)), None)


def _kind_without_score(entry: VariantFields) -> str | None:
    """Return the kind of an entry that has no score by its keys; None for an entry that needs one."""
    of_structure = entry.structure if entry.structure in DENSE_STRUCTURES else None
    return chosen_kind(entry) or of_structure or ("dense" if entry.score is None and entry.sparsity == 0 else None)


def check_structure(entry: VariantFields, score: Score) -> None:
    """Check that a score takes the structure. Scores that take `matrix` take structures of plug-ins.

    Raises:
        ValueError: it does not.
    """
    is_plugin = entry.structure_source is not None
    if is_plugin and not score.changes_weights and {"matrix", entry.group} & set(score.structures):
        _require_lowest(entry, f"structure {entry.group} is a plug-in and")
    else:
        _require_structure(entry, f"score {entry.score}", score.structures)


def check_refiner(entry: VariantFields) -> None:
    """Check that a refiner takes the structure and the mask of the score.

    Raises:
        ValueError: it does not, or the entry has parameters of another refiner.
    """
    options.check_owners(entry, "refine", REFINERS, entry.refine)
    if entry.refine is None or entry.score is None or not entry.sparsity:
        return
    _require_structure(entry, f"refine {entry.refine}", options.refiner_named(entry.refine).structures)
    if options.score_named(entry.score).changes_weights:
        raise ValueError(f"refine takes the mask of a score that keeps the weights, got score {entry.score}")
    if entry.permute:
        raise ValueError(f"refine {entry.refine} swaps inside groups of the given order: leave permute out")
    _require_lowest(entry, f"refine {entry.refine}")


def check_units(entry: VariantFields) -> None:
    """Check the options of a variant whose units of all blocks are chosen at once.

    Raises:
        ValueError: one does not apply.
    """
    structure = _structure(entry.group)
    if entry.score is None or not entry.sparsity or not structure.of_model or structure.keys:
        return
    required: dict[str, tuple[object, object]] = {
        **({"propagation": (entry.propagation, "dense")} if entry.reads_statistics else {}),
        "removes": (entry.removes, "lowest"),
        "profile": (entry.profile, "corrected"),
        "schedule": (entry.schedule.kind, "uniform"),
        "scope": (bool(entry.scope.model_fields_set), False),
    }
    if structure.aggregation:
        required["aggregate"] = (entry.aggregate, structure.aggregation if entry.over else None)
    if entry.tokens not in structure.token_scopes:
        *others, last = structure.token_scopes
        expected = f"{', '.join(others)} or {last}"
        raise ValueError(f"structure {entry.group} needs tokens: {expected}, got {entry.tokens}")
    for key, (got, needed) in required.items():
        if got != needed:
            wanted = "no scope" if key == "scope" else f"{key}: {needed or 'left out'}"
            raise ValueError(f"structure {entry.group} needs {wanted}, got {got}")


def check_parameters_fit_structure(entry: VariantFields, score: Score) -> None:
    """Check that the entry has no parameters of its score that apply to other structures only.

    Raises:
        ValueError: it has some.
    """
    given = sorted(entry.model_fields_set & {field.name for field in fields(score.parameters)})
    if score.parameters_with and entry.group not in score.parameters_with and given:
        expected = " or ".join(score.parameters_with)
        raise ValueError(f"{', '.join(given)} of score {entry.score} needs structure {expected}")


def check_keys_of_structure(entry: VariantFields, score: Score) -> None:
    """Check the options of a variant that lacks whole blocks or sub-layers.

    Raises:
        ValueError: one does not apply, or the score needs another one.
    """
    keys = _structure(entry.group).keys or _structure(score.structures[0]).keys
    if entry.scope.sublayers and entry.group != "sublayers":
        raise ValueError(f"structure {entry.group} removes no sub-layers: leave sublayers out of the scope")
    if not keys:
        return
    _require_structure(entry, f"score {entry.score}", score.structures)
    defaults = {key: type(entry).model_fields[key].default for key in entry.model_fields_set - keys}
    refused = sorted(key for key, default in defaults.items() if getattr(entry, key) != default)
    if refused:
        raise ValueError(f"structure {entry.group} takes {', '.join(sorted(keys))}, and not {', '.join(refused)}")
    if entry.scope.layers or entry.scope.without_layers:
        raise ValueError(f"structure {entry.group} removes whole {entry.group}: leave layers out of the scope")
    if score.removes_scope and (entry.sparsity is not None or not (entry.scope.blocks or entry.scope.sublayers)):
        expected = f"scope: {{{entry.group}: ...}} and no sparsity"
        raise ValueError(f"score {entry.score} removes all {entry.group} of the scope: it needs {expected}")


def check_choice_of_demonstrations(entry: VariantFields) -> None:
    """Check that statistics which are stored per set are read for whole sets.

    Raises:
        ValueError: they are not.
    """
    per_set = [name for name in entry.needs if name in STORED_PER_SET and entry.reads_statistics]
    chosen = [key for key in ("samples", "resample") if getattr(entry, key) is not None]
    if per_set and chosen:
        read = " and ".join(per_set)
        raise ValueError(f"{named_methods(entry)} reads {read} of whole sets: leave {' and '.join(chosen)} out")


def check_permuted(entry: VariantFields, score: Score) -> None:
    """Check the options of a variant whose inputs are permuted.

    Raises:
        ValueError: they do not fit.
    """
    if ":" not in entry.group:
        raise ValueError(f"permute needs structure N:M, as in 2:4, got {entry.group}")
    if score.changes_weights:
        raise ValueError(f"permute needs a score that keeps weights as they are, got {entry.score}")
    _require_lowest(entry, "permute")


def check_changed_weights(entry: VariantFields) -> None:
    """Check the options of a score that changes weights.

    Raises:
        ValueError: they do not fit.
    """
    _require_lowest(entry, f"score {entry.score}")
    if entry.over and entry.aggregate != "mean":
        expected = "aggregate: mean, which adds their Gram matrices"
        raise ValueError(f"score {entry.score} over several sets needs {expected}, got {entry.aggregate}")


def named_methods(entry: VariantFields) -> str:
    """Return the score and the refiner of an entry, for messages."""
    return f"score {entry.score}" + (f" with refine {entry.refine}" if entry.refine else "")


def _require_lowest(entry: VariantFields, what: str) -> None:
    if entry.removes != "lowest":
        raise ValueError(f"{what} needs removes: lowest, got {entry.removes}")


def _structure(name: str) -> Structure:
    return STRUCTURE_METHODS.find("N:M" if ":" in name else name)[0]


def _require_structure(entry: VariantFields, what: str, structures: Sequence[str]) -> None:
    if ("N:M" if ":" in entry.group else entry.group) not in structures:
        raise ValueError(f"{what} takes structure {' or '.join(structures)}, got {entry.group}")
