"""Observe jobs: activation statistics and feature magnitudes of a demonstration set, in one pass of the dense model.

Statistics serve every score and sparsity with `dense` propagation. A small set is one job. A large set is one job per
part and a job that collects the parts in order, so the numbers do not depend on the worker of a part, and a finished
part is not run again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlprune.corpus.token_languages import SetLanguages
from mlprune.errors import CorpusError
from mlprune.json_values import JsonObject, JsonValue
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.masks.keep_masks import top_features
from mlprune.steps.job import EMPTY_SET, ChainLoader, Identity, JobCost, ModelRef, RecordKey, SetSize, SetSizes
from mlprune.steps.observe.dense_pass import DensePassJob, SetJob, StatisticsAccumulator, observe_set, statistics_cost
from mlprune.steps.observe.expert_tokens import SUFFIX, TABLE, Counts, expert_rows, read_counts, write_counts
from mlprune.steps.observe.statistics_files import array_column, matrix_column, numeric_columns
from mlprune.store.parquet import Layout, decode_numeric, encode_numeric
from mlprune.store.records import Artefact, Record
from mlprune.store.store import Store
from mlprune.vocabulary import TokenScope

FEATURES_SCHEMA = {"kind": "string", "depth": "int32", "feature": "int32", "magnitude": "double"}
"""Columns of a features file. Depth 0 is the output of the embeddings, depth l the output of the l-th block."""

SUMS_LAYOUT = Layout(
    "feature_sums",
    1,
    {"depth": "int32", "n_demonstrations": "int64", "n_tokens": "int64", "magnitudes": "list<double>"},
)
"""Sums of magnitudes over the demonstrations of one part, one row per block."""

N_LARGEST = 20
"""Number of largest features per block in the catalog."""


@dataclass(frozen=True)
class ObserveJob(DensePassJob):
    """Run a demonstration set that is one part through the dense model."""

    token_scope: TokenScope = "all"

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """One pass over the set."""
        size = sets.get(self.demonstration_set_id, EMPTY_SET)
        return statistics_cost(self.step, sizes, size, batch_tokens=self.batch_tokens)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Run all batches, then write statistics, features and record."""
        statistics = observe_set(store, chain(), self)
        files = statistics.write(store, self.identity.id)
        totals = SetTotals(
            statistics.magnitudes,
            len(statistics.demonstrations),
            int(statistics.n_tokens.sum()),
            statistics.expert_counts,
        )
        store.write_record(statistics_record(store, self, files, totals=totals))


