"""The tests for machines with a GPU (mark `gpu`) pass on a pretended one, so they are ready to run."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mlprune.numeric.log_probs import has_wide_products
from tests.pretended_gpus import pretended_gpus
from tests.tiny_models import FAMILY_NAMES, save_tiny_model


def gpu_test(module: str, name: str) -> Callable[..., Any]:
    """Find a test that is marked `gpu`."""
    found: Callable[..., Any] = getattr(importlib.import_module(f"tests.mlprune.{module}"), name)
    assert any(mark.name == "gpu" for mark in found.pytestmark)
    return found


def test_modules_go_to_the_first_gpu():
    test = gpu_test("models.placement.test_placed_modules", "test_small_modules_go_to_the_first_accelerator_whole")
    with pretended_gpus():
        test()


def test_a_gpu_finds_the_same_levels():
    test = gpu_test("numeric.selection.test_levels", "test_an_accelerator_finds_the_same_levels")
    with pretended_gpus() as ledger:
        test()
    assert ledger.kernels


@pytest.mark.thorough("computes on pretended devices")
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_a_gpu_gives_the_scores_of_the_cpu(tmp_path: Path, family: str):
    test = gpu_test("models.test_shard", "test_an_accelerator_gives_the_scores_of_the_cpu")
    folder = save_tiny_model(tmp_path, family)
    with pretended_gpus() as ledger:
        test({family: folder}, family)
    assert ledger.kernels


OF_CUDA_ALONE = pytest.mark.skipif(
    has_wide_products("cuda") and not has_wide_products("cpu"),
    reason="this build of torch multiplies half precision with a float32 result on real GPUs only",
)


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=OF_CUDA_ALONE)])
def test_a_gpu_scores_like_float64(dtype: torch.dtype):
    test = gpu_test("numeric.test_log_probs", "test_an_accelerator_scores_like_float64")
    with pretended_gpus() as ledger:
        test(dtype)
    assert ledger.kernels
