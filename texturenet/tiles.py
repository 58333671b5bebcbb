"""A picture too large for the memory, painted in strips: the picture of one pass, without seams.

Two things stand between a strip and the whole. A convolution sees rows beyond the strip: here every layer is a `Map`
that computes whichever rows it is asked for, asks the layer below for those that it sees itself, and keeps the last
ones for the strip that follows; so strips need no overlap, and no row is computed twice in a pass. And an instance norm
takes mean and variance over the whole picture: each norm is measured by a pass of its own over all strips, through as
much of the network as lies below it, and fixed from then on. What is small enough, the maps of the coarse scales, is
stored when it is done; the finest are computed again in every pass. On 2 MP the pyramid then took 14 s of CPU time, and
12 in one piece, whose large maps leave the processor's cache; the residual network 20 to 55 s, and 11 in one piece.

Exact statistics are worth it. Those of a thumbnail (Chen et al. 2021, arXiv 2103.11784) need no passes, but a network
with noise and smoothing at every scale has others at another size: photos of 1536 px through the shipped mosaic came
out 14/255 off on average with the statistics of 768 px, 25/255 with those of 512 and 38/255 with those of 256.

Strips as wide as the picture, and not square tiles: files and noise lie in rows, and left and right edges need no care.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenet.generators import Generator, Pyramid, Residual, noise_rows, over_photo, pad_to
from texturenet.rows import Map, Rows, Shape, around, convolved, enlarged

# Values of a strip, all its channels together. Larger ones leave the processor's cache: on 2 MP the pyramid took 13 s
# of CPU time with strips of 2^20, 14 with 2^22 and 16 with 2^24.
STRIP_VALUES = 2**22
# Peak memory in strips' worth of float32, measured on the CPU: 13 for the pyramid, 29 for the residual network with its
# 128 channels and nothing stored; and what torch's convolutions take once for themselves, with the rows kept.
_STRIPS_ALIVE = 30
_FIXED = 200 * 2**20


def least_memory(channels: int, width: int) -> int:
    """Bytes that a generator with so many channels at the picture's size takes at least: strips of one row."""
    return _FIXED + 4 * _STRIPS_ALIVE * channels * width


