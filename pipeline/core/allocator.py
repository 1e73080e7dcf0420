"""Keep freed memory in the process: large arrays of equal sizes are allocated again and again."""

import ctypes
import platform
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # malloc.h


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks for the next allocation.

    By default it returns large ones to the system, which costs a page fault for every 4 KiB when the next array of that
    size is filled. Other C libraries are not configured.
    """
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(_TOP_PAD, 2**28)
