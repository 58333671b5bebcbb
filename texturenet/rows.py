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
    """

    def __init__(self, shape: Shape, compute: Rows, place: Place | None = None) -> None:
        self.shape, self._compute, self.place = shape, compute, place
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


def convolved(x: Map, conv: nn.Conv2d) -> Rows:
    """Rows of a convolution. Its padding lies at the picture's edge alone: elsewhere the rows beyond are asked for."""
    reach, stride = conv.kernel_size[0] // 2, conv.stride[0]
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode

    def compute(first: int, last: int) -> Tensor:
        top, bottom = stride * first - reach, stride * (last - 1) + reach + 1
        # A circular map has no edge above and below: its rows go on around.
        above, below = (0, 0) if mode == "circular" else (max(0, -top), max(0, bottom - x.shape[1]))
        seen = x.rows(top + above, bottom - below)
        if reach:
            seen = F.pad(seen, (reach, reach, above, below), mode)
            return F.conv2d(seen, conv.weight, conv.bias, stride)
        # torch's 1x1 convolution on one thread takes several times as long as the product that it is.
        product = F.linear(seen.permute(0, 2, 3, 1), conv.weight[:, :, 0, 0], conv.bias)
        return product.permute(0, 3, 1, 2)

    return compute


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
