"""Files of a dense pass block by block: Gram matrices, sums of features and gradients, one file of each per block."""

from collections.abc import Iterable, Mapping

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mlprune.errors import DamagedArtefactError, StatisticsError
from mlprune.numeric.activations.feature_sums import FeatureSums
from mlprune.numeric.activations.packed_triangle import packed_triangle, unpacked_triangle
from mlprune.processes.parallel import parallel_map
from mlprune.store.records import Artefact
from mlprune.store.store import Store

PRODUCTS, SUMS, GRADIENTS = "products", "sums", "gradients"
"""Folders of the store."""
N_TOKENS = "n_tokens"
"""Tensor of a file of sums: [n] int64, counted tokens of each demonstration."""


def write_products(store: Store, owner: str, block: int, products: Mapping[str, Tensor]) -> Artefact:
    """Write the upper triangles of the Gram matrices of one block, input -> [n * (n + 1) / 2] float64.

    Args:
        owner: id of the record.
        products: input -> [in, in] float64; the elements below the diagonal are not read.
    """
    packed = dict(zip(products, parallel_map(packed_triangle, products.values()), strict=True))
    return store.write_bytes(block_path(PRODUCTS, owner, block), save(packed))


def read_block_products(store: Store, artefacts: Iterable[Artefact], block: int) -> dict[str, Tensor]:
    """Return input -> [in, in] float64, symmetric, of one block.

    Args:
        artefacts: all artefacts of the record; only the file of the block is opened.
    Raises:
        DamagedArtefactError: the file is missing, differs from its record, or contains something else.
        StatisticsError: the record has no file of the block.
    """
    packed = _read(store, artefacts, block, folder=PRODUCTS)
    return dict(zip(packed, parallel_map(unpacked_triangle, packed.values()), strict=True))


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


def block_path(folder: str, owner: str, block: int) -> str:
    """Return the path of the file of one block."""
    return f"{folder}/{owner}/block-{block:03d}.safetensors"


def _read(store: Store, artefacts: Iterable[Artefact], block: int, *, folder: str) -> dict[str, Tensor]:
    name = f"/block-{block:03d}.safetensors"
    files = [one for one in artefacts if one.path.startswith(f"{folder}/") and one.path.endswith(name)]
    if not files:
        raise StatisticsError("statistics of a block are missing", block=block, folder=folder)
    try:
        return dict(load(store.read_bytes(files[0])))
    except SafetensorError as err:
        path, reason = files[0].path, str(err)
        raise DamagedArtefactError("a file of statistics is damaged", path=path, reason=reason) from err
