"""Pretended GPUs: tensors that report `cuda:0`, `cuda:1`, ... and compute on the CPU, for tests without a GPU.

A tensor on a pretended GPU refuses what CUDA refuses: operands on several devices, `.numpy()`, pickling (another
process may not have the device), and more memory than the GPU has. Its values are those of the CPU, so a model gives
the same bits on both. The ledger counts what costs time on a GPU, by operation and by line of the project:

    with pretended_gpus(free_bytes=10**9) as ledger:            # or pretended_gpus(2, free_bytes=(10**6, 10**9))
        chain = local_chain(folder)                             # the real device map decides, from the free bytes
        ledger.clear()
        list(chain.stream(ScoringVisitor, [batch]))
    assert ledger.kernels <= 100 and ledger.waits <= 4, ledger.by_line()

    ledger.operations       # operations that the host submits, views included
    ledger.kernels          # those that start work on the GPU
    ledger.waits            # the host waits for the GPU: .item(), nonzero, indexing by a mask, copies to the host
    ledger.bytes_to_device, ledger.bytes_to_host, ledger.uploads
    print(ledger.by_line())                                     # a table, the busiest line first

Not pretended: the rounding of CUDA kernels, streams, the caching allocator, autograd. Without a private symbol of torch
that this needs, `pretended_gpus` skips the test and names the symbol.
"""

from tests.pretended_gpus.context import pretended_gpus
from tests.pretended_gpus.ledger import Ledger
from tests.pretended_gpus.tensor import PretendedTensor
from tests.pretended_gpus.torch_symbols import missing_symbol

__all__ = ["Ledger", "PretendedTensor", "missing_symbol", "pretended_gpus"]
