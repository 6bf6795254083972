"""Step `observe`: dense model + demonstration set -> activation statistics and feature magnitudes, in one pass.

Statistics serve every score and sparsity in `dense` propagation; magnitudes are docs/method.md section 5.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from mlprune.corpus.calibration import counted_tokens, token_batches
from mlprune.models.payloads import Observation
from mlprune.numeric.overlaps import top_features
from mlprune.records import Artefact
from mlprune.steps.jobs import ChainLoader, Identity, Job, ModelRef, RecordKey
from mlprune.steps.statistics_files import PART_BYTES, write_part
from mlprune.storage import Store
from mlprune.terms import TokenScope
from mlprune.threads import side_by_side

FEATURES_SCHEMA = {"kind": "string", "block": "int32", "feature": "int32", "magnitude": "double"}
"""Columns of a features file; block l is what stands after block l, 0 the embedding output."""

N_LARGEST = 20
"""Largest features per block that go into the catalog."""


@dataclass
class _Parts:
    """Statistics gathered since the last part was written."""

    store: Store
    owner: str
    indices: list[int] = field(default_factory=list)
    gathered: list[Observation] = field(default_factory=list)
    written: list[Artefact] = field(default_factory=list)
    n_bytes: int = 0

    def add(self, indices: Sequence[int], observation: Observation) -> None:
        self.indices.extend(indices)
        self.gathered.append(observation)
        self.n_bytes += sum(one.numel() * 4 for one in observation.sums.values())
        if self.n_bytes >= PART_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write one part of every block, side by side."""
        if not self.gathered:
            return
        n_tokens = torch.cat([one.n_tokens for one in self.gathered])
        by_block: dict[int, dict[str, Tensor]] = {}
        for block, name in self.gathered[0].sums:
            joined = torch.cat([one.sums[block, name] for one in self.gathered])
            by_block.setdefault(block, {})[name] = joined

        def write(block: int) -> Artefact:
            options: dict[str, Any] = {"sums": by_block[block], "n_tokens": n_tokens, "demonstrations": self.indices}
            return write_part(self.store, self.owner, block, **options)

        self.written.extend(side_by_side(write, by_block))
        self.indices, self.gathered, self.n_bytes = [], [], 0


def _kind_of(kinds: list[str]) -> str:
    """What the features are called: the kind of all demonstrations, mixed where they differ."""
    return kinds[0] if len(set(kinds)) == 1 else "mixed"


@dataclass(frozen=True)
class ObserveJob(Job):
    """Run one demonstration set through the dense model."""

    step: ClassVar[str] = "observe"
    needs_chain: ClassVar[bool] = True
    identity: Identity
    model: ModelRef
    demonstration_set_id: str
    batch_tokens: int
    token_scope: TokenScope = "all"

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        """The statistics' record."""
        return (self.identity.key,)

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The set."""
        return (("demonstration_sets", self.demonstration_set_id),)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Stream the batches, write parts as they fill, then the features, then the record."""
        table = store.read_table(store.require("demonstration_sets", self.demonstration_set_id).artefacts[0])
        model = chain()
        model.everywhere("set_keep_masks", None)
        counted = counted_tokens(table, self.token_scope)
        planned = list(token_batches(table["token_ids"], batch_tokens=self.batch_tokens, counted=counted))
        parts = _Parts(store, self.identity.id)
        total = torch.zeros(())
        n_tokens = 0
        observations = model.stream("observe", (batch for _, batch in planned))
        for (indices, _), observation in zip(planned, observations, strict=True):
            parts.add(indices, observation)
            total = total + observation.magnitudes.to(torch.float64).sum(dim=1)
            n_tokens += int(observation.n_tokens.sum())
        parts.flush()
        mean = total / len(table["token_ids"])
        features = self._write_features(store, mean, kind=_kind_of(table["kind"]))
        rows = {
            "statistics": [self._row(n_demonstrations=len(table["token_ids"]), n_tokens=n_tokens)],
            "feature_magnitudes": self._largest(mean),
        }
        store.write_record(self.identity.record(artefacts=(*parts.written, features), rows=rows))

    def _write_features(self, store: Store, mean: Tensor, *, kind: str) -> Artefact:
        """The mean magnitude of every feature after every block."""
        n_layers, width = mean.shape
        columns: dict[str, list[Any]] = {
            "kind": [kind] * (n_layers * width),
            "block": [block for block in range(n_layers) for _ in range(width)],
            "feature": list(range(width)) * n_layers,
            "magnitude": mean.flatten().tolist(),
        }
        return store.write_table(f"features/{self.identity.id}.parquet", columns, FEATURES_SCHEMA)

    def _row(self, **counts: int) -> dict[str, Any]:
        return {
            "statistics_id": self.identity.id,
            "base_model_id": self.model.base_model_id,
            "demonstration_set_id": self.demonstration_set_id,
            "propagation": "dense",
            "token_scope": self.token_scope,
            **counts,
        }

    def _largest(self, mean: Tensor) -> list[dict[str, Any]]:
        """Catalog rows of the largest features of every block."""
        values = mean.numpy()
        return [
            {
                "statistics_id": self.identity.id,
                "base_model_id": self.model.base_model_id,
                "demonstration_set_id": self.demonstration_set_id,
                "block": block,
                "rank": rank,
                "feature": int(feature),
                "magnitude": float(values[block, feature]),
            }
            for block in range(len(values))
            for rank, feature in enumerate(top_features(values[block], min(N_LARGEST, values.shape[1])), start=1)
        ]
