"""Load a model whose blocks have different widths; needs torch and transformers only.

    from load_smaller import load  # the file is in the exported folder
    model = load("the/exported/folder")

`config.json` is that of the original model. The weights have fewer rows and columns, and `smaller.json` has the
attributes of modules that depend on them.
"""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open  # transformers depends on safetensors
from transformers import AutoModelForCausalLM
from transformers.utils import logging


def load(folder: str | Path, **options: Any) -> Any:
    """Return the model of a folder, ready to run.

    Args:
        options: of `AutoModelForCausalLM.from_pretrained`, such as `dtype`.
    """
    folder = Path(folder)
    changes = json.loads((folder / "smaller.json").read_text("utf-8"))
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # a line per tensor that does not have its original shape
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, ignore_mismatched_sizes=True, **options)
    finally:
        logging.set_verbosity(verbosity)
    parameters = dict(model.named_parameters())
    for name, tensor in _tensors(folder, changes["narrowed"]):
        path, _, leaf = name.rpartition(".")
        module, dtype = model.get_submodule(path), parameters[name].dtype
        setattr(module, leaf, torch.nn.Parameter(tensor.to(dtype), requires_grad=parameters[name].requires_grad))
        if leaf == "weight":
            names = ("out_features", "in_features") if hasattr(module, "in_features") else ("nx", "nf")
            for attribute, size in zip(names, tensor.shape, strict=True):
                setattr(module, attribute, size)
    for name, value in changes["attributes"].items():
        path, _, attribute = name.rpartition(".")
        if path.endswith(".config"):
            owner = model.get_submodule(path.removesuffix(".config"))
            owner.config = copy.copy(owner.config)
            setattr(owner.config, attribute, value)
        else:
            setattr(model.get_submodule(path), attribute, value)
    for path, kept in changes["alibi_heads"].items():
        _select_alibi(model.get_submodule(path), kept, n_heads=changes["n_heads"])
    return model.eval()


def _tensors(folder: Path, names: dict[str, str]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors whose shapes changed; `names` has, for each, its file and its name in the file."""
    for name, place in names.items():
        file, _, stored = place.partition(":")
        with safe_open(str(folder / file), framework="pt") as opened:
            yield name, opened.get_tensor(stored)


def _select_alibi(attention: torch.nn.Module, kept: list[int], *, n_heads: int) -> None:
    """Give an attention module the position biases of the heads that it still has."""

    def select(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        alibi = kwargs["alibi"]
        by_head = alibi.view(-1, n_heads, *alibi.shape[1:])
        return args, {**kwargs, "alibi": by_head[:, kept].flatten(0, 1)}

    attention.register_forward_pre_hook(select, with_kwargs=True)
