"""Structures of plug-ins are checked: how many weights they remove, that masks nest, and that they are pure."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mlprune.errors import PluginError
from mlprune.methods.plugins import PluginParameters, PluginSource, StructurePlugin
from mlprune.plugins import Parameters
from mlprune.pruning.plugin_calls.structures import plugin_levels

SOURCE = PluginSource("0" * 64, "bad-structures", "2.0")
SCORES = torch.rand(4, 8, generator=torch.Generator().manual_seed(3))


def levels(function: Callable[..., Any], *sparsities: float, **attributes: Any) -> Tensor:
    plugin = StructurePlugin("for a test", name="planted", function=function, **attributes)
    return plugin_levels(
        plugin,
        SCORES.clone(),
        sparsities=sparsities or (0.25, 0.5),
        parameters=PluginParameters(),
        source=SOURCE,
        position=(2, "fc1"),
        repeats=True,
    )


def columns(scores: Tensor, sparsity: float, _: Parameters) -> Tensor:
    """Remove the share of the columns with the lowest sums."""
    lowest = scores.sum(0).argsort(stable=True)[: int(sparsity * scores.shape[1])]
    keep = torch.ones_like(scores, dtype=torch.bool)
    keep[:, lowest] = False
    return keep


def column_numbers(shape: tuple[int, int], sparsity: float, _: Parameters) -> int:
    return int(sparsity * shape[1]) * shape[0]


def test_levels_are_the_first_sparsity_that_removes_a_weight() -> None:
    found = levels(columns, 0.0, 0.25, 0.5, 0.75, n_removed=column_numbers)
    order = SCORES.sum(0).argsort(stable=True)
    assert found.dtype == torch.uint8
    assert found[:, order].tolist() == [[1, 1, 2, 2, 3, 3, 4, 4]] * 4


def test_without_n_removed_the_share_of_the_matrix_is_removed() -> None:
    def lowest(scores: Tensor, sparsity: float, _: Parameters) -> Tensor:
        keep = torch.ones(32, dtype=torch.bool)
        keep[scores.flatten().argsort()[: int(sparsity * 32)]] = False
        return keep.reshape(4, 8)

    assert int((levels(lowest, 0.3) == 0).sum()) == 9


def _one_less(scores: Tensor, sparsity: float, parameters: Parameters) -> Tensor:
    keep = columns(scores, sparsity, parameters)
    keep[0, int(keep[0].logical_not().nonzero()[0])] = True
    return keep


def _other_end(scores: Tensor, sparsity: float, parameters: Parameters) -> Tensor:
    return columns(scores if sparsity < 0.5 else -scores, sparsity, parameters)


def _sorts(scores: Tensor, sparsity: float, parameters: Parameters) -> Tensor:
    keep = columns(scores, sparsity, parameters)
    scores.numpy().sort()
    return keep


BAD: dict[str, tuple[Callable[..., Any], str, dict[str, Any]]] = {
    "raises": (lambda *_: {}["rows"], "KeyError", {}),
    "returns nothing": (lambda *_: None, "no tensor", {}),
    "returns levels": (lambda scores, *_: columns(scores, 0.25, Parameters()).int(), "shape, dtype", {}),
    "returns a mask per column": (lambda scores, *_: scores.sum(0) > 1, "shape, dtype", {}),
    "removes one weight less": (_one_less, "another number", {"n_removed": column_numbers}),
    "removes everything": (lambda scores, *_: scores > 2, "another number", {}),
    "does not nest": (_other_end, "lower sparsity removes", {}),
    "sorts the scores": (_sorts, "changes its arguments", {}),
    "counts by a fraction": (columns, "whole number", {"n_removed": lambda shape, sparsity, _: sparsity * shape[1]}),
    "counts too many": (columns, "whole number", {"n_removed": lambda shape, *_: shape[0] * shape[1]}),
    "cannot count": (columns, "KeyError", {"n_removed": lambda *_: {}["size"]}),
    "draws the columns": (lambda scores, s, p: columns(torch.rand_like(scores), s, p), "another result", {}),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_structure_is_refused_in_one_line_with_block_and_layer(name: str) -> None:
    function, expected, attributes = BAD[name]
    with pytest.raises(PluginError, match=expected) as raised:
        levels(function, **attributes)
    assert "\n" not in str(raised.value)
    where = {"structure": "planted", "source": "bad-structures 2.0", "block": 2, "layer": "fc1"}
    assert {key: raised.value.context[key] for key in where} == where


def test_masks_that_do_not_nest_are_right_one_at_a_time() -> None:
    assert int((levels(_other_end, 0.5) == 0).sum()) == 16
