"""Recovered variants: plan them, and optimise the kept weights of a finished variant.

One shard has the whole model. A job that was killed resumes at its last checkpoint, and gives the same bytes on one
kind of processor.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import ClassVar, Self

from mlprune.capabilities.capability import Planned, Variants
from mlprune.capabilities.recovery.checkpoint import CheckpointFile
from mlprune.capabilities.recovery.fit import HELD_OUT
from mlprune.capabilities.recovery.keys import RecoverConfig
from mlprune.capabilities.recovery.losses import MOST_LOGITS, N_COPIES
from mlprune.capabilities.recovery.recovery_run import RecoveryRun
from mlprune.capabilities.recovery.settings import Recovery
from mlprune.capabilities.recovery.variant import RecoveredVariant
from mlprune.counted import counted
from mlprune.errors import RecipeError
from mlprune.hashing import without_defaults
from mlprune.hub import format_size
from mlprune.json_values import JsonObject, JsonValue
from mlprune.models.checkpoint.weight_files import WeightFiles, architecture_at
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.models.shard import Shard
from mlprune.recipe.variants import VariantConfig
from mlprune.steps import job
from mlprune.steps.inputs import Inputs
from mlprune.steps.plan_lines import PlanLine, PlannedJobs
from mlprune.steps.prune.requested_variants import normal_shares, of_seed, set_groups
from mlprune.steps.sets import PlannedSet, PlannedSets, check_token_scope
from mlprune.steps.variants.derived_blocks_job import DerivedBlocksJob
from mlprune.steps.variants.planned_variant import PlannedVariant, with_derived
from mlprune.steps.variants.variant import UNRECOVERED, of_kind
from mlprune.steps.variants.variant_rows import stored_changes, write_variants
from mlprune.store.store import Store

MASTER_BYTES = 3 * 4 + 1
"""Bytes per weight while all kept weights are optimised: weights and two moments in float32, and the mask."""
SAVED_STATES = 24
"""Values that a block keeps for its backward pass, per token and feature of its widest layer."""
PASSES_OF_A_STEP = 4
"""Time of a step on some tokens in forward passes: forward, again by block, and twice as much backward."""
ONE_TEXT_FACTOR = 1.35
"""Time of all passes in that of their products in large batches: texts run one by one, and attention, activations and
optimiser are not counted; see `ONE_TEXT_FACTOR` of reconstruction."""


def recovery_cost(step: str, sizes: Footprint, size: job.SetSize, settings: Recovery, *, longest: int) -> job.JobCost:
    """Cost of a recovery.

    Args:
        size: of all demonstration sets of the recovery together.
        longest: tokens of the longest demonstration.
    """
    n_weights, n_blocks = job.n_block_weights(sizes), len(sizes.blocks)
    batch = min(settings.batch, size.n_demonstrations)
    n_logits = min(MOST_LOGITS, longest * sizes.vocabulary)
    optimised = MASTER_BYTES * n_weights
    if settings.rank is not None:
        optimised = (sizes.itemsize + 1) * n_weights + n_blocks * len(
            sizes.prunable
        ) * 2 * 12 * settings.rank * sizes.widest
    states = sizes.itemsize * sizes.hidden * (size.n_tokens + (n_blocks + 2) * batch * longest)
    of_block = (4 + 4) * sum(sizes.prunable)
    fixed_bytes = job.SMALL_JOB_BYTES + optimised + sizes.itemsize * n_weights + states + of_block
    thread_bytes = 4 * SAVED_STATES * longest * sizes.widest + 4 * N_COPIES * n_logits
    thread_bytes += sizes.itemsize * sum(sizes.prunable)
    n_measured = 1 + -(-settings.steps // settings.every)
    mean_tokens = size.n_tokens / max(1, size.n_demonstrations)
    n_tokens = size.n_tokens * (1 + n_measured / HELD_OUT) + PASSES_OF_A_STEP * settings.steps * batch * mean_tokens
    usual = job.JobCost.dense_pass(step, sizes, size.n_tokens, thread_bytes=thread_bytes)
    of_head = 2.0 * n_tokens * sizes.hidden * sizes.vocabulary
    return replace(
        usual,
        flops=ONE_TEXT_FACTOR * (job.block_flops(sizes, n_tokens) + of_head),
        n_passes=n_tokens / max(1, size.n_tokens),
        fixed_bytes=fixed_bytes,
        device_fixed_bytes=fixed_bytes - job.SMALL_JOB_BYTES,
        transfer_bytes=2 * (optimised + sizes.itemsize * n_weights),
        disk_bytes=n_weights * (sizes.itemsize + 1 / 8) + optimised + sizes.itemsize * n_weights,
        is_whole=True,
    )


@dataclass(frozen=True)
class RecoverJob(DerivedBlocksJob):
    """Optimise the kept weights of a finished variant."""

    intermediates: ClassVar[tuple[job.RecordKey, ...]] = ()
    variant: RecoveredVariant
    max_tokens: int
    """Tokens of the longest demonstration, for its cost."""
    checkpoint: int = field(compare=False)
    """Steps after which a checkpoint is written."""

    def cost(self, sizes: Footprint, sets: job.SetSizes) -> job.JobCost:
        """All steps, on the whole model."""
        size = self.size_of_sets(sets)
        return recovery_cost(self.step, sizes, size, self.variant.settings, longest=self.max_tokens)

    def with_less_memory(self) -> job.Job | None:
        """Return None: batches are single texts, and the whole model is in memory."""
        return None

    @classmethod
    def plan_lines(cls, planned: PlannedJobs[Self, job.JobCost]) -> Iterable[PlanLine]:
        """What the recoveries that are not done need; a line for those that need the same."""
        needs = Counter(cls._needs(one.variant.settings, cost) for one, cost in planned.pending)
        for text, n in needs.items():
            yield PlanLine("passes", f"recover: {counted(n, 'variant')} with {text}")

    @staticmethod
    def _needs(settings: Recovery, cost: job.JobCost) -> str:
        kept = "all kept weights" if settings.rank is None else f"updates of rank {settings.rank}"
        memory = format_size(cost.memory_bytes(1))
        return (
            f"{settings.steps} steps of {settings.batch} demonstrations on {kept}: each the time of "
            f"{cost.n_passes:.1f} passes over its sets, and {memory} beside the model, in one shard"
        )

    def run(self, store: Store, chain: job.ChainLoader) -> None:
        """Optimise, write all files, then the records; the checkpoint is removed last.

        Raises:
            DamagedArtefactError: a file of the parent is missing or damaged.
            ModelError: the whole model is not in the memory of one shard.
            StatisticsError: a loss is not finite.
        """
        parent = stored_changes(store, self.variant.parent.id)
        run = RecoveryRun(store.uri, self.variant, self.ordering.id, parent, self.checkpoint)
        written = chain().on_block(0, Shard.with_whole, run)
        blocks = [self.block_identity(block).record(artefacts=files) for block, files in enumerate(written.files)]
        rows = self.rows_from_parent(store, role=UNRECOVERED, columns=self.variant.new_columns)
        columns: JsonObject = {}
        if rows["variants"][0].get("mask_sha256") is None:  # it has masks, which remove all of the removed blocks
            (row,) = rows.pop("variants")
            columns = {name: row[name] for name in ("n_removed_blocks", "removed_blocks") if row.get(name)}
        rows["recovery_losses"] = list(written.rows)
        of_tables = {table: of_table for table, of_table in rows.items() if of_table}
        write_variants(store, self.ordering, blocks, (self.variant,), columns=columns, rows=of_tables)
        CheckpointFile(store, self.variant.id).remove()


def add_recovered(planned: Planned, variants: Variants) -> Variants:
    """Return the planned variants and, for entries with `recover`, the recovered ones; see `with_derived`.

    The dense variant is not recovered.

    Raises:
        RecipeError: a variant cannot be recovered, reads no demonstrations, or no set has its seed.
    """
    for entry in planned.given.variants:
        if entry.recover is not None and entry.schedule.kind == "search":
            expected = "a schedule that is known before the run"
            raise RecipeError("a search is not recovered", variant=entry.name, expected=expected, got="search")

    def derive(entry: VariantConfig, parent: PlannedVariant) -> Iterator[PlannedVariant]:
        config = entry.recover
        assert config is not None, "the entry is recovered"
        _require_recoverable(entry, config, parent)
        for group in _groups(entry, config, parent, planned.sets.default):
            yield _recovered(planned.inputs, entry, parent, group)

    return with_derived(variants, lambda entry, one: entry.recover is not None and not one.spec.is_dense, derive)


def recover_jobs(planned: Planned) -> Iterator[RecoverJob]:
    """Yield the job of each recovered variant."""
    for variant in planned.variants.values():
        for spec in of_kind(RecoveredVariant, [variant.spec]):
            ordering = job.make_identity("masks", {"recover": "model"}, parents={"variant": spec.id})
            longest = max(planned_set.spec.max_tokens for planned_set in variant.sets)
            configs = (entry.recover for entry in variant.entries if isinstance(entry, VariantConfig))
            steps = min((config.checkpoint for config in configs if config), default=RecoverConfig().checkpoint)
            yield RecoverJob(ordering, spec, longest, steps)


def _require_recoverable(entry: VariantConfig, config: RecoverConfig, parent: PlannedVariant) -> None:
    """Refuse what cannot be recovered.

    Raises:
        RecipeError: the parent is quantised, or a layer is smaller than the rank.
    """
    where = {"variant": entry.name, "key": "recover"}
    if parent.spec.rounding is not None:
        message = "a quantised variant cannot be recovered: recover first, then round"
        raise RecipeError(message, **where, expected="a variant without bits", got=parent.spec.rounding.bits)
    if config.rank is not None:
        path = Path(parent.spec.model.path)
        files = WeightFiles(path, architecture_at(path))
        shapes = (files.layer_shapes(block).items() for block in range(parent.spec.model.n_blocks))
        layer, most = min(((layer, min(shape)) for one in shapes for layer, shape in one), key=itemgetter(1))
        if config.rank > most:
            expected = f"at most {most}, the smaller side of {layer}"
            raise RecipeError("the rank is larger than a layer", **where, expected=expected, got=config.rank)


def _groups(
    entry: VariantConfig, config: RecoverConfig, parent: PlannedVariant, sets: PlannedSets
) -> list[tuple[PlannedSet, ...]]:
    """Return the sets of each variant: those of the parent, or named ones of its seed."""
    if not (config.names or entry.demonstrations or entry.over or parent.sets):
        expected = "demonstrations or over in recover or in the entry"
        raise RecipeError("recover reads demonstrations", variant=entry.name, expected=expected, got="none")
    reads_own = parent.sets and not config.names
    groups = [parent.sets] if reads_own else set_groups(config if config.names else entry, sets)
    fitting = of_seed(groups, parent.seed, variant=entry.name, key="recover")
    for planned in (planned for group in fitting for planned in group):
        check_token_scope(planned, config.tokens)
        if planned.spec.samples < 2 and not planned.spec.token_budget:
            message = "recover holds out a tenth of each set, at least one demonstration"
            raise RecipeError(message, variant=entry.name, set=planned.label, expected="two or more samples", got=1)
    return fitting


def _recovered(
    inputs: Inputs, entry: VariantConfig, parent: PlannedVariant, group: tuple[PlannedSet, ...]
) -> PlannedVariant:
    config = entry.recover
    assert config is not None, "the entry is recovered"
    settings = Recovery(
        config.steps,
        config.learning_rate,
        config.batch,
        config.seed,
        config.every,
        config.rank,
        config.divergence,
        config.text_share,
        config.tokens,
        normal_shares(config.shares if config.names else entry.shares) if len(group) > 1 else (),
    )
    model, set_ids = parent.spec.model, tuple(planned.id for planned in group)
    computed = job.computed_parameters(model, batch_tokens=1)  # the device is part of the id, batches are not
    parameters: dict[str, JsonValue] = {name: value for name, value in computed.items() if name != "batch_tokens"}
    tuned: JsonObject = {"steps": settings.steps, "learning_rate": settings.learning_rate}
    tuned = {**tuned, "batch": settings.batch, "every": settings.every}
    parameters["recover"] = {**tuned, **without_defaults(settings)}
    parents: JsonObject = {
        "base_model": inputs.base.id,
        UNRECOVERED: parent.id,
        "demonstration_sets": list[JsonValue](set_ids),
    }
    identity = job.make_identity("variants", parameters, parents=parents)
    labels = tuple(planned.label for planned in group)
    spec = RecoveredVariant(identity, model, parent.spec, settings, set_ids, labels)
    return PlannedVariant(spec, group, parents=(parent,))
