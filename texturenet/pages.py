"""Memory that is no longer read, kept for what follows: the next map, the next picture, the next training step.

The first touch of a page is what costs: on a virtual machine the host finds memory for it, clears it and maps it. Two
megabytes took 7.6 ms to be written for the first time on a Xeon where a convolution that fills them takes 4.4 ms, and
a fifth of a millisecond from then on.
"""

from __future__ import annotations

import ctypes
import platform
import threading

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]


class Pages:
    """Arrays of bytes that come back, `limit` bytes of them at most. Threads may share it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._kept: list[Bytes] = []
        self._lock = threading.RLock()  # a map may be given back by the garbage collector, in the midst of a take

    def take(self, size: int) -> Bytes:
        """`size` bytes, of what was given back where it has been that large, and less than twice that."""
        with self._lock:
            fitting = [i for i, kept in enumerate(self._kept) if size <= kept.size < 2 * size]
            if fitting:
                return self._kept.pop(min(fitting, key=lambda i: self._kept[i].size))
        return np.empty(size, np.uint8)  # of numpy, which asks the system for large pages

    def give(self, pages: Bytes) -> None:
        """Nobody reads it any more. The oldest are let go beyond the limit."""
        with self._lock:
            self._kept.append(pages)
            while sum(kept.size for kept in self._kept) > self.limit:
                self._kept.pop(0)

    def clear(self) -> None:
        """Let all go that nobody uses."""
        with self._lock:
            self._kept.clear()


# Of this process, for one picture after the other: what a picture of two megapixels takes.
SHARED = Pages(limit=2**30)


_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # of <malloc.h>
_LARGEST_MMAP_THRESHOLD = 32 * 2**20  # glibc refuses more on 64 bits


def keep_heap() -> bool:
    """Have the process keep what it frees, for its next allocation; whether the C library could be told: glibc alone.

    For programs whose every step takes the memory of the step before, as training does. glibc gives the top of its heap
    back and maps whatever is large anew. Steps of 4 photos at 256 px on one core of a Xeon, two runs each: 4,880 and
    4,750 ms of CPU time and 657,000 page faults a step without, 3,820 and 3,630 ms and 57,000 to 113,000 with, at the
    same peak (1.7 GB). At one photo of 192 px there is nothing to gain.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = (
        (_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD),
        (_M_TRIM_THRESHOLD, 2**31 - 1),
        (_M_TOP_PAD, 64 * 2**20),
    )
    return all(mallopt(name, value) == 1 for name, value in settings)
