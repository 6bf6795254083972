"""A checkpoint with fewer experts, heads or neurons than its base model, read in the shapes of the base model.

Which of them remain follows from equal values, block by block: experts from the rows of the router, heads and neurons
from their rows and columns, unless the folder states them (`KEPT_FILE`). They keep their order. Removed weights are
read as 0; other tensors that belong to removed parts, such as rows of a router or biases, have the values of the base
model.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mlprune.errors import BadInputError
from mlprune.json_values import as_int, as_list, as_object
from mlprune.models.architecture.architecture import Architecture, Experts, oriented
from mlprune.models.architecture.units import (
    EXPERT_KEYS,
    HEAD_KEYS,
    KEPT_FILE,
    LOADER_FILE,
    KeptUnits,
    UnitLayout,
    n_attention_heads,
    unit_layouts,
)
from mlprune.models.checkpoint.weight_files import TensorFiles, WeightFiles, bias_name, read_json_object, weight_name


def stored(files: TensorFiles, name: str) -> Tensor:
    """Read a tensor in its stored dtype."""
    return files.read(name, files.dtype(name))


@dataclass(frozen=True)
class _Place:
    """Where a tensor of the base model is in the checkpoint."""

    name: str | None
    """None: in a part that is removed."""
    dimension: int = 0
    indices: Tensor | None = None
    """[n] int64, the places along the dimension that remain; None: all."""


class WiderFiles:
    """The weight files of a checkpoint in the shapes of its base model; see the module.

    Args:
        base: of the base model.
        own: of the checkpoint, which has as many blocks.
        folders: of the base model and of the checkpoint.
        names: the tensors of the base model; without them, only prunable layers are found.
    Raises:
        BadInputError: on access to a block, if its experts, heads or neurons are not some of the base model's.
    """

    def __init__(
        self, base: WeightFiles, own: WeightFiles, folders: tuple[Path, Path], names: Iterable[str] = ()
    ) -> None:
        self._base, self._own = base, own
        self._base_folder, self._own_folder = folders
        self._names = tuple(names)
        self._narrower: set[str] = set()
        self._places: dict[int, dict[str, _Place]] = {}

    @property
    def architecture(self) -> Architecture:
        """The architecture of the checkpoint."""
        return self._own.architecture

    @property
    def keys_of_kinds(self) -> dict[str, set[str]]:
        """`experts`, `heads` and `neurons` -> the keys of the config for their number."""
        neurons = {self._base.architecture.neurons_key or "intermediate_size"}
        heads = {*HEAD_KEYS, "num_key_value_heads", self._base.architecture.head_width_key or "head_dim"}
        return {"experts": {*EXPERT_KEYS}, "heads": heads, "neurons": neurons}

    def narrow_keys(self) -> set[str]:
        """Return the keys of the config for the numbers of those of experts, heads and neurons that are fewer.

        Raises:
            BadInputError: they are not some of the base model's.
        """
        for block in range(self._base.architecture.n_blocks):
            self._of_block(block)
        return {key for kind, keys in self.keys_of_kinds.items() if kind in self._narrower for key in keys}

    def has(self, name: str) -> bool:
        """Whether the checkpoint has a tensor, or the part that it belongs to is removed."""
        own = self._place(name).name
        return own is None or self._own.has(own)

    def dtype(self, name: str) -> torch.dtype:
        """Stored dtype of a tensor; of a removed part, that of the base model."""
        own = self._place(name).name
        return self._base.dtype(name) if own is None else self._own.dtype(own)

    def read(self, name: str, dtype: torch.dtype) -> Tensor:
        """Read one tensor in the shape of the base model.

        Raises:
            ModelError: the checkpoint has no such tensor, or the file is damaged.
        """
        place = self._place(name)
        if place.name is not None and place.indices is None:
            return self._own.read(place.name, dtype)
        block, relative = self._base.architecture.split_name(name)
        layer, _, leaf = relative.rpartition(".")
        is_weight = block is not None and leaf == "weight" and layer in self._base.architecture.block(block).layers
        values = self._base.read(name, dtype)
        values = torch.zeros_like(values) if is_weight else values.clone()
        if place.name is not None and place.indices is not None:
            values.index_copy_(place.dimension, place.indices, self._own.read(place.name, dtype))
        return values

    def _place(self, name: str) -> _Place:
        block, _ = self._base.architecture.split_name(name)
        return _Place(name) if block is None else self._of_block(block).get(name, _Place(name))

    def _of_block(self, block: int) -> dict[str, _Place]:
        """Return tensor of the base model -> its place, of those that are elsewhere or have another shape."""
        if block not in self._places:
            self._places[block] = dict((*self._experts(block), *self._units(block)))
        return self._places[block]

    def _experts(self, block: int) -> Iterator[tuple[str, _Place]]:
        base, architecture = self._base.architecture.block(block).experts, self._base.architecture
        own = self.architecture.block(block).experts
        if base is None or own is None or base.n_experts == own.n_experts:
            return
        kept = self._kept_experts(block, base)
        number_of = {expert: number for number, expert in enumerate(kept)}
        for expert in range(base.n_experts):
            for position, layer in enumerate(base.layers(expert)):
                for name_of in (weight_name, bias_name):
                    name, number = name_of(architecture, block, layer), number_of.get(expert)
                    if self._base.has(name):
                        layers = () if number is None else own.layers(number)
                        yield name, _Place(name_of(architecture, block, layers[position]) if layers else None)
        for name in self._names:
            if architecture.split_name(name)[0] == block and self._base.has(name) and self._own.has(name):
                sizes = zip(self._base.shape(name), self._own.shape(name), strict=False)
                different = [(number, size) for number, size in enumerate(sizes) if size[0] != size[1]]
                if len(different) == 1 and different[0][1] == (base.n_experts, own.n_experts):
                    yield name, _Place(name, different[0][0], torch.tensor(kept))

    def _kept_experts(self, block: int, experts: Experts) -> list[int]:
        """Return the experts of the base model whose rows of the router the checkpoint has."""
        name = f"{self._base.architecture.blocks}.{block}.{experts.router}.weight"
        base, own = (stored(files, name).float() for files in (self._base, self._own))
        return self._found("experts", block, _subsequence(base, own, may_be_zero=False), expected="rows of the router")

    def _units(self, block: int) -> Iterator[tuple[str, _Place]]:
        architecture = self._base.architecture
        kind, base, own = architecture.block(block), self._base.layer_shapes(block), self._own.layer_shapes(block)
        if all(base[layer] == own.get(layer) for layer in base if not kind.is_routed(layer)):
            return
        for layout in unit_layouts(kind, base, read_json_object(self._base_folder / "config.json")):
            n_own = own[layout.output][1] * layout.n_units // base[layout.output][1]
            if n_own == layout.n_units:
                continue
            if layout.kind == "heads":
                self._require_equal_heads(block, layout, n_own)
            kept = torch.zeros(layout.n_units, dtype=torch.bool)
            stated = self._stated_units(block, layout, n_own)
            kept[self._kept_units(block, layout, n_own) if stated is None else stated] = True
            for layer, remaining in KeptUnits(layout, kept).slices.items():
                is_row = remaining.rows is not None
                indices = remaining.rows if is_row else remaining.columns
                weight, bias = (name_of(architecture, block, layer) for name_of in (weight_name, bias_name))
                places = [_Place(weight, int(is_row == kind.transposed), indices)]
                places += [_Place(bias, 0, indices)] if is_row and self._base.has(bias) else []
                for name, place in zip((weight, bias), places, strict=False):
                    self._require_narrowed(layout.kind, block, name, place)
                    yield name, place

    def _require_narrowed(self, kind: str, block: int, name: str, place: _Place) -> None:
        """Check that a tensor has the shape of the base model's, apart from the dimension with fewer entries."""
        expected = list(self._base.shape(name))
        assert place.indices is not None, "the tensor is narrower"
        expected[place.dimension] = len(place.indices)
        if self._own.shape(name) != tuple(expected):
            raise self._not_some_of(kind, block, expected=f"{name} of shape {tuple(expected)}")

    def _stated_units(self, block: int, layout: UnitLayout, n_own: int) -> list[int] | None:
        """Return the units that an export says to have kept; None if it does not say. Their values may be new."""
        if not (self._own_folder / KEPT_FILE).exists():
            return None
        try:
            blocks = as_list(read_json_object(self._own_folder / KEPT_FILE)["blocks"])
            units = [as_int(unit) for unit in as_list(as_object(blocks[block])[layout.kind])]
        except (KeyError, IndexError, TypeError, ValueError) as err:
            raise self._not_some_of(layout.kind, block, expected=f"their numbers in {KEPT_FILE}") from err
        if len(units) != n_own or units != sorted(set(units)) or not all(0 <= one < layout.n_units for one in units):
            expected = f"{n_own} ascending numbers below {layout.n_units} in {KEPT_FILE}"
            raise self._not_some_of(layout.kind, block, expected=expected)
        self._narrower.add(layout.kind)
        return units

    def _kept_units(self, block: int, layout: UnitLayout, n_own: int) -> list[int]:
        """Return the units of the base model whose weights the checkpoint has; weights that are 0 fit any."""
        kind = self._base.architecture.block(block)
        values = []
        for files, n_units in ((self._base, layout.n_units), (self._own, n_own)):
            parts = []
            for layer, owners, is_row in (
                *((layer, owners, True) for layer, owners in layout.rows.items()),
                (layout.output, layout.columns, False),
            ):
                name = weight_name(files.architecture, block, layer)
                weight = oriented(stored(files, name), kind)
                order = torch.argsort(owners[owners < n_units], stable=True)
                rows = weight if is_row else weight.T
                if len(rows) != len(order):
                    raise self._not_some_of(layout.kind, block, expected=f"{len(order)} features of {name}")
                parts.append(rows[order].reshape(n_units, -1).float())
            values.append(torch.cat(parts, dim=1))
        found = _subsequence(*values, may_be_zero=True)
        return self._found(layout.kind, block, found, expected="unchanged rows and columns")

    def _require_equal_heads(self, block: int, layout: UnitLayout, n_own: int) -> None:
        """Check that the heads of a checkpoint have the width and the positions of the base model's.

        A folder with a loader has the config of the base model, and gives each head its own positions.
        """
        if (self._own_folder / LOADER_FILE).exists():
            return
        n_heads, n_own_heads = (
            n_attention_heads(read_json_object(folder / "config.json"))
            for folder in (self._base_folder, self._own_folder)
        )
        if n_own_heads * layout.n_units != n_heads * n_own:
            raise self._not_some_of("heads", block, expected="heads of the same width")
        if self._base.architecture.alibi is not None:
            raise self._not_some_of("heads", block, expected="positions that do not depend on heads")

    def _found(self, kind: str, block: int, indices: list[int] | None, *, expected: str) -> list[int]:
        if not indices:
            raise self._not_some_of(kind, block, expected=expected)
        self._narrower.add(kind)
        return indices

    def _not_some_of(self, kind: str, block: int, *, expected: str) -> BadInputError:
        message = f"a checkpoint with fewer {kind} can be adopted only if they are some of its base model's, in order"
        context = {"path": str(self._own_folder), "base": str(self._base_folder)}
        return BadInputError(message, context, block=block, expected=expected)


def _subsequence(base: Tensor, own: Tensor, *, may_be_zero: bool) -> list[int] | None:
    """Return for each row of `own` which row of `base` it is, ascending; None if it is not a part of them in order.

    Args:
        base: [n, k].
        own: [m, k].
        may_be_zero: whether a value of `own` that is 0 fits any.
    """
    found: list[int] = []
    for number, row in enumerate(base):
        if len(found) < len(own):
            candidate = own[len(found)]
            if torch.equal(row, candidate) or (may_be_zero and bool(((row == candidate) | (candidate == 0)).all())):
                found.append(number)
    return found if len(found) == len(own) else None
