"""One part of a demonstration set through the dense model: sums of squares and magnitudes, gathered and written.

A part is so small that its statistics fit in memory, however large the set is; who cuts it is `plan/observing.py`.
Batches are cut within a part, longest demonstrations first. What becomes of the parts is in `observe.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from mlprune.corpus.calibration import counted_tokens, token_batches
from mlprune.corpus.token_roles import scope_mask
from mlprune.models.chain import Chain, stream_tagged
from mlprune.models.inference.observation import Observation, StatisticsVisitor
from mlprune.models.inference.visitor import Operation, Result
from mlprune.models.messages import TokenBatch
from mlprune.models.shard import Shard
from mlprune.parallel import parallel_map
from mlprune.steps.job import ModelJob, ModelRef, RecordJob, RecordKey
from mlprune.steps.observe.statistics_files import write_part
from mlprune.store.parquet import columns_of
from mlprune.store.records import Artefact
from mlprune.store.store import Store
from mlprune.vocabulary import TokenScope


@dataclass(frozen=True)
class SetJob(RecordJob):
    """Base of the jobs that observe a demonstration set, or a part of it."""

    step: ClassVar[str] = "observe"
    model: ModelRef
    demonstration_set_id: str

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The set."""
        return (("demonstration_sets", self.demonstration_set_id),)


@dataclass(frozen=True)
class DensePassJob(SetJob, ModelJob):
    """Base of the jobs that run a demonstration set, or a part of it, through the dense model."""

    @property
    def chain_model(self) -> ModelRef:
        """The model that is observed."""
        return self.model


def dense_pass(
    store: Store, model: Chain, operation: Operation[TokenBatch, Result], *, job: DensePassJob
) -> Iterator[Result]:
    """What each batch of a job's set gave, in their order, on the model without masks."""
    artefact = store.require("demonstration_sets", job.demonstration_set_id).artefacts[0]
    texts = store.read_table(artefact, ["token_ids"])["token_ids"]
    model.everywhere(Shard.set_keep_masks, None)
    return model.stream(operation, (batch for _, batch in token_batches(texts, batch_tokens=job.batch_tokens)))


@dataclass
class StatisticsAccumulator:
    """The statistics of some consecutive demonstrations, filled batch by batch."""

    demonstrations: range
    sums: dict[tuple[int, str], Tensor] = field(default_factory=dict)
    """(block, input) -> [n, in] float32, in demonstration order."""
    n_tokens: Tensor = field(init=False)
    """[n] int64, counted tokens."""
    magnitudes: Tensor = field(init=False)
    """[n_blocks + 1, d] float64, sums over the demonstrations; a single 0 as long as there is none."""

    def __post_init__(self) -> None:
        self.n_tokens = torch.zeros(len(self.demonstrations), dtype=torch.int64)
        self.magnitudes = torch.zeros((), dtype=torch.float64)

    def add(self, places: Sequence[int], observation: Observation) -> None:
        """Take what a batch gave.

        Args:
            places: of its demonstrations, counted from the first of these.
            observation: their rows, in the order of the places.
        """
        rows = list(places)
        for key, values in observation.sums.items():
            if key not in self.sums:
                self.sums[key] = values.new_zeros(len(self.demonstrations), values.shape[1])
            self.sums[key][rows] = values
        self.n_tokens[rows] = observation.n_tokens
        self.magnitudes = self.magnitudes + observation.magnitudes.to(torch.float64).sum(dim=1)

    def write(self, store: Store, owner: str) -> list[Artefact]:
        """Write one file for every block, side by side."""
        blocks: dict[int, dict[str, Tensor]] = {}
        for (block, name), values in self.sums.items():
            blocks.setdefault(block, {})[name] = values

        def write(block: int) -> Artefact:
            options: dict[str, Any] = {"demonstrations": self.demonstrations, "n_tokens": self.n_tokens}
            return write_part(store, owner, block, sums=blocks[block], **options)

        return list(parallel_map(write, blocks))


def observe_set(
    store: Store,
    model: Chain,
    *,
    demonstration_set_id: str,
    demonstrations: range | None,
    batch_tokens: int,
    token_scope: TokenScope,
) -> StatisticsAccumulator:
    """Run some demonstrations of a set, or all, through the model without masks.

    Raises:
        CorpusError: the whole set is run, and none of its tokens counts.
        StatisticsError: a counted activation is not finite.
    """
    artefact = store.require("demonstration_sets", demonstration_set_id).artefacts[0]
    wanted = ["token_ids"] if token_scope == "all" else ["token_ids", "kind", "profile", "sides", "shots"]
    table = columns_of(store.read_bytes(artefact), wanted, rows=demonstrations)
    if demonstrations is None or token_scope == "all":
        counted = counted_tokens(table, token_scope)
    else:  # that no token of one part counts is no error
        rows = zip(table["sides"], table["shots"], strict=True)
        counted = [scope_mask(sides, shots, scope=token_scope).tolist() for sides, shots in rows]
    gathered = StatisticsAccumulator(demonstrations or range(len(table["token_ids"])))
    batches = token_batches(table["token_ids"], batch_tokens=batch_tokens, counted=counted)
    model.everywhere(Shard.set_keep_masks, None)
    for places, observation in stream_tagged(model, StatisticsVisitor, batches):
        gathered.add(places, observation)
    return gathered
