"""Observe a demonstration set block by block: everything that methods read of it, in one pass.

The hidden states of all batches stay in the shards, as in a sweep, and every block runs once. The files of a block are
recorded as soon as they exist. A job that was killed resumes there: it runs the finished blocks forward without
observing them again.
"""

from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from mlprune.corpus.calibration import counted_tokens, token_batches
from mlprune.methods import StatisticsName
from mlprune.models.chain import Chain, advance_to
from mlprune.models.checkpoint.weight_files import architecture_at
from mlprune.models.messages import TokenBatch, WantedStatistics
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.models.shard import Shard
from mlprune.numeric.activations.feature_sums import feature_moments
from mlprune.processes.job_parts import in_parts, note_found_part
from mlprune.pruning.block_inputs import SetStatistics, demonstration_weights
from mlprune.pruning.spec import StatisticsSelection
from mlprune.steps import job
from mlprune.steps.observe import block_files
from mlprune.steps.observe.dense_pass import COORDINATING_BYTES, DensePassJob
from mlprune.steps.observe.expert_products import PASS_BYTES, block_passes, inputs_of, planned_passes
from mlprune.steps.observe.expert_tokens import SUFFIX, expert_languages, grouped, read_counts
from mlprune.steps.observe.statistics import SetTotals, statistics_record
from mlprune.steps.plan_lines import PlanLine, PlannedJobs
from mlprune.store.records import Artefact, Record
from mlprune.store.store import Store
from mlprune.vocabulary import TokenScope

_FILE_COPIES = 2
"""Copies of what is stored of a block: as tensors, and as the bytes of a file."""
GRADIENT_PASSES = 5
"""Time of the regional gradients of a block, in forward passes of the same tokens through it. Measured: 3.26 s of CPU
time against 0.62 to 0.65 s, for one block of the shape of XGLM-564M and 1,024 tokens."""
OBSERVED_KINDS: Mapping[StatisticsName, str] = {
    "sums": "feature_sums",
    "products": "gram_matrices",
    "gradients": "regional_gradients",
}
"""Statistics other than sums of squares, observed block by block -> kind of their record."""


def block_pass_cost(
    step: str,
    sizes: Footprint,
    size: job.SetSize,
    *,
    batch_tokens: int,
    observed: Collection[StatisticsName],
    product_bytes: int = PASS_BYTES,
) -> job.JobCost:
    """Cost of observing a set block by block.

    Args:
        size: of the set.
        observed: statistics in addition to the sums of squares.
        product_bytes: most bytes of the Gram matrices of experts in memory at a time.
    """
    passes = planned_passes(sizes, n_bytes=product_bytes) if "products" in observed else ((),)
    state_bytes = job.state_bytes(sizes, size.n_tokens)
    squares_bytes = 4 * size.n_demonstrations * sizes.inputs
    stored_bytes = 4 * (sizes.input_products + sizes.inputs) if "products" in observed else 0  # the upper triangles
    stored_bytes += 16 * size.n_demonstrations * sizes.inputs if "sums" in observed else 0
    stored_bytes += 4 * sum(sizes.prunable) if "gradients" in observed else 0
    gram_bytes = 8 * sizes.input_products if "products" in observed else 0
    written_bytes = stored_bytes
    if any(passes):  # the other experts are in other passes, and each file of experts is written alone
        elsewhere = sizes.n_experts - max(sum(map(len, files)) for files in passes)
        written_bytes -= 4 * sizes.expert_products * (sizes.n_experts - max(map(len, passes[0])))
        gram_bytes -= 8 * sizes.expert_products * elsewhere
    gradient_bytes = 8 * sum(sizes.prunable) if "gradients" in observed else 0
    on_device = state_bytes + gram_bytes + gradient_bytes
    fixed_bytes = job.SMALL_JOB_BYTES + on_device + _FILE_COPIES * written_bytes + 3 * squares_bytes
    n_blocks = len(sizes.blocks)
    n_products = sizes.input_products - sizes.idle_products  # of the experts that a token chooses
    product_flops = size.n_tokens * n_products if "products" in observed else 0
    gradient_flops = GRADIENT_PASSES * job.block_flops(sizes, size.n_tokens) if "gradients" in observed else 0
    thread_bytes = job.batch_bytes(sizes, batch_tokens) * (2 if observed else 1)
    usual = job.JobCost.dense_pass(step, sizes, size.n_tokens, thread_bytes=thread_bytes, n_runs=len(passes))
    return replace(
        usual,
        flops=usual.flops + n_blocks * product_flops + gradient_flops,
        fixed_bytes=max(COORDINATING_BYTES, fixed_bytes),
        device_fixed_bytes=on_device,
        transfer_bytes=written_bytes,
        n_runs=len(passes),
        disk_bytes=float(n_blocks) * (squares_bytes + stored_bytes),
    )


