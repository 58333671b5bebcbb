"""The noise of a style: of which shape, and its values. With numpy alone, so that an exported style draws the same."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SMALLEST = 16  # pixels a side of a picture


def padded_size(height: int, width: int, multiple: int) -> tuple[int, int]:
    """The size that a network works at: the next multiple, and at least two positions at the coarsest scale.

    One position has no variance for instance norm to divide by, and nothing to reflect.
    """
    if min(height, width) < SMALLEST:
        raise ValueError(
            f"a picture of {width}x{height} px is too small: it takes at least {SMALLEST}x{SMALLEST}; enlarge it, or "
            "give a larger --size or --work_size if one made it so"
        )
    h, w = (max(-(-side // multiple), 2) * multiple for side in (height, width))
    return h, w


def draw_rows(
    shape: tuple[int, int, int], level: int, first: int, last: int, seed: int, batch_size: int = 1, first_item: int = 0
) -> npt.NDArray[np.float32]:
    """Rows [first, last) of one noise map, (B, C, last - first, W) in [0, 1): drawn alone, the same as among all.

    first_item    of a batch that several processes share out; theirs are the items from there on
    shape, level  (C, H, W) of the whole map, and its place in the list, finest first
    A row lies at its own place of the stream, and PCG64 (O'Neill 2014) jumps to any place at once; torch's own
    generator can't.
    """
    channels, _, width = shape
    steps = -(-channels * width // 2)  # of the stream in a row: each gives two float32

    def draw(item: int) -> npt.NDArray[np.float32]:
        stream = np.random.PCG64([seed % 2**64, level, item]).advance(first * steps)
        rows = np.random.Generator(stream).random((last - first, 2 * steps), np.float32)
        return rows[:, : channels * width].reshape(last - first, channels, width).transpose(1, 0, 2)

    return np.stack([draw(item) for item in range(first_item, first_item + batch_size)])
