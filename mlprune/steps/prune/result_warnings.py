"""Warnings about finished variants: too few calibration tokens, a missed sparsity, a schedule that stayed uniform."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from mlprune.counted import counted
from mlprune.errors import DamagedArtefactError, StoreError
from mlprune.json_values import JsonValue, as_float, as_int, as_str
from mlprune.methods import STRUCTURES, SensitivityParameters
from mlprune.pruning.schedules import SIGNIFICANCE, has_effects
from mlprune.pruning.spec import ScheduleSpec, Scope, ScoreSpec
from mlprune.steps.loss_records import losses_of
from mlprune.steps.plan_lines import MAX_LISTED
from mlprune.steps.prune.structure_variants import variants_of_structure
from mlprune.steps.variants.calibration_tokens import Layer, TokensRead, is_singular, layers_of, tokens_read
from mlprune.steps.variants.scored_variant import block_identity, needs_of, refinement_of
from mlprune.steps.variants.variant import UNCODED
from mlprune.steps.variants.variant_rows import stored_masks
from mlprune.store.records import Record
from mlprune.store.store import Store


def variant_warnings(store: Store, record: Record) -> Iterator[str]:
    """Yield what a user should know about the masks of a variant; nothing for most variants.

    Args:
        record: of the variant.
    """
    yield from _too_few_tokens(store, record)
    parameters = record.parameters
    if UNCODED in record.parents:
        yield from _layers_without_tokens(store, record)
    if "score" not in parameters or not record.rows.get("variant_layers"):
        return
    schedule = ScheduleSpec.from_parameters(_mapping(parameters.get("schedule")))
    yield from _missed_sparsity(record, schedule)
    yield from _flat_schedule(store, record, schedule)


def _too_few_tokens(store: Store, record: Record) -> Iterator[str]:
    """Compare the tokens that reached each pruned layer with its inputs, and name experts that no token reached."""
    chosen = Scope.from_parameters(_mapping(record.parameters.get("scope")))
    try:
        reads = list(tokens_read(store, record))
        layers = [
            layer
            for layer in (layers_of(store, record.parent("base_model")) if reads else ())
            if chosen.includes(layer.block, layer.name)
        ]
    except (DamagedArtefactError, StoreError) as err:
        yield f"variant {record.id}: its calibration tokens cannot be counted: {err}"
        return
    needs = _needs(record)
    for read in reads:
        yield from _singular_layers(read, layers, needs)
        if read.role not in ("contrast", "quantisation"):  # codes have a warning of their own
            yield from _unreached_experts(read, layers)


def _singular_layers(read: TokensRead, layers: Sequence[Layer], needs: Collection[str]) -> Iterator[str]:
    """Name the layer that lacks most tokens for a Gram matrix of full rank."""
    counts = {layer: sum(tokens.values()) for layer in layers if (tokens := read.at(layer)) is not None}
    short = [
        layer
        for layer, n_tokens in counts.items()
        if is_singular(read.role, needs, n_tokens=n_tokens, n_inputs=layer.n_inputs)
    ]
    if short:
        worst = max(short, key=lambda layer: layer.n_inputs - counts[layer])
        yield (
            f"variant {read.variant_id}: {counts[worst]:,} tokens of its {read.role} sets reached layer {worst.name} "
            f"of block {worst.block}, which has {worst.n_inputs:,} inputs, so their Gram matrix is singular "
            f"({len(short)} of {counted(len(counts), 'layer')}); use more demonstrations"
        )


def _unreached_experts(read: TokensRead, layers: Sequence[Layer]) -> Iterator[str]:
    """Name the experts that got no token."""
    experts = list(dict.fromkeys(layer.expert for layer in layers if layer.expert is not None))
    unreached = [] if read.experts is None else [one for one in experts if not sum(read.experts[one].values())]
    if unreached:
        named = ", ".join(f"expert {expert} of block {block}" for block, expert in unreached[:MAX_LISTED])
        more = ", ..." if len(unreached) > MAX_LISTED else ""
        yield (
            f"variant {read.variant_id}: no token of its {read.role} sets reached {len(unreached)} of "
            f"{counted(len(experts), 'expert')}: {named}{more}; use more demonstrations"
        )


def _needs(record: Record) -> tuple[str, ...]:
    """Return the statistics that the score and the refiner of a variant read; none for a variant without a score."""
    if "score" not in record.parameters:
        return ()
    return needs_of(ScoreSpec.from_parameters(record.parameters), refinement_of(record.parameters))


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