@dataclass(frozen=True)
class ObserveBlocksJob(DensePassJob):
    """Observe a demonstration set for methods that read more than sums of squares.

    `identity` is that of the statistics, whose record and files are those of the usual dense pass.
    """

    observed: tuple[tuple[StatisticsName, job.Identity], ...]
    """Statistics in addition to the sums of squares, in the order of `OBSERVED_KINDS`, with their records."""
    parts: tuple[range, ...]
    """Demonstrations that share a file of statistics."""
    token_scope: TokenScope = "all"
    set_label: str = ""
    """For messages; not part of an id."""
    product_bytes: int = PASS_BYTES
    """Most bytes of the Gram matrices of experts in memory at a time; not part of an id."""

    @property
    def makes(self) -> tuple[job.RecordKey, ...]:
        """The statistics and the further records."""
        return (self.identity.key, *(identity.key for _, identity in self.observed))

    @property
    def also_made_elsewhere(self) -> tuple[job.RecordKey, ...]:
        """All records: recipes that need other statistics of the set make them together with others."""
        return self.makes

    @property
    def intermediates(self) -> tuple[job.RecordKey, ...]:
        """What is observed of the blocks."""
        return tuple(self._block_identity(block).key for block in range(self.model.n_blocks))

    @property
    def shares_replicas(self) -> bool:
        """Return False: Gram matrices are added in the process of the shard."""
        return False

    def cost(self, sizes: Footprint, sets: job.SetSizes) -> job.JobCost:
        """One pass over the set, with the states of all its tokens in memory."""
        size, observed = sets.get(self.demonstration_set_id, job.EMPTY_SET), tuple(name for name, _ in self.observed)
        return block_pass_cost(
            self.step,
            sizes,
            size,
            batch_tokens=self.batch_tokens,
            observed=observed,
            product_bytes=self.product_bytes,
        )

    @classmethod
    def plan_lines(cls, planned: PlannedJobs[Self, job.JobCost]) -> Iterable[PlanLine]:
        """One line per set that is not observed yet: its statistics, and what they cost."""
        for one, cost in planned.pending:
            passes = f"{cost.n_runs} passes over the experts of every block, " if cost.n_runs > 1 else ""
            ratio = cost.flops / job.block_flops(planned.sizes, cost.n_tokens)
            yield PlanLine(
                "passes",
                f"observed block by block: {one.set_label}: squares, {', '.join(name for name, _ in one.observed)}: "
                f"{cost.fixed_bytes / 2**30:.2f} GiB of memory, {cost.disk_bytes / 2**30:.3f} GiB on disk, {passes}"
                f"{ratio:.1f} times the operations of a pass for squares alone",
            )

    def run(self, store: Store, chain: job.ChainLoader) -> None:
        """Observe all blocks, then write the records.

        Raises:
            CorpusError: no token of the set counts.
            StatisticsError: a counted activation is not finite.
        """
        model = chain()
        batches, cut = self._batches(store)
        model.everywhere(Shard.set_keep_masks, None)
        model.everywhere(Shard.sweep_clear)
        blocks = []
        try:
            for key, batch in cut.items():
                model.on_block(0, Shard.sweep_start, key, batch)
            for block in in_parts("block", range(model.n_blocks)):
                advance_to(model, block, cut)
                blocks.append(self._observe(store, model, block, batches=batches))
        finally:
            model.everywhere(Shard.sweep_clear)
        self._write_records(store, blocks, batches=batches)

    def _batches(self, store: Store) -> tuple[block_files.Batches, dict[Hashable, TokenBatch]]:
        """Cut the parts into batches, as the usual dense pass does."""
        table = store.read_table(store.require("demonstration_sets", self.demonstration_set_id).artefacts[0])
        counted = counted_tokens(table, self.token_scope)
        languages = expert_languages(store, self.model, self.demonstration_set_id)
        batches: dict[Hashable, block_files.PassBatch] = {}
        cut: dict[Hashable, TokenBatch] = {}
        for number, part in enumerate(self.parts):
            texts, flags = (values[part.start : part.stop] for values in (table["token_ids"], counted))
            of_part = token_batches(texts, batch_tokens=self.batch_tokens, counted=flags)
            if languages is not None:
                of_part = grouped(languages, of_part, table["sides"][part.start : part.stop], first=part.start)
            for indices, batch in of_part:
                key = ("", len(cut))
                cut[key] = batch
                batches[key] = block_files.PassBatch(number, indices, tuple(batch.counted.sum(dim=1).tolist()))
        return batches, cut

    def _observe(self, store: Store, model: Chain, block: int, *, batches: block_files.Batches) -> Record:
        """Observe one block, or only run it if its files are in the store."""
        identity = self._block_identity(block)
        record = store.read_record(*identity.key)
        if record is not None and store.is_intact(record):
            note_found_part()
            if block + 1 < model.n_blocks:
                model.on_block(block, Shard.sweep_advance, block, list(batches))
            return record
        if record is not None:
            store.quarantine(record)
        owners = {name: of_kind.id for name, of_kind in self.observed}
        of_block = block_files.BlockFiles(store.uri, block, self.identity.id, owners, self.parts, batches)
        *earlier, last = self._passes(block)
        artefacts: tuple[Artefact, ...] = ()
        for experts in earlier:
            inputs = tuple(name for names in experts.values() for name in names)
            wanted = WantedStatistics(products=True, products_of=inputs)
            model.on_block(block, Shard.sweep_observe, block, list(batches), wanted=wanted)
            files = block_files.ProductFiles(replace(of_block, experts=experts))
            artefacts += model.on_block(block, Shard.sweep_write, block, files)
        done = {name for experts in earlier for names in experts.values() for name in names}
        model.on_block(block, Shard.sweep_observe, block, list(batches), wanted=self._wanted(block, done))
        artefacts += model.on_block(block, Shard.sweep_write, block, replace(of_block, experts=last))
        record = identity.record(artefacts=tuple(sorted(artefacts, key=_experts)))
        store.write_record(record)
        return record

    def _passes(self, block: int) -> list[dict[range, tuple[str, ...]]]:
        """Return the passes over a block: files of Gram matrices of experts -> their inputs."""
        if "products" not in (name for name, _ in self.observed):
            return [{}]
        path = Path(self.model.path)
        passes = block_passes(path, block, n_bytes=self.product_bytes)
        return [{numbers: inputs_of(path, block, numbers) for numbers in files} for files in passes]

    def _wanted(self, block: int, done: Collection[str]) -> WantedStatistics:
        """Return what the last pass over a block observes; `done` are inputs whose Gram matrices are written."""
        further = dict.fromkeys((name for name, _ in self.observed), True)
        names = architecture_at(self.model.path).block(block).input_names
        rest = tuple(name for name in names if name not in done) if done else None
        return WantedStatistics(magnitudes=True, advances=True, products_of=rest, **further)

    def _block_identity(self, block: int) -> job.Identity:
        kinds = {OBSERVED_KINDS[name]: identity.id for name, identity in self.observed}
        return job.make_identity("observed_blocks", {"block": block}, parents={"statistics": self.identity.id, **kinds})

    def _write_records(self, store: Store, blocks: list[Record], *, batches: block_files.Batches) -> None:
        """Write the records of the set from those of its blocks."""
        artefacts = [artefact for record in blocks for artefact in record.artefacts]
        of_parts, features = sorted(_below(artefacts, "statistics/"), key=_part), _below(artefacts, "features/")
        totals = SetTotals(
            block_files.part_sums(store, [one for one in features if not one.path.endswith(SUFFIX)]),
            sum(map(len, self.parts)),
            sum(sum(batch.n_tokens) for batch in batches.values()),
            read_counts(store, features),
        )
        store.write_record(statistics_record(store, self, of_parts, totals=totals))
        for name, identity in self.observed:
            store.write_record(identity.record(artefacts=tuple(_below(artefacts, f"{name}/{identity.id}/"))))


