"""Step `observe`: dense model + demonstration set -> activation statistics and feature magnitudes, in one pass.

Statistics serve every score and sparsity in `dense` propagation; magnitudes are docs/method.md section 5. A set of one
part is one job. A larger one is a job for each part, which any worker may do, and one that puts the parts together in
their order: the numbers do not depend on who observed what, and a part that is done is not done again.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlprune.errors import CorpusError
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.masks.overlaps import top_features
from mlprune.steps.job import ChainLoader, RecordKey
from mlprune.steps.job_cost import EMPTY_SET, JobCost, SetSize, SetSizes
from mlprune.steps.observe.cost import statistics_cost
from mlprune.steps.observe.dense_pass import DensePassJob, SetJob, StatisticsAccumulator, observe_set
from mlprune.store.parquet import Layout, decode_numeric, encode_numeric
from mlprune.store.records import Artefact, Record
from mlprune.store.store import Store
from mlprune.vocabulary import TokenScope

FEATURES_SCHEMA = {"kind": "string", "block": "int32", "feature": "int32", "magnitude": "double"}
"""Columns of a features file; block l is what stands after block l, 0 the embedding output."""

SUMS_LAYOUT = Layout(
    "feature_sums",
    1,
    {"block": "int32", "n_demonstrations": "int64", "n_tokens": "int64", "magnitudes": "list<double>"},
)
"""What one part adds to the features file: sums of magnitudes over its demonstrations, one row a block."""

N_LARGEST = 20
"""Largest features per block that go into the catalog."""


@dataclass(frozen=True)
class ObserveJob(DensePassJob):
    """Run a demonstration set of one part through the dense model."""

    token_scope: TokenScope = "all"

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """One pass over the set."""
        size = sets.get(self.demonstration_set_id, EMPTY_SET)
        return statistics_cost(self.step, sizes, size, batch_tokens=self.batch_tokens)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Run all batches, then write the statistics, the features and the record."""
        found = observe_set(
            store,
            chain(),
            demonstration_set_id=self.demonstration_set_id,
            demonstrations=None,
            batch_tokens=self.batch_tokens,
            token_scope=self.token_scope,
        )
        files = found.write(store, self.identity.id)
        n_tokens = int(found.n_tokens.sum())
        counts = {"n_demonstrations": len(found.demonstrations), "n_tokens": n_tokens}
        store.write_record(statistics_record(store, self, files, sums=found.magnitudes, **counts))


