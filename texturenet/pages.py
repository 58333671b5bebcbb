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
            self._kept, kept = [], self._kept  # what is given back meanwhile goes behind the rest
            fitting = [i for i, pages in enumerate(kept) if size <= pages.size < 2 * size]
            taken = kept.pop(min(fitting, key=lambda i: kept[i].size)) if fitting else None
            self._kept = kept + self._kept
            if taken is not None:
                return taken
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


_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -2, -3, -4  # of <malloc.h>
_LARGEST_MMAP_THRESHOLD = 32 * 2**20  # glibc refuses more on 64 bits


def keep_heap(of_any_size: bool = True) -> bool:
    """Have the process keep what it frees, for its next allocation; whether the C library could be told: glibc alone.

    of_any_size  keep pieces above 32 MiB too. Not where it is asked how much memory the process holds: painting does

    For programs whose every step takes the memory of the step before, as training does. glibc gives the top of its heap
    back and maps whatever is large anew. Steps of 4 photos at 256 px on one core of a Xeon, two runs each: 4,880 and
    4,750 ms of CPU time and 657,000 page faults a step without, 3,820 and 3,630 ms and 57,000 to 113,000 with pieces up
    to 32 MiB kept, at the same peak (1.7 GB). With all kept it is 2,000 faults or fewer, and one to seven hundredths
    faster still. At one photo of 192 px there is nothing to gain. A picture of 256 px is painted in 0.10 s instead of
    0.13, one of 1024 px in 1.36 instead of 1.41 s.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = (
        (_M_MMAP_MAX, 0) if of_any_size else (_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD),
        (_M_TRIM_THRESHOLD, 2**31 - 1),
        (_M_TOP_PAD, 64 * 2**20),
    )
    return all(mallopt(name, value) == 1 for name, value in settings)
