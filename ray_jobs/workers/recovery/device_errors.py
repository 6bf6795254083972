"""Device errors: recognise an accelerator that no longer works in this process.

After such an error, CUDA fails every further call in the process. Only a new process can use the device again.
"""

import torch

from ray_jobs.workers.recovery.out_of_memory import is_out_of_memory

DEVICE_MESSAGES = (
    "cuda error",
    "cudnn error",
    "cublas_status_",
    "cusolver error",
    "cusolver_status_",
    "cufft error",
    "hip error",
    "nccl error",
    "no cuda gpus are available",
    "found no nvidia driver",
    "cuda driver initialization failed",
    "cuda unknown error",
)
"""Messages of accelerators inside errors of general types; lower case."""


def is_device_error(err: BaseException) -> bool:
    """Return whether an error means that an accelerator failed, for another reason than its memory.

    torch raises `torch.AcceleratorError` for errors of kernels (an illegal address, an ECC error, a failed assertion)
    and plain RuntimeErrors for those of libraries.
    """
    if is_out_of_memory(err):
        return False
    if isinstance(err, torch.AcceleratorError):
        return True
    return isinstance(err, RuntimeError) and any(message in str(err).lower() for message in DEVICE_MESSAGES)


def first_line(err: BaseException) -> str:
    """Return the first line of an error's message; CUDA adds lines of advice for developers."""
    return next(iter(str(err).splitlines()), "") or type(err).__name__
