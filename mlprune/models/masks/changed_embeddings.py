"""New values of the embedding and the head of a shard, and those of the base model that come back.

A variant of a quantised checkpoint has them. While it runs, the tensors of the base model stay in memory next to the
new ones, except an embedding whose rows are read on demand.
"""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from mlprune.errors import ShapeError

READS_ROWS, NEW_ROWS = "reads_rows", "new_rows"
"""Entries of an embedding whose rows are read on demand: that they are, and [n, d] values that are used instead."""


@runtime_checkable
class WithEmbeddings(Protocol):
    """Changes of a variant that can have new embeddings."""

    def embeddings(self) -> Mapping[str, Tensor]:
        """Return name in the checkpoint of the base model -> new values, any float dtype; empty if there are none."""


class ChangedEmbeddings:
    """The embedding and the head of a shard, each that of the base model or a new one.

    Args:
        model: the model of the shard; parts on disk are on the meta device until they are loaded.
        sources: parameter of the shard -> name in the checkpoint; two tied parameters have the same name.
    """

    def __init__(self, model: nn.Module, sources: Mapping[str, str]) -> None:
        self._model = model
        self._sources = sources
        self._new: dict[str, Tensor] = {}
        """Parameter -> new values."""
        self._dense: dict[str, nn.Parameter] = {}
        """Parameter that is replaced -> that of the base model."""

    @property
    def is_there(self) -> bool:
        """Whether the shard has an embedding or a head."""
        return bool(self._sources)

    def dense(self, module: nn.Module) -> Tensor:
        """Return the weight of the base model of the head or the embedding."""
        found = (weight for name, weight in self._dense.items() if self._module(name) is module)
        weight: Tensor = next(found, module.get_parameter("weight"))
        return weight

    def set(self, values: Mapping[str, Tensor]) -> bool:
        """Replace values by new ones; what is not listed is that of the base model. Returns whether anything changed.

        Args:
            values: name in the checkpoint -> values.
        Raises:
            ShapeError: new values have another shape.
        """
        new = {name: values[source] for name, source in self._sources.items() if source in values}
        for name, value in new.items():
            expected, got = tuple(self._module(name).get_parameter("weight").shape), tuple(value.shape)
            if expected != got and 0 not in expected:
                raise ShapeError("new embeddings do not fit the model", tensor=name, expected=expected, got=got)
        if not new and not self._new:
            return False
        for name in self._new:
            vars(self._module(name)).pop(NEW_ROWS, None)
            if name in self._dense and not self._module(name).get_parameter("weight").is_meta:
                self._module(name).weight = self._dense[name]
        self._dense.clear()
        self._new = new
        self.restore()
        return True

    def restore(self) -> None:
        """Replace values again, after a part of the shard was loaded from disk."""
        made: dict[str, nn.Parameter] = {}
        for name, value in self._new.items():
            module, source = self._module(name), self._sources[name]
            weight = module.get_parameter("weight")
            if READS_ROWS in vars(module):
                vars(module)[NEW_ROWS] = value
            elif not weight.is_meta:
                with torch.inference_mode(False):
                    made.setdefault(source, nn.Parameter(value.to(weight), requires_grad=False))
                self._dense[name] = weight
                module.weight = made[source]

    def _module(self, name: str) -> nn.Module:
        return self._model.get_submodule(name.rpartition(".")[0])
