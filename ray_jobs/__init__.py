"""Running jobs: the command line, the driver and the workers. Importing this package does not import Ray.

numpy's matrix products use one thread in the processes of this package, which are started for parallel work of their
own: OpenBLAS reads the variable when numpy is imported, and the processes of a local Ray cluster inherit it.

GPUs have the numbers that the driver gives them, in the order of their slots: Ray and NVML count so, and CUDA would
otherwise begin with the fastest, so that a process on a machine with different GPUs would measure one and use another.
The memory of a GPU is allocated in segments that can grow, because batches differ in size.

No result depends on these variables. A value that is set before stays.
"""

import os

_ALLOCATOR_VARIABLES = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
if not any(name in os.environ for name in _ALLOCATOR_VARIABLES):
    os.environ["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"
