"""Files of a dense pass block by block: Gram matrices, sums of features and gradients."""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mlprune.errors import DamagedArtefactError, StatisticsError
from mlprune.methods import StatisticsName
from mlprune.models.hooks import ROUTED
from mlprune.models.messages import SweepObservation
from mlprune.numeric.activations.feature_sums import FeatureSums
from mlprune.numeric.activations.gram import packed_triangle, unpacked_triangle
from mlprune.processes.parallel import parallel_map
from mlprune.pruning.block_inputs import OnAccess
from mlprune.steps.observe.expert_tokens import counted, write_counts
from mlprune.steps.observe.statistics import SUMS_LAYOUT
from mlprune.steps.observe.statistics_files import DemonstrationSums, matrix_column, numeric_columns, write_part
from mlprune.store.parquet import decode_numeric, encode_numeric
from mlprune.store.records import Artefact
from mlprune.store.store import Store

PRODUCTS, SUMS, GRADIENTS = "products", "sums", "gradients"
"""Folders of the store."""
PRODUCT_FILES = 2
"""Files of Gram matrices of experts of a block in memory while its layers are pruned."""
N_TOKENS = "n_tokens"
"""Tensor of a file of sums: [n] int64, counted tokens of each demonstration."""
Batches = Mapping[Hashable, "PassBatch"]


def write_products(
    store: Store, owner: str, block: int, products: Mapping[str, Tensor], *, experts: range | None = None
) -> Artefact:
    """Write the upper triangles of Gram matrices of one block, input -> [n * (n + 1) / 2] float64.

    Args:
        owner: id of the record.
        products: input -> [in, in] float64; the elements below the diagonal are not read.
        experts: those of a file of experts; None for the file of the block.
    """
    packed = dict(zip(products, parallel_map(packed_triangle, products.values()), strict=True))
    part = "" if experts is None else f".experts-{experts.start:05d}"
    return store.write_bytes(block_path(PRODUCTS, owner, block, part=part), save(packed))


def read_block_products(store: Store, artefacts: Iterable[Artefact], block: int) -> Mapping[str, Tensor]:
    """Return input -> [in, in] float64, symmetric, of one block; if experts have files of their own, on access.

    Args:
        artefacts: all artefacts of the record; only the files of the block are opened.
    Raises:
        DamagedArtefactError: a file is missing, differs from its record, or contains something else.
        StatisticsError: the record has no file of the block.
    """
    files = _files(artefacts, block, folder=PRODUCTS)
    if len(files) == 1:
        packed = _load(store, files[0])
        return dict(zip(packed, parallel_map(unpacked_triangle, packed.values()), strict=True))
    file_of = {name: file for file in files for name in _load(store, file)}
    read = lru_cache(maxsize=PRODUCT_FILES)(partial(_load, store))
    return OnAccess(tuple(file_of), lambda name: unpacked_triangle(read(file_of[name])[name]))


def write_feature_sums(
    store: Store, owner: str, block: int, sums: Mapping[str, FeatureSums], *, n_tokens: Tensor
) -> Artefact:
    """Write the sums of features of one block.

    Args:
        owner: id of the record.
        sums: input -> sums of all demonstrations, in their order.
        n_tokens: [n] int64, counted tokens of each demonstration.
    """
    tensors = {N_TOKENS: n_tokens.contiguous()}
    for name, of_input in sums.items():
        tensors |= {f"{name}.sums": of_input.sums.contiguous(), f"{name}.deviations": of_input.deviations.contiguous()}
    return store.write_bytes(block_path(SUMS, owner, block), save(tensors))


def read_block_sums(store: Store, artefacts: Iterable[Artefact], block: int) -> tuple[dict[str, FeatureSums], Tensor]:
    """Return input -> sums of all demonstrations of one block, and [n] int64, their counted tokens.

    Args and Raises: as for `read_block_products`.
    """
    tensors = _read(store, artefacts, block, folder=SUMS)
    names = [name.removesuffix(".sums") for name in tensors if name.endswith(".sums")]
    sums = {name: FeatureSums(tensors[f"{name}.sums"], tensors[f"{name}.deviations"]) for name in names}
    return sums, tensors[N_TOKENS]


