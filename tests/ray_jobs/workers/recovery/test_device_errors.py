"""Device errors, distinguished from errors of memory and of programs."""

import pytest
import torch

from ray_jobs.workers.recovery.device_errors import first_line, is_device_error


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
        torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered"),
        torch.AcceleratorError("CUDA error: all CUDA-capable devices are busy or unavailable"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        RuntimeError("No CUDA GPUs are available"),
    ],
)
def test_errors_after_which_a_process_cannot_use_its_accelerator_are_device_errors(error: Exception) -> None:
    assert is_device_error(error)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("Expected all tensors to be on the same device, but found cuda:0 and cpu"),
        ValueError("a text that contains CUDA error: x"),
    ],
)
def test_errors_of_memory_and_programs_are_not(error: Exception) -> None:
    assert not is_device_error(error)


def test_the_first_line_of_an_error_leaves_out_advice_for_developers() -> None:
    assert first_line(RuntimeError("CUDA error: x\nCompile with `TORCH_USE_CUDA_DSA`")) == "CUDA error: x"
    assert first_line(RuntimeError()) == "RuntimeError"
