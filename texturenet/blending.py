"""What is done around a style's pass: how much of the painting, in whose colours, at what stroke, and where.

Pure functions on pictures (B, 3, H, W) in [0, 1], sRGB as stored in files. Mixing is done on these encoded values and
not on linear light: equal steps of them look about equal, so half the strength looks like half; in linear light the
bright strokes show through long before the dark ones, and a mosaic loses its joints first.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from texturenet import images
from texturenet.colors import luma, match_colors

# The base that detail stands out from: radius in px of the working size, and the variance of luma that counts as flat.
# Of the pairs 1..4 px, 1e-4..1e-2 and of a plain difference of sizes, this one brought back eyes and lettering without
# a second line along every edge.
_DETAIL_RADIUS, _DETAIL_FLAT = 2, 1e-2


def paint_with(
    paint: Callable[[Tensor], Tensor],
    photo: Tensor,
    *,
    strength: float = 1.0,
    preserve_color: str | None = None,
    work_size: int | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """One style's painting of a photo under the user's controls, (B, 3, H, W).

    paint           the style's pass, any size to the same size
    strength        0: the photo, 1: the painting, see `blend`
    preserve_color  a key of `PRESERVE`, or None: the painting's own colours
    work_size       longer side that is painted at, px: smaller than the photo gives coarser strokes; None: as it is
    mask            where the painting shows, see `within`; None: everywhere
    Raises ValueError for a value outside these.
    """
    if preserve_color is not None and preserve_color not in PRESERVE:
        raise ValueError(f"unknown preserve_color {preserve_color!r}; choose from {', '.join(PRESERVE)}")
    if work_size is not None and (not isinstance(work_size, int) or work_size < 1):
        raise ValueError(f"work_size {work_size}: give a whole number of px")
    if work_size is None:
        painting = paint(photo)
    else:
        reduced = images.resize(photo, work_size)
        painting = enlarge(paint(reduced), reduced, photo)
    if preserve_color is not None:
        painting = PRESERVE[preserve_color](photo, painting)
    painting = blend(photo, painting, strength)
    return painting if mask is None else within(mask, painting, photo)


def blend(photo: Tensor, painting: Tensor, strength: float) -> Tensor:
    """From the photo (0, exactly) to the painting (1, exactly). Raises ValueError outside 0..1."""
    if not 0 <= strength <= 1:
        raise ValueError(f"strength {strength:g} is outside 0 (the photo) to 1 (the painting)")
    return painting if strength == 1 else torch.lerp(photo, painting, strength)


def within(mask: Tensor, inside: Tensor, outside: Tensor) -> Tensor:
    """`inside` where the mask (B or 1, 1, h, w) is 1, `outside` where it is 0, both exactly; mixed between.

    A mask of another size is scaled. Raises ValueError where its aspect is another: it would not fit what it marks.
    """
    height, width = inside.shape[-2:]
    h, w = mask.shape[-2:]
    if abs(h * width - w * height) > max(h, w, height, width):  # a pixel of rounding
        raise ValueError(f"a mask of {w}x{h} px does not fit a picture of {width}x{height}: give it the same aspect")
    if (h, w) != (height, width):
        mask = F.interpolate(mask, (height, width), mode="bilinear", antialias=True)
    return torch.lerp(outside, inside, mask.to(inside))


# ------------------------------------------------------------------------------------------------------------- colours


def keep_chroma(photo: Tensor, painting: Tensor) -> Tensor:
    """The painting's luma with the photo's chroma (luminance-only transfer, Gatys et al. 2016, arXiv 1606.05897, 4).

    The luma is the painting's at every pixel. Where a chroma is too strong for it (no bright pure blue exists), the
    chroma is made weaker in its own hue: clipping would change both.
    """
    light = luma(painting)
    chroma = photo - luma(photo)
    times = torch.where(chroma > 0, 1 - light, light) / chroma.abs().clamp(min=1e-6)  # that each channel may be added
    return (light + chroma * times.amin(dim=1, keepdim=True).clamp(max=1)).clamp(0, 1)


PRESERVE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"luma": keep_chroma, "hist": match_colors}


# -------------------------------------------------------------------------------------------------------- working size


def enlarge(painting: Tensor, reduced: Tensor, photo: Tensor) -> Tensor:
    """A painting of the reduced photo at the size of the photo, with the detail that the reduced one has not.

    Detail is what stands out of a guided filter's base (He and Sun 2015, arXiv 1505.00996: fitted at the small size,
    applied at the large one), in luma alone. Painted at the photo's size or above, nothing is missing or added.
    """
    size = (photo.shape[-2], photo.shape[-1])
    large = images.resize(painting, size)
    if painting.shape[-2] >= size[0]:
        return large
    light = luma(reduced)
    mean = _box(light)
    variance = _box(light * light) - mean * mean
    slope = variance / (variance + _DETAIL_FLAT)
    offset = mean - slope * mean
    slope, offset = (F.interpolate(_box(part), size, mode="bilinear") for part in (slope, offset))
    light = luma(photo)
    return (large + light - (slope * light + offset)).clamp(0, 1)


def _box(image: Tensor) -> Tensor:
    """Mean over a square around each pixel."""
    side = 2 * _DETAIL_RADIUS + 1
    return F.avg_pool2d(F.pad(image, (_DETAIL_RADIUS,) * 4, mode="replicate"), side, stride=1)
