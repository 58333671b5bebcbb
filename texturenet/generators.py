"""Generators: the small networks that are trained, one texture each.

`Pyramid` is the network of Ulyanov et al. 2016 (arXiv 1603.03417, section 3.2) in its instance-norm version (Ulyanov
et al. 2017, arXiv 1701.02096): at each of K scales the average-pooled photo is joined with noise and passed through a
block of convolutions; from the coarsest scale up, the result is enlarged and joined with the next finer one, 8 more
channels a scale. `Residual` is the network of Johnson et al. 2016 with instance norm and enlarge-then-convolve.

Both map a photo (B, 3, H, W) in [0, 1] and noise to a picture of exactly the same H x W, any H, W >= 16: the photo is
reflected up to the size that the network needs, and the result cropped. Without a photo they synthesise the texture,
at the size of the noise.

Departures from the papers, each on purpose:
* The picture is the network's output added to the photo's `Light` and passed through a sigmoid. Instance norm erases
  the light and the colours of the photo at every scale; this path carries them through, and keeps the result in [0, 1].
* Noise is an argument, seeded by whoever calls: a result can be repeated, tiled and exported.
* It may be kept to the coarsest scales. With noise at all of them, the starry_night that shipped heard that of 4 px
  alone: spots of one size, evenly spread. With that of 8 px and more it lays large forms; see docs/quality.md.
* Reflection padding (circular for textures that have to tile) instead of zeros, which paint a frame.
* Coarser maps are enlarged bilinearly (`--upsampling nearest` as in the papers): blocks of equal values have
  edges along rows and columns, of which the network made meshes and weaves. Nearest would save half a convolution
  (`rows.convolved_enlarged`). See "Meshes and rows" in docs/experiments.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenet.convolutions import Convolution, pad, twice_as_large
from texturenet.noise import draw_rows, padded_size


class InstanceNorm(nn.InstanceNorm2d):
    """torch's, without its copies: on a CPU torch's own brings channels_last maps to NCHW and back.

    One picture's instance norm is its batch norm. Forward and backward of the pyramid, 2 photos of 128 px on one core
    of a Xeon: 419 ms with torch's in NCHW, 339 ms with this in channels_last.
    """

    def forward(self, x: Tensor) -> Tensor:
        nhwc = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
        if x.device.type != "cpu" or not nhwc or torch.compiler.is_compiling():  # torch 2.13 compiles it wrongly
            return super().forward(x)

        def normalised(picture: Tensor) -> Tensor:
            return F.batch_norm(picture, None, None, self.weight, self.bias, training=True, eps=self.eps)

        # One split, and not an index per picture: the gradient of each index is a batch of zeros.
        result = torch.cat([normalised(picture) for picture in torch.split(x, 1)]) if len(x) > 1 else normalised(x)
        if result.requires_grad:
            # Of joined maps it comes as a part of theirs, through which torch takes six times as long: 8 of 48 channels
            # of 256 px on one core of an EPYC 7.1 ms, and 1.2 with the copy.
            result.register_hook(_packed)  # type: ignore[no-untyped-call]
        return result


def _packed(gradient: Tensor) -> Tensor:
    return gradient.contiguous(memory_format=torch.channels_last)


NORMALIZATIONS: dict[str, Callable[[int], nn.Module]] = {
    "instance": lambda channels: InstanceNorm(channels, affine=True),
    "batch": nn.BatchNorm2d,
}
Padding = Literal["reflect", "circular", "replicate", "zeros"]
PADDINGS = get_args(Padding)
Upsampling = Literal["bilinear", "nearest"]
UPSAMPLINGS = get_args(Upsampling)


def conv_block(
    in_channels: int,
    out_channels: int,
    kernel: int,
    normalization: str,
    padding: Padding,
    slope: float,
    stride: int = 1,
) -> nn.Sequential:
    """Convolution, normalisation, activation. The norm subtracts the mean, so a bias before it would do nothing."""
    return nn.Sequential(
        Convolution(in_channels, out_channels, kernel, stride, kernel // 2, padding_mode=padding, bias=False),
        NORMALIZATIONS[normalization](out_channels),
        nn.LeakyReLU(slope, inplace=True),
    )


def pad_to(image: Tensor, height: int, width: int) -> Tensor:
    """Continue (B, C, H, W) by reflection, below and to the right, to height x width, however much larger that is."""

    def reflected(size: int, wanted: int) -> Tensor:
        period = torch.full((), max(2 * size - 2, 1), device=image.device)  # a tensor, since ONNX has Mod of tensors
        index = torch.arange(wanted, device=image.device) % period
        return torch.where(index < size, index, 2 * size - 2 - index)

    h, w = image.shape[-2:]
    return image[..., reflected(h, height), :][..., reflected(w, width)]


def enlarged(x: Tensor, upsampling: Upsampling, padding: Padding) -> Tensor:
    """(B, C, H, W) -> (B, C, 2 H, 2 W). Beyond its edge a map goes on with the edge's values, a circular one around."""
    if upsampling == "nearest":
        return F.interpolate(x, scale_factor=2.0, mode="nearest")
    if padding == "circular":
        return twice_as_large(pad(x, (1, 1, 1, 1), "circular"))[..., 2:-2, 2:-2]
    return twice_as_large(x)