def _below(artefacts: list[Artefact], folder: str) -> list[Artefact]:
    return [artefact for artefact in artefacts if artefact.path.startswith(folder)]


def _experts(artefact: Artefact) -> str:
    """Return the part of a file of Gram matrices of experts, which come last; empty for all other files."""
    return artefact.path.rpartition(".experts-")[2] if ".experts-" in artefact.path else ""


def _part(artefact: Artefact) -> str:
    """Return the part of a file of statistics; the files of a part stay in the order of the blocks."""
    return artefact.path.rpartition(".part-")[2]


def read_set_statistics(
    store: Store, records: Mapping[StatisticsName, str], block: int, *, selection: StatisticsSelection
) -> SetStatistics:
    """Return the statistics of one block of one set.

    Args:
        records: statistics -> id of the record.
        selection: chooses the demonstrations of sums of features; the others are stored for the whole set.
    Raises:
        DamagedArtefactError: a file is missing, differs from its record, or contains something else.
        StatisticsError: a record has no file of the block.
        StoreError: a record does not exist.
    """
    artefacts = {name: store.require(OBSERVED_KINDS[name], record_id).artefacts for name, record_id in records.items()}
    statistics = SetStatistics()
    if "sums" in artefacts:
        sums, n_tokens = block_files.read_block_sums(store, artefacts["sums"], block)
        weights = demonstration_weights(len(n_tokens), selection)
        moments = {name: feature_moments(of_input, n_tokens, weights) for name, of_input in sums.items()}
        statistics = replace(statistics, moments=moments)
    if "products" in artefacts:
        statistics = replace(statistics, products=block_files.read_block_products(store, artefacts["products"], block))
    if "gradients" in artefacts:
        statistics = replace(
            statistics, gradients=block_files.read_block_gradients(store, artefacts["gradients"], block)
        )
    return statistics
