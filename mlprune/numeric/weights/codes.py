"""Codes of rounded weights: levels of a group, packed integers, and dequantised weights.

A group is a number of consecutive inputs of one row. A weight of it is stored as a code q from 0 to 2^bits - 1 and read
as (q - z) * s, with the scale s and the zero point z of the group. Removed weights have the code z, so they are exactly
0. The scale is rounded to the dtype of the weights before any code is chosen, and a dequantised weight is
(q - z) * s in this dtype.

Inputs that are removed from all rows, those of removed heads and neurons, have no codes and belong to no group: groups
are counted over the inputs that remain, so that they stay groups when the others are cut out.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mlprune.errors import ShapeError
from mlprune.processes.parallel import parallel_map

_VALUES_OF_A_RUN = 32
"""Values whose packed bits fill whole words, for any number of bits."""
_WORD_BITS = 32
_UNPACKED_TOGETHER = 2**18
"""Values that are packed or unpacked at once, in whole rows. No value depends on it."""


@dataclass(frozen=True)
class CodeFormat:
    """The number of levels, and the weights that share them."""

    bits: int = 4
    group: int | None = 64
    """Consecutive inputs of a row with codes that share their levels; None for the whole row. The last group of a row
    is shorter if they do not divide the row."""
    symmetric: bool = True
    """Whether the levels are symmetric around 0. Otherwise they span the smallest to the largest weight of a group."""

    @property
    def highest(self) -> int:
        """The highest code."""
        return int(2**self.bits - 1)

    @property
    def middle(self) -> int:
        """The zero point of symmetric levels."""
        return int(2 ** (self.bits - 1))

    def n_groups(self, n_inputs: int) -> int:
        """Return the number of groups of a row."""
        return 1 if self.group is None else -(-n_inputs // self.group)

    def levels(self, weights: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return the scale and the zero point of one group of each row.

        Symmetric: s = max |w| / (2^(bits - 1) - 1) and z = 2^(bits - 1). Else s = (max(w, 0) - min(w, 0)) / (2^bits -
        1) and z = round(-min(w, 0) / s), so that 0 is always a level. A group of zeros has s = 1.

        Args:
            weights: [k, out] float64, the weights of the group; removed ones are 0.
            dtype: s is rounded to it.
        Returns: [out] float64 each.
        """
        low, high = weights.amin(dim=0).clamp_(max=0), weights.amax(dim=0).clamp_(min=0)
        wide = torch.maximum(-low, high) / (self.middle - 1) if self.symmetric else (high - low) / self.highest
        stored = wide.to(dtype).to(torch.float64)
        scale = torch.where(stored > 0, stored, 1.0)
        if self.symmetric:
            return scale, torch.full_like(scale, self.middle)
        return scale, torch.round(-low / scale).clamp_(0, self.highest)

    def codes(self, weights: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
        """Return the codes of weights, float64 of their shape: the nearest levels, ties to even.

        Args:
            weights: [..., out] float64; scale and zero are [out].
        """
        return (weights / scale).round_().add_(zero).clamp_(0, self.highest)


@dataclass(frozen=True)
class Codes:
    """The codes of one layer."""

    layout: CodeFormat
    values: Tensor
    """[out, inputs with codes] uint8."""
    scales: Tensor
    """[out, groups], in the dtype of the weights."""
    zeros: Tensor | None
    """[out, groups] uint8; None if symmetric."""
    kept: Tensor | None = None
    """[in] bool, True for inputs with codes, at least one; None if all have some. Weights of the others are 0."""

    def dequantised(self) -> Tensor:
        """Return the weights, [out, in] in the dtype of the scales."""
        coded = self._dequantised_values()
        if self.kept is None:
            return coded
        weights = coded.new_zeros(len(coded), len(self.kept))
        weights[:, self.kept] = coded
        return weights

    def cut(self, rows: Tensor | None = None) -> "Codes":
        """Return the codes of some rows, [n] int64 or all, in a layer without the inputs that have no codes."""

        def of_rows(tensor: Tensor) -> Tensor:
            return tensor if rows is None else tensor.index_select(0, rows)

        zeros = None if self.zeros is None else of_rows(self.zeros)
        return Codes(self.layout, of_rows(self.values), of_rows(self.scales), zeros)

    def tensors(self) -> dict[str, Tensor]:
        """Return what is stored, on the CPU. `kept` is stored only if some inputs have no codes.

        `shape` has the number of inputs with codes, the bits, and the group, 0 for a row.

        The n-th value of a row has the bits n * bits to (n + 1) * bits - 1 of the row, the lowest first; bit i of a row
        is bit i mod 32 of its word i div 32. With 4 and 8 bits, a word has 8 and 4 values; a value of 3 bits can be in
        two words.
        """
        shape = torch.tensor([self.values.shape[1], self.layout.bits, self.layout.group or 0])
        packed = {"codes": _packed(self.values, self.layout.bits), "scales": self.scales, "shape": shape}
        others = {name: tensor for name, tensor in (("zeros", self.zeros), ("kept", self.kept)) if tensor is not None}
        return {name: tensor.cpu().contiguous() for name, tensor in {**packed, **others}.items()}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> "Codes":
        """Return the codes that `tensors` gave.

        Raises:
            ShapeError: a tensor is missing, or they do not fit together.
        """
        names = {"codes", "scales", "shape"}
        if not names <= set(tensors) <= names | {"zeros", "kept"} or tensors["shape"].shape != (3,):
            raise ShapeError("codes of a layer lack a tensor", expected=sorted(names), got=sorted(tensors))
        n_inputs, bits, group = tensors["shape"].tolist()
        zeros, kept, scales, words = tensors.get("zeros"), tensors.get("kept"), tensors["scales"], tensors["codes"]
        layout = CodeFormat(bits, group or None, symmetric=zeros is None)
        n_rows = len(scales)
        expected = ((n_rows, -(-n_inputs * bits // _WORD_BITS)), (n_rows, layout.n_groups(n_inputs)))
        if (words.shape, scales.shape) != expected or (zeros is not None and zeros.shape != scales.shape):
            got = tuple(tuple(one.shape) for one in (words, scales))
            raise ShapeError("codes of a layer do not fit together", expected=expected, got=got)
        if kept is not None and (kept.dtype != torch.bool or int(kept.sum()) != n_inputs):
            raise ShapeError("codes of a layer do not fit its inputs", expected=n_inputs, got=int(kept.sum()))
        return cls(layout, _unpacked(words, bits, n_inputs), scales, zeros, kept)

    def _dequantised_values(self) -> Tensor:
        n_inputs, dtype = self.values.shape[1], self.scales.dtype
        repeats = n_inputs if self.layout.group is None else self.layout.group

        def spread(of_groups: Tensor) -> Tensor:
            return of_groups.repeat_interleave(repeats, dim=1)[:, :n_inputs]

        zeros = self.layout.middle if self.zeros is None else spread(self.zeros).to(torch.int16)
        return (self.values.to(torch.int16) - zeros).to(dtype).mul_(spread(self.scales))


def coded_tensors(layers: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return `LAYER/NAME` -> tensor from what `Codes.tensors` gave for each layer."""
    return {f"{layer}/{name}": tensor for layer, tensors in layers.items() for name, tensor in tensors.items()}


def codes_of_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Codes]:
    """Return layer -> its codes, of what `coded_tensors` gave; other tensors are ignored.

    Raises:
        ShapeError: the codes of a layer do not fit together.
    """
    coded: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for path, tensor in tensors.items():
        layer, is_coded, name = path.rpartition("/")
        if is_coded:
            coded[layer][name] = tensor
    return dict(zip(coded, parallel_map(Codes.of_tensors, coded.values()), strict=True))


def coded_inputs(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return layer -> [in] bool, the inputs with codes, of layers with inputs without codes; codes stay packed."""
    return {path.removesuffix("/kept"): tensor for path, tensor in tensors.items() if path.endswith("/kept")}


def dequantised_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return layer -> [out, in] of stored codes; other tensors stay as they are.

    Raises:
        ShapeError: the codes of a layer do not fit together.
    """
    codes = codes_of_tensors(tensors)
    weights = parallel_map(Codes.dequantised, codes.values())
    plain = {path: tensor for path, tensor in tensors.items() if "/" not in path}
    return plain | dict(zip(codes, weights, strict=True))


def _packed(values: Tensor, bits: int) -> Tensor:
    """Return [out, ceil(in * bits / 32)] int32 of values, [out, in] uint8; see `Codes.tensors`."""
    n_rows, n_inputs = values.shape
    n_words = -(-n_inputs * bits // _WORD_BITS)
    packed = torch.empty(n_rows, n_words, dtype=torch.int32, device=values.device)
    for rows in _chunks(n_rows, n_inputs):
        padded = torch.nn.functional.pad(values[rows], (0, -n_inputs % _VALUES_OF_A_RUN))
        runs = padded.to(torch.int64).view(len(padded), -1, _VALUES_OF_A_RUN)
        words = runs.new_zeros(len(padded), runs.shape[1], bits)
        for number in range(_VALUES_OF_A_RUN):
            word, shift = divmod(number * bits, _WORD_BITS)
            words[..., word] |= (runs[..., number] << shift) & (2**_WORD_BITS - 1)
            if shift + bits > _WORD_BITS:
                words[..., word + 1] |= runs[..., number] >> (_WORD_BITS - shift)
        signed = torch.where(words >= 2**31, words - 2**_WORD_BITS, words)
        packed[rows] = signed.view(len(padded), -1)[:, :n_words].to(torch.int32)
    return packed


def _unpacked(packed: Tensor, bits: int, n_inputs: int) -> Tensor:
    """Return [out, in] uint8 of packed values; the inverse of `_packed`."""
    n_rows, n_words = packed.shape
    values = torch.empty(n_rows, n_inputs, dtype=torch.uint8, device=packed.device)
    for rows in _chunks(n_rows, n_inputs):
        padded = torch.nn.functional.pad(packed[rows], (0, -n_words % bits))
        words = (padded.to(torch.int64) & (2**_WORD_BITS - 1)).view(len(padded), -1, bits)
        runs = words.new_empty(len(padded), words.shape[1], _VALUES_OF_A_RUN)
        for number in range(_VALUES_OF_A_RUN):
            word, shift = divmod(number * bits, _WORD_BITS)
            value = words[..., word] >> shift
            if shift + bits > _WORD_BITS:
                value = value | (words[..., word + 1] << (_WORD_BITS - shift))
            runs[..., number] = value & (2**bits - 1)
        values[rows] = runs.view(len(padded), -1)[:, :n_inputs].to(torch.uint8)
    return values


def _chunks(n_rows: int, n_inputs: int) -> list[slice]:
    together = max(1, _UNPACKED_TOGETHER // max(1, n_inputs))
    return [slice(start, start + together) for start in range(0, n_rows, together)]
