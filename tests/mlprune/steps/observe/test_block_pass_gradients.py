"""Variants whose scores read gradients, compared with masks from backward passes of the model's own code in float64."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from mlprune.errors import BadInputError
from mlprune.models.families.records import FAMILIES
from mlprune.steps.rescore.verify import verify_variant
from tests.method_reference import INPUT_OF, LAYERS
from tests.mlprune.models.gradients.gradient_reference import Gradients, root_mean_squares
from tests.tiny_recipes import FinishedRun, finished_run, small_recipe

Key = tuple[int, str]
ALPHA = 100.0


def gradient_recipe() -> dict[str, Any]:
    """One set, and the score that reads gradients."""
    recipe = small_recipe()
    shared = {"demonstrations": "mt", "sparsity": 0.5}
    recipe["variants"] = [
        {"name": "regional", "score": "wanda_plus_plus", **shared, "propagation": ["dense", "sequential"]},
    ]
    recipe["evaluations"] = []
    return recipe


@pytest.fixture(scope="module")
def run(tiny_inputs: Path) -> FinishedRun:
    return finished_run(tiny_inputs, gradient_recipe(), name="gradients")


def texts(run: FinishedRun) -> Sequence[Sequence[int]]:
    (variant,) = run.named("regional", "dense")
    record = run.store.require("demonstration_sets", variant.sets[0].id)
    rows: Sequence[Sequence[int]] = run.store.read_table(record.artefacts[0])["token_ids"]
    return rows


@pytest.fixture(scope="module")
def in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)  # XGLM's code creates a constant in the default dtype
    yield
    torch.set_default_dtype(torch.float32)


def root_means(run: FinishedRun, loss_of: Callable[[Any, Tensor, dict[int, Tensor]], Tensor]) -> Gradients:
    """Root of the mean over texts of the squared gradients of a loss of (model, tokens, block -> its output)."""
    model = AutoModelForCausalLM.from_pretrained(run.folder / "model", dtype=torch.float64).eval()
    after: dict[int, Tensor] = {}
    for block, module in enumerate(model.model.layers):
        module.register_forward_hook(lambda _, args, output, block=block: after.update({block: output}))
    tokens = (torch.tensor([list(text)], dtype=torch.int64) for text in texts(run))
    return root_mean_squares(model, FAMILIES["xglm"], (loss_of(model, one, after) for one in tokens))


def kept(scores: Tensor) -> Tensor:
    """The higher half of every row."""
    mask = torch.ones(scores.shape, dtype=torch.bool)
    return mask.scatter_(1, scores.argsort(dim=1, stable=True)[:, : scores.shape[1] // 2], value=False)


def test_masks_of_wanda_plus_plus_are_those_of_the_formula_in_float64(run: FinishedRun, in_float64: None) -> None:
    model = AutoModelForCausalLM.from_pretrained(run.folder / "model", dtype=torch.float64).eval()
    squares: dict[Key, Tensor] = {}
    for block, module in enumerate(model.model.layers):
        for name in dict.fromkeys(INPUT_OF.values()):

            def add(_: Any, args: tuple[Tensor, ...], key: Key = (block, name)) -> None:
                squares[key] = squares.get(key, 0) + (args[0][0].detach() ** 2).sum(dim=0) / len(texts(run))

            module.get_submodule(name).register_forward_pre_hook(add)
    for text in texts(run):
        model(torch.tensor([list(text)], dtype=torch.int64))
    (variant,) = run.named("regional", "dense")
    (sequential,) = run.named("regional", "sequential")
    masks, swept = run.keep_masks(variant.id), run.keep_masks(sequential.id)
    for block, module in enumerate(model.model.layers):
        # only the own block's weights: a loss of one block has gradients in the blocks before it, too
        gradients = root_means(run, lambda _model, tokens, after, block=block: (_model(tokens), after[block].norm())[1])
        for layer in LAYERS:
            norms = squares[block, INPUT_OF[layer]].sqrt()
            weight = module.get_submodule(layer).weight.detach()
            expected = kept(weight.abs() * (ALPHA * gradients[block, layer] + norms))
            assert torch.equal(masks[block, layer], expected)
            if block == 0:
                assert torch.equal(swept[block, layer], expected)
    assert any(not torch.equal(masks[key], mask) for key, mask in swept.items())


def test_dense_masks_are_rebuilt_from_stored_gradients_and_those_of_a_sweep_are_not(run: FinishedRun) -> None:
    (variant,) = run.named("regional", "dense")
    assert verify_variant(run.store, run.store.require("variants", variant.id), run.folder / "model").is_equal
    (sequential,) = run.named("regional", "sequential")
    with pytest.raises(BadInputError, match="not stored"):
        verify_variant(run.store, run.store.require("variants", sequential.id), run.folder / "model")