def write_gradients(store: Store, owner: str, block: int, gradients: Mapping[str, Tensor]) -> Artefact:
    """Write the regional gradients of one block, layer -> [out, in] float32."""
    tensors = {layer: gradient.to(device="cpu", dtype=torch.float32) for layer, gradient in gradients.items()}
    data = save({layer: tensor.contiguous() for layer, tensor in tensors.items()})
    return store.write_bytes(block_path(GRADIENTS, owner, block), data)


def read_block_gradients(store: Store, artefacts: Iterable[Artefact], block: int) -> dict[str, Tensor]:
    """Return layer -> [out, in] float32 of one block; args and raises as for `read_block_products`."""
    return _read(store, artefacts, block, folder=GRADIENTS)


def block_path(folder: str, owner: str, block: int, *, part: str = "") -> str:
    """Return the path of the file of one block, or of a part of it."""
    return f"{folder}/{owner}/block-{block:03d}{part}.safetensors"


def _read(store: Store, artefacts: Iterable[Artefact], block: int, *, folder: str) -> dict[str, Tensor]:
    (file,) = _files(artefacts, block, folder=folder)
    return _load(store, file)


def _files(artefacts: Iterable[Artefact], block: int, *, folder: str) -> list[Artefact]:
    name = f"/block-{block:03d}."
    files = [one for one in artefacts if one.path.startswith(f"{folder}/") and name in one.path]
    if not files:
        raise StatisticsError("statistics of a block are missing", block=block, folder=folder)
    return files


def _load(store: Store, file: Artefact) -> dict[str, Tensor]:
    try:
        return dict(load(store.read_bytes(file)))
    except SafetensorError as err:
        raise DamagedArtefactError("a file of statistics is damaged", path=file.path, reason=str(err)) from err


@dataclass(frozen=True)
class PassBatch:
    """A batch whose hidden states are in the shards."""

    part: int
    """Number of the part of the set."""
    demonstrations: tuple[int, ...]
    """Indices from 0 for the first demonstration of the part."""
    n_tokens: tuple[int, ...]
    """Counted tokens of each demonstration."""


