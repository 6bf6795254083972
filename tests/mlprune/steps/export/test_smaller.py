"""Smaller exports: a plain folder where the config can express it, otherwise one with its own loader."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM

from mlprune.errors import BadInputError
from mlprune.models.checkpoint.weight_files import WeightFiles, weight_name
from mlprune.models.families.records import FAMILIES
from mlprune.steps.export.smaller import CHANGES, make_smaller, smaller_text
from tests.exported_models import loaded_by_its_own_loader
from tests.tiny_models import save_tiny_model

TOKENS = torch.tensor([[5, 9, 200, 31, 77, 12, 150]])


def removed_neurons(
    folder: Path, family: str, *, per_block: tuple[int, ...]
) -> Iterator[tuple[tuple[int, str], Tensor]]:
    """The columns of the first neurons of each block, as masks of removed weights."""
    record = FAMILIES[family]
    layer, files = record.feed_forward[1], WeightFiles(folder, record)
    for block, n_removed in enumerate(per_block):
        removed = torch.zeros(files.shape(weight_name(record, block, layer)), dtype=torch.bool)
        removed[:, :n_removed] = True
        yield (block, layer), removed


def zeroed(folder: Path, family: str, removed: list[tuple[tuple[int, str], Tensor]]) -> Any:
    """The model of a folder after removed weights became zero, saved."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for (block, layer), mask in removed:
            model.get_parameter(weight_name(FAMILIES[family], block, layer)).masked_fill_(mask, 0)
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize(("per_block", "is_plain"), [((3, 3), True), ((3, 5), False)])
def test_neurons_removed_by_their_columns_alone_are_cut_out(
    per_block: tuple[int, ...], is_plain: bool, tmp_path: Path
) -> None:
    save_tiny_model(tmp_path, "xglm", blocks=2)
    removed = list(removed_neurons(tmp_path, "xglm", per_block=per_block))
    model = zeroed(tmp_path, "xglm", removed)
    result = make_smaller(tmp_path, FAMILIES["xglm"], removed)
    assert (result.needs_loader is None) == is_plain == (not (tmp_path / CHANGES).exists())
    assert result.units == (("heads", 4, 4), ("neurons", 128, 128 - sum(per_block)))
    smaller = AutoModelForCausalLM.from_pretrained(tmp_path) if is_plain else loaded_by_its_own_loader(tmp_path)
    assert smaller.model.layers[1].fc1.weight.shape == (64 - per_block[1], 16)
    with torch.no_grad():
        torch.testing.assert_close(smaller(TOKENS).logits, model(TOKENS).logits, rtol=1e-5, atol=1e-5)
    assert ("load_smaller" in smaller_text(result)) == (not is_plain)


def test_the_loader_is_short_and_needs_torch_and_transformers_only() -> None:
    source = Path(make_smaller.__globals__["load_smaller"].__file__).read_text("utf-8")
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in imports if isinstance(node, ast.ImportFrom)}
    packages = {name.partition(".")[0] for name in names}
    assert packages == {"copy", "json", "pathlib", "safetensors", "torch", "transformers", "typing"}
    assert len(source.splitlines()) <= 80


def test_the_loader_never_makes_a_weight_of_the_original_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_tiny_model(tmp_path, "xglm", blocks=2)
    removed = list(removed_neurons(tmp_path, "xglm", per_block=(3, 5)))
    zeroed(tmp_path, "xglm", removed)
    make_smaller(tmp_path, FAMILIES["xglm"], removed)
    made: list[tuple[int, ...]] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = function(*args, **(kwargs or {}))
            if isinstance(result, Tensor) and result.device.type != "meta":
                made.append(tuple(result.shape))
            return result

    with Watch():
        model = loaded_by_its_own_loader(tmp_path)
    assert model.model.layers[0].fc1.weight.shape == (61, 16)
    assert (64, 16) not in made


def test_a_variant_without_whole_units_is_refused(tmp_path: Path) -> None:
    save_tiny_model(tmp_path, "xglm", blocks=1)
    ((key, removed),) = removed_neurons(tmp_path, "xglm", per_block=(5,))
    removed[0] = False
    with pytest.raises(BadInputError, match="without --smaller"):
        make_smaller(tmp_path, FAMILIES["xglm"], [(key, removed)])