class Light(nn.Module):
    """The photo's path around the network: (B, 3, H, W) in [0, 1] -> the logits that the network changes.

    Each channel is brought to mean 0 and variance 1 over the picture, so that a dim photo leaves the network as much
    to paint with as a bright one, and the channels are mixed as the texture's palette asks for. The logits start as
    the normalised photo itself. Adding 4 (p - 1/2) instead, the photo's own logit to first order, learned half as
    fast: a small network on mosaic.jpg had closed 61 % of the gap after 2,100 steps, and so 73 % after 1,550.
    """

    # Variance of a picture whose contrast is raised to half of what it would be: a tenth of a photo's usual one. It
    # keeps the noise of a plain wall or a night sky from being raised to full contrast.
    EPS = 0.005

    def __init__(self) -> None:
        super().__init__()
        self.norm = InstanceNorm(3, eps=self.EPS)
        self.mix = nn.Conv2d(3, 3, 1)
        nn.init.dirac_(self.mix.weight)
        assert self.mix.bias is not None
        nn.init.zeros_(self.mix.bias)

    def forward(self, photo: Tensor) -> Tensor:
        logits: Tensor = self.mix(self.norm(photo)).float()
        return logits


class Network(Protocol):
    """What runs a style: a generator, or the `Stylizer`'s view of an ONNX file.

    content, noise_channels   see `Pyramid`
    channels                  of the last maps at full size, by which memory is estimated
    """

    content: bool
    noise_channels: int
    channels: int

    def noise_shapes(self, height: int, width: int) -> list[tuple[int, int, int]]:
        """(C, H, W) of each noise map for a picture of height x width, finest first."""

    def __call__(self, photo: Tensor | None, noise: Sequence[Tensor]) -> Tensor:
        """photo (B, 3, H, W) in [0, 1] or None; noise as `noise_shapes` says -> (B, 3, H, W)."""


