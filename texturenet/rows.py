"""Maps of a network of which any rows can be had: what `tiles` paints huge pictures with.

Nothing is computed until it is asked for, and then it asks the map below for those rows that it sees itself.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Shape = tuple[int, int, int]  # (C, H, W)
Rows = Callable[[int, int], Tensor]  # (first, last) -> rows [first, last), (1, C, last - first, W)
Write = Callable[[int, int, Tensor], None]  # (first, last, where those rows are wanted)


class Place:
    """Where a map is kept whole: values (1, C, H, W)."""

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def holds(self, shape: Shape, like: Tensor) -> bool:
        """Whether a map of that shape, and of the type of `like`, can lie here."""
        return self.values.shape[1:] == shape and self.values.dtype == like.dtype


class Map:
    """A map (C, H, W) whose rows are computed when they are asked for; the last ones are kept for who goes on there.

    place  where that lies from which it is computed, its rows from the same rows and their neighbours, if nobody else
           reads it: who goes through the map from above may write into the rows that he has read
    write  computes rows into given memory, for a map that can do so without a copy; see the method
    """

    def __init__(self, shape: Shape, compute: Rows, place: Place | None = None, write: Write | None = None) -> None:
        self.shape, self._compute, self.place, self._write = shape, compute, place, write
        self._first, self._kept = 0, torch.empty(0, 0)

    def rows(self, first: int, last: int) -> Tensor:
        end = self._first + self._kept.shape[-2]
        if self._first <= first < end:
            kept = self._kept[..., first - self._first :, :]
            if end < last:
                kept = self._kept = kept.clone()  # a few rows, so that the strip before them is let go
                kept = torch.cat([kept, self._compute(end, last)], dim=-2)
        else:
            self._kept = torch.empty(0, 0)
            kept = self._compute(first, last)
        self._first, self._kept = first, kept
        return kept[..., : last - first, :]

    def write(self, first: int, last: int, out: Tensor) -> None:
        """Rows [first, last) into `out`, (1, C, last - first, W) with its channels next to each other."""
        if self._write is None:
            out.copy_(self._compute(first, last))
        else:
            self._write(first, last, out)


class _Window:
    """What a convolution sees of a map, strip by strip: rows of it, those above and below, and the picture's padding.

    The map's rows are computed into one piece of memory, where its edges are padded and the rows stay that the next
    strip sees too. Joined and padded by torch's operations they were copied twice: a picture of 1024 px took 1.36 s
    that way and 1.26 s this way.
    """

    def __init__(self, x: Map, conv: nn.Conv2d) -> None:
        self._map, self._reach, self._stride = x, conv.kernel_size[0] // 2, conv.stride[0]
        self._padding, self._like = conv.padding_mode, conv.weight
        self._memory, self._top, self._bottom = torch.empty(0, 0), 0, 0

    def rows(self, first: int, last: int) -> Tensor:
        """What rows [first, last) of the result come from, (1, C, h, W + 2 reach); valid until the next call."""
        channels, height, width = self._map.shape
        reach = self._reach
        top, bottom = self._stride * first - reach, self._stride * (last - 1) + reach + 1
        # A circular map has no edge above and below: its rows go on around.
        above, below = (0, 0) if self._padding == "circular" else (max(0, -top), max(0, bottom - height))
        end = bottom - below
        known = self._bottom if self._padding == "circular" else min(self._bottom, height)
        begin = top + above
        kept = None
        if self._top <= top < known:
            begin = min(known, end)
            kept, above = self._memory[..., top - self._top : begin - self._top, :].clone(), 0
        if self._memory.shape[-2] < bottom - top:
            shape = (1, channels, bottom - top, width + 2 * reach)
            self._memory = self._like.new_empty(shape).to(memory_format=torch.channels_last)
        seen = self._memory[..., : bottom - top, :]
        if kept is not None:
            seen[..., : begin - top, :] = kept
        if begin < end:
            new = seen[..., begin - top : end - top, :]
            self._map.write(begin, end, new[..., reach : reach + width])
            _pad(new.transpose(-1, -2), reach, reach, self._padding)
        _pad(seen, above, below, self._padding)
        self._top, self._bottom = top, bottom
        return seen


def _pad(x: Tensor, before: int, after: int, padding: str) -> None:
    """Set the first and the last rows of x (..., H, W), so many of them, from those between, as torch pads."""
    first, last = before, x.shape[-2] - after - 1
    for count, edge, far, inward in ((before, first, last, 1), (after, last, first, -1)):
        for i in range(1, count + 1):
            beyond = x[..., edge - i * inward, :]
            if padding == "zeros":
                beyond.zero_()
            else:
                source = {"reflect": edge + i * inward, "replicate": edge, "circular": far - (i - 1) * inward}[padding]
                beyond.copy_(x[..., source, :])


def convolved(x: Map, conv: nn.Conv2d) -> Rows:
    """Rows of a convolution."""
    if conv.kernel_size[0] > 1:
        window = _Window(x, conv)
        return lambda first, last: F.conv2d(window.rows(first, last), conv.weight, conv.bias, conv.stride)

    def product(first: int, last: int) -> Tensor:
        # torch's 1x1 convolution on one thread takes several times as long as the product that it is.
        pixels = x.rows(first, last).permute(0, 2, 3, 1)
        return F.linear(pixels, conv.weight[:, :, 0, 0], conv.bias).permute(0, 3, 1, 2)

    return product


def enlarged(rows: Rows) -> Rows:
    """Each value four times."""

    def compute(first: int, last: int) -> Tensor:
        coarse = rows(first // 2, (last + 1) // 2)
        return F.interpolate(coarse, scale_factor=2.0, mode="nearest")[..., first % 2 :, :][..., : last - first, :]

    return compute


def around(rows: Rows, height: int) -> Rows:
    """The same for rows above the first and below the last: the map goes on around, as circular padding has it."""

    def compute(first: int, last: int) -> Tensor:
        parts = []
        while first < last:
            here = first % height
            count = min(last - first, height - here)
            parts.append(rows(here, here + count))
            first += count
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-2)

    return compute