@dataclass(frozen=True)
class ObservePartJob(DensePassJob):
    """Run one part of a large demonstration set through the dense model."""

    statistics_id: str
    """Id of the statistics of the whole set; it names the files."""
    demonstrations: range
    token_scope: TokenScope = "all"

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """One pass over the part."""
        whole, n = sets.get(self.demonstration_set_id, EMPTY_SET), len(self.demonstrations)
        size = SetSize(whole.n_tokens * n // max(1, whole.n_demonstrations), n)
        return statistics_cost(self.step, sizes, size, batch_tokens=self.batch_tokens)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Run the batches of the part, then write its statistics, its sums of magnitudes and the record."""
        statistics = observe_set(store, chain(), self, demonstrations=self.demonstrations)
        files = statistics.write(store, self.statistics_id)
        files.append(self._write_sums(store, statistics))
        if statistics.expert_counts:
            files.append(write_counts(store, self._features_path, statistics.expert_counts))
        store.write_record(self.identity.record(artefacts=tuple(files)))

    @property
    def _features_path(self) -> str:
        return f"features/{self.statistics_id}.part-{self.demonstrations.start:05d}"

    def _write_sums(self, store: Store, statistics: StatisticsAccumulator) -> Artefact:
        n_rows = len(statistics.magnitudes)
        columns = {
            "depth": list(range(n_rows)),
            "n_demonstrations": [len(statistics.demonstrations)] * n_rows,
            "n_tokens": [int(statistics.n_tokens.sum())] * n_rows,
            "magnitudes": list(statistics.magnitudes.numpy()),
        }
        data, n_rows = encode_numeric(numeric_columns(columns), SUMS_LAYOUT)
        return store.write_bytes(f"{self._features_path}.parquet", data, n_rows=n_rows)


@dataclass(frozen=True)
class CollectPartsJob(SetJob):
    """Join the statistics of the parts of a large demonstration set."""

    parts: tuple[str, ...]
    """Ids of the parts' records, in the order of their demonstrations."""
    token_scope: TokenScope = "all"

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The set and all its parts."""
        return (*super().needs, *(("statistics_parts", part) for part in self.parts))

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """The cost of a small job."""
        return JobCost.small(self.step)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Sum the magnitudes of the parts in order and write the record; the parts' jobs have written the statistics.

        Raises:
            CorpusError: no token of any part counts.
            DamagedArtefactError: a file with sums of magnitudes is missing or damaged.
        """
        files: list[Artefact] = []
        total = torch.zeros((), dtype=torch.float64)
        n_demonstrations = n_tokens = 0
        experts: list[Artefact] = []
        for part in self.parts:
            artefacts = store.require("statistics_parts", part).artefacts
            of_experts = [artefact for artefact in artefacts if artefact.path.endswith(SUFFIX)]
            *statistics, sums = (artefact for artefact in artefacts if artefact not in of_experts)
            files += statistics
            experts += of_experts
            columns = decode_numeric(store.read_bytes(sums), SUMS_LAYOUT, path=sums.path)
            total = total + torch.from_numpy(matrix_column(columns, "magnitudes").copy())
            n_demonstrations += int(array_column(columns, "n_demonstrations")[0])
            n_tokens += int(array_column(columns, "n_tokens")[0])
        if not n_tokens:
            raise CorpusError("no demonstration has tokens of this scope", token_scope=self.token_scope, got=0)
        totals = SetTotals(total, n_demonstrations, n_tokens, read_counts(store, experts))
        store.write_record(statistics_record(store, self, files, totals=totals))


class SetTotals(NamedTuple):
    """What was observed of all demonstrations of a set together."""

    magnitudes: Tensor
    """[n_blocks + 1, d] float64, summed over the demonstrations."""
    n_demonstrations: int
    n_tokens: int
    """Counted tokens."""
    expert_counts: Counts
    """Those that reach each expert."""


class ObservesSet(Protocol):
    """A job that makes the record of the statistics of a set."""

    @property
    def identity(self) -> Identity:
        """Identity of the statistics."""

    @property
    def model(self) -> ModelRef:
        """The model."""

    @property
    def demonstration_set_id(self) -> str:
        """The set."""

    @property
    def token_scope(self) -> TokenScope:
        """The tokens that count."""


def statistics_record(store: Store, job: ObservesSet, files: Sequence[Artefact], *, totals: SetTotals) -> Record:
    """Write the features of a whole set and return the record of its statistics.

    Args:
        job: the job that makes the record.
        files: statistics files.
        totals: of the whole set.
    """
    mean = totals.magnitudes / totals.n_demonstrations
    artefact = store.require("demonstration_sets", job.demonstration_set_id).artefacts[0]
    kinds = np.unique(store.read_table(artefact, ["kind"])["kind"]).tolist()
    features = _write_features(store, job.identity.id, mean, kind=kinds[0] if len(kinds) == 1 else "mixed")
    row: dict[str, JsonValue] = {
        "statistics_id": job.identity.id,
        "base_model_id": job.model.base_model_id,
        "demonstration_set_id": job.demonstration_set_id,
        "propagation": "dense",
        "token_scope": job.token_scope,
        "n_demonstrations": totals.n_demonstrations,
        "n_tokens": totals.n_tokens,
    }
    keys = {name: row[name] for name in ("statistics_id", "base_model_id", "demonstration_set_id")}
    rows = {"statistics": [row], "feature_magnitudes": largest_features(mean.numpy(), keys)}
    if totals.expert_counts:
        languages = SetLanguages.of(store, store.require("demonstration_sets", job.demonstration_set_id))
        rows[TABLE] = list(
            expert_rows(job.identity.id, job.demonstration_set_id, languages.groups, totals.expert_counts)
        )
    return job.identity.record(artefacts=(*files, features), rows=rows)


def _write_features(store: Store, statistics_id: str, mean: Tensor, *, kind: str) -> Artefact:
    """Write the mean magnitude of every feature after every block. A set with several kinds of text is `mixed`."""
    n_layers, width = mean.shape
    columns: dict[str, Sequence[object]] = {
        "kind": [kind] * (n_layers * width),
        "depth": [depth for depth in range(n_layers) for _ in range(width)],
        "feature": list(range(width)) * n_layers,
        "magnitude": mean.flatten().tolist(),
    }
    return store.write_table(f"features/{statistics_id}.parquet", columns, FEATURES_SCHEMA)


def largest_features(mean: NDArray[np.float64], keys: JsonObject) -> list[dict[str, JsonValue]]:
    """Return catalog rows of the largest features after every block.

    Args:
        mean: [n_blocks + 1, d] mean magnitudes of a set.
        keys: columns of every row.
    """
    return [
        {**keys, "depth": depth, "rank": rank, "feature": int(feature), "magnitude": float(mean[depth, feature])}
        for depth in range(len(mean))
        for rank, feature in enumerate(top_features(mean[depth], min(N_LARGEST, mean.shape[1])), start=1)
    ]
