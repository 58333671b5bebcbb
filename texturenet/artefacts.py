"""What goes wrong in painted pictures, as numbers: grids, rows, borders, colour veils, clipping. Pure functions.

Pictures are (B, 3, H, W) in [0, 1]; results average over the batch. A texture may rightly have any of these (tesserae
have a grid, a starry sky is dark), so a number tells little alone: it is read beside that of the photo, or of the
iterative reference (Gatys et al. 2016), which has no network whose fault it could be.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from skimage.color import rgb2lab
from torch import Tensor

from texturenet.colors import luma

BAND = 8  # px: of a border
CELL = 8  # px: of a grid that edges may keep to
FREQUENCY_WIDTH = 1 / 32  # cycles per px: how far from the frequency of a grid still counts
HALF_STEP = 0.5 / 255  # of an 8-bit file: nearer to 0 or 1 than that is saved as 0 or 1


class GridEnergy(NamedTuple):
    """Shares of the energy of a picture's luma, each 0 .. 1."""

    horizontal: float  # in columns: the picture changes along x
    vertical: float  # in rows
    both: float  # in checks: it changes along both

    @property
    def total(self) -> float:
        return sum(self)


def grid_energy(image: Tensor, period: int) -> GridEnergy:
    """Energy of the grids that repeat every `period` px, in the power spectrum of the luma without its mean.

    Period 2 is the Nyquist frequency, where transposed and sub-pixel convolutions leave their checkerboard (Odena et
    al. 2016), period 4 half of it, left by one upsampling more. Counted are frequencies within `FREQUENCY_WIDTH` (but
    a bin at least) of (1/period, 0), (0, 1/period) and (1/period, 1/period), under a Hann window, so that the edges
    of the picture do not count. White noise has 0.012 in all at period 2 and 0.031 at period 4, a flat picture 0.
    Raises ValueError for a side under 8 px.
    """
    height, width = image.shape[-2:]
    if min(height, width) < 8:
        raise ValueError(f"the energy of grids takes a picture of 8x8 px or more, not {width}x{height}")
    window = torch.outer(*(torch.hann_window(side, dtype=torch.float64) for side in (height, width)))
    light = _luma(image)
    light = light - (light * window).sum((1, 2), keepdim=True) / window.sum()
    power = torch.fft.fft2(light * window).abs().square()  # (B, H, W)
    power = power / power.sum((1, 2), keepdim=True).clamp_min(1e-12 * window.sum() ** 2)  # rounding is no grid
    rows, columns = (torch.fft.fftfreq(side, dtype=torch.float64).abs() for side in (height, width))

    def share(vertical: float, horizontal: float) -> float:
        near = torch.outer(_near(rows, vertical).double(), _near(columns, horizontal).double())
        return float((power * near).sum((1, 2)).mean())

    return GridEnergy(share(0, 1 / period), share(1 / period, 0), share(1 / period, 1 / period))


def grid_lock(image: Tensor, period: int = CELL) -> float:
    """How far edges keep to one place of a grid of cells of `period` px: rows and meshes that no frequency tells.

    The mean absolute gradient of the luma at each of the places that a pixel may have in a cell: its standard deviation
    over its mean, along the axis where it is larger. 0 without edges or where they are anywhere, 2.6 where all are at
    one of eight places. What a photo shows has places too: about 0.05 in one of 256 px, 0.02 in the mean of many.
    Raises ValueError for a side of no more than `period` px.
    """
    height, width = image.shape[-2:]
    if min(height, width) <= period:
        raise ValueError(
            f"a grid of {period} px takes a picture of more than {period}x{period} px, not {width}x{height}"
        )
    light = _luma(image)

    def spread(edges: Tensor) -> Tensor:  # (B, N) -> (B,)
        cells = edges.shape[1] // period
        places = edges[:, : cells * period].reshape(-1, cells, period).mean(1)
        return places.std(1, correction=0) / places.mean(1).clamp_min(1e-12)

    across, down = light.diff(dim=2).abs().mean(1), light.diff(dim=1).abs().mean(2)
    return float(torch.maximum(spread(across), spread(down)).mean())


