"""Placements of a shard's modules on pretended GPUs, for tests that do not leave the choice to the device map."""

from collections.abc import Callable, Iterable, Mapping

import pytest
import torch

from mlprune.models.placement import placed_modules

CPU = torch.device("cpu")
GPUS = [torch.device("cuda", number) for number in range(3)]
N_GPUS = len(GPUS)

Devices = Mapping[str, torch.device]


def _is_block(name: str) -> bool:
    return name.rpartition(".")[2].isdigit()


def _halves(names: Iterable[str]) -> tuple[list[str], list[str]]:
    blocks = [name for name in names if _is_block(name)]
    return blocks[: len(blocks) // 2], blocks[len(blocks) // 2 :]


def _second_half_on(device: torch.device) -> Callable[[list[str]], Devices]:
    return lambda names: {name: device if name in _halves(names)[1] else GPUS[0] for name in names}


PLACEMENTS: Mapping[str, Callable[[list[str]], Devices]] = {
    "one": lambda names: dict.fromkeys(names, GPUS[0]),
    "two": _second_half_on(GPUS[1]),
    "ends apart": lambda names: {name: GPUS[_is_block(name)] for name in names},
    "in turn": lambda names: {name: GPUS[position % N_GPUS] for position, name in enumerate(names)},
    "blocks on the cpu": _second_half_on(CPU),
    "ends on the cpu": lambda names: {name: GPUS[0] if _is_block(name) else CPU for name in names},
}
"""Name -> function from the modules of a shard, in their order, to their devices."""


def place(monkeypatch: pytest.MonkeyPatch, placement: str) -> None:
    """Let shards that are loaded from now on place their modules so."""

    def choose(modules: Iterable[str], *_: object, **__: object) -> dict[str, torch.device]:
        return dict(PLACEMENTS[placement](list(modules)))

    monkeypatch.setattr(placed_modules, "choose_devices", choose)
