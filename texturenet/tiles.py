"""One pass of a generator in strips of rows: how a picture is painted on a CPU, and one that a GPU can't hold.

A pass that goes through a picture layer by layer reads and writes each map some eight times: convolution, mean,
variance, scaling, activation, padding and joining each walk through memory, and the allocator faults every page in
anew. Here a map is worked on in strips of a few megabytes, in memory that is already there: each map is read once and
written once, as its convolution left it, with its statistics taken on the way.

Two things stand between a strip and the whole. A convolution sees rows beyond the strip: here every layer is a `Map`
that computes whichever rows it is asked for, asks the layer below for those that it sees itself, and keeps the last
ones for the strip that follows; so strips need no overlap, and no row is computed twice in a pass. And an instance norm
takes mean and variance over the whole picture: each map is measured by a pass over all strips and fixed from then on.
A map that memory holds is kept in that pass. One that it does not hold is computed again in every later pass, through
as much of the network as lies below it, which takes longer; so 100 MP fit into 4 GB.

torch.compile is no substitute: 512 px through the shipped mosaic in bf16 on one core of an EPYC, in one run, took
0.54 s compiled by torch 2.13 and 0.35 s in strips, after 94 s of compiling; in float32 the compiled picture was wrong
(43/255 off on average).

Exact statistics are worth it. Those of a thumbnail (Chen et al. 2021, arXiv 2103.11784) need no passes, but a network
with noise and smoothing at every scale has others at another size: photos of 1536 px through the shipped mosaic came
out 14/255 off on average with the statistics of 768 px, 25/255 with those of 512 and 38/255 with those of 256.

Strips as wide as the picture, and not square tiles: files and noise lie in rows, and left and right edges need no care.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenet import norms
from texturenet.generators import Generator, Light, Pyramid, Residual, noise_rows, pad_to
from texturenet.norms import Statistics
from texturenet.pages import SHARED, Pages
from texturenet.rows import Map, Place, Rows, Shape, around, convolved, convolved_enlarged, empty, enlarged

# Values of a strip, all its channels together. On two cores of a Xeon a picture of 1024 px took 1.44, 1.25, 1.07, 1.00
# and 1.00 s with 2^18 to 2^22, one of 3840x2160 16.0, 11.4, 10.0 and 10.7 s with 2^19 to 2^22: a few rows at a time are
# mostly what the strips before and after see too. A GPU wants more to do at a time.
STRIP_VALUES = {"cpu": 2**21, "other": 2**22}
_LOW_STRIP_VALUES = 2**19  # where memory is short, before maps are computed twice
# Peak memory in strips' worth of float32, measured on the CPU: 13 for the pyramid, 29 for the residual network with its
# 128 channels and nothing stored; and what torch's convolutions take once for themselves, with the rows kept.
_STRIPS_ALIVE = 30
_MAPS_ALIVE = 4  # of the largest kind: two of the network, one whose pages are free, and the photo at all its scales
_FIXED = 200 * 2**20
FINE = 2  # scales of a pyramid that may compute in half precision
# Pixels of a row that elementwise operations see as one with so many times the channels: on a CPU torch's inner loop
# goes over the channels, and those of one pixel are too few. A strip of 48 channels is measured in 0.10 ms instead of
# 0.16 and scaled in 0.06 instead of 0.08, one of 8 in 0.14 instead of 0.36 and in 0.07 instead of 0.26.
_TOGETHER = 16


def least_memory(channels: int, width: int) -> int:
    """Bytes that a generator with so many channels at the picture's size takes at least: strips of one row."""
    return _FIXED + 4 * _STRIPS_ALIVE * channels * width


def full_memory(channels: int, height: int, width: int) -> int:
    """Bytes with which every map is kept on a CPU, and nothing is computed twice."""
    return _FIXED + 4 * (_STRIPS_ALIVE * max(_LOW_STRIP_VALUES, channels * width)) + _maps(channels, height, width)


