"""Any mode and colour profile of a decoded picture -> 8-bit sRGB with alpha apart, and back into the file's colours."""

from __future__ import annotations

import functools
import io

import numpy as np
from PIL import Image, ImageChops, ImageCms

# Where alpha is below this, colours that went through premultiplied 8 bits are known to no better than 3% of the range.
_TRUSTED_ALPHA = 16
_SAME_TONES = 2  # of 255, between profiles that both mean sRGB: their curves are tables of another length


def layers(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Any mode -> colours (RGB, sRGB) and alpha (L), None where there is no transparency."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith(("I", "F")):
        image = _deep_grey_to_8_bits(image)
    if not image.has_transparency_data:
        return _to_srgb(image, profile), None
    if image.mode in ("L", "LA", "La"):  # a profile of grey is of grey alone
        image = image.convert("LA")
        return _to_srgb(image.getchannel("L"), profile), image.getchannel("A")
    image = image.convert("RGBA")
    return _to_srgb(image.convert("RGB"), profile), image.getchannel("A")


def flatten(image: Image.Image) -> Image.Image:
    """Any mode -> RGB in sRGB; transparent parts lie over white, as on a page."""
    colours, alpha = layers(image)
    return colours if alpha is None else over_white(colours, alpha)


def over_white(colours: Image.Image, alpha: Image.Image) -> Image.Image:
    """RGB through its alpha on a white page."""
    page = Image.new("RGB", colours.size, "white")
    page.paste(colours, mask=alpha)
    return page


def fill_hidden(colours: Image.Image, alpha: Image.Image) -> Image.Image:
    """RGB with what alpha hides replaced by the colours around it; editors leave black or rubbish there.

    A generator sees past the edge of a shape, and its instance norm sees every pixel; black there darkens what shows.
    """
    sources = alpha.point([255 * (level >= _TRUSTED_ALPHA) for level in range(256)])
    if sources.getextrema() in ((0, 0), (255, 255)):
        return colours
    trust = alpha.point([min(255, level * 255 // _TRUSTED_ALPHA) for level in range(256)])
    return Image.composite(colours, _pull_push(colours, sources), trust)


def can_write(profile: bytes) -> bool:
    """Whether `from_srgb` can: it is an RGB profile, whole, and not for input only."""
    return _is_srgb(profile) or _transform("RGB", profile, back=True) is not None


def from_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """RGB in sRGB -> RGB in the space of an ICC profile that passes `can_write`."""
    transform = None if _is_srgb(profile) else _transform("RGB", profile, back=True)
    return image if transform is None else ImageCms.applyTransform(image, transform) or image


def _pull_push(colours: Image.Image, weights: Image.Image) -> Image.Image:
    """Smooth filling of the pixels without weight (Gortler et al., The Lumigraph, 1996), in time linear in pixels.

    Halve, weighted, until nothing is missing; then each level fills its gaps from the one below.
    """
    if weights.getextrema()[0] == 255 or max(colours.size) == 1:
        return colours
    joined = colours.copy()
    joined.putalpha(weights)
    half = joined.reduce(2)  # weighted by alpha
    del joined
    covered = half.getchannel("A").point([min(255, 4 * level) for level in range(256)])  # one pixel of four is enough
    coarse = _pull_push(half.convert("RGB"), covered)
    box = (0, 0, colours.width / 2, colours.height / 2)  # of an odd size the last coarse pixel is half outside
    return Image.composite(colours, coarse.resize(colours.size, Image.Resampling.BILINEAR, box), weights)


def _deep_grey_to_8_bits(image: Image.Image) -> Image.Image:
    """Modes I;16, I and F -> L by scaling; Pillow's own conversion clips at 255 or wraps.

    16 bits span 0..65535. Mode F carries no range: [0, 1] where it fits, else that of 8 bits, of 16 bits, or its own.
    """
    values = np.nan_to_num(np.asarray(image).astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    peak = float(values.max())
    ranges = (1.0, 255.0, 65535.0, peak) if image.mode == "F" else (65535.0, peak)
    full = next(top for top in ranges if peak <= top)
    return Image.fromarray((values.clip(0, full) * (255 / full)).round().astype(np.uint8))


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """A picture without transparency -> RGB, through the file's ICC profile where there is a usable one."""
    if image.mode not in ("L", "RGB", "CMYK", "LAB"):
        profile = profile if image.mode == "P" else None
        image = image.convert("RGB")
    needed = image.mode == "LAB" or (profile and not _is_srgb(profile))
    transform = _transform(image.mode, profile) if needed else None
    if transform is None:
        return image.convert("RGB")
    return ImageCms.applyTransform(image, transform) or image.convert("RGB")


@functools.lru_cache(maxsize=16)  # photos share a handful of profiles, and building a transform takes milliseconds
def _transform(mode: str, profile: bytes | None, back: bool = False) -> ImageCms.ImageCmsTransform | None:
    """From `mode` with this profile to sRGB, or back; None where the profile is damaged or made for another mode."""
    try:
        lab = ImageCms.createProfile("LAB") if mode == "LAB" else None
        ends = [
            (ImageCms.ImageCmsProfile(lab or io.BytesIO(profile or b"")), mode),
            (ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")), "RGB"),
        ]
        (source, source_mode), (target, target_mode) = reversed(ends) if back else ends
        return ImageCms.buildTransform(
            source,
            target,
            source_mode,
            target_mode,
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None


@functools.lru_cache(maxsize=16)
def _is_srgb(profile: bytes) -> bool:
    """By its name and its tones: "Linear sRGB" has the name alone."""
    try:
        named = "srgb" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).lower()
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return False
    transform = _transform("RGB", profile) if named else None  # None too for a grey one of that name
    if transform is None:
        return False
    tones = Image.linear_gradient("L").convert("RGB")
    after = ImageCms.applyTransform(tones, transform) or tones
    return int(np.asarray(ImageChops.difference(tones, after)).max()) <= _SAME_TONES