def border_gradient(image: Tensor, band: int = BAND) -> float:
    """Mean squared gradient of the luma in the outer `band` px over that of the rest: 1 where the border is no other.

    The band is narrowed to a quarter of the shorter side. 1 for a flat picture, infinite for a flat middle.
    """
    light = _luma(image)
    energy = light.diff(dim=2)[:, :-1].square() + light.diff(dim=1)[..., :-1].square()  # (B, H - 1, W - 1)
    border = _border(energy.shape[1], energy.shape[2], band)
    ratios = [ratio(float(one[border].mean()), float(one[~border].mean())) for one in energy]
    return sum(ratios) / len(ratios)


def border_colour(image: Tensor, band: int = BAND) -> float:
    """Distance of the mean colours of the outer `band` px and of the rest, in CIELAB (Delta E 1976; 2 can be seen).

    The band is narrowed to a quarter of the shorter side.
    """
    border = _border(image.shape[-2], image.shape[-1], band).numpy()
    lab = _lab(image)
    return float(np.mean([np.linalg.norm(one[border].mean(0) - one[~border].mean(0)) for one in lab]))


def colour_drift(image: Tensor, photo: Tensor) -> tuple[float, float, float]:
    """Mean change of colour from `photo` to `image`, signed, in CIELAB: (lightness, red - green, yellow - blue).

    A veil over a whole picture. Lightness is 0 .. 100; a change of 2 can be seen. The pictures may differ in size.
    """
    lightness, red, yellow = (_lab(image).mean((1, 2)) - _lab(photo).mean((1, 2))).mean(0)
    return float(lightness), float(red), float(yellow)


def clipped_share(image: Tensor) -> float:
    """Share of pixels with a channel that an 8-bit file holds as 0 or 255, 0 .. 1."""
    clipped = ((image <= HALF_STEP) | (image >= 1 - HALF_STEP)).any(dim=1)
    return float(clipped.double().mean())


def artefacts(image: Tensor, photo: Tensor) -> dict[str, float]:
    """All of them, under the names of the reports."""
    lightness, red, yellow = colour_drift(image, photo)
    return {
        "nyquist": grid_energy(image, 2).total,
        "half_nyquist": grid_energy(image, 4).total,
        "grid_lock": grid_lock(image),
        "border_gradient": border_gradient(image),
        "border_colour": border_colour(image),
        "drift_lightness": lightness,
        "drift_red": red,
        "drift_yellow": yellow,
        "clipped": clipped_share(image),
    }


def ratio(value: float, reference: float) -> float:
    """How many times the reference's; 1 where both are 0, infinite where only the reference is."""
    if reference == 0:
        return 1.0 if value == 0 else math.inf
    return value / reference


def _luma(image: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, H, W) float64 on the CPU."""
    return luma(image.detach().cpu().double())[:, 0]


def _lab(image: Tensor) -> np.ndarray:
    """(B, 3, H, W) -> (B, H, W, 3) in CIELAB under D65."""
    lab: np.ndarray = rgb2lab(image.detach().cpu().double().permute(0, 2, 3, 1).numpy())
    return lab


def _near(frequencies: Tensor, wanted: float) -> Tensor:
    # A window's lobe reaches one bin to each side; with an odd side no bin is at the Nyquist frequency itself.
    return (frequencies - wanted).abs() <= max(FREQUENCY_WIDTH, 1 / len(frequencies)) + 1e-9


def _border(height: int, width: int, band: int) -> Tensor:
    """Where a picture's outer `band` px are, (H, W). Raises ValueError for a picture that has no middle."""
    band = min(band, min(height, width) // 4)
    if band < 1:
        raise ValueError(f"a picture of {width}x{height} px is too small to tell a border from a middle")
    border = torch.ones(height, width, dtype=torch.bool)
    border[band:-band, band:-band] = False
    return border