@torch.inference_mode()
def paint(
    generator: Generator, photo: Rows | None, height: int, width: int, seed: int, noise_factor: float, room: int
) -> Iterator[tuple[int, Tensor]]:
    """What `generator` makes of a photo and `make_noise`, strip by strip from the top: (first row, (1, 3, h, width)).

    photo  its rows in [0, 1]; each is asked for several times. None for a texture
    room   bytes that may be taken on the generator's device, `least_memory` or more
    """
    values = min(STRIP_VALUES, (room - _FIXED) // 2 // (4 * _STRIPS_ALIVE))
    left = room - _FIXED - 4 * _STRIPS_ALIVE * values
    # Alive at a time are two stored maps of the network, and the photo at all its smaller scales.
    canvas = _Canvas(values, largest_stored=left // 4)
    inputs, padded = _inputs(generator, photo, height, width, seed, noise_factor, canvas)
    if isinstance(generator, Pyramid):
        trunk, direct = _pyramid(generator, inputs, canvas), False
    else:
        trunk, direct = _residual(generator, inputs, canvas), generator.direct
    last_map = convolved(trunk, generator.to_rgb)
    for first, last in canvas.strips((generator.channels, height, width)):
        update = last_map(first, last).float()
        under = None if padded is None else padded.rows(first, last)
        picture = update.clamp(0, 1) if direct else over_photo(update, under)
        yield first, picture[..., :width]


class _Canvas:
    """What passes over a picture have in common.

    values          of a strip of the map that a pass is for, in all its channels
    largest_stored  bytes of a map that may be kept whole
    """

    def __init__(self, values: int, largest_stored: int) -> None:
        self.values, self.largest_stored = values, largest_stored

    def strips(self, shape: Shape) -> Iterator[tuple[int, int]]:
        """(first, last) rows of each strip of a map, downward."""
        channels, height, width = shape
        step = max(1, self.values // (channels * width))
        for first in range(0, height, step):
            yield first, min(first + step, height)

    def stored(self, x: Map) -> Map:
        """The same map, computed here and now if it may be kept."""
        channels, height, width = x.shape
        if 4 * channels * height * width > self.largest_stored:
            return x
        strips = self.strips(x.shape)
        first, last = next(strips)
        top = x.rows(first, last)
        whole = top.new_empty((1, *x.shape))
        whole[..., first:last, :] = top
        for first, last in strips:
            whole[..., first:last, :] = x.rows(first, last)
        return Map(x.shape, around(lambda first, last: whole[..., first:last, :], height))

    def normalised(self, norm: nn.Module, shape: Shape, rows: Rows) -> Callable[[Tensor], Tensor]:
        """The norm with the mean and variance of all rows, by one pass over them: from then on a function of pixels."""
        if not isinstance(norm, nn.InstanceNorm2d):
            return norm
        mean, variance = self._statistics(shape, rows)
        scale, shift = norm.weight, norm.bias
        return lambda x: F.batch_norm(x, mean, variance, scale, shift, training=False, eps=norm.eps)

    def _statistics(self, shape: Shape, rows: Rows) -> tuple[Tensor, Tensor]:
        """Mean and variance of each channel over the whole map, strips merged in float64 (Chan et al. 1979)."""
        count, mean, squares = 0, torch.zeros(shape[0], dtype=torch.float64), torch.zeros(shape[0], dtype=torch.float64)
        for first, last in self.strips(shape):
            x = rows(first, last)
            n, strip_mean = x.shape[-2] * x.shape[-1], x.mean((0, 2, 3), keepdim=True)
            strip_squares = (x - strip_mean).square_().sum((0, 2, 3)).cpu().double()
            delta = strip_mean.flatten().cpu().double() - mean
            mean += delta * (n / (count + n))
            squares += strip_squares + delta.square() * (count * n / (count + n))
            count += n
            like = x
        return mean.to(like), (squares / count).to(like)

    def layer(self, x: Map, layers: nn.Module) -> Map:
        """`generators.conv_block`, with or without its activation."""
        conv, norm, *activation = layers.children()
        assert isinstance(conv, nn.Conv2d)
        rows = convolved(x, conv)
        shape = (conv.out_channels, x.shape[1] // conv.stride[0], x.shape[2] // conv.stride[0])
        normalised = self.normalised(norm, shape, rows)
        finish = nn.Sequential(*activation)
        return Map(shape, lambda first, last: finish(normalised(rows(first, last))))

    def block(self, x: Map, layers: nn.Module) -> Map:
        """One layer on the other."""
        for each in layers.children():
            x = self.layer(x, each)
        return x


def _pyramid(net: Pyramid, inputs: list[Map], canvas: _Canvas) -> Map:
    """`Pyramid.forward` up to its last convolution."""

    def joined(fine: Map, coarse: Map, k: int) -> Map:
        norm_fine = canvas.normalised(net.norm_fine[k], fine.shape, fine.rows)
        # Before the enlargement, not after it: each value four times has the same mean and variance.
        norm_coarse = canvas.normalised(net.norm_coarse[k], coarse.shape, coarse.rows)
        rows = enlarged(lambda first, last: norm_coarse(coarse.rows(first, last)))
        return Map(
            (fine.shape[0] + coarse.shape[0], *fine.shape[1:]),
            lambda first, last: torch.cat([norm_fine(fine.rows(first, last)), rows(first, last)], dim=1),
        )

    x = canvas.block(inputs[-1], net.enter[-1])
    for k in reversed(range(net.scales - 1)):
        x = canvas.stored(x)
        x = canvas.block(joined(canvas.block(inputs[k], net.enter[k]), x, k), net.join[k])
    return x


def _residual(net: Residual, inputs: list[Map], canvas: _Canvas) -> Map:
    """`Residual.forward` up to its last convolution."""

    def added(x: Map, change: Map) -> Map:
        return Map(x.shape, lambda first, last: change.rows(first, last) + x.rows(first, last))

    (x,) = inputs
    for layer in net.enter:
        x = canvas.stored(canvas.layer(x, layer))
    for block in net.blocks:
        x = canvas.stored(added(x, canvas.block(x, block)))
    for layer in net.leave:
        channels, height, width = x.shape
        x = canvas.stored(canvas.layer(Map((channels, 2 * height, 2 * width), enlarged(x.rows)), layer))
    return x


def _inputs(
    generator: Generator,
    photo: Rows | None,
    height: int,
    width: int,
    seed: int,
    noise_factor: float,
    canvas: _Canvas,
) -> tuple[list[Map], Map | None]:
    """What enters the network at each of its scales, and the photo reflected up to its size."""
    device = generator.to_rgb.weight.device
    shapes = generator.noise_shapes(height, width)

    def noise(level: int) -> Rows:
        def rows(first: int, last: int) -> Tensor:
            return (noise_rows(shapes[level], level, first, last, seed) * noise_factor).to(device)

        return around(rows, shapes[level][1])

    if photo is None:
        return [Map(shape, noise(level)) for level, shape in enumerate(shapes)], None

    source = pad_to(torch.arange(height).view(1, 1, height, 1), shapes[0][1], 1).flatten()  # row of the photo

    def padded(first: int, last: int) -> Tensor:
        wanted = source[first:last]
        top = int(wanted.min())
        seen = photo(top, int(wanted.max()) + 1).to(device)
        return pad_to(seen[..., (wanted - top).to(device), :], last - first, shapes[0][2])

    def halved(x: Map) -> Map:
        shape = (3, x.shape[1] // 2, x.shape[2] // 2)
        return canvas.stored(Map(shape, lambda first, last: F.avg_pool2d(x.rows(2 * first, 2 * last), 2)))

    def entering(x: Map, level: int) -> Map:
        rows = noise(level)
        return Map(
            (3 + shapes[level][0], *x.shape[1:]),
            lambda first, last: torch.cat([x.rows(first, last) - 0.5, rows(first, last)], dim=1),
        )

    pooled = [Map((3, *shapes[0][1:]), around(padded, shapes[0][1]))]
    for _ in shapes[1:]:
        pooled.append(halved(pooled[-1]))
    return [entering(x, level) for level, x in enumerate(pooled)], pooled[0]
