"""Units of a sensitivity analysis: parts of the model that are pruned alone."""

from dataclasses import dataclass

from mlprune.json_values import JsonObject
from mlprune.pruning.spec import Scope
from mlprune.vocabulary import UnitName


@dataclass(frozen=True)
class Unit:
    """A block, a layer in all blocks, or a layer of one block."""

    block: int | None = None
    """None: all blocks."""
    layer: str | None = None
    """None: all layers."""

    @property
    def name(self) -> str:
        """Key of the unit in the catalog: `3`, `fc1` or `3.fc1`."""
        return ".".join(str(part) for part in (self.block, self.layer) if part is not None)

    @property
    def columns(self) -> JsonObject:
        """Columns of the catalog."""
        return {"unit": self.name, "block": self.block, "layer": self.layer}

    def includes(self, block: int, layer: str) -> bool:
        """Whether a layer of a block is part of the unit."""
        return self.block in (None, block) and self.layer in (None, layer)


def units_of(kind: UnitName, scope: Scope, *, n_blocks: int, layers: tuple[str, ...]) -> tuple[Unit, ...]:
    """Return the units of a kind inside a scope, in the order of the model.

    Args:
        n_blocks: of the model.
        layers: of a block.
    """
    blocks = [block for block in range(n_blocks) if not scope.blocks or block in scope.blocks]
    names = [layer for layer in layers if not scope.layers or layer in scope.layers]
    if kind == "block":
        return tuple(Unit(block) for block in blocks)
    if kind == "layer":
        return tuple(Unit(layer=layer) for layer in names)
    return tuple(Unit(block, layer) for block in blocks for layer in names)