class Pyramid(nn.Module):
    """Ulyanov's multi-scale generator.

    content          whether it is fed a photo (stylization) or noise alone (texture synthesis)
    scales           K; the coarsest sees the photo at 1 / 2^(K-1)
    width            channels that each scale contributes
    noise_channels   noise maps per scale
    noise_scales     how many of the coarsest scales are given noise; None: all, as in the paper
    slope            of the activations below zero; 0.01, as in texture_nets, unless a file says another
    normalization    a key of `NORMALIZATIONS`; padding one of `PADDINGS`
    upsampling       one of `UPSAMPLINGS`, from scale to scale; nearest, as in texture_nets, unless a file says another
    """

    def __init__(
        self,
        content: bool = True,
        scales: int = 6,
        width: int = 8,
        noise_channels: int = 3,
        normalization: str = "instance",
        padding: Padding = "reflect",
        noise_scales: int | None = None,
        slope: float = 0.01,
        upsampling: Upsampling = "nearest",
    ) -> None:
        super().__init__()
        noise_scales = scales if noise_scales is None else noise_scales
        if noise_scales > scales or (noise_scales < scales and not content):
            raise ValueError(
                f"noise_scales {noise_scales} of {scales} scales: "
                + ("there are no more" if content else "without a photo each of them has to have noise")
            )
        _check_upsampling(upsampling)
        self.content, self.scales, self.noise_channels, self.noise_scales = (
            content,
            scales,
            noise_channels,
            noise_scales,
        )
        self.multiple, self.channels = 2 ** (scales - 1), width * scales
        self.padding, self.upsampling = padding, upsampling
        norm = NORMALIZATIONS[normalization]

        def block(in_channels: int, out_channels: int) -> nn.Sequential:
            """3x3, 3x3, 1x1, as in the paper's figure 2."""
            return nn.Sequential(
                conv_block(in_channels, out_channels, 3, normalization, padding, slope),
                conv_block(out_channels, out_channels, 3, normalization, padding, slope),
                conv_block(out_channels, out_channels, 1, normalization, padding, slope),
            )

        self.enter = nn.ModuleList(block((3 if content else 0) + self._noise_at(k), width) for k in range(scales))
        # Index k joins scale k (8 new channels) with all coarser ones (8 channels each).
        coarser = [width * (scales - 1 - k) for k in range(scales - 1)]
        self.norm_coarse = nn.ModuleList(norm(channels) for channels in coarser)
        self.norm_fine = nn.ModuleList(norm(width) for _ in coarser)
        self.join = nn.ModuleList(block(channels + width, channels + width) for channels in coarser)
        self.to_rgb = nn.Conv2d(width * scales, 3, 1)
        self.light = Light() if content else None

    def _noise_at(self, scale: int) -> int:
        """Noise maps there."""
        return self.noise_channels if scale >= self.scales - self.noise_scales else 0

    def noise_shapes(self, height: int, width: int) -> list[tuple[int, int, int]]:
        """(C, H, W) of the noise maps of each scale for a picture of height x width, finest first; C may be 0."""
        h, w = padded_size(height, width, self.multiple)
        return [(self._noise_at(k), h >> k, w >> k) for k in range(self.scales)]

    def forward(self, photo: Tensor | None, noise: Sequence[Tensor]) -> Tensor:
        """photo (B, 3, H, W) in [0, 1] or None; noise as `noise_shapes` says, (B, C, H/2^k, W/2^k) -> (B, 3, H, W)."""
        _check_photo(self, photo)
        # From the coarsest noise, the only one that is always there: a finer one without channels is read by nothing,
        # so that an exported network need not have it.
        height, width = (side * self.multiple for side in noise[-1].shape[-2:])
        padded = None if photo is None else pad_to(photo, height, width)
        inputs = list(noise)
        if padded is not None:
            pooled = padded
            for k in range(self.scales):
                pooled = pooled if k == 0 else F.avg_pool2d(pooled, 2)
                inputs[k] = torch.cat([pooled - 0.5, noise[k]], dim=1) if self._noise_at(k) else pooled - 0.5
        x = self.enter[-1](inputs[-1])
        for k in reversed(range(self.scales - 1)):
            fine = self.norm_fine[k](self.enter[k](inputs[k]))
            # Normalised before it is enlarged: a quarter of the work, and to full size the same mean and variance.
            coarse = enlarged(self.norm_coarse[k](x), self.upsampling, self.padding)
            x = self.join[k](torch.cat([fine, coarse], dim=1))
        logits = self.to_rgb(x).float()
        if padded is not None:
            assert self.light is not None
            logits = logits + self.light(padded)
        picture = torch.sigmoid(logits)
        return picture if photo is None else picture[..., : photo.shape[-2], : photo.shape[-1]]