@dataclass(frozen=True)
class BlockFiles:
    """The function that a shard calls to write the observation of one block; see `Shard.sweep_write`. Picklable."""

    store_uri: str
    block: int
    statistics_id: str
    owners: Mapping[StatisticsName, str]
    """Further statistics -> id of their record."""
    parts: tuple[range, ...]
    batches: Batches
    experts: Mapping[range, tuple[str, ...]] = field(default_factory=dict)
    """Files of Gram matrices of experts of this pass -> their inputs."""

    def __call__(self, observation: SweepObservation) -> tuple[Artefact, ...]:
        """Write statistics, sums of magnitudes and the further statistics of the block."""
        return tuple(self._files(Store(self.store_uri), observation))

    def _files(self, store: Store, observation: SweepObservation) -> Iterator[Artefact]:
        n_tokens = []
        for number, part in enumerate(self.parts):
            keys = self._keys(number)
            n_tokens.append(torch.tensor([n for key in keys for n in self.batches[key].n_tokens])[self._order(keys)])
            sums = self._in_order(keys, [observation.sums[key] for key in keys])
            sums.pop(ROUTED, None)
            yield write_part(store, self.statistics_id, self.block, DemonstrationSums(part, n_tokens[-1], sums))
        yield self._write_magnitudes(store, observation)
        if of_experts := [of_batch[ROUTED] for of_batch in observation.sums.values() if ROUTED in of_batch]:
            yield write_counts(store, self._features_path, {self.block: counted(of_experts)})
        if "sums" in self.owners:
            sums_of_set = self._feature_sums(observation)
            yield write_feature_sums(store, self.owners["sums"], self.block, sums_of_set, n_tokens=torch.cat(n_tokens))
        if "products" in self.owners:
            yield from self.products(store, observation)
        if "gradients" in self.owners:
            (gradients,) = observation.gradients.values()
            yield write_gradients(store, self.owners["gradients"], self.block, gradients)

    def products(self, store: Store, observation: SweepObservation) -> Iterator[Artefact]:
        """Write Gram matrices: those of the block, except of experts with files of their own, and the latter."""
        (products,) = observation.products_of_sets.values()
        apart = {name for inputs in self.experts.values() for name in inputs}
        of_block = {name: matrix for name, matrix in products.items() if name not in apart}
        if of_block:
            yield write_products(store, self.owners["products"], self.block, of_block)
        for numbers, inputs in self.experts.items():
            of_file = {name: products[name] for name in inputs}
            yield write_products(store, self.owners["products"], self.block, of_file, experts=numbers)

    def _feature_sums(self, observation: SweepObservation) -> dict[str, FeatureSums]:
        """Return input -> sums of all demonstrations, in their order."""
        parts = []
        for number in range(len(self.parts)):
            keys = self._keys(number)
            found = [observation.feature_sums[key] for key in keys]
            tables = [
                self._in_order(keys, [{name: getattr(one, column) for name, one in of.items()} for of in found])
                for column in ("sums", "deviations")
            ]
            parts.append(tables)
        return {
            name: FeatureSums(*(torch.cat([tables[column][name] for tables in parts]) for column in (0, 1)))
            for name in parts[0][0]
        }

    def _write_magnitudes(self, store: Store, observation: SweepObservation) -> Artefact:
        """Write the sums of the magnitudes after the block, and of the embeddings before the first one, per part."""
        depths = (0, 1) if self.block == 0 else (self.block + 1,)
        rows: list[tuple[int, int, int, Tensor]] = []
        for number, part in enumerate(self.parts):
            keys = self._keys(number)
            total = torch.zeros((), dtype=torch.float64)
            for key in keys:
                of_batch = torch.stack([observation.magnitudes[depth, key] for depth in depths])
                total = total + of_batch.to(torch.float64).sum(dim=1)
            n_tokens = sum(sum(self.batches[key].n_tokens) for key in keys)
            rows += [(depth, len(part), n_tokens, values) for depth, values in zip(depths, total, strict=True)]
        columns: dict[str, Sequence[object] | np.ndarray] = {
            "depth": [row[0] for row in rows],
            "n_demonstrations": [row[1] for row in rows],
            "n_tokens": [row[2] for row in rows],
            "magnitudes": [row[3].numpy() for row in rows],
        }
        data, n_rows = encode_numeric(numeric_columns(columns), SUMS_LAYOUT)
        return store.write_bytes(f"{self._features_path}.parquet", data, n_rows=n_rows)

    @property
    def _features_path(self) -> str:
        return f"features/{self.statistics_id}.block-{self.block:03d}"

    def _keys(self, number: int) -> list[Hashable]:
        return [key for key, batch in self.batches.items() if batch.part == number]

    def _order(self, keys: Sequence[Hashable]) -> Tensor:
        """Return the positions of the demonstrations of a part in its batches."""
        return torch.tensor([index for key in keys for index in self.batches[key].demonstrations]).argsort()

    def _in_order(self, keys: Sequence[Hashable], batches: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Return input -> [n, in] of a part, in the order of its demonstrations."""
        order = self._order(keys)
        return {name: torch.cat([of_batch[name] for of_batch in batches])[order] for name in batches[0]}


@dataclass(frozen=True)
class ProductFiles:
    """The function that a shard calls to write the Gram matrices of some experts of a block. Picklable."""

    of_block: BlockFiles

    def __call__(self, observation: SweepObservation) -> tuple[Artefact, ...]:
        """Write the files of the experts of this pass."""
        return tuple(self.of_block.products(Store(self.of_block.store_uri), observation))


def part_sums(store: Store, artefacts: Sequence[Artefact]) -> Tensor:
    """Return [n_blocks + 1, d] float64: the sums of magnitudes of all parts, added in the order of the parts.

    Args:
        artefacts: files of the sums of magnitudes, in the order of the blocks.
    """
    blocks: list[Tensor] = []
    for artefact in artefacts:
        columns = decode_numeric(store.read_bytes(artefact), SUMS_LAYOUT, path=artefact.path)
        values = torch.from_numpy(matrix_column(columns, "magnitudes").copy())
        n_depths = 2 if not blocks else 1
        total = torch.zeros((), dtype=torch.float64)
        for part in torch.split(values, n_depths):
            total = total + part
        blocks.append(total)
    return torch.cat(blocks)
