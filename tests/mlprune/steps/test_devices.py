"""Automatic devices and dtypes are resolved for the machines of a run."""

from typing import Any

import pytest
import torch

from mlprune.recipe import ComputeConfig
from mlprune.steps import devices
from mlprune.steps.devices import (
    Accelerators,
    device_and_dtype,
    local_accelerators,
    resolved_device,
    resolved_dtype,
    with_devices,
)
from tests.valid_recipe import changed, parse

NONE = Accelerators(exist=False, have_bfloat16=True)
AMPERE = Accelerators(exist=True, have_bfloat16=True)
VOLTA = Accelerators(exist=True, have_bfloat16=False)


@pytest.mark.parametrize(
    ("compute", "accelerators", "device"),
    [
        ({}, NONE, "cpu"),
        ({}, AMPERE, "cuda"),
        ({"device": "cpu"}, AMPERE, "cpu"),
        ({"device": "cuda"}, NONE, "cuda"),
        ({"gpus_per_actor": 0}, AMPERE, "cpu"),
        ({"gpus_per_actor": 0.5}, NONE, "cuda"),
    ],
)
def test_a_recipe_decides_the_device_and_otherwise_the_machines_do(
    compute: dict[str, Any], accelerators: Accelerators, device: str
) -> None:
    assert resolved_device(ComputeConfig(**compute), accelerators) == device


@pytest.mark.parametrize(
    ("dtype", "device", "accelerators", "resolved"),
    [
        ("auto", "cpu", AMPERE, "float32"),
        ("auto", "cuda", AMPERE, "bfloat16"),
        ("auto", "cuda", NONE, "bfloat16"),
        ("auto", "cuda", VOLTA, "float32"),
        ("float32", "cuda", AMPERE, "float32"),
        ("float16", "cuda", VOLTA, "float16"),
        ("bfloat16", "cpu", NONE, "bfloat16"),
    ],
)
def test_an_automatic_dtype_is_bfloat16_on_accelerators_that_have_it(
    dtype: Any, device: Any, accelerators: Accelerators, resolved: str
) -> None:
    assert resolved_dtype(dtype, device, accelerators) == resolved


def test_a_resolved_recipe_stays_as_it_is_on_other_machines() -> None:
    recipe = with_devices(parse(changed("model.dtype", "auto")), AMPERE)
    assert (recipe.compute.device, recipe.model.dtype) == ("cuda", "bfloat16")
    assert with_devices(recipe, NONE) == recipe


def test_accelerators_of_this_machine_are_looked_at_only_for_what_is_automatic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[None] = []
    monkeypatch.setattr(devices, "local_accelerators", lambda: looked.append(None) or AMPERE)
    automatic = parse(changed("model.dtype", "auto"))
    assert device_and_dtype(with_devices(automatic, VOLTA)) == ("cuda", "float32")
    assert looked == []
    assert device_and_dtype(automatic) == ("cuda", "bfloat16")
    assert looked == [None]


@pytest.mark.parametrize(("capabilities", "expected"), [([], NONE), ([(8, 0)], AMPERE), ([(9, 0), (7, 5)], VOLTA)])
def test_the_accelerators_of_this_machine_have_bfloat16_if_all_do(
    capabilities: list[tuple[int, int]], expected: Accelerators, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(capabilities))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
    monkeypatch.setattr(torch.cuda, "get_device_capability", capabilities.__getitem__)
    assert local_accelerators() == expected
