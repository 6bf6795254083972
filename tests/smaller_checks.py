"""Cut heads and neurons out of a tiny model, and compare it with the model that has zeros in their place."""

import json
import shutil
from pathlib import Path

import torch
from torch import Tensor

from mlprune.capabilities.publishing.export import make_smaller
from mlprune.models.architecture.architecture import Architecture
from mlprune.models.architecture.units import LOADER_FILE, unit_layouts
from mlprune.models.checkpoint.weight_files import WeightFiles
from mlprune.models.load_smaller import load as load_smaller
from tests.type_checks import LayerKey, load, padded_texts, write_masked


def check_smaller(folder: Path, work: Path, architecture: Architecture, *, atol: float = 1e-5) -> None:
    """Check the models without the first head and the first neuron of the first block, and of all blocks.

    Args:
        folder: a model in one weight file.
        work: an empty folder.
        atol: tolerance of logits.
    Raises:
        AssertionError: the logits of a smaller model differ from those of the model with zeros.
    """
    for name, blocks in (("first", range(1)), ("all", range(architecture.n_blocks))):
        masks = _without_first_units(folder, architecture, blocks)
        if masks:
            write_masked(folder, work / name, architecture, masks)
            expected = _logits(load(work / name))
            smaller = Path(shutil.copytree(work / name, work / f"{name}-smaller"))
            make_smaller(smaller, architecture, ((key, ~mask) for key, mask in masks.items()))
            model = load_smaller(smaller) if (smaller / LOADER_FILE).exists() else load(smaller)
            torch.testing.assert_close(_logits(model), expected, rtol=1e-5, atol=atol)


def _without_first_units(folder: Path, architecture: Architecture, blocks: range) -> dict[LayerKey, Tensor]:
    """Return (block, layer) -> keep mask without the first unit of each kind, of which a block needs several."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    files = WeightFiles(folder, architecture)
    masks: dict[LayerKey, Tensor] = {}
    for block in blocks:
        shapes = files.layer_shapes(block)
        for layout in unit_layouts(architecture.block(block), shapes, config):
            if layout.n_units > 1:
                removed = torch.arange(layout.n_units) == 0
                masks |= {(block, layer): mask for layer, mask in layout.keep_masks(removed, shapes).items()}
    return masks


def _logits(model: object) -> Tensor:
    assert callable(model)
    with torch.inference_mode():
        logits: Tensor = model(padded_texts()[0][:1], use_cache=False).logits
    return logits
