"""Warnings about finished variants: a missed sparsity, a schedule that stayed uniform, and layers without tokens."""

from collections.abc import Iterator, Mapping

from mlprune.json_values import JsonValue, as_float, as_int, as_str
from mlprune.methods import STRUCTURES, SensitivityParameters
from mlprune.pruning.schedules import SIGNIFICANCE, has_effects
from mlprune.pruning.spec import ScheduleSpec, Scope
from mlprune.steps.loss_records import losses_of
from mlprune.steps.prune.structure_variants import variants_of_structure
from mlprune.steps.variants.scored_variant import block_identity
from mlprune.steps.variants.variant import UNCODED
from mlprune.steps.variants.variant_rows import stored_masks
from mlprune.store.records import Record
from mlprune.store.store import Store


def variant_warnings(store: Store, record: Record) -> Iterator[str]:
    """Yield what a user should know about the masks of a variant; nothing for most variants.

    Args:
        record: of the variant.
    """
    parameters = record.parameters
    if UNCODED in record.parents:
        yield from _layers_without_tokens(store, record)
    if "score" not in parameters or not record.rows.get("variant_layers"):
        return
    schedule = ScheduleSpec.from_parameters(_mapping(parameters.get("schedule")))
    yield from _missed_sparsity(record, schedule)
    yield from _flat_schedule(store, record, schedule)


def _missed_sparsity(record: Record, schedule: ScheduleSpec) -> Iterator[str]:
    """Compare the removed share of the pruned layers with the sparsity of the recipe.

    Masks of rows and matrices remove whole weights, at most one step less than asked, so only those that remove nothing
    differ by more. Schedules whose sparsities are given layer by layer have no total.
    """
    asked = as_float(record.parameters["sparsity"])
    chosen = Scope.from_parameters(_mapping(record.parameters.get("scope")))
    layers = [
        row for row in record.rows["variant_layers"] if chosen.includes(as_int(row["block"]), as_str(row["layer"]))
    ]
    n_weights, n_removed = (sum(as_int(row[name]) for row in layers) for name in ("n_weights", "n_removed"))
    if asked == 0 or (schedule.is_in_recipe and schedule.kind != "uniform"):
        return
    structure = STRUCTURES.get(str(record.parameters.get("structure")))
    if structure is not None and structure.counts:
        if n_removed == 0:
            yield f"variant {record.id} lacks no {structure.counts}, asked for: {asked:g}"
        return
    of_structure = variants_of_structure(record.parameters.get("structure"), record.parameters.get("structure_plugin"))
    step = of_structure.largest_step(record, layers) / n_weights if of_structure else 1.0
    if n_removed == 0 or abs(n_removed / n_weights - asked) > step:
        yield f"variant {record.id} lacks {n_removed / n_weights:.4g} of its pruned weights, asked for: {asked:g}"


def _flat_schedule(store: Store, record: Record, schedule: ScheduleSpec) -> Iterator[str]:
    """Compare the losses that a schedule reads with zero."""
    losses = losses_of(store, schedule)
    if losses is None or not isinstance(schedule.schedule_parameters, SensitivityParameters):
        return
    chosen = Scope.from_parameters(_mapping(record.parameters.get("scope")))
    units = [unit for unit in losses if unit.is_in(chosen)]
    if units and not has_effects(units):
        yield (
            f"variant {record.id}: schedule sensitivity stayed uniform, because no loss of "
            f"{schedule.schedule_parameters.group} differs from zero (p_max_t at least {SIGNIFICANCE:g})"
        )


def _layers_without_tokens(store: Store, record: Record) -> Iterator[str]:
    """Count the layers with kept weights, those of experts, that no token of the sets reached."""
    masks = stored_masks(store, record)
    n_blocks = len(masks.masks) if masks else 0
    blocks = [block_identity(masks.record.id, n, parents={"variant": record.id}) for n in range(n_blocks) if masks]
    made = [found for one in blocks if (found := store.read_record(*one.key)) is not None]
    rows = [row for found in made for row in found.rows["quantised_layers"]]
    empty = {
        (row["block"], row["layer"]) for row in record.rows["variant_layers"] if row["n_removed"] == row["n_weights"]
    }
    n_layers = sum(row["is_reached"] is False and (row["block"], row["layer"]) not in empty for row in rows)
    if n_layers:
        yield (
            f"variant {record.id}: no token of its sets reached {n_layers} of {len(rows)} layers, whose weights are "
            "rounded to nearest: give quantise more demonstrations"
        )


def _mapping(value: JsonValue) -> Mapping[str, JsonValue]:
    return value if isinstance(value, Mapping) else {}
