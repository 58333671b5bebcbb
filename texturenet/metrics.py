"""Numbers about pictures: pure functions, no network, no file.

Pictures are (B, 3, H, W) in [0, 1]; what compares two of them averages over the batch, and raises ValueError for
pictures of different sizes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Literal

import numpy as np
from skimage.metrics import structural_similarity
from torch import Tensor


def rmse(image: Tensor, reference: Tensor) -> float:
    """Root of the mean squared difference over pixels and channels, 0 (the same) .. 1 (black against white)."""
    _require_same_size(image, reference)
    return float((image.double() - reference.double()).square().mean(dim=(1, 2, 3)).sqrt().mean())


def psnr(image: Tensor, reference: Tensor) -> float:
    """Peak signal-to-noise ratio in dB, -20 log10(RMSE): 20 for an RMSE of 0.1, infinite for the same picture."""
    _require_same_size(image, reference)
    errors = [rmse(one[None], other[None]) for one, other in zip(image, reference, strict=True)]
    return sum(-20 * math.log10(error) if error else math.inf for error in errors) / len(errors)


def ssim(image: Tensor, reference: Tensor) -> float:
    """Structural similarity (Wang et al. 2004), -1 .. 1 (the same), by scikit-image with its default windows of 7x7.

    Raises ValueError for a side under 7 px.
    """
    _require_same_size(image, reference)
    if min(image.shape[-2:]) < 7:
        raise ValueError(f"SSIM compares windows of 7x7 px, and the picture has {image.shape[-1]}x{image.shape[-2]}")
    pairs = zip(image.float().cpu().numpy(), reference.float().cpu().numpy(), strict=True)
    return float(np.mean([structural_similarity(one, other, channel_axis=0, data_range=1.0) for one, other in pairs]))


def diversity(pictures: Sequence[Tensor]) -> float:
    """How different the outputs of several seeds are: the RMSE of two of them, averaged over all pairs, 0 .. 1.

    The distance is of pixels, so it counts a stroke that moved, whether or not the eye takes it for another picture.
    Raises ValueError for less than two pictures.
    """
    if len(pictures) < 2:
        raise ValueError("diversity is a distance between pictures: it takes two or more")
    distances = [rmse(one, other) for one, other in combinations(pictures, 2)]
    return sum(distances) / len(distances)


def flicker(outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> float:
    """How a clip of a scene that stands still flickers: mean absolute change from frame to frame, over the input's.

    inputs  its frames, whose only change is the sensor's noise; outputs the same frames painted
    1: the noise comes through as it is, 0: the painting stands still. Raises ValueError for less than two frames,
    another number of outputs, and inputs that do not change at all.
    """
    if len(inputs) < 2 or len(outputs) != len(inputs):
        raise ValueError(f"flicker takes two or more frames and as many painted: got {len(inputs)} and {len(outputs)}")

    def change(frames: Sequence[Tensor]) -> float:
        return sum(float((one.double() - other.double()).abs().mean()) for one, other in pairwise(frames))

    if not (noise := change(inputs)):
        raise ValueError("the input frames are all the same: there is no noise to compare flicker with")
    return change(outputs) / noise


def matched_iterations(trajectory: Sequence[float], loss: float) -> float:
    """After how many iterations the reference is first as good as `loss`.

    trajectory  its loss after 0, 1, 2 ... iterations
    Between the last iteration above `loss` and the first at or below it, the loss is taken as linear in the iteration,
    so the result may be 12.3. 0 where the start is as good already; infinite where the trajectory never gets there.
    Johnson et al. 2016 (arXiv 1603.08155, section 4.1) report 50 to 100 under their loss.
    """
    for i, now in enumerate(trajectory):
        if now <= loss:
            if i == 0:
                return 0.0
            before = trajectory[i - 1]
            return i - 1 + (before - loss) / (before - now)
    return math.inf


def gap_closed(photo_loss: float, loss: float, reference_loss: float) -> float:
    """Share of the way from the photo's loss to the reference's: 0 as the photo itself, 1 as the reference.

    Over 1 is better than the reference, under 0 worse than the photo. NaN where the reference gains nothing.
    """
    gap = photo_loss - reference_loss
    return (photo_loss - loss) / gap if gap > 0 else math.nan


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """(lower quartile, median, upper quartile), NaN left out; all NaN when nothing is left.

    Interpolated linearly, except that where a value is infinite ("never matched") the smaller neighbour is taken.
    """
    kept = [value for value in values if not math.isnan(value)]
    if not kept:
        return math.nan, math.nan, math.nan
    method: Literal["linear", "lower"] = "linear" if all(map(math.isfinite, kept)) else "lower"
    lower, median, upper = np.quantile(np.array(kept), (0.25, 0.5, 0.75), method=method)
    return float(lower), float(median), float(upper)


def _require_same_size(image: Tensor, reference: Tensor) -> None:
    if image.shape != reference.shape:
        sizes = [f"{picture.shape[-1]}x{picture.shape[-2]}" for picture in (image, reference)]
        raise ValueError(f"pictures of different sizes can't be compared: {sizes[0]} and {sizes[1]} px")
