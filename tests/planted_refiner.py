"""A refiner for tests: it swaps the first removed and the first kept weight of every row, or of a group of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from mlprune.methods import REFINERS, Parameters, Refiner, parameter
from mlprune.numeric.refinement.refined_layer import RefinedLayer
from mlprune.numeric.refinement.registry import REFINER_FUNCTIONS
from mlprune.numeric.weights.layer_inputs import LayerInputs

NAME = "planted"


@dataclass(frozen=True)
class PlantedParameters(Parameters):
    """Parameters of the planted refiner."""

    factor: float = parameter(1.0, "factor of the kept weights", above=0)


def swap_once(inputs: LayerInputs, keep: Tensor, *, structure: str, parameters: Any) -> RefinedLayer:
    """Swap one pair of weights of each row, and multiply the kept weights by the factor."""
    size = int(structure.partition(":")[2]) if ":" in structure else keep.shape[1]
    refined = keep.clone()
    n_swaps = torch.zeros(len(keep), dtype=torch.int32)
    for row, kept in enumerate(keep):
        for group in range(0, len(kept), size):
            inside = kept[group : group + size]
            if 0 < int(inside.sum()) < size:
                refined[row, group + int((~inside).nonzero()[0])] = True
                refined[row, group + int(inside.nonzero()[0])] = False
                n_swaps[row] += 1
                break
    weight = inputs.weight.float() * refined * parameters.factor if parameters.factor != 1 else None
    return RefinedLayer(refined, weight, n_swaps)


def plant(monkeypatch: pytest.MonkeyPatch, **attributes: Any) -> None:
    """Register the refiner until the end of the test."""
    refiner = Refiner("swaps one weight per row", parameters=PlantedParameters, **attributes)
    _add(monkeypatch, REFINERS, refiner)
    _add(monkeypatch, REFINER_FUNCTIONS, swap_once)


def _add(monkeypatch: pytest.MonkeyPatch, registry: Mapping[str, Any], entry: Any) -> None:
    assert isinstance(registry, dict)
    monkeypatch.setitem(registry, NAME, entry)
