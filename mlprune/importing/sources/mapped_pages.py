"""Release of the pages of a mapped file, so that they do not count as memory of the process."""

import ctypes
import mmap

from torch import Tensor

_LIBC = ctypes.CDLL(None, use_errno=True)


def release_pages(storage: Tensor) -> None:
    """Release the pages of a tensor that is a view of a mapped file; the next access reads them from the file again.

    Only whole pages inside the tensor are released. On a system without `madvise` nothing happens.

    Args:
        storage: contiguous, any dtype, on a private mapping that was not written to: changes would be lost.
    """
    if not hasattr(_LIBC, "madvise") or not hasattr(mmap, "MADV_DONTNEED"):
        return
    begin = -(-storage.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    end = (storage.data_ptr() + storage.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if end > begin:
        _LIBC.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), mmap.MADV_DONTNEED)
