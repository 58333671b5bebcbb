"""A picture for a user: what a file holds besides its pixels is kept while they are painted, and written back.

The network sees upright 8-bit sRGB without transparency; a user wants the camera's EXIF, the wide-gamut profile,
the cut-out shape and every frame of an animation back. `images` is the door for those who need pixels alone.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from texturenet import codec, pixels
from texturenet.codec import MAX_PIXELS
from texturenet.files import ImageError

# What each format can hold of a picture; animations elsewhere are TIFF's pages, which are pictures of their own.
HOLDS = {
    "PNG": {"alpha", "exif", "icc", "frames"},
    "WEBP": {"alpha", "exif", "icc", "frames"},
    "GIF": {"alpha", "frames"},
    "TIFF": {"alpha", "exif", "icc"},
    "JPEG": {"exif", "icc"},
    "BMP": set(),
}
ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")
JPEG_EXIF = 65_533  # bytes that fit into one marker of JPEG

# EXIF's first directory is also where TIFF keeps the layout of its file; these are about the photo.
_OF_THE_PHOTO = {
    *(ExifTags.Base.ImageDescription, ExifTags.Base.Make, ExifTags.Base.Model, ExifTags.Base.Software),
    *(ExifTags.Base.DateTime, ExifTags.Base.Artist, ExifTags.Base.HostComputer, ExifTags.Base.Copyright),
    *(ExifTags.Base.XResolution, ExifTags.Base.YResolution, ExifTags.Base.ResolutionUnit),
    *(ExifTags.Base.Rating, ExifTags.Base.RatingPercent, ExifTags.Base.XPTitle, ExifTags.Base.XPComment),
    *(ExifTags.Base.XPAuthor, ExifTags.Base.XPKeywords, ExifTags.Base.XPSubject),
    *(ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo),
}


@dataclass(frozen=True)
class Picture:
    """A file's picture with all that has to come back with it."""

    frames: tuple[Image.Image, ...]  # upright 8-bit sRGB, mode RGB, hidden pixels filled; one unless animated
    alphas: tuple[Image.Image, ...] | None = None  # mode L, of the frames' sizes; None: nothing is transparent
    durations: tuple[int, ...] = ()  # ms, of each frame of an animation
    loop: int = 0  # times that an animation is played; 0: for ever
    exif: bytes | None = None  # without orientation, sizes and thumbnail: these no longer hold
    icc: bytes | None = None  # the file's own RGB profile; None: sRGB

    def over_white(self) -> Picture:
        """The same without transparency, as on a page."""
        if self.alphas is None:
            return self
        frames = tuple(map(pixels.over_white, self.frames, self.alphas))
        return dataclasses.replace(self, frames=frames, alphas=None)

    def with_frames(self, frames: Sequence[Image.Image]) -> Picture:
        """The same with other pixels, as many frames as here, mode RGB; where their size is another, alpha follows."""
        if len(frames) != len(self.frames):
            raise ValueError(f"{len(frames)} frames for a picture of {len(self.frames)}")
        alphas = self.alphas and tuple(
            alpha if alpha.size == frame.size else alpha.resize(frame.size, Image.Resampling.LANCZOS)
            for alpha, frame in zip(self.alphas, frames, strict=True)
        )
        return dataclasses.replace(self, frames=tuple(frames), alphas=alphas)


