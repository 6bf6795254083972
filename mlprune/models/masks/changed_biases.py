"""New biases in the layers of a shard, and the dense biases that come back bit for bit.

Biases are small: the new ones of all blocks, and the dense ones of the layers that have a new one, stay in memory. A
layer without a bias gets one while a variant adds it.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from mlprune.errors import ShapeError
from mlprune.models.families.records import Family
from mlprune.models.masks.dense_copies import LayerKey


class ChangedBiases:
    """The biases of some blocks, each dense or changed.

    Args:
        blocks: block -> module.
        family: family of the model.
    """

    def __init__(self, blocks: Mapping[int, nn.Module], family: Family) -> None:
        self._blocks = blocks
        self._family = family
        self._new: dict[int, Mapping[str, Tensor]] = {}
        """Block -> layer -> new bias; a block without new biases is missing."""
        self._dense: dict[LayerKey, Tensor] = {}
        """Dense biases of the layers whose module has a new one."""
        self._added: set[LayerKey] = set()
        """Layers without a dense bias whose module has one now."""

    def check(self, block: int, biases: Mapping[str, Tensor]) -> None:
        """Check that new biases fit the layers of a block.

        Raises:
            ModelError: a layer does not exist.
            ShapeError: a new bias does not fit its layer.
        """
        for layer, bias in biases.items():
            self._family.input_of(layer)
            expected = (self._weight(block, layer).shape[1 if self._family.transposed else 0],)
            if bias.shape != expected or not bias.is_floating_point():
                got = f"{bias.dtype} {tuple(bias.shape)}"
                raise ShapeError(
                    "a new bias does not fit its layer", block=block, layer=layer, expected=expected, got=got
                )

    def set(self, block: int, biases: Mapping[str, Tensor], *, is_loaded: bool) -> None:
        """Give layers of a block new biases; all other layers get their dense bias.

        Args:
            biases: layer -> [out], any float dtype.
            is_loaded: whether the block is in memory; otherwise `restore` applies the biases after it was loaded.
        """
        for layer in self._new.pop(block, ()):
            if (block, layer) in self._added:
                self._added.remove((block, layer))
                self._layer(block, layer).register_parameter("bias", None)
            elif is_loaded:
                _copy(self._bias(block, layer), self._dense.pop((block, layer)))
        if biases:
            self._new[block] = dict(biases)
        if is_loaded:
            self.restore(block)

    def restore(self, block: int) -> None:
        """Apply the new biases of a block to its dense biases, which were just loaded."""
        for layer, bias in self._new.get(block, {}).items():
            module = self._layer(block, layer)
            if (block, layer) in self._added or module._parameters.get("bias") is None:
                self._added.add((block, layer))
                added = nn.Parameter(bias.to(self._weight(block, layer)), requires_grad=False)
                module.register_parameter("bias", added)
            else:
                target = self._bias(block, layer)
                self._dense[block, layer] = target.detach().clone()
                _copy(target, bias)

    def _layer(self, block: int, layer: str) -> nn.Module:
        return self._blocks[block].get_submodule(layer)

    def _weight(self, block: int, layer: str) -> Tensor:
        return self._layer(block, layer).get_parameter("weight")

    def _bias(self, block: int, layer: str) -> Tensor:
        return self._layer(block, layer).get_parameter("bias")


def _copy(target: Tensor, values: Tensor) -> None:
    target.detach().copy_(values)
