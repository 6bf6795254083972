"""Load a model whose blocks have different widths; needs torch and transformers only.

    from load_smaller import load  # the file is in the exported folder
    model = load("the/exported/folder")

`config.json` is that of the original model. The weights have fewer rows and columns, and `smaller.json` has the
attributes of modules that depend on them. The model is built with these shapes, so it takes its own size of memory.
"""

import copy
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig


def load(folder: str | Path, **options: Any) -> Any:
    """Return the model of a folder, ready to run.

    Args:
        options: of `from_pretrained`, such as `dtype`.
    """
    folder = Path(folder)
    original = MODEL_FOR_CAUSAL_LM_MAPPING[type(AutoConfig.from_pretrained(folder))]

    def build(self: Any, *args: Any, **settings: Any) -> None:
        original.__init__(self, *args, **settings)
        narrow(self, folder)

    narrowed: Any = type(original.__name__, (original,), {"__init__": build, "__module__": original.__module__})
    return narrowed.from_pretrained(folder, **options).eval()


def narrow(model: Any, folder: Path) -> None:
    """Give a new model, built from the config of a folder, the widths of its weights."""
    changes = json.loads((folder / "smaller.json").read_text("utf-8"))
    for name, place in changes["narrowed"].items():
        file, _, stored = place.partition(":")
        with safe_open(str(folder / file), framework="pt") as opened:
            narrow_parameter(model, name, opened.get_slice(stored).get_shape())
    _set_attributes(model, changes["attributes"])
    for path, kept in changes["alibi_heads"].items():
        _select_alibi(model.get_submodule(path), kept, n_heads=changes["n_heads"])


def narrow_parameter(model: Any, name: str, shape: list[int]) -> None:
    """Replace a parameter of a model by one of another shape, without values."""
    path, _, leaf = name.rpartition(".")
    module, dense = model.get_submodule(path), model.get_parameter(name)
    setattr(module, leaf, torch.nn.Parameter(dense.new_empty(shape), requires_grad=dense.requires_grad))
    if leaf == "weight":
        names = ("out_features", "in_features") if hasattr(module, "in_features") else ("nx", "nf")
        for attribute, size in zip(names, shape, strict=True):
            setattr(module, attribute, size)


def _set_attributes(model: Any, attributes: dict[str, Any]) -> None:
    for name, value in attributes.items():
        path, _, attribute = name.rpartition(".")
        if path.endswith(".config"):
            owner = model.get_submodule(path.removesuffix(".config"))
            owner.config = copy.copy(owner.config)
            setattr(owner.config, attribute, value)
        else:
            setattr(model.get_submodule(path), attribute, value)


def _select_alibi(attention: torch.nn.Module, kept: list[int], *, n_heads: int) -> None:
    """Give an attention module the position biases of the heads that it still has."""

    def select(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        by_head = kwargs["alibi"].view(-1, n_heads, *kwargs["alibi"].shape[1:])
        return args, {**kwargs, "alibi": by_head[:, kept].flatten(0, 1)}

    attention.register_forward_pre_hook(select, with_kwargs=True)