def _maps(channels: int, height: int, width: int) -> int:
    """Bytes of every map that is kept."""
    return 4 * _MAPS_ALIVE * channels * height * width


def to_bf16(generator: Generator) -> None:
    """Let convolutions compute, and maps be kept, in bfloat16, in place. The photo's light stays float32.

    So does what a pyramid does at a quarter of the size and less: 3 % of the arithmetic, and most of the error. Its
    forms are decided there, by noise too, and what is rounded there comes out larger: marbling was off by 1.6/255 on
    average, starry_night and woodcut by 1 to 1.9, where the two finest scales alone leave 0.3.
    """
    fine: list[nn.Module] = [generator]
    if isinstance(generator, Pyramid):
        fine = [*generator.enter[:FINE], *generator.join[:FINE], generator.to_rgb]
    for part in fine:
        for name, module in part.named_modules():
            if isinstance(module, nn.Conv2d) and not name.startswith("light"):
                module.bfloat16()


@torch.inference_mode()
def paint(
    generator: Generator, photo: Rows | None, height: int, width: int, seed: int, noise_factor: float, room: int
) -> Iterator[tuple[int, Tensor]]:
    """What `generator` makes of a photo and `make_noise`, strip by strip from the top: (first row, (1, 3, h, width)).

    photo  its rows in [0, 1]; each is asked for several times. None for a texture
    room   bytes that may be taken on the generator's device, `least_memory` or more
    """
    device = generator.to_rgb.weight.device
    if room >= full_memory(generator.channels, height, width):
        for_strips = room - _FIXED - _maps(generator.channels, height, width)
    else:
        for_strips = (room - _FIXED) // 2
    values = min(STRIP_VALUES.get(device.type, STRIP_VALUES["other"]), for_strips // (4 * _STRIPS_ALIVE))
    left = room - _FIXED - 4 * _STRIPS_ALIVE * values
    largest_stored = left // _MAPS_ALIVE
    whole = 4 * generator.channels * height * width <= largest_stored
    canvas = _Canvas(values, largest_stored, SHARED if whole else Pages(largest_stored))
    inputs, padded = _inputs(generator, photo, height, width, seed, noise_factor, canvas)
    if isinstance(generator, Pyramid):
        trunk, direct = _pyramid(generator, inputs, canvas), False
    else:
        trunk, direct = _residual(generator, inputs, canvas), generator.direct
    last_map = convolved(trunk, generator.to_rgb)
    light = None if padded is None or generator.light is None else canvas.light(padded, generator.light)
    for first, last in canvas.strips((generator.channels, height, width)):
        logits = last_map(first, last).float()
        if light is not None:
            logits = logits + light(first, last)
        picture = logits.clamp(0, 1) if direct else torch.sigmoid(logits)
        yield first, picture[..., :width]


class _Canvas:
    """What passes over a picture have in common.

    values          of a strip of the map that a pass is for, in all its channels
    largest_stored  bytes of a map that may be kept whole
    pages           where it is kept on a CPU; a GPU's memory is torch's business
    """

    def __init__(self, values: int, largest_stored: int, pages: Pages) -> None:
        self.values, self.largest_stored, self.pages = values, largest_stored, pages
        self._norms = 0  # measured so far

    def strips(self, shape: Shape) -> Iterator[tuple[int, int]]:
        """(first, last) rows of each strip of a map, downward."""
        channels, height, width = shape
        step = max(1, self.values // (channels * width))
        for first in range(0, height, step):
            yield first, min(first + step, height)

    def passed(self, x: Map, look: Callable[[Tensor], None] | None = None, keep: bool = True) -> Map:
        """The same map after one pass over it, in which `look` sees every strip: kept whole, if it may be.

        It is kept where the map lay that it was computed from, strip by strip, if that is read by nobody else.
        """
        channels, height, width = x.shape
        storing = keep and 4 * channels * height * width <= self.largest_stored
        if not storing and look is None:
            return x
        place: Place | None = None
        for first, last in self.strips(x.shape):
            strip = x.rows(first, last)
            if look is not None:
                look(strip)
            if storing:
                place = place or (x.place if x.place and x.place.holds(x.shape, strip) else self._place(x.shape, strip))
                place.values[..., first:last, :] = strip
        if place is None:
            return x
        values = place.values
        return Map(x.shape, around(lambda first, last: values[..., first:last, :], height), place)

    def _place(self, shape: Shape, like: Tensor) -> Place:
        """Memory for a map, channels last."""
        channels, height, width = shape
        if like.device.type != "cpu":
            return Place(empty((1, *shape), like))
        size = channels * height * width * like.element_size()
        pages = self.pages.take(size)
        values = torch.from_numpy(pages[:size]).view(like.dtype).view(1, height, width, channels).permute(0, 3, 1, 2)
        place = Place(values)
        weakref.finalize(place, self.pages.give, pages).atexit = False
        return place

    def normalised(self, norm: nn.Module, x: Map, keep: bool = True, activation: nn.Module | None = None) -> Map:
        """The norm of a map, with the mean and variance of all its rows. Its activation changes what it is given."""
        finish = activation or nn.Identity()
        if not isinstance(norm, nn.InstanceNorm2d):
            return Map(x.shape, lambda first, last: finish(norm(x.rows(first, last))), x.place)
        together = math.gcd(x.shape[2], _TOGETHER)
        parts: list[tuple[int, Tensor, Tensor]] = []

        def look(strip: Tensor) -> None:
            parts.append((strip.shape[-2], *_moments(strip, together)))

        whole = self.passed(x, look, keep)
        mean, variance = norms.chosen(self._norms, _together(parts))
        self._norms += 1
        scale = (variance + norm.eps).rsqrt() * (1 if norm.weight is None else norm.weight)
        shift = (0 if norm.bias is None else norm.bias) - mean * scale
        scales, shifts = scale.repeat(together), shift.repeat(together)

        def apply(strip: Tensor, out: Tensor) -> Tensor:
            pixels = _pixels(strip, together)
            torch.addcmul(shifts.to(strip.dtype), pixels, scales.to(strip.dtype), out=_pixels(out, together))
            finish(out)
            return out

        def rows(first: int, last: int) -> Tensor:
            strip = whole.rows(first, last)
            return apply(strip, torch.empty_like(strip, memory_format=torch.channels_last))

        def write(first: int, last: int, out: Tensor) -> None:
            apply(whole.rows(first, last), out)

        return Map(x.shape, rows, whole.place, write)

    def light(self, photo: Map, path: Light) -> Rows:
        """`Light` of the photo."""
        normalised = self.normalised(path.norm, photo, keep=False)
        return lambda first, last: path.mix(normalised.rows(first, last)).float()

    def layer(self, x: Map, layers: nn.Module) -> Map:
        """`generators.conv_block`, with or without its activation. The result may lie where `x` did."""
        conv, norm, *activation = layers.children()
        assert isinstance(conv, nn.Conv2d)
        shape = (conv.out_channels, x.shape[1] // conv.stride[0], x.shape[2] // conv.stride[0])
        # The last rows of a circular map see the first once more, which must not be written over by then.
        place = None if conv.padding_mode == "circular" else x.place
        # A 1x1 convolution is computed again in less time than its map takes to be written and read.
        keep = conv.kernel_size[0] > 1
        return self.normalised(norm, Map(shape, convolved(x, conv), place), keep, *activation)

    def layer_of_enlarged(self, coarse: Map, layers: nn.Module, upsampling: str, fine: Map | None = None) -> Map:
        """The same of a map enlarged to twice its size, next to a finer one."""
        conv, norm, activation = layers.children()
        assert isinstance(conv, nn.Conv2d)
        if upsampling != "nearest":
            return self.layer(enlarged(coarse, conv, fine), layers)
        shape = (conv.out_channels, 2 * coarse.shape[1], 2 * coarse.shape[2])
        return self.normalised(norm, Map(shape, convolved_enlarged(coarse, conv, fine)), True, activation)

    def block(self, x: Map, layers: nn.Module) -> Map:
        """One layer on the other. Others may read `x` too."""
        x = Map(x.shape, x.rows)
        for each in layers.children():
            x = self.layer(x, each)
        return x


def _pixels(strip: Tensor, together: int) -> Tensor:
    """(1, C, h, W) as (1, h, W / together, together * C): the same memory, if that is channels_last."""
    _, channels, height, width = strip.shape
    return strip.permute(0, 2, 3, 1).reshape(1, height, width // together, together * channels)


def _together(parts: Sequence[tuple[int, Tensor, Tensor]]) -> Statistics:
    """Mean and variance of each channel over several strips, from their numbers of rows and their `_moments`."""
    rows = torch.tensor([count for count, _, _ in parts], dtype=torch.float64)[:, None, None]
    means = torch.stack([mean for _, mean, _ in parts]).cpu().double()
    variances = torch.stack([variance for _, _, variance in parts]).cpu().double()
    weights = rows / rows.sum() / means.shape[1]
    mean = (weights * means).sum((0, 1))
    variance = (weights * (variances + (means - mean).square())).sum((0, 1))
    like = parts[0][1]
    return mean.to(like), variance.to(like)


def _moments(strip: Tensor, together: int) -> Statistics:
    """Mean and variance of each channel over every `together`-th pixel of its rows, float32, (together, C) each."""
    pixels = _pixels(strip, together).permute(0, 3, 1, 2)
    if strip.device.type == "cpu":  # torch.var_mean takes 25 times as long there, longer than a convolution
        mean, variance = torch.batch_norm_update_stats(pixels, None, None, 0.0)
    else:
        mean, variance = norms.measure(pixels)
    return mean.float().view(together, -1), variance.float().view(together, -1)


def _pyramid(net: Pyramid, inputs: list[Map], canvas: _Canvas) -> Map:
    """`Pyramid.forward` up to its last convolution."""
    x = canvas.block(inputs[-1], net.enter[-1])
    for k in reversed(range(net.scales - 1)):
        fine = canvas.normalised(net.norm_fine[k], canvas.block(inputs[k], net.enter[k]))
        # Before the enlargement, not after it, as in `Pyramid.forward`.
        coarse = canvas.normalised(net.norm_coarse[k], x)
        first, *others = net.join[k].children()
        x = canvas.layer_of_enlarged(coarse, first, net.upsampling, fine)
        for layer in others:
            x = canvas.layer(x, layer)
    return x


def _residual(net: Residual, inputs: list[Map], canvas: _Canvas) -> Map:
    """`Residual.forward` up to its last convolution."""

    def added(x: Map, change: Map) -> Map:
        return Map(x.shape, lambda first, last: change.rows(first, last) + x.rows(first, last), change.place)

    (x,) = inputs
    x = canvas.passed(canvas.block(x, net.enter))
    for block in net.blocks:
        x = canvas.passed(added(x, canvas.block(x, block)))
    for layer in net.leave:
        x = canvas.layer_of_enlarged(x, layer, net.upsampling)
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
        if shapes[0][1:] == (height, width):
            return seen
        return pad_to(seen[..., (wanted - top).to(device), :], last - first, shapes[0][2])

    def halved(x: Map) -> Map:
        shape = (3, x.shape[1] // 2, x.shape[2] // 2)
        return canvas.passed(Map(shape, lambda first, last: F.avg_pool2d(x.rows(2 * first, 2 * last), 2)))

    def entering(x: Map, level: int) -> Map:
        rows = noise(level)
        return Map(
            (3 + shapes[level][0], *x.shape[1:]),
            lambda first, last: torch.cat([x.rows(first, last) - 0.5, rows(first, last)], dim=1),
        )

    pooled = [canvas.passed(Map((3, *shapes[0][1:]), around(padded, shapes[0][1])))]
    for _ in shapes[1:]:
        pooled.append(halved(pooled[-1]))
    return [entering(x, level) for level, x in enumerate(pooled)], pooled[0]
