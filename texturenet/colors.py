"""The colours of a picture: its luma, and another picture's palette given to it."""

from __future__ import annotations

import torch
from torch import Tensor

LUMA = (0.2126, 0.7152, 0.0722)  # of R'G'B', ITU-R BT.709, sRGB's primaries


def luma(image: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 1, H, W), the weighted sum of the encoded channels."""
    weights = image.new_tensor(LUMA).view(1, 3, 1, 1)
    return (image * weights).sum(dim=1, keepdim=True)


def match_colors(palette: Tensor, image: Tensor) -> Tensor:
    """Each image in the colours of the palette: the linear map that gives it their mean and covariance.

    palette  (1, 3, h, w) or as many as images; image (B, 3, H, W); both in [0, 1], as is the result
    The Monge-Kantorovich map of two Gaussians (Pitie and Kokaram 2007, eq. 13), of all that reach it the one that moves
    colours least. Matching the histogram of each channel alone leaves blues and pinks in a palette that has none.
    """
    (old, a), (new, b) = _moments(image), _moments(palette)
    root, inverse = _power(a, 0.5), _power(a, -0.5)
    change = inverse @ _power(root @ b @ root, 0.5) @ inverse
    shift = (new - change @ old).to(image)
    return (torch.einsum("bdc,bchw->bdhw", change.to(image), image) + shift[..., None]).clamp(0, 1)


def _moments(image: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (B, 3, 1) and covariance (B, 3, 3) of the colours, float64 on the CPU, since not every device has that."""
    every = -(-max(image.shape[-2:]) // 1024)  # a regular grid of about a million pixels at most
    pixels = image[..., ::every, ::every].flatten(2)
    mean = pixels.mean(2, keepdim=True)
    apart = pixels - mean
    covariance = (apart @ apart.mT / (pixels.shape[2] - 1)).cpu().double()
    return mean.cpu().double(), covariance + 1e-6 * torch.eye(3, dtype=torch.float64)  # a grey picture has no inverse


def _power(matrix: Tensor, exponent: float) -> Tensor:
    """Of symmetric positive matrices (B, 3, 3)."""
    values, vectors = torch.linalg.eigh(matrix)
    power: Tensor = (vectors * values.clamp(min=1e-12)[:, None] ** exponent) @ vectors.mT
    return power
