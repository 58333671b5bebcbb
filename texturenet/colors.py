"""The colours of a picture: its luma, and another picture's palette given to it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

LUMA = (0.2126, 0.7152, 0.0722)  # of R'G'B', ITU-R BT.709, sRGB's primaries


def luma(image: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 1, H, W), the weighted sum of the encoded channels."""
    # By numbers: a tensor of them would have to be brought to the device.
    return LUMA[0] * image[:, :1] + LUMA[1] * image[:, 1:2] + LUMA[2] * image[:, 2:]


class Palette(NamedTuple):
    """Mean (B, 3, 1) and covariance (B, 3, 3) of the colours of pictures, float64 on the CPU."""

    mean: Tensor
    covariance: Tensor


def palette_of(image: Tensor) -> Palette:
    """Of each picture of (B, 3, H, W), from a regular grid of about a million pixels at most."""
    every = -(-max(image.shape[-2:]) // 1024)
    pixels = image[..., ::every, ::every].flatten(2)
    mean = pixels.mean(2, keepdim=True)
    apart = pixels - mean
    covariance = (apart @ apart.mT / (pixels.shape[2] - 1)).cpu().double()  # not every device has float64
    return Palette(mean.cpu().double(), covariance)


def in_palette(palette: Palette, image: Tensor) -> Tensor:
    """Each image in the colours of the palette: the linear map that gives it their mean and covariance.

    palette  of one picture, or of as many as images; image (B, 3, H, W) in [0, 1], as is the result
    The Monge-Kantorovich map of two Gaussians (Pitie and Kokaram 2007, eq. 13), of all that reach it the one that moves
    colours least. Matching the histogram of each channel alone leaves blues and pinks in a palette that has none.
    """
    own = palette_of(image)
    flat = 1e-6 * torch.eye(3, dtype=torch.float64)  # a grey picture has no inverse
    a, b = own.covariance + flat, palette.covariance + flat
    root, inverse = _power(a, 0.5), _power(a, -0.5)
    change = inverse @ _power(root @ b @ root, 0.5) @ inverse
    shift = (palette.mean - change @ own.mean).to(image)
    return (torch.einsum("bdc,bchw->bdhw", change.to(image), image) + shift[..., None]).clamp(0, 1)


def match_colors(model: Tensor, image: Tensor) -> Tensor:
    """Each image (B, 3, H, W) in the palette of the model (1, 3, h, w), or of the model of its own place."""
    return in_palette(palette_of(model), image)


def _power(matrix: Tensor, exponent: float) -> Tensor:
    """Of symmetric positive matrices (B, 3, 3)."""
    values, vectors = torch.linalg.eigh(matrix)
    power: Tensor = (vectors * values.clamp(min=1e-12)[:, None] ** exponent) @ vectors.mT
    return power
