"""Exponents of the weight spectra of the dense model, for schedule alpha_pruning (step `prune`); they need no data."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from mlprune.errors import StatisticsError
from mlprune.json_values import JsonObject, as_float, as_int
from mlprune.models.checkpoint.weight_files import read_block
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.allocation.tail_exponents import CUTOFFS, CutoffName, layer_tail, spectrum
from mlprune.processes.parallel import parallel_map
from mlprune.pruning.schedules import BlockValue
from mlprune.steps.job import ChainLoader, ModelRef, RecordJob, RecordKey
from mlprune.steps.job_cost import JobCost, SetSizes
from mlprune.steps.prune.block_values.rows import value_rows
from mlprune.steps.prune.cost import spectra_cost
from mlprune.steps.small_job import SmallJob
from mlprune.store.store import Store


@dataclass(frozen=True)
class SpectraJob(RecordJob):
    """Fit the tails of the spectra of one block's layers, with each cut-off (Lu et al., arXiv:2410.10912)."""

    step: ClassVar[str] = "prune"
    model: ModelRef
    block: int

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """No records."""
        return ()

    @property
    def reads_block(self) -> int:
        """The block."""
        return self.block

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """The eigenvalues of all layers of a block."""
        return spectra_cost(self.step, sizes)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Compute the spectra, one layer per thread."""
        weights = read_block(Path(self.model.path), self.block, dtype=self.model.dtype)
        rows = list(parallel_map(lambda layer: self._rows(layer, weights), weights))
        store.write_record(self.identity.record(rows={"layer_spectra": [row for of_layer in rows for row in of_layer]}))

    def _rows(self, layer: str, weights: Mapping[str, Tensor]) -> list[JsonObject]:
        """Return one row per cut-off."""
        values = spectrum(weights[layer])
        common: JsonObject = {
            "spectra_id": self.identity.id,
            "base_model_id": self.model.base_model_id,
            "block": self.block,
            "layer": layer,
            "n_weights": weights[layer].numel(),
            "n_eigenvalues": len(values),
            "largest": float(values[-1]) if len(values) else 0.0,
        }
        rows: list[JsonObject] = []
        for cutoff in CUTOFFS:
            try:
                tail = layer_tail(values, cutoff)
            except StatisticsError as err:
                raise StatisticsError(
                    "alpha_pruning cannot use a layer whose singular values are all equal, such as one of zeros",
                    block=self.block,
                    layer=layer,
                    next="another schedule, or a model without such a layer",
                ) from err
            fitted = {"exponent": tail.exponent, "n_tail": tail.n, "smallest": tail.smallest, "distance": tail.distance}
            rows.append({**common, "cutoff": cutoff, **fitted})
        return rows


@dataclass(frozen=True)
class MeanExponentsJob(SmallJob):
    """Average the exponents of the layers of each block."""

    step: ClassVar[str] = "prune"
    model: ModelRef
    cutoff: CutoffName
    spectra: tuple[str, ...]
    """Ids of the blocks' records."""

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The spectra of all blocks."""
        return tuple(("spectra", spectra_id) for spectra_id in self.spectra)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write the mean over the layers of each block, each layer counted once, as the published code has it."""
        values = [self._value(store, spectra_id) for spectra_id in self.spectra]
        base_model_id, name = self.model.base_model_id, f"{self.cutoff}_exponent"
        rows = value_rows(self.identity.id, values, base_model_id=base_model_id, name=name)
        store.write_record(self.identity.record(rows={"block_values": rows}))

    def _value(self, store: Store, spectra_id: str) -> BlockValue:
        rows = store.require("spectra", spectra_id).rows["layer_spectra"]
        chosen = [row for row in rows if row["cutoff"] == self.cutoff]
        mean = sum(as_float(row["exponent"]) for row in chosen) / len(chosen)
        return BlockValue(mean, sum(as_int(row["n_weights"]) for row in chosen))
