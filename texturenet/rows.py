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

    def __init__(self, x: Map, reach: int, padding: str, like: Tensor) -> None:
        self._map, self._reach, self._padding, self._like = x, reach, padding, like
        self._memory, self._top, self._bottom = torch.empty(0, 0), 0, 0

    def rows(self, top: int, bottom: int) -> Tensor:
        """Rows [top, bottom), up to `reach` of them beyond the map's: (1, C, h, W + 2 reach), until the next call."""
        channels, height, width = self._map.shape
        reach = self._reach
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
            self._memory = empty(shape, self._like)
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


def empty(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Memory of the type and on the device of `like`, channels last."""
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


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
    reach, stride = conv.kernel_size[0] // 2, conv.stride[0]
    if reach:
        window = _Window(x, reach, conv.padding_mode, conv.weight)

        def compute(first: int, last: int) -> Tensor:
            seen = window.rows(stride * first - reach, stride * (last - 1) + reach + 1)
            return F.conv2d(seen, conv.weight, conv.bias, stride)

        return compute

    def product(first: int, last: int) -> Tensor:
        # torch's 1x1 convolution on one thread takes several times as long as the product that it is.
        pixels = x.rows(first, last).permute(0, 2, 3, 1)
        return F.linear(pixels, conv.weight[:, :, 0, 0], conv.bias).permute(0, 3, 1, 2)

    return product


def convolved_enlarged(coarse: Map, conv: nn.Conv2d, fine: Map | None = None) -> Rows:
    """Rows of a 3x3 convolution, without bias, of a finer map next to a coarse one whose values stand four times each.

    Nothing is enlarged: of the nine values that a pixel sees of the coarse map, four differ. So it is a convolution of
    2x2 for each of the four places that a pixel may have over a coarse one, with the weights of equal values added up:
    four ninths of the arithmetic, and a twentieth less time for a whole picture of 1024 px.
    """
    channels = 0 if fine is None else fine.shape[0]
    weight, width = conv.weight.detach(), coarse.shape[2]
    # Reflected once, an enlarged map repeats its edge.
    padding = {"reflect": "replicate"}.get(conv.padding_mode, conv.padding_mode)
    window = _Window(coarse, 1, padding, weight)
    beside = None if fine is None else _Window(fine, 1, conv.padding_mode, weight)
    own = weight[:, :channels].contiguous(memory_format=torch.channels_last)
    kernels = {
        place: _halved(_halved(weight[:, channels:], 2, place[0]), 3, place[1]).contiguous(
            memory_format=torch.channels_last
        )
        for place in ((0, 0), (0, 1), (1, 0), (1, 1))
    }

    def compute(first: int, last: int) -> Tensor:
        if beside is None:
            shape = (1, len(weight), last - first, 2 * width)
            result = empty(shape, weight).zero_()
        else:
            result = F.conv2d(beside.rows(first - 1, last + 1), own)
        top = (first - 1) // 2
        seen = window.rows(top, last // 2 + 1)
        for (down, right), kernel in kernels.items():
            row = first + (down - first) % 2  # the first of this kind
            if row < last:
                above = (row - down) // 2 + down - 1 - top
                part = F.conv2d(seen[..., above : above + (last - row + 1) // 2 + 1, :], kernel)
                result[..., row - first :: 2, right::2] += part[..., right : right + width]
        return result

    return compute


def enlarged(coarse: Map, conv: nn.Conv2d, fine: Map | None) -> Map:
    """What a convolution sees: a coarse map at twice its size, bilinearly, as `generators.enlarged` has it, and a finer
    one before it, if there is one.
    """
    channels, height, width = coarse.shape
    window = _Window(coarse, 1, "circular" if conv.padding_mode == "circular" else "replicate", conv.weight)

    def compute(first: int, last: int) -> Tensor:
        top = first // 2 - 1
        large = F.interpolate(window.rows(top, (last + 1) // 2 + 1), scale_factor=2.0, mode="bilinear")
        large = large[..., first - 2 * top : last - 2 * top, 2:-2]
        return large if fine is None else torch.cat([fine.rows(first, last), large], dim=1)

    return Map((channels + (0 if fine is None else fine.shape[0]), 2 * height, 2 * width), compute)


def _halved(kernel: Tensor, axis: int, place: int) -> Tensor:
    """Three weights along an axis -> the two that the first (0) or second (1) of two equal values' pixels has."""
    before, at, after = kernel.unbind(axis)
    return torch.stack([before, at + after] if place == 0 else [before + at, after], axis)


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
