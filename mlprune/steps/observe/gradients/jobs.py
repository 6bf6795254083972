"""Job that computes the gradients of the loss of the dense model over a demonstration set (step `observe`)."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from mlprune.corpus.calibration import counted_tokens, token_batches
from mlprune.errors import ModelError
from mlprune.models.gradients.on_shard import write_loss_gradients
from mlprune.models.messages import TokenBatch
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.models.shard import Shard
from mlprune.steps.job import ChainLoader
from mlprune.steps.job_cost import EMPTY_SET, JobCost, SetSizes
from mlprune.steps.observe.block_pass.files import write_gradients
from mlprune.steps.observe.dense_pass import DensePassJob
from mlprune.steps.observe.gradients.cost import loss_gradients_cost
from mlprune.store.records import Artefact
from mlprune.store.store import Store
from mlprune.vocabulary import TokenScope


@dataclass(frozen=True)
class GradientWriter:
    """The function that a shard calls to write the gradients of a block. Picklable."""

    store_uri: str
    owner: str
    """Id of the record."""

    def __call__(self, block: int, gradients: Mapping[str, Tensor]) -> Artefact:
        """Write layer -> [out, in] float32."""
        return write_gradients(Store(self.store_uri), self.owner, block, gradients)


@dataclass(frozen=True)
class LossGradientsJob(DensePassJob):
    """Compute the gradient of the language-modelling loss by all prunable weights."""

    token_scope: TokenScope = "all"

    @property
    def shares_replicas(self) -> bool:
        """Return False: the sums over demonstrations are in one process."""
        return False

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """Two passes forward and one backward over the set, and the sums of all blocks in memory."""
        size = sets.get(self.demonstration_set_id, EMPTY_SET)
        return loss_gradients_cost(self.step, sizes, size, batch_tokens=self.batch_tokens)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write one file per block, then the record.

        Raises:
            ModelError: the model is split into shards.
            CorpusError: no token of the set counts.
        """
        model = chain()
        if len(model.spans) > 1:
            message = "a gradient through the whole model needs one shard"
            raise ModelError(message, expected="compute: {shards: 1}", got=f"shards: {len(model.spans)}")
        model.everywhere(Shard.set_keep_masks, None)
        writer = GradientWriter(store.uri, self.identity.id)
        files = model.on_block(0, write_loss_gradients, self._batches(store), writer)
        store.write_record(self.identity.record(artefacts=tuple(files)))

    def _batches(self, store: Store) -> list[TokenBatch]:
        """Cut the set into batches."""
        table = store.read_table(store.require("demonstration_sets", self.demonstration_set_id).artefacts[0])
        counted = counted_tokens(table, self.token_scope)
        return [
            batch for _, batch in token_batches(table["token_ids"], batch_tokens=self.batch_tokens, counted=counted)
        ]
