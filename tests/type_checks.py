"""Compare a model that runs in shards with transformers' own forward: logits, sums of squares, a mask, its export."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from mlprune.models.architecture.architecture import Architecture, oriented
from mlprune.models.checkpoint.weight_files import WeightFiles, weight_name
from mlprune.models.inference.observation import StatisticsVisitor
from mlprune.models.local_chain import LocalChain, local_chain
from mlprune.models.messages import TokenBatch
from tests.tiny_models import PAD, WINDOW

LENGTHS = (2 * WINDOW + 3, WINDOW, 1, 2 * WINDOW)
"""Tokens of the texts; the first is longer than the window of blocks with sliding attention."""
N_SHARDS = 2

LayerKey = tuple[int, str]


def padded_texts() -> tuple[Tensor, Tensor]:
    """Return [b, s] ids, padded on the right, and the mask of real tokens."""
    mask = torch.arange(max(LENGTHS)).unsqueeze(0) < torch.tensor(LENGTHS).unsqueeze(1)
    ids = torch.randint(3, 259, mask.shape, generator=torch.Generator().manual_seed(0))
    return torch.where(mask, ids, PAD), mask


def check_model(folder: Path, copy: Path, *, atol: float = 1e-5) -> Architecture:
    """Check that the shards of a model compute what transformers computes.

    Args:
        folder: the model in one weight file.
        copy: new folder for the model with a mask.
        atol: tolerance of logits; that of sums is twice it.
    Raises:
        ModelError: the model is refused.
        AssertionError: the results differ.
    """
    chain = local_chain(folder, n_shards=N_SHARDS)
    architecture = chain.shards[0].runner.architecture
    model = load(folder)
    check_causal(model)
    check_logits(chain, model, atol=atol)
    check_sums(chain, model, architecture, rtol=2 * atol)
    masks = random_masks(chain, architecture)
    for shard in chain.shards:
        shard.masks.set_all({key: mask for key, mask in masks.items() if key[0] in shard.runner.blocks})
    write_masked(folder, copy, architecture, masks)
    check_logits(chain, load(copy), atol=atol)
    return architecture


def load(folder: Path) -> Any:
    """Load a model with transformers."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def check_causal(model: Any) -> None:
    """Check that no token reads later ones."""
    tokens, _ = padded_texts()
    with torch.inference_mode():
        whole, start = (model(tokens[:1, :length], use_cache=False).logits for length in (LENGTHS[0], LENGTHS[1]))
    torch.testing.assert_close(whole[:, : LENGTHS[1]], start, rtol=1e-3, atol=1e-3)


def check_logits(chain: LocalChain, model: Any, *, atol: float) -> None:
    """Check the logits of padded texts against those of each text alone."""
    tokens, mask = padded_texts()
    runners = [shard.runner for shard in chain.shards]
    with torch.inference_mode():
        states = runners[0].embed(tokens, mask)
        for runner in runners:
            for block in runner.blocks:
                states = runner.step(block, states)
        last = runners[-1]
        logits = last.logits_of(last.head(last.apply_final_norm(states.hidden)))
        for row, length in enumerate(LENGTHS):
            alone = model(tokens[row : row + 1, :length], use_cache=False).logits[0]
            torch.testing.assert_close(logits[row, :length], alone, rtol=1e-5, atol=atol)


def check_sums(chain: LocalChain, model: Any, architecture: Architecture, *, rtol: float = 2e-5) -> None:
    """Check the sums of squares of the inputs of all layers against hooks on the model."""
    tokens, mask = padded_texts()
    observed = next(chain.stream(StatisticsVisitor, [TokenBatch(tokens, mask, mask)]))
    for row, length in enumerate(LENGTHS):
        for (block, layer), read in inputs_of_layers(model, architecture, tokens[row : row + 1, :length]).items():
            sums = observed.sums[block, architecture.block(block).input_of(layer)][row]
            torch.testing.assert_close(sums, read.square().sum(0), rtol=rtol, atol=rtol / 2)


def inputs_of_layers(model: Any, architecture: Architecture, tokens: Tensor) -> dict[LayerKey, Tensor]:
    """Return (block, layer) -> [tokens, in] of every layer outside of experts, also of those that share one input.

    Raises:
        AssertionError: a layer did not run, or the layers run in another order.
    """
    inputs: dict[LayerKey, Tensor] = {}
    keys, handles = [], []
    for block, module in enumerate(model.get_submodule(architecture.blocks)):
        kind = architecture.block(block)
        for layer in (layer for layer in kind.layers if not kind.is_routed(layer)):

            def keep(_: Any, args: tuple[Tensor, ...], key: LayerKey = (block, layer)) -> None:
                inputs[key] = args[0].reshape(-1, args[0].shape[-1]).clone()

            keys.append((block, layer))
            handles.append(module.get_submodule(layer).register_forward_pre_hook(keep))
    with torch.inference_mode():
        model(tokens, use_cache=False)
    for handle in handles:
        handle.remove()
    assert set(inputs) == set(keys)
    return inputs


def random_masks(chain: LocalChain, architecture: Architecture) -> dict[LayerKey, Tensor]:
    """Return (block, layer) -> [out, in] bool for all layers, about half of it True."""
    generator = torch.Generator().manual_seed(0)
    modules = {block: module for shard in chain.shards for block, module in shard.runner.modules.items()}
    return {
        (block, layer): torch.rand(
            oriented(module.get_submodule(layer).get_parameter("weight"), architecture.block(block)).shape,
            generator=generator,
        )
        < 0.5
        for block, module in modules.items()
        for layer in architecture.block(block).layers
    }


def write_masked(folder: Path, copy: Path, architecture: Architecture, masks: Mapping[LayerKey, Tensor]) -> None:
    """Write a model with masked weights: the tensors of the file under the names of the layers."""
    files = WeightFiles(folder, architecture)
    (name,) = files.file_names
    tensors = load_file(folder / name)
    for (block, layer), mask in masks.items():
        removed = ~(mask.T if architecture.block(block).transposed else mask)
        for part in files.parts(weight_name(architecture, block, layer)):
            rows = part.view_of(tensors[part.name])
            rows[removed[: rows.shape[0]]] = 0
            removed = removed[rows.shape[0] :]
    copy.mkdir()
    save_file(tensors, copy / name, metadata={"format": "pt"})
    (copy / "config.json").write_bytes((folder / "config.json").read_bytes())
