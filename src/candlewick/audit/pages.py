"""Memory-mapped pages: make them writable ahead, and write a range of them to the disk.

Both calls go straight to libc, because they may take long: `mmap.madvise` and `mmap.flush` keep
the interpreter locked meanwhile, and this would stop the event loop.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import time

__all__ = ["flush_pages", "populate"]

_LINUX = sys.platform == "linux"
_MADV_DONTNEED = 4
_MADV_POPULATE_WRITE = 23  # Linux 5.14
_MS_SYNC = 4 if _LINUX else 0x10
_CHUNK = 16  # pages


def _libc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        for function in (libc.madvise, libc.msync):
            function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
            function.restype = ctypes.c_int
    except (OSError, AttributeError):
        return None
    return libc


_LIBC = _libc()


def _address(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def populate(memory: mmap.mmap) -> None:
    """Make all pages present and writable, so that writing to one does not enter the kernel.

    Raises OSError where the file system has no block for a page.
    """
    if _LIBC is not None and _LINUX:
        if not _LIBC.madvise(_address(memory), len(memory), _MADV_POPULATE_WRITE):
            return
        error = ctypes.get_errno()
        if error not in (22, 38):  # EINVAL, ENOSYS: an older kernel
            raise OSError(error, os.strerror(error))
    step = _CHUNK * mmap.PAGESIZE
    for chunk in range(0, len(memory), step):
        for page in range(chunk, min(chunk + step, len(memory)), mmap.PAGESIZE):
            memory[page] = 0
        time.sleep(0)  # hands the interpreter over


def flush_pages(memory: mmap.mmap, handle: int, start: int, end: int) -> None:
    """Wait until the disk has the bytes from ``start`` to ``end``; raises OSError.

    Only these pages: the prepared ones behind them stay writable without a page fault. Those that
    are full are taken out of the map before (the kernel keeps what they hold): to write back a page
    that is mapped, it must interrupt the processor on which the writer of records goes on, page
    by page.
    """
    if _LIBC is None:
        os.fdatasync(handle)
        return
    address = _address(memory)
    first = start - start % mmap.PAGESIZE
    full = end - end % mmap.PAGESIZE
    if _LINUX and full > first:
        _LIBC.madvise(address + first, full - first, _MADV_DONTNEED)
    if _LIBC.msync(address + first, end - first, _MS_SYNC):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
