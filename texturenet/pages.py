"""Memory of maps that are no longer read, kept for the maps that follow: of the same picture and of the next one.

The first touch of a page is what costs: on a virtual machine the host finds memory for it, clears it and maps it. Two
megabytes took 7.6 ms to be written for the first time on a Xeon where a convolution that fills them takes 4.4 ms, and
a fifth of a millisecond from then on.
"""

from __future__ import annotations

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