@dataclass(frozen=True)
class ObservePartJob(DensePassJob):
    """Run one part of a large demonstration set through the dense model."""

    statistics_id: str
    """Of the whole set; the files lie under it."""
    demonstrations: range
    token_scope: TokenScope = "all"

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """One pass over the part."""
        whole, n = sets.get(self.demonstration_set_id, EMPTY_SET), len(self.demonstrations)
        size = SetSize(whole.n_tokens * n // max(1, whole.n_demonstrations), n)
        return statistics_cost(self.step, sizes, size, batch_tokens=self.batch_tokens)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Run the part's batches, then write its statistics, its sums of magnitudes and the record."""
        found = observe_set(
            store,
            chain(),
            demonstration_set_id=self.demonstration_set_id,
            demonstrations=self.demonstrations,
            batch_tokens=self.batch_tokens,
            token_scope=self.token_scope,
        )
        files = found.write(store, self.statistics_id)
        sums = self._write_sums(store, found)
        store.write_record(self.identity.record(artefacts=(*files, sums)))

    def _write_sums(self, store: Store, found: StatisticsAccumulator) -> Artefact:
        n_layers = len(found.magnitudes)
        columns: dict[str, Any] = {
            "block": list(range(n_layers)),
            "n_demonstrations": [len(found.demonstrations)] * n_layers,
            "n_tokens": [int(found.n_tokens.sum())] * n_layers,
            "magnitudes": list(found.magnitudes.numpy()),
        }
        data, n_rows = encode_numeric(columns, SUMS_LAYOUT)
        path = f"features/{self.statistics_id}.part-{self.demonstrations.start:05d}.parquet"
        return store.write_bytes(path, data, n_rows=n_rows)


@dataclass(frozen=True)
class CollectPartsJob(SetJob):
    """Make the statistics of a large demonstration set out of its parts."""

    parts: tuple[str, ...]
    """Ids of their records, in the order of their demonstrations."""
    token_scope: TokenScope = "all"

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The set and all parts."""
        return (*super().needs, *(("statistics_parts", one) for one in self.parts))

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """That of a small job."""
        return JobCost(self.step)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Add the parts' magnitudes in their order and write the record; the statistics lie there already.

        Raises:
            CorpusError: no token of any part counts.
            DamagedArtefactError: sums of magnitudes are missing or damaged.
        """
        files: list[Artefact] = []
        total, counts = torch.zeros((), dtype=torch.float64), {"n_demonstrations": 0, "n_tokens": 0}
        for one in self.parts:
            *statistics, sums = store.require("statistics_parts", one).artefacts
            files += statistics
            found: Any = decode_numeric(store.read_bytes(sums), SUMS_LAYOUT, path=sums.path)
            total = total + torch.from_numpy(found["magnitudes"].values.reshape(len(found["block"]), -1).copy())
            counts = {name: n + int(found[name][0]) for name, n in counts.items()}
        if not counts["n_tokens"]:
            raise CorpusError("no demonstration has tokens of this scope", token_scope=self.token_scope, got=0)
        store.write_record(statistics_record(store, self, files, sums=total, **counts))


def statistics_record(
    store: Store,
    job: ObserveJob | CollectPartsJob,
    files: list[Artefact],
    *,
    sums: Tensor,
    n_demonstrations: int,
    n_tokens: int,
) -> Record:
    """The record of a whole set's statistics, its features written.

    Args:
        job: makes it.
        files: of the statistics.
        sums: [n_blocks + 1, d] float64, magnitudes summed over all demonstrations.
        n_demonstrations: in the set.
        n_tokens: counted in it.
    """
    mean = sums / n_demonstrations
    artefact = store.require("demonstration_sets", job.demonstration_set_id).artefacts[0]
    kinds = np.unique(store.read_table(artefact, ["kind"])["kind"]).tolist()
    features = _write_features(store, job.identity.id, mean, kind=kinds[0] if len(kinds) == 1 else "mixed")
    row = {
        "statistics_id": job.identity.id,
        "base_model_id": job.model.base_model_id,
        "demonstration_set_id": job.demonstration_set_id,
        "propagation": "dense",
        "token_scope": job.token_scope,
        "n_demonstrations": n_demonstrations,
        "n_tokens": n_tokens,
    }
    rows = {"statistics": [row], "feature_magnitudes": _largest(job, mean)}
    return job.identity.record(artefacts=(*files, features), rows=rows)


def _write_features(store: Store, statistics_id: str, mean: Tensor, *, kind: str) -> Artefact:
    """The mean magnitude of every feature after every block; features of several kinds of text are called mixed."""
    n_layers, width = mean.shape
    columns: dict[str, list[Any]] = {
        "kind": [kind] * (n_layers * width),
        "block": [block for block in range(n_layers) for _ in range(width)],
        "feature": list(range(width)) * n_layers,
        "magnitude": mean.flatten().tolist(),
    }
    return store.write_table(f"features/{statistics_id}.parquet", columns, FEATURES_SCHEMA)


def _largest(job: ObserveJob | CollectPartsJob, mean: Tensor) -> list[dict[str, Any]]:
    """Catalog rows of the largest features of every block."""
    values = mean.numpy()
    return [
        {
            "statistics_id": job.identity.id,
            "base_model_id": job.model.base_model_id,
            "demonstration_set_id": job.demonstration_set_id,
            "block": block,
            "rank": rank,
            "feature": int(feature),
            "magnitude": float(values[block, feature]),
        }
        for block in range(len(values))
        for rank, feature in enumerate(top_features(values[block], min(N_LARGEST, values.shape[1])), start=1)
    ]