class Residual(nn.Module):
    """Johnson's network: 9x9, two halvings, five residual blocks, two enlargements, 9x9. Noise enters at full size.

    direct    whether the last map is the picture itself, clamped to [0, 1], without the photo's light; with it, no
              noise and a slope of 0, plain ReLU, this is the network of pytorch/examples (see convert.py)
    The other options are `Pyramid`'s.
    """

    def __init__(
        self,
        content: bool = True,
        width: int = 32,
        blocks: int = 5,
        noise_channels: int = 3,
        normalization: str = "instance",
        padding: Padding = "reflect",
        slope: float = 0.01,
        direct: bool = False,
        upsampling: Upsampling = "nearest",
    ) -> None:
        super().__init__()
        _check_upsampling(upsampling)
        self.content, self.noise_channels, self.direct = content, noise_channels, direct
        self.padding, self.upsampling = padding, upsampling
        self.multiple, self.channels = 4, width

        def conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
            return conv_block(in_channels, out_channels, kernel, normalization, padding, slope, stride)

        self.enter = nn.Sequential(
            conv(noise_channels + (3 if content else 0), width, 9),
            conv(width, 2 * width, 3, stride=2),
            conv(2 * width, 4 * width, 3, stride=2),
        )
        # Linear after the second convolution of a block, as Johnson et al. have it (supplement, table 1).
        self.blocks = nn.ModuleList(
            nn.Sequential(conv(4 * width, 4 * width, 3), conv(4 * width, 4 * width, 3)[:2]) for _ in range(blocks)
        )
        self.leave = nn.ModuleList([conv(4 * width, 2 * width, 3), conv(2 * width, width, 3)])
        self.to_rgb = Convolution(width, 3, 9, padding=4, padding_mode=padding)
        self.light = Light() if content and not direct else None

    def noise_shapes(self, height: int, width: int) -> list[tuple[int, int, int]]:
        """One map at full size, see `Pyramid.noise_shapes`."""
        return [(self.noise_channels, *padded_size(height, width, self.multiple))]

    def forward(self, photo: Tensor | None, noise: Sequence[Tensor]) -> Tensor:
        """As `Pyramid.forward`."""
        _check_photo(self, photo)
        padded = None if photo is None else pad_to(photo, *noise[0].shape[-2:])
        x = noise[0] if padded is None else torch.cat([padded - 0.5, noise[0]], dim=1)
        x = self.enter(x)
        for block in self.blocks:
            x = x + block(x)
        for layer in self.leave:
            x = layer(enlarged(x, self.upsampling, self.padding))
        last = self.to_rgb(x).float()
        if padded is not None and self.light is not None:
            last = last + self.light(padded)
        picture = last.clamp(0, 1) if self.direct else torch.sigmoid(last)
        return picture if photo is None else picture[..., : photo.shape[-2], : photo.shape[-1]]


GENERATORS: dict[str, type[Pyramid | Residual]] = {"pyramid": Pyramid, "residual": Residual}
Generator = Pyramid | Residual


def _check_upsampling(upsampling: str) -> None:
    if upsampling not in UPSAMPLINGS:
        raise ValueError(f"unknown upsampling {upsampling!r}; choose from {', '.join(UPSAMPLINGS)}")


def _check_photo(generator: Generator, photo: Tensor | None) -> None:
    if generator.content and photo is None:
        raise ValueError("this generator stylizes photos and was given none")
    if not generator.content and photo is not None:
        raise ValueError("this generator synthesises a texture and takes no photo")


def make_noise(
    generator: Network,
    batch_size: int,
    height: int,
    width: int,
    seed: int,
    noise_factor: float = 1.0,
    device: torch.device | str = "cpu",
    part: slice = slice(None),
) -> list[Tensor]:
    """Seeded noise for pictures of height x width: uniform [0, 1) times noise_factor, finest scale first.

    part  of the batch that is wanted; what it gets does not depend on the rest
    Drawn on the CPU whatever the device, so that a seed means the same picture everywhere.
    """
    items = range(batch_size)[part]
    noise = [
        noise_rows(shape, level, 0, shape[1], seed, len(items), items.start) * noise_factor
        for level, shape in enumerate(generator.noise_shapes(height, width))
    ]
    if torch.device(device).type == "cuda":
        noise = [level.pin_memory() for level in noise]
    return [level.to(device, non_blocking=True) for level in noise]


def noise_rows(
    shape: tuple[int, int, int], level: int, first: int, last: int, seed: int, batch_size: int = 1, first_item: int = 0
) -> Tensor:
    """`noise.draw_rows` as a tensor."""
    return torch.from_numpy(draw_rows(shape, level, first, last, seed, batch_size, first_item))