def load_picture(path: str | Path, size: int | None = None, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a picture with all its frames, alpha, profile and EXIF.

    size        the longer side in pixels, the aspect kept, smaller pictures enlarged; None: as it is
    max_pixels  of the file's canvas, and of all frames together at the size asked for
    16-bit grey is scaled to 8 bits and grey becomes RGB; of a TIFF with several pages the first is read, said on
    stderr. Raises ImageError as `images.open_image` does, and for an animation over `max_pixels`.
    """
    path = Path(path)
    if size is not None and size < 1:
        raise ValueError(f"size is {size}: the longer side needs at least 1 pixel")
    with codec.opened(path, max_pixels) as image:
        count = getattr(image, "n_frames", 1)
        if count > 1 and image.format in ANIMATED:
            height, width = codec.fit((image.height, image.width), size) if size else (image.height, image.width)
            if count * height * width > max_pixels:
                raise ImageError(
                    f"{path}: {count} frames of {width}x{height} are over the limit of {max_pixels // 10**6} million "
                    "pixels: ask for a smaller size, or make it a video"
                )
            loop = _plays(image)
            read, durations = zip(*((_layers(frame, size), _duration(frame)) for frame in _frames(image)), strict=True)
        else:
            if count > 1 and image.format == "TIFF":
                print(f"{path}: only the first of its {count} pages is read", file=sys.stderr)
            if size:
                codec.require_pixels(path, codec.fit((image.height, image.width), size), max_pixels)
            native = codec.decode(image, longer_side=2 * size if size else None)
            read, durations, loop = (_layers(image, size, native),), (), 0
        profile = image.info.get("icc_profile")
        return Picture(
            frames=tuple(colours for colours, _ in read),
            alphas=_alphas(read),
            durations=durations,
            loop=loop,
            exif=_exif(image),
            icc=profile if profile and pixels.can_write(profile) else None,
        )


def save_picture(picture: Picture, path: str | Path, quality: int = 95) -> None:
    """Write a picture in the format of the suffix, with as much of it as that format holds (`HOLDS`).

    quality  1..100, of JPEG and WebP
    The pixels go into the picture's own profile where it can be embedded, else they stay sRGB. Transparency lies over
    white in JPEG and BMP and is all or nothing in GIF. .gif, .png and .webp keep an animation; elsewhere its first
    frame is written, said on stderr. Whole or not at all; raises as `images.save_image` does.
    """
    path = Path(path)
    format_name = codec.format_of(path)
    holds = HOLDS[format_name]
    frames, alphas, extra = picture.frames, picture.alphas, dict[str, Any]()
    if len(frames) > 1 and "frames" not in holds:
        print(
            f"{path}: {format_name} holds no animation: the first of {len(frames)} frames is written; "
            "name it .gif, .png or .webp to keep them all",
            file=sys.stderr,
        )
        frames = frames[:1]
    if picture.exif and "exif" in holds and not (format_name == "JPEG" and len(picture.exif) > JPEG_EXIF):
        extra["exif"] = picture.exif
        if format_name == "TIFF":
            extra["compression"] = None  # Pillow's compressing writer takes no EXIF directories
    if picture.icc and "icc" in holds:
        extra["icc_profile"] = picture.icc
        frames = tuple(pixels.from_srgb(frame, picture.icc) for frame in frames)
    if format_name == "GIF":
        frames = tuple(map(_in_256_colours, frames, alphas or (None,) * len(frames)))
        extra |= {"transparency": 255, "disposal": 2} if alphas else {}
    elif alphas:
        if "alpha" not in holds and any(alpha.getextrema() != (255, 255) for alpha in alphas[: len(frames)]):
            print(f"{path}: {format_name} holds no transparency: what shows through is white", file=sys.stderr)
        join = _with_alpha if "alpha" in holds else pixels.over_white
        frames = tuple(join(frame, alpha) for frame, alpha in zip(frames, alphas, strict=False))
    if len(frames) > 1:
        extra |= {"save_all": True, "append_images": frames[1:], "duration": list(picture.durations)}
        extra |= _played(picture.loop, format_name)
    codec.encode(frames[0], path, quality, **extra)


# --------------------------------------------------------------------------------------------------- reading a file


def _frames(image: Image.Image) -> Iterator[Image.Image]:
    """Each frame by itself: decoders build on the frame before, so theirs is not turned in place."""
    for i in range(image.n_frames):  # type: ignore[attr-defined]
        image.seek(i)
        frame = image.copy()
        codec.turn_upright(frame)
        yield frame


def _layers(
    image: Image.Image, size: int | None, native: tuple[int, int] | None = None
) -> tuple[Image.Image, Image.Image | None]:
    """Colours (hidden pixels filled) and alpha of a decoded picture, `size` pixels long if given."""
    colours, alpha = pixels.layers(image)
    if alpha is not None:
        colours = pixels.fill_hidden(colours, alpha)
    if size is not None:
        height, width = codec.fit(native or (image.height, image.width), size)
        colours = colours.resize((width, height), Image.Resampling.LANCZOS)
        alpha = alpha and alpha.resize((width, height), Image.Resampling.LANCZOS)
    colours.info = {}  # the profile and EXIF of the file do not hold for these pixels
    return colours, alpha


def _alphas(read: Sequence[tuple[Image.Image, Image.Image | None]]) -> tuple[Image.Image, ...] | None:
    """One for each frame as soon as one frame has it."""
    if all(alpha is None for _, alpha in read):
        return None
    return tuple(alpha or Image.new("L", colours.size, 255) for colours, alpha in read)


def _duration(frame: Image.Image) -> int:
    milliseconds: float = frame.info.get("duration", 0)
    return round(milliseconds)


def _plays(image: Image.Image) -> int:
    """How often an animation is played, 0 for ever. GIF counts the repetitions after the first time."""
    if image.format != "GIF":
        return int(image.info.get("loop", 0))
    if "loop" not in image.info:
        return 1
    repetitions = int(image.info["loop"])
    return repetitions and repetitions + 1


def _played(loop: int, format_name: str) -> dict[str, int]:
    """The inverse of `_plays`, as an option of Pillow's."""
    if format_name != "GIF":
        return {"loop": loop}
    return {} if loop == 1 else {"loop": loop and loop - 1}


def _exif(image: Image.Image) -> bytes | None:
    """What EXIF says of the photo; its thumbnail, of another picture now, goes. None where there is none, or broken."""
    try:
        exif = image.getexif()
        for tag in set(exif) - _OF_THE_PHOTO:
            del exif[tag]
        if ExifTags.IFD.Exif in exif:
            for tag in (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight):
                exif.get_ifd(ExifTags.IFD.Exif).pop(tag, None)
        return exif.tobytes() if len(exif) else None
    except Exception:  # no photo is lost for its EXIF
        return None


# --------------------------------------------------------------------------------------------------- writing a file


def _with_alpha(colours: Image.Image, alpha: Image.Image) -> Image.Image:
    joined = colours.copy()
    joined.putalpha(alpha)
    return joined


def _in_256_colours(colours: Image.Image, alpha: Image.Image | None) -> Image.Image:
    """Mode P, dithered, with a palette of its own; index 255 is the transparent one."""
    palette = colours.quantize(256 if alpha is None else 255)
    indexed = colours.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    if alpha is not None:
        indexed.paste(255, mask=alpha.point([255] * 128 + [0] * 128))
    return indexed
